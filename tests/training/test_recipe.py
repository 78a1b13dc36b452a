"""One contract for every recipe: what it answers, and that each of its fields is described, read back and told."""

import dataclasses
import functools
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
from tiny import TINY, build_tiny, tiny_tuner

import tlkeras as tl
from tlkeras.models.backbones import PublishedWeights
from tlkeras.models.weights_file import WeightsFile
from tlkeras.training.optimizer_names import KerasOptimizer
from tlkeras.training.recipe import Recipe, words_of
from tlkeras.training.schedules import StepDecay

ASSETS = Path(__file__).parents[2] / "assets"
CELLS = sorted(ASSETS.rglob("cell.json"))
SAMPLES = tl.from_arrays(np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8), np.arange(24) % 2)

TUNER = tiny_tuner(phases=tl.Phase(2, 1e-2), augmentation=tl.Augmentation(horizontal_flip=True))
EXTRACTOR = tl.Extractor(TINY, "naive_bayes", weights=None)
TREES = tl.PixelBaseline("random_forest", image_size=(16, 16), n_trees=5)
SEARCH = tl.Search(dataclasses.replace(TUNER, augmentation=None), {"learning_rate": (1e-3, 1e-2)}, tl.KFold(2))
RECIPES = pytest.mark.parametrize("recipe", [TUNER, EXTRACTOR, TREES, SEARCH], ids=lambda recipe: type(recipe).__name__)


def in_a_phase(phase):
    return dataclasses.replace(TUNER, phases=(phase,), head=tl.Head((), pooling="avg"))


def in_a_network(backbone):
    return tl.Extractor(backbone, weights=None, image_size=(16, 16))


