"""One table of every integer argument of the public names: all of them go through `check_whole`."""

import json

import keras
import numpy as np
import pytest
from tiny import TINY, build_tiny, tiny_tuner

import tlkeras as tl
from tlkeras.data.readable import check_images
from tlkeras.evaluation.calibration import reliability_table
from tlkeras.evaluation.embedding import embed
from tlkeras.evaluation.image_plots import draw_activations, draw_explanation
from tlkeras.explaining.lime import perturbed_copies
from tlkeras.explaining.segmentation import segment
from tlkeras.schema import Activations, Explanation, Predictions

RNG = np.random.default_rng(0)
SAMPLES = tl.Samples(
    RNG.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8),
    np.arange(12) % 2,
    ("a", "b"),
    parts=np.array(["train", "test"] * 6),
    groups=np.arange(12).astype(str),
)
PREDICTIONS = Predictions(SAMPLES, RNG.dirichlet([1, 1], 12).astype(np.float32))
IMAGE = SAMPLES.images[0]
EXPLANATION = Explanation(IMAGE, np.arange(32 * 32).reshape(32, 32) // 512, np.array([0.5, -0.5]), 0, "a", 0.5, 0.5)
ACTIVATIONS = Activations(IMAGE, np.ones((2, 2, 4), np.float32), "conv")


class Even:
    class_names = ("a", "b")

    def predict_pixels(self, images):
        return np.full((len(images), 2), 0.5, np.float32)


def explain(**given):
    return tl.explain(Even(), IMAGE, **({"seed": 0, "n_samples": 4} | given))


def heat(label):
    pixels = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(2, 3)(pixels)
    probs = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(maps))
    return tl.grad_cam(tl.TunedClassifier(keras.Model(pixels, probs), ("a", "b"), (32, 32)), IMAGE, label=label)


def own_backbone(**sides):
    given = {"native_size": 32, "min_size": 8} | sides
    return tl.Backbone("own", build_tiny, preprocessing="symmetric", stages={"block1": "conv1"}, **given)


def encoder(n):
    return tl.build_encoder(TINY, image_size=(32, 32), seed=n)


# The name in the message, a value that is taken, and the call.
ARGUMENTS = [
    ("image_size", 32, lambda n: tiny_tuner(image_size=(n, 32))),
    ("Tuner.batch_size", 2, lambda n: tiny_tuner(batch_size=n)),
    ("Phase.epochs", 2, lambda n: tl.Phase(n, 1e-3)),
    ("Phase.patience", 2, lambda n: tl.Phase(2, 1e-3, patience=n)),
    ("Phase.unfreeze", 2, lambda n: tl.Phase(2, 1e-3, unfreeze=n)),
    ("StepDecay.every", 2, tl.StepDecay),
    ("Head.hidden", 2, tl.Head),
    ("Head.hidden", 2, lambda n: tl.Head((4, n))),
    ("Augmentation.views", 2, lambda n: tl.Augmentation(views=n)),
    ("PixelBaseline.n_trees", 2, lambda n: tl.PixelBaseline("random_forest", n_trees=n)),
    ("n_folds", 2, tl.KFold),
    ("per_class", 2, lambda n: tl.Selection(per_class=n)),
    ("seed", 2, lambda n: tl.Selection(seed=n)),
    ("seed", 2, lambda n: tl.Holdout().split(SAMPLES, seed=n)),
    ("seed", 2, lambda n: tl.Predefined().split(SAMPLES, seed=n)),
    ("seed", 2, lambda n: tl.KFold(2).folds(SAMPLES, seed=n)),
    ("seed", 2, lambda n: tl.PixelBaseline("decision_tree", image_size=(8, 8)).fit(SAMPLES, seed=n)),
    ("seed", 2, encoder),
    ("seed", 2, lambda n: tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), seed=n)),
    ("n_classes", 2, lambda n: tl.build_classifier(TINY, n_classes=n, image_size=(32, 32))),
    ("native_size", 32, lambda n: own_backbone(native_size=n)),
    ("min_size", 32, lambda n: own_backbone(min_size=n)),
    ("workers", 2, lambda n: check_images(SAMPLES, workers=n)),
    ("n", 2, lambda n: tl.confused_pairs(PREDICTIONS, n)),
    ("n", 2, lambda n: tl.largest_losses(PREDICTIONS, n)),
    ("bins", 2, lambda n: reliability_table(PREDICTIONS, n)),
    ("permutations", 2, lambda n: tl.paired(PREDICTIONS, PREDICTIONS, permutations=n)),
    ("seed", 2, lambda n: tl.paired(PREDICTIONS, PREDICTIONS, seed=n)),
    ("seed", 2, lambda n: tl.intervals(PREDICTIONS, seed=n)),
    ("n_components_first", 2, lambda n: embed(np.zeros((6, 3)), seed=0, n_components_first=n)),
    ("n_maps", 2, lambda n: draw_activations(ACTIVATIONS, n_maps=n)),
    ("n_regions", 2, lambda n: draw_explanation(EXPLANATION, n_regions=n)),
    ("n_segments", 20, lambda n: segment(IMAGE, n_segments=n)),
    ("n_samples", 4, lambda n: explain(n_samples=n)),
    ("n_repeats", 2, lambda n: explain(n_repeats=n)),
    ("batch_size", 2, lambda n: explain(batch_size=n)),
    ("seed", 2, lambda n: explain(seed=n)),
    ("label", 1, lambda n: explain(label=n)),
    ("label", 1, heat),
    ("n", 2, lambda n: perturbed_copies(EXPLANATION, seed=0, n=n)),
    ("seed", 2, lambda n: perturbed_copies(EXPLANATION, seed=n, n=2)),
]


