from __future__ import annotations

import numpy as np
import pytest
from lime.lime_image import LimeImageExplainer
from scipy.stats import spearmanr
from tiny import TINY

from tlkeras.errors import InputError
from tlkeras.explaining.lime import explain, perturbed_copies
from tlkeras.seeds import derive_seed


class QuadrantClassifier:
    """The brighter the upper left quadrant, the likelier "bright"."""

    class_names = ("dark", "bright")

    def __init__(self):
        self.calls = []

    def predict_pixels(self, images):
        self.calls.append(images)
        brightness = images[:, :16, :16].mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - brightness, brightness], axis=1)


@pytest.fixture
def classifier():
    return QuadrantClassifier()


@pytest.fixture
def quadrants():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:16, :16], image[:16, 16:], image[16:, :16], image[16:, 16:] = (
        (250, 200, 90),
        (10, 200, 10),
        (200, 10, 9),
        120,
    )
    return image


@pytest.fixture
def patchwork():
    return np.random.default_rng(0).integers(90, 166, (8, 8, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)


def test_the_quadrant_the_classifier_looks_at_gets_the_weight(classifier, quadrants):
    explanation = explain(classifier, quadrants, seed=0, n_segments=4, hide=0)
    assert explanation.segments.max() + 1 == len(explanation.weights) == 4
    top = explanation.segments[4, 4]
    assert (explanation.segments[:16, :16] == top).all()
    # Hiding it turns 0.706 into 0; nothing else matters.
    assert explanation.weights[top] == pytest.approx(180 / 255, abs=0.02)
    assert np.abs(np.delete(explanation.weights, top)).max() < 0.01
    assert (explanation.label, explanation.class_name) == (1, "bright")
    assert explanation.probability == pytest.approx(180 / 255)
    assert explanation.r2 > 0.99


def test_the_other_label_gets_the_opposite_weights(classifier, quadrants):
    bright = explain(classifier, quadrants, seed=0, n_segments=4)
    dark = explain(classifier, quadrants, seed=0, n_segments=4, label=0)
    np.testing.assert_allclose(dark.weights, -bright.weights, atol=1e-9)
    assert dark.class_name == "dark"


def stock(predict, image, ours, *, seed, n_samples, hide="mean"):
    """What the lime package says of the same regions: its explanation, and its weights in the order of regions."""
    fitted = LimeImageExplainer(random_state=seed).explain_instance(
        image, predict, labels=(ours.label,), top_labels=None, num_samples=n_samples,
        hide_color=None if hide == "mean" else hide, segmentation_fn=lambda _: ours.segments,
    )  # fmt: skip
    weights = dict(fitted.local_exp[ours.label])
    assert sorted(weights) == list(range(len(ours.weights)))
    return fitted, [weights[region] for region in range(len(weights))]


@pytest.mark.parametrize("hide", ["mean", 0, 127.6, (10, 20, 200)])
@pytest.mark.parametrize("n_segments", [6, 40])
def test_weights_and_r2_are_those_of_stock_lime(classifier, patchwork, n_segments, hide):
    ours = explain(classifier, patchwork, seed=7, n_samples=150, n_segments=n_segments, hide=hide)
    fitted, weights = stock(classifier.predict_pixels, patchwork, ours, seed=7, n_samples=150, hide=hide)
    np.testing.assert_allclose(ours.weights, weights, rtol=0, atol=1e-6)
    assert ours.r2 == pytest.approx(fitted.score, abs=1e-6)


def test_weights_of_a_keras_classifier_are_those_of_stock_lime_and_of_model_predict(patchwork):
    import tlkeras as tl

    model = tl.build_classifier(TINY, n_classes=3, image_size=(32, 32), seed=5)
    classifier = tl.TunedClassifier(model=model, class_names=("a", "b", "c"), image_size=(32, 32))
    own = np.arange(32)[:, None] // 8 * 4 + np.arange(32) // 8
    ours = explain(classifier, patchwork, seed=3, n_samples=100, segmentation=own)
    predict = lambda images: model.predict(images, verbose=0)  # noqa: E731
    fitted, weights = stock(predict, patchwork, ours, seed=3, n_samples=100)
    assert len(weights) == 16
    assert np.abs(weights).max() > 1e-4
    np.testing.assert_allclose(ours.weights, weights, rtol=0, atol=1e-6)
    assert ours.r2 == pytest.approx(fitted.score, abs=1e-6)
    assert ours.probability == pytest.approx(predict(patchwork[None])[0, ours.label], abs=1e-6)


def test_a_copy_is_predicted_once_in_batches_of_the_given_size(classifier, quadrants):
    explain(classifier, quadrants, seed=0, n_segments=4, n_samples=500, batch_size=6, hide=255)
    assert [len(batch) for batch in classifier.calls] == [6, 6, 4]  # 2 ** 4 ways to hide four regions
    copies = np.concatenate(classifier.calls)
    assert len(np.unique(copies.reshape(16, -1), axis=0)) == 16
    assert copies.dtype == np.uint8


def test_repeats_share_their_predictions(classifier, quadrants):
    repeated = explain(classifier, quadrants, seed=0, n_segments=4, n_samples=500, n_repeats=5, hide=255)
    assert sum(map(len, classifier.calls)) == 16
    once = explain(classifier, quadrants, seed=0, n_segments=4, n_samples=500, hide=255)
    np.testing.assert_array_equal(repeated.weights, once.weights)
    assert repeated.r2 == once.r2
    assert once.stability is None


def test_stability_is_the_mean_rank_correlation_of_the_seeds_weights(classifier, patchwork):
    found = explain(classifier, patchwork, seed=9, n_samples=60, n_segments=12, n_repeats=3)
    seeds = [9, derive_seed(9, "lime", 1), derive_seed(9, "lime", 2)]
    weights = [explain(classifier, patchwork, seed=seed, n_samples=60, n_segments=12).weights for seed in seeds]
    pairs = [spearmanr(weights[i], weights[j]).statistic for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found.stability == pytest.approx(np.mean(pairs))
    assert 0 < found.stability < 1
    np.testing.assert_allclose(found.weights, weights[0], rtol=0, atol=1e-9)


def test_stability_is_one_where_chance_has_no_say_and_nan_where_weights_have_no_order(classifier, quadrants):
    class Unmoved(QuadrantClassifier):
        def predict_pixels(self, images):
            return np.full((len(images), 2), [0.3, 0.7], np.float32)

    halves = np.repeat([[0, 1]], 32, axis=0).repeat(16, axis=1)
    assert explain(classifier, quadrants, seed=0, segmentation=halves, n_repeats=4).stability == pytest.approx(1)
    assert np.isnan(explain(Unmoved(), quadrants, seed=0, segmentation=halves, n_repeats=2).stability)


@pytest.mark.parametrize("hide", ["mean", 7, (10, 20, 200)])
def test_perturbed_copies_are_those_stock_lime_makes(classifier, patchwork, hide):
    ours = explain(classifier, patchwork, seed=5, n_samples=30, n_segments=9, hide=hide)
    classifier.calls.clear()
    stock(classifier.predict_pixels, patchwork, ours, seed=5, n_samples=30, hide=hide)
    seen = np.concatenate(classifier.calls)
    np.testing.assert_array_equal(seen[0], patchwork)
    copies = perturbed_copies(ours, seed=5, n=12, hide=hide)
    assert (copies.shape, copies.dtype) == ((12, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(copies, seen[1:13])


def test_same_seed_same_weights_and_no_state_between_images(classifier, patchwork):
    first, second = (explain(classifier, patchwork, seed=3, n_samples=50) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)
    assert (explain(classifier, patchwork, seed=4, n_samples=50).weights != first.weights).any()


def test_float_pixels_are_rounded(classifier, quadrants):
    explanation = explain(classifier, quadrants.astype(np.float32) + 0.4, seed=0, n_segments=4)
    np.testing.assert_array_equal(explanation.image, quadrants)


def test_runs_quietly(classifier, quadrants, capfd):
    explain(classifier, quadrants, seed=0, n_samples=20)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": np.full((8, 8, 3), 0.5, np.float32)}, "scaled to 0..1"),
        ({"image": np.ones((8, 8, 3), np.float32)}, "scaled to 0..1"),
        ({"image": np.full((8, 8, 3), -3.0)}, "outside 0..255"),
        ({"image": np.full((8, 8, 3), np.nan)}, "outside 0..255"),
        ({"image": np.zeros((8, 8), np.uint8)}, r"shape \(8, 8\)"),
        ({"label": 2}, r"label: received 2; accepted is an integer in 0\.\.1"),
        ({"label": "dark"}, "received 'dark'"),
        ({"label": -1}, r"label: received -1; accepted is an integer in 0\.\.1"),
        ({"segmentation": np.zeros((4, 4), int)}, r"shape \(4, 4\)"),
        ({"hide": 300}, "hide: received 300"),
        ({"hide": "black"}, "hide: received 'black'"),
        ({"hide": [1, [2, 3]]}, "hide: received"),
        ({"segmentation": [[1], [2, 3]]}, "segmentation: received"),
        ({"n_segments": "10"}, "n_segments: received '10'"),
        ({"n_samples": 1}, "n_samples: received 1"),
        ({"n_samples": 99.5}, "n_samples: received 99.5"),
        ({"n_repeats": 0}, "n_repeats: received 0"),
        ({"batch_size": 0}, "batch_size: received 0"),
        ({"n_segments": 1}, "n_segments: received 1"),
        ({"seed": -1}, "seed: received -1"),
        ({"seed": 0.5}, "seed: received 0.5"),
        ({"image": np.full((32, 32, 3), 90, np.uint8), "segmentation": "felzenszwalb"}, "finds a single region"),
    ],
)
def test_bad_input_is_refused_in_words(classifier, quadrants, change, words):
    arguments = {"image": quadrants, "seed": 0, "n_samples": 20} | change
    with pytest.raises(InputError, match=words):
        explain(classifier, arguments.pop("image"), **arguments)


def test_a_one_column_classifier_is_refused_in_words(quadrants):
    class Sigmoid(QuadrantClassifier):
        def predict_pixels(self, images):
            return super().predict_pixels(images)[:, 1:]

    with pytest.raises(InputError, match="two columns 1 - p and p"):
        explain(Sigmoid(), quadrants, seed=0)


def test_a_classifier_that_gives_nan_is_refused_in_words(quadrants):
    class Broken(QuadrantClassifier):
        def predict_pixels(self, images):
            return super().predict_pixels(images) * np.nan

    with pytest.raises(InputError, match="not finite"):
        explain(Broken(), quadrants, seed=0)


def test_perturbed_copies_refuse_what_explain_refuses(classifier, quadrants):
    explanation = explain(classifier, quadrants, seed=0, n_samples=20)
    for change, words in (({"n": 0}, "n: received 0"), ({"hide": 300}, "hide"), ({"seed": -1}, "seed")):
        with pytest.raises(InputError, match=words):
            perturbed_copies(explanation, **({"seed": 0, "n": 2} | change))


def test_what_is_no_classifier_is_refused_in_words(quadrants):
    with pytest.raises(InputError, match="received object, which has no predict_pixels and no class_names"):
        explain(object(), quadrants, seed=0)