# Of each part: one that is whole, values unlike its own for every field, and a recipe that holds it.
PARTS = [
    (
        TUNER,
        {
            "backbone": "vgg16",
            "weights": tl.EarlierRun("other", "all"),
            "image_size": (40, 48),
            "head": tl.Head(hidden=()),
            "phases": (tl.Phase(1, 1e-3), tl.Phase(2, 1e-4)),
            "augmentation": None,
            "augment_val": True,
            "imbalance": "oversample",
            "loss": tl.Loss(focal=2),
            "resize": "crop",
            "preprocessing": "unit",
            "batch_size": 7,
            "precision": "bfloat16",
            "feature_dtype": "float16",
        },
        lambda recipe: recipe,
    ),
    (
        EXTRACTOR,
        {
            "backbone": "vgg16",
            "classifier": "knn",
            "weights": "runs/other/seed0",
            "image_size": (40, 48),
            "layer": "conv2",
            "pooling": "max",
            "scaling": "none",
            "arguments": {"var_smoothing": 1e-6, "priors": (0.25, 0.75)},
            "resize": "crop",
            "preprocessing": "unit",
            "precision": "bfloat16",
            "feature_dtype": "float16",
        },
        lambda recipe: recipe,
    ),
    (
        TREES,
        {"classifier": "decision_tree", "image_size": (8, 12), "pixels": "normalised", "n_trees": 7},
        lambda recipe: recipe,
    ),
    (
        SEARCH,
        {
            "recipe": dataclasses.replace(SEARCH.recipe, batch_size=4),
            "grid": {
                "head": (tl.Head(), tl.Head(())),
                "schedule": (None, "cosine", StepDecay(2)),
                "unfreeze": (("b",),),
            },
            "folds": tl.KFold(3),
            "metric": "roc_auc",
        },
        lambda recipe: recipe,
    ),
    (
        tl.Phase(2, 1e-2),
        {
            "epochs": 3,
            "learning_rate": 0.5,
            "unfreeze": ("block1", "block3"),
            "unfreeze_from": "block2",
            "optimizer": "sgd",
            "momentum": 0.5,
            "schedule": StepDecay(2),
            "patience": 4,
            "monitor": "val_roc_auc",
            "keep": "last",
            "batch_norm": "train",
            "batch_norm_momentum": 0.25,
            "warmup": 0.5,
            "stage_decay": 0.75,
            "weight_decay": 0.05,
            "clip_norm": 1.5,
            "accumulate": 4,
            "average": tl.EMA(0.5),
            "image_size": (16, 24),
            "least_steps": 300,
        },
        in_a_phase,
    ),
    (
        tl.LinearProbe(),
        {"penalties": (1.0, 0.5), "monitor": "val_accuracy"},
        lambda probe: dataclasses.replace(TUNER, head=tl.Head(()), phases=(probe,)),
    ),
    (tl.EMA(), {"decay": 0.5}, lambda average: in_a_phase(tl.Phase(9, 1e-3, average=average))),
    (tl.SWA(2), {"epochs": 3}, lambda average: in_a_phase(tl.Phase(9, 1e-3, average=average))),
    (
        KerasOptimizer("adam", {"beta_1": 0.8}),
        {"name": "lion", "options": {"beta_1": 0.7}},
        lambda optimizer: in_a_phase(tl.Phase(9, 1e-3, optimizer=optimizer)),
    ),
    (
        tl.Loss(),
        {"label_smoothing": 0.125, "focal": 1.5, "logit_adjustment": 1.0},
        lambda loss: dataclasses.replace(TUNER, loss=loss),
    ),
    (StepDecay(1), {"every": 2, "factor": 0.5}, lambda decay: in_a_phase(tl.Phase(9, 1e-3, schedule=decay))),
    (
        tl.Head(),
        {
            "hidden": (8, 4),
            "dropout": 0.25,
            "input_dropout": 0.125,
            "pooling": "max",
            "batch_norm": True,
            "activation": "elu",
        },
        lambda head: dataclasses.replace(TUNER, head=head),
    ),
    (
        tl.Augmentation(),
        {
            "rotation_range": 15,
            "width_shift_range": (1, 2),
            "height_shift_range": 0.25,
            "shear_range": 3.5,
            "zoom_range": (0.75, 1.5),
            "horizontal_flip": True,
            "vertical_flip": True,
            "brightness_range": (0.5, 1.5),
            "channel_shift_range": 8.0,
            "fill_mode": "wrap",
            "cval": 7.0,
            "views": 3,
            "crop_scale": (0.5, 1.0),
            "erasing": 0.25,
            "mixup": 0.5,
            "cutmix": 1.0,
            "policy": "trivial",
        },
        lambda augmentation: dataclasses.replace(TUNER, augmentation=augmentation),
    ),
    (
        tl.RandAugment(),
        {"operations": 3, "magnitude": 12.5},
        lambda policy: dataclasses.replace(TUNER, augmentation=tl.Augmentation(policy=policy)),
    ),
    (
        TINY,
        {
            "name": "mine",
            "constructor": functools.partial(build_tiny, filters=8),
            "preprocessing": "unit",
            "native_size": 24,
            "stages": {"a": 0, "b": "conv2"},
            "paper": "One, 2020",
            "min_size": 12,
            "arguments": {"filters": 8},
            "weights": (PublishedWeights("tiny.h5", "https://example.org/tiny.h5", "m" * 32, "s" * 8, True),),
            "torch_names": True,
        },
        in_a_network,
    ),
    (tl.KFold(2), {"n_folds": 3, "respect_groups": False}, lambda folds: dataclasses.replace(SEARCH, folds=folds)),
    (
        tl.EarlierRun("one", "all"),
        {"experiment": "other", "method": "frozen"},
        lambda earlier: dataclasses.replace(EXTRACTOR, weights=earlier),
    ),
]
NEVER_OTHER = {(tl.KFold, "val")}  # a search refuses folds with validation images
TOGETHER = {
    ("Phase", "batch_norm_momentum"): {"batch_norm": "train"},
    ("PixelBaseline", "classifier"): {"n_trees": None},
}
CHANGES = [(part, name, value, whole) for part, others, whole in PARTS for name, value in others.items()]


def read_back(recipe):
    """As a page sees it: through the text of cell.json."""
    return Recipe.from_description(json.loads(json.dumps(recipe.describe())))


def changed(part, name, value):
    return dataclasses.replace(part, **({name: value} | TOGETHER.get((type(part).__name__, name), {})))


def type_and_field(value):
    return value if isinstance(value, str) else type(value).__name__ if dataclasses.is_dataclass(value) else ""


@pytest.mark.parametrize(("part", "others"), [(part, others) for part, others, _ in PARTS], ids=type_and_field)
def test_a_new_field_has_to_be_added_here(part, others):
    assert {each.name for each in dataclasses.fields(part)} - {
        name for kind, name in NEVER_OTHER if kind is type(part)
    } == others.keys()


@pytest.mark.parametrize(("part", "name", "value", "whole"), CHANGES, ids=type_and_field)
def test_every_field_is_described_and_read_back(part, name, value, whole):
    recipe = whole(changed(part, name, value))
    described = recipe.describe()
    assert described != whole(part).describe()
    back = read_back(recipe)
    assert back.describe() == described
    assert type(back) is type(recipe)
    assert back.words() == recipe.words()