@pytest.mark.parametrize(("name", "taken", "call"), ARGUMENTS, ids=[f"{a[0]}-{i}" for i, a in enumerate(ARGUMENTS)])
def test_an_integer_argument_takes_numpys_and_refuses_what_a_cast_would_lose(name, taken, call):
    call(np.int64(taken))
    for wrong in (taken + 0.5, float(taken), True):
        with pytest.raises(
            tl.InputError, match=rf"{name}.*: received .*{wrong!r}.*; accepted (is|are) .*(integer|pixels)"
        ):
            call(wrong)


@pytest.mark.parametrize(
    "recipe", [tiny_tuner(), tl.Extractor(TINY, weights=None), tl.Search(tiny_tuner(), {"batch_size": [4]})]
)
@pytest.mark.parametrize("seed", [1.5, 1.0, True])
def test_a_fit_refuses_its_seed_before_it_does_anything(recipe, seed, heard):
    with pytest.raises(tl.InputError, match=rf"seed: received {seed!r}; accepted is an integer\."):
        recipe.fit(SAMPLES, seed=seed)
    assert heard.text() == ""


def test_fields_are_kept_as_python_integers_so_that_a_run_folder_can_be_written():
    phase = tl.Phase(np.int64(3), 1e-3, patience=np.int32(2), unfreeze=np.int8(1))
    recipe = tiny_tuner(phases=phase, batch_size=np.int64(4), head=tl.Head(hidden=(np.int16(5),)))
    kept = (phase.epochs, phase.patience, phase.unfreeze, recipe.batch_size, *recipe.head.hidden, *recipe.image_size)
    assert [type(value) for value in kept] == [int] * 7


@pytest.mark.parametrize("number", [np.float32, np.float64, np.float16])
def test_numbers_are_kept_as_pythons_wherever_they_stand(number):
    def recipe(number, integer, flag):
        augmentation = tl.Augmentation(
            rotation_range=number(8),
            width_shift_range=(number(0.25), integer(1)),
            zoom_range=[number(0.5), integer(2)],
            brightness_range=(number(0.5), 1),
            horizontal_flip=flag(True),
        )
        phases = tl.Phase(2, number(0.5), optimizer="sgd", momentum=number(0.5), schedule=tl.StepDecay(1, number(0.5)))
        head = tl.Head((integer(8),), number(0.25), input_dropout=number(0.5), batch_norm=flag(True))
        return tiny_tuner(phases=phases, head=head, augmentation=augmentation)

    of_numpy, of_python = recipe(number, np.int32, np.bool_), recipe(float, int, bool)
    assert json.dumps(of_numpy.describe()) == json.dumps(of_python.describe())
    held_out = tl.Holdout(val=number(0.25), test=number(0.5), respect_groups=np.True_)
    assert [type(value) for value in (held_out.val, held_out.test, held_out.respect_groups)] == [float, float, bool]
    neighbours = tl.Extractor(TINY, arguments={"n_neighbors": np.int64(5)})
    assert type(neighbours.arguments["n_neighbors"]) is int


@pytest.mark.parametrize("given", [True, "0.2", None])
def test_rates_and_shares_are_numbers(given):
    for name, make in (
        ("val", lambda value: tl.Holdout(val=value)),
        ("val", lambda value: tl.KFold(5, val=value)),
        ("Phase.learning_rate", lambda value: tl.Phase(1, value)),
        ("Phase.momentum", lambda value: tl.Phase(1, 1e-3, momentum=value)),
        ("Head.dropout", lambda value: tl.Head(dropout=value)),
        ("StepDecay.factor", lambda value: tl.StepDecay(1, value)),
    ):
        with pytest.raises(tl.InputError, match=f"{name}: received"):
            make(given)
    assert tl.Phase(1, np.float32(0.5)) == tl.Phase(1, 0.5)
