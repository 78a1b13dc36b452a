import numpy as np
import pytest
from tiny import tiny_tuner

import tlkeras as tl
from tlkeras.training.ensemble import VIEWS


@pytest.fixture(scope="module")
def members(toy_pixels):
    images, labels = toy_pixels
    tuners = [tiny_tuner(phases=tl.Phase(1, 1e-2)), tiny_tuner(phases=tl.Phase(1, 1e-2), head=tl.Head((4,)))]
    return [tuner.fit((images, labels), seed=seed) for tuner in tuners for seed in (0, 1)]


def averaged(classifiers, pixels):
    return np.mean([classifier.predict_pixels(pixels) for classifier in classifiers], axis=0)


def test_an_ensemble_answers_with_the_mean_of_its_members(members, toy_pixels):
    images, labels = toy_pixels
    ensemble = tl.Ensemble(members)
    np.testing.assert_allclose(ensemble.predict_pixels(images), averaged(members, images), atol=1e-6)
    samples = tl.from_arrays(images, labels)
    np.testing.assert_allclose(ensemble.predict(samples).probs, averaged(members, images), atol=1e-6)
    assert ensemble.class_names == members[0].class_names
    assert ensemble.images == members[0].images


def test_it_is_explained_saved_and_loaded_like_any_classifier(members, toy_pixels, tmp_path):
    images, _ = toy_pixels
    ensemble = tl.Ensemble(members[:2])
    ensemble.save(tmp_path)
    again = tl.load(tmp_path)
    np.testing.assert_array_equal(again.predict_pixels(images), ensemble.predict_pixels(images))
    assert again.model.name == "ensemble_of_2"
    explanation = tl.explain(again, images[0], n_samples=20, seed=0)
    assert np.isfinite(explanation.r2)


def test_the_members_stay_as_they_were(members, toy_pixels):
    images, _ = toy_pixels
    before = [member.predict_pixels(images) for member in members]
    tl.Ensemble(members)
    for member, probs in zip(members, before, strict=True):
        np.testing.assert_array_equal(member.predict_pixels(images), probs)


@pytest.mark.parametrize("again", [lambda one: one, lambda one: tl.with_views(one, 2)])
def test_members_that_share_layers_are_saved_whole(members, toy_pixels, tmp_path, again):
    images, _ = toy_pixels
    both = tl.Ensemble([members[0], again(members[0])])
    both.save(tmp_path)
    np.testing.assert_array_equal(tl.load(tmp_path).predict_pixels(images), both.predict_pixels(images))
    expected = (members[0].predict_pixels(images) + again(members[0]).predict_pixels(images)) / 2
    np.testing.assert_allclose(both.predict_pixels(images), expected, atol=1e-6)


def test_what_looks_into_layers_is_asked_of_the_members(members, toy_pixels):
    with pytest.raises(tl.InputError, match=r"model of its own"):
        tl.grad_cam(tl.Ensemble(members[:2]), toy_pixels[0][0])
    with pytest.raises(tl.InputError, match=r"layer: received 'conv1'.*ask one of its members"):
        tl.grad_cam(tl.Ensemble(members[:2]), toy_pixels[0][0], layer="conv1")


def test_what_cannot_be_averaged_is_refused(members, toy_pixels):
    images, labels = toy_pixels
    with pytest.raises(tl.InputError, match=r"classifiers: received .*TunedClassifier.*two or more"):
        tl.Ensemble(members[:1])
    with pytest.raises(tl.InputError, match=r"classifiers: received .*'str'"):
        tl.Ensemble([members[0], "another"])
    smaller = tiny_tuner(phases=tl.Phase(1, 1e-2), image_size=(16, 16)).fit((images, labels), seed=0)
    with pytest.raises(tl.InputError, match=r"classifiers: received image_size \(32, 32\) and \(16, 16\)"):
        tl.Ensemble([members[0], smaller])
    other = tl.from_arrays(images, labels, class_names=("dull", "vivid"))
    with pytest.raises(tl.InputError, match=r"classifiers: received class_names"):
        tl.Ensemble([members[0], tiny_tuner(phases=tl.Phase(1, 1e-2)).fit(other, seed=0)])


def shifted(images, down, right):
    """Edges repeated: of a shift of two pixels symmetric padding shows the second one first."""
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], mode="symmetric")
    return padded[:, 2 - down : 34 - down, 2 - right : 34 - right]


@pytest.mark.parametrize(("n_views", "flips"), [(1, "both"), (2, "horizontal"), (10, "horizontal"), (5, "both")])
def test_views_are_flips_and_shifts(members, toy_pixels, n_views, flips):
    images, labels = toy_pixels
    seen = []
    for upside_down in (1, -1) if flips == "both" else (1,):
        for mirrored, down, right in VIEWS[:n_views]:
            shown = shifted(images, 2 * down, 2 * right)[:, ::upside_down, :: -1 if mirrored else 1]
            seen.append(members[0].predict_pixels(shown))
    got = members[0].predict(tl.from_arrays(images, labels), views=n_views, flips=flips)
    np.testing.assert_allclose(got.probs, np.mean(seen, axis=0), atol=1e-6)


@pytest.mark.slow
def test_views_of_an_ensemble_are_saved_with_it(members, toy_pixels, tmp_path):
    images, labels = toy_pixels
    both = tl.with_views(tl.Ensemble(members[:2]), 3)
    both.save(tmp_path)
    again = tl.load(tmp_path)
    samples = tl.from_arrays(images, labels)
    np.testing.assert_allclose(again.predict(samples).probs, both.predict(samples).probs, atol=1e-7)
    expected = np.mean([member.predict(samples, views=3).probs for member in members[:2]], axis=0)
    np.testing.assert_allclose(both.predict(samples).probs, expected, atol=1e-6)


def test_views_out_of_range_are_refused(members, toy_pixels):
    images, labels = toy_pixels
    for given, said in (({"views": 11}, "views: received 11"), ({"views": 0}, "views: received 0")):
        with pytest.raises(tl.InputError, match=said):
            members[0].predict(tl.from_arrays(images, labels), **given)
    with pytest.raises(tl.InputError, match="flips: received 'vertical'"):
        tl.with_views(members[0], 2, flips="vertical")
