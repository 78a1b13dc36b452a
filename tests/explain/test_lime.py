from __future__ import annotations

import numpy as np
import pytest
from lime.lime_image import LimeImageExplainer

from tlkeras.explain.lime import explain, segment
from tlkeras.schema import InputError


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


@pytest.mark.parametrize("hide", ["mean", 0, (10, 20, 200)])
@pytest.mark.parametrize("n_segments", [6, 40])
def test_weights_and_r2_are_those_of_stock_lime(classifier, patchwork, n_segments, hide):
    ours = explain(classifier, patchwork, seed=7, n_samples=150, n_segments=n_segments, hide=hide)
    stock = LimeImageExplainer(random_state=7).explain_instance(
        patchwork, classifier.predict_pixels, labels=(ours.label,), top_labels=None, num_samples=150,
        hide_color=None if hide == "mean" else hide, segmentation_fn=lambda _: ours.segments,
    )  # fmt: skip
    expected = dict(stock.local_exp[ours.label])
    assert sorted(expected) == list(range(len(ours.weights)))
    np.testing.assert_allclose(ours.weights, [expected[i] for i in range(len(expected))], atol=1e-6)
    assert ours.r2 == pytest.approx(stock.score, abs=1e-6)


def test_a_copy_is_predicted_once_in_batches_of_the_given_size(classifier, quadrants):
    explain(classifier, quadrants, seed=0, n_segments=4, n_samples=500, batch_size=6, hide=255)
    whole, *batches = classifier.calls
    assert [len(batch) for batch in batches] == [6, 6, 4]  # 2 ** 4 ways to hide four regions
    copies = np.concatenate(batches)
    assert len(np.unique(copies.reshape(16, -1), axis=0)) == 16
    assert copies.dtype == whole.dtype == np.uint8


def test_same_seed_same_weights_and_no_state_between_images(classifier, patchwork):
    first, second = (explain(classifier, patchwork, seed=3, n_samples=50) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)
    assert (explain(classifier, patchwork, seed=4, n_samples=50).weights != first.weights).any()


def test_float_pixels_are_rounded(classifier, quadrants):
    explanation = explain(classifier, quadrants.astype(np.float32) + 0.4, seed=0, n_segments=4)
    np.testing.assert_array_equal(explanation.image, quadrants)


@pytest.mark.parametrize("segmentation", ["slic", "quickshift", "felzenszwalb"])
def test_regions_are_numbered_from_0_without_gaps(quadrants, segmentation):
    regions = segment(quadrants, segmentation=segmentation, n_segments=4)
    assert regions.shape == (32, 32)
    assert np.unique(regions).tolist() == [0, 1, 2, 3]
    assert len(np.unique(regions[[4, 4, 28, 28], [4, 28, 4, 28]])) == 4


def test_merging_joins_neighbours_that_look_alike():
    stripes = np.zeros((40, 40, 3), np.uint8)
    for i, grey in enumerate((0, 60, 200, 250)):
        stripes[:, 10 * i : 10 * i + 10] = grey
    regions = segment(stripes, segmentation="felzenszwalb", n_segments=2)
    assert regions[20, [5, 15, 25, 35]].tolist() == [regions[20, 5]] * 2 + [regions[20, 35]] * 2
    assert regions.max() == 1


def test_runs_quietly(classifier, quadrants, capfd):
    explain(classifier, quadrants, seed=0, n_samples=20)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": np.full((8, 8, 3), 0.5, np.float32)}, "scaled to 0..1"),
        ({"image": np.full((8, 8, 3), -3.0)}, "outside 0..255"),
        ({"image": np.full((8, 8, 3), np.nan)}, "outside 0..255"),
        ({"image": np.zeros((8, 8), np.uint8)}, r"shape \(8, 8\)"),
        ({"label": 2}, "received 2; with 2 classes"),
        ({"label": "dark"}, "received 'dark'"),
        ({"segmentation": "watershed"}, "accepted are slic, quickshift, felzenszwalb"),
        ({"hide": 300}, "hide: received 300"),
        ({"hide": "black"}, "hide: received 'black'"),
        ({"n_samples": 1}, "n_samples=1"),
        ({"seed": -1}, "seed: received -1"),
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