@pytest.mark.parametrize("recipe", [tl.Tuner("vgg16"), tl.Extractor("vgg16", "svm"), TREES], ids=type_and_field)
def test_what_is_read_back_equals_the_one_described(recipe):
    assert read_back(recipe) == getattr(recipe, "resolved", recipe)


# What pages say elsewhere, or not at all.
UNTOLD = {
    ("Tuner", "backbone"),  # a column of its own
    ("Extractor", "backbone"),
    ("Phase", "momentum"),  # of SGD
    ("PublishedWeights", "file"),
    *(("Backbone", each.name) for each in dataclasses.fields(tl.Backbone)),
}


@pytest.mark.parametrize(
    ("part", "name", "value", "whole"),
    [change for change in CHANGES if (type(change[0]).__name__, change[1]) not in UNTOLD],
    ids=type_and_field,
)
def test_no_field_differs_unsaid(part, name, value, whole):
    assert whole(changed(part, name, value)).words() != whole(part).words()


@pytest.mark.parametrize("file", CELLS, ids=lambda file: "/".join(file.relative_to(ASSETS).parts[:-1]))
def test_a_committed_cell_is_read_back_as_it_stands(file):
    cell = json.loads(file.read_text())
    searched = [cell["facts"]["search"]["refit"]] if "search" in cell["facts"] else []
    for described in (cell["settings"]["recipe"], *searched):
        require_within(described, Recipe.from_description(described).describe())


def require_within(described, now):
    """What stands there is said again, in the same type; fields that came later may stand beside it."""
    if isinstance(described, dict):
        if "warmup" not in described and described.get("schedule") == "cosine":  # a word that changed its meaning
            described = described | {"schedule": "cosine_by_epoch"}
        for name, value in described.items():
            require_within(value, now[name])
    elif isinstance(described, list):
        assert len(described) == len(now)
        for value, again in zip(described, now, strict=True):
            require_within(value, again)
    else:
        assert (type(now), now) == (type(described), described)


@pytest.mark.parametrize(
    "table", sorted(ASSETS.rglob("table.md")), ids=lambda file: str(file.parent.relative_to(ASSETS))
)
def test_the_words_of_committed_cells_are_those_their_pages_print(table):
    cells = [json.loads(file.read_text()) for file in table.parent.glob("*/*/seed*/cell.json")]
    words = [Recipe.from_description(cell["settings"]["recipe"]).notable_words() for cell in cells]
    page = table.read_text()
    for name in dict.fromkeys(name for of_cell in words for name in of_cell):
        (row,) = re.findall(rf"^\| {re.escape(name)} +\|(?:.*\|)? (.*?) +\|$", page, re.MULTILINE)
        assert set(row.split(" / ")) == {of_cell[name] for of_cell in words if name in of_cell}


def test_a_field_that_earlier_versions_did_not_have_is_what_they_did():
    described = SEARCH.describe() | {"recipe": dataclasses.replace(SEARCH.recipe, imbalance="oversample").describe()}
    assert "metric" not in described  # accuracy was the only one
    assert Recipe.from_description(described).ranked_by == "accuracy"
    tuner = {name: value for name, value in TUNER.describe().items() if name not in ("precision", "feature_dtype")}
    back = Recipe.from_description(tuner)
    assert (back.precision, back.feature_dtype) == ("float32", "float32")


def test_weights_that_were_found_come_back_under_the_name_of_their_file():
    found = WeightsFile(Path("somewhere/vgg16.h5"), "a" * 64, "folder", note="as published")
    recipe = EXTRACTOR.starting_from(found)
    assert read_back(recipe).weights == dataclasses.replace(found, path=Path("vgg16.h5"))
    assert read_back(recipe).describe() == recipe.describe()


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({"type": "Holdout", "val": 0.2}, "received a 'Holdout'; accepted: Tuner, .* later version"),
        (TREES.describe() | {"depth": 3}, r"received the field PixelBaseline\.depth.* later version"),
        (TREES.describe() | {"n_trees": 0}, r"PixelBaseline\.n_trees: received 0"),
        ({"n_trees": 3}, "received .*n_trees.* accepted is what `describe` of a recipe gives"),
        ("PixelBaseline", "received 'PixelBaseline'; accepted"),
        ({"type": "Head"}, "accepted is what `describe` of a recipe gives"),
    ],
)
def test_what_is_no_description_is_refused_in_words(described, said):
    with pytest.raises(tl.InputError, match=said):
        Recipe.from_description(described)


def test_a_recipe_of_another_kind_is_refused():
    assert tl.PixelBaseline.from_description(TREES.describe()) == TREES
    with pytest.raises(
        tl.InputError, match=r"received .*'PixelBaseline'.*; accepted is what `describe` of a tl\.Tuner"
    ):
        tl.Tuner.from_description(TREES.describe())


def test_a_network_of_ones_own_comes_back_without_its_code():
    back = read_back(TUNER)
    assert (back.backbone.name, back.backbone.constructor) == ("tiny", "build_tiny")
    assert (back.own_preprocessing, back.resized((40, 40)).image_size) == ("symmetric", (40, 40))
    with pytest.raises(tl.InputError, match=r"Backbone\.constructor of tiny: received 'build_tiny'; accepted"):
        back.fit(SAMPLES, seed=0, store=False)


@RECIPES
def test_fit_takes_what_every_fit_takes_and_its_options(recipe):
    expected = {"self", "train", "val", "seed", *recipe.fit_options}
    assert inspect.signature(recipe.fit).parameters.keys() | {"self"} == expected


@RECIPES
def test_a_copy_differs_in_what_was_asked_for(recipe):
    for other, name, value in (
        (recipe.resized((24, 32)), "image_size", [24, 32]),
        (recipe.starting_from("elsewhere"), "weights", "elsewhere"),
        (recipe.in_precision("float16"), "precision", "float16"),
    ):
        now, before = (each.describe().get("recipe", each.describe()) for each in (other, recipe))
        differing = {field: now[field] for field in before if now[field] != before[field]}
        assert differing == ({name: value} if name in before else {})
    assert recipe.resized((24, 32)).image_size == (24, 32)


@RECIPES
def test_the_network_is_the_part_that_has_weights(recipe):
    expected = {"Tuner": recipe, "Extractor": recipe, "PixelBaseline": None, "Search": SEARCH.recipe}
    assert recipe.network is expected[type(recipe).__name__]


@pytest.mark.parametrize(
    "recipe",
    [pytest.param(TUNER, marks=pytest.mark.slow), EXTRACTOR, TREES, pytest.param(SEARCH, marks=pytest.mark.slow)],
    ids=type_and_field,
)
def test_a_smoke_run_fits_and_leaves_what_the_recipe_says_it_does(recipe, tmp_path):
    small = recipe.for_smoke(16)
    options = {"store": False} if "store" in recipe.fit_options else {}
    classifier = small.fit(SAMPLES, SAMPLES.take(range(8)), seed=0, **options)
    probs = classifier.predict(SAMPLES).probs
    assert small.image_size == classifier.image_size == (16, 16)
    assert (probs.shape, probs.dtype) == ((24, 2), np.float32)
    facts = classifier.write_run(tmp_path)
    assert (tmp_path / "model.keras").is_file() == recipe.keeps_model
    assert (tmp_path / "history.csv").is_file() == bool(getattr(recipe, "recipe", recipe).phases)
    assert ("search" in facts) == recipe.searches


@pytest.mark.parametrize(("recipe", "parts"), [(EXTRACTOR, ("train",)), (TREES, ("train", "val"))], ids=type_and_field)
def test_what_is_learnt_from_decides_the_classifier(recipe, parts):
    assert recipe.learns_from == parts
    options = {"store": False} if "store" in recipe.fit_options else {}
    fitted = [
        recipe.for_smoke(16).fit(SAMPLES.take(range(12)), val, seed=0, **options).predict(SAMPLES).probs
        for val in (None, SAMPLES.take(range(12, 24)))
    ]
    assert np.array_equal(*fitted) == (parts == ("train",))


@RECIPES
def test_words_are_text_that_leaves_out_what_goes_without_saying(recipe):
    words = recipe.words()
    assert all(isinstance(value, str) and value for value in words.values())
    assert recipe.notable_words().items() <= words.items()
    usual = {"precision", "features kept in", "augmentation of validation images", "ranked by", "loss"}
    usual |= {"warm-up", "rate of each stage", "weight decay", "gradients", "image size of the phase", "resizing"}
    assert words.keys() - recipe.notable_words().keys() == words.keys() & usual


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "none"),
        (True, "yes"),
        (1, "1"),
        (1e-4, "0.0001"),
        ((), "none"),
        ((128, 64), "[128, 64]"),
        ("cosine", "cosine"),
        (StepDecay(7), "every=7, factor=0.1"),
        (tl.Augmentation(rotation_range=15), "rotation_range=15, fill_mode=nearest"),
        (tl.EarlierRun("other", "all"), "of other, all"),
        ({}, "none"),
    ],
)
def test_values_in_words(value, said):
    assert words_of(value) == said
