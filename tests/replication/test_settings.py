import dataclasses

import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.replication.settings import differing_settings, recipe_of, settings_table, split_in_words, training_of
from tlkeras.training.recipe import describe


def test_settings_are_those_of_the_recipes_beside_those_of_the_document():
    phases = (tl.Phase(1, 1e-3), tl.Phase(10, 1e-5, unfreeze=1, schedule="cosine"))
    recipes = [
        tl.Tuner("mobilenetv2", phases=phases, batch_size=size, augmentation=tl.Augmentation(horizontal_flip=True))
        for size in (32, 128)
    ]
    table = settings_table(recipes, {"epochs per phase": "10"})
    assert table.loc["epochs per phase"].tolist() == ["10", "1, then 10"]
    assert table.loc["batch size"].tolist() == ["", "32 / 128"]
    ours = table["ours"]
    assert ours["learning rate"] == "0.001, then 1e-05"
    assert ours["backbone layers that learn"] == "none, then 1"
    assert ours["schedule"] == "none, then cosine"
    assert ours["weights"] == "ImageNet"
    assert ours["augmentation"] == "horizontal_flip=yes, fill_mode=nearest"


def test_settings_of_trees_stand_beside_those_of_networks():
    recipes = [
        tl.PixelBaseline("random_forest", image_size=(64, 64), n_trees=10),
        tl.PixelBaseline("random_forest", image_size=(64, 64), n_trees=100, pixels="rescaled"),
        tl.Tuner("vgg16", weights=tl.EarlierRun("other", method="all")),
    ]
    ours = settings_table(recipes, {})["ours"]
    assert ours["image size, trees"] == "64x64"
    assert ours["image size"] == "224x224"
    assert ours["pixels, trees"] == "raw / rescaled"
    assert ours["trees in the forest"] == "10 / 100"
    assert ours["weights"] == "of other, all"


HOLDOUT = tl.Holdout()
TUNER = tl.Tuner("vgg16", phases=tl.Phase(10, 1e-4, patience=5, optimizer="sgd"))


def settings(recipe=TUNER, split=HOLDOUT):
    return {"recipe": describe(recipe), "split": describe(split)}


def with_phase(**fields):
    return dataclasses.replace(TUNER, phases=dataclasses.replace(TUNER.phases[0], **fields))


def with_head(**fields):
    return dataclasses.replace(TUNER, head=dataclasses.replace(TUNER.head, **fields))


@pytest.mark.parametrize("recipe", [TUNER, tl.PixelBaseline("decision_tree"), tl.PixelBaseline("random_forest")])
def test_equal_settings_differ_in_nothing(recipe):
    assert differing_settings(settings(recipe), settings(recipe)) == ["nothing"]


def test_each_difference_is_named_once_and_in_words():
    before = settings(TUNER, tl.Holdout(val=0.2, respect_groups=False))
    after = settings(
        dataclasses.replace(TUNER, preprocessing="symmetric", batch_size=64), tl.Holdout(val=0.1, respect_groups=True)
    )
    assert sorted(differing_settings(before, after)) == [
        "batch size: 32 → 64",
        "preprocessing: caffe → symmetric",  # VGG16's own is caffe
        "share of val: 0.2 → 0.1",
        "split: Holdout, image by image → Holdout, groups (patients, lesions) on one side",
    ]


def test_what_only_one_of_the_two_has_is_none_in_the_other():
    assert differing_settings(settings(), settings(split=tl.Predefined(val=0.2))) == [
        "split: Holdout, groups (patients, lesions) on one side → Predefined, groups (patients, lesions) on one side",
        "share of test: 0.2 → none",
    ]


def test_the_parts_that_a_set_is_tested_on_are_said_where_they_are_named():
    before, after = (settings(split=tl.Predefined(test=test)) for test in (None, "val"))
    assert differing_settings(before, after) == ["test parts: none → [val]"]
    assert "test" not in split_in_words(before["split"])
    assert split_in_words(after["split"]).endswith("; test parts: [val]")
    older = {
        name: value for name, value in before["split"].items() if name != "test"
    }  # as earlier versions described it
    assert differing_settings(before | {"split": older}, before) == ["nothing"]


def test_a_setting_that_goes_without_saying_is_said_where_the_other_differs():
    half = dataclasses.replace(TUNER, precision="bfloat16")
    assert differing_settings(settings(), settings(half)) == ["precision: float32 → bfloat16"]


@pytest.mark.parametrize(
    ("backbone", "same", "other"), [("vgg16", "caffe", "symmetric"), ("mobilenetv2", "symmetric", "caffe")]
)
def test_a_networks_own_preprocessing_is_the_one_it_stands_for(backbone, same, other):
    own, named, third = (
        settings(dataclasses.replace(TUNER, backbone=backbone, preprocessing=preprocessing))
        for preprocessing in ("backbone", same, other)
    )
    assert differing_settings(own, named) == differing_settings(named, own) == ["nothing"]
    assert differing_settings(third, own) == [f"preprocessing: {other} → {same}"]


def test_a_backbone_of_ones_own_is_compared_too():
    own, named = settings(tiny_tuner()), settings(tiny_tuner(preprocessing="symmetric"))
    assert TINY.preprocessing == "symmetric"
    assert differing_settings(own, named) == ["nothing"]
    assert differing_settings(own, settings(tiny_tuner(preprocessing="unit"))) == ["preprocessing: symmetric → unit"]


def test_trees_differ_in_their_number_pixels_and_size():
    before = tl.PixelBaseline("random_forest", n_trees=10)
    after = tl.PixelBaseline("random_forest", n_trees=100, pixels="normalised", image_size=(64, 64))
    assert sorted(differing_settings(settings(before), settings(after))) == [
        "image size, trees: 224x224 → 64x64",
        "pixels, trees: raw → normalised",
        "trees in the forest: 10 → 100",
    ]


@pytest.mark.parametrize(
    "other",
    [
        *[
            dataclasses.replace(TUNER, **{name: value})
            for name, value in {
                "weights": None,
                "image_size": (96, 96),
                "augmentation": tl.Augmentation(rotation_range=10),
                "imbalance": "oversample",
                "precision": "bfloat16",
                "feature_dtype": "float16",
            }.items()
        ],
        *[
            with_head(**{name: value})
            for name, value in {
                "hidden": (64,),
                "dropout": 0.25,
                "input_dropout": 0.25,
                "pooling": "avg",
                "batch_norm": True,
                "activation": "elu",
            }.items()
        ],
        *[
            with_phase(**{name: value})
            for name, value in {
                "epochs": 20,
                "learning_rate": 1e-3,
                "unfreeze": ("block1", "block5"),
                "unfreeze_from": "block5",
                "optimizer": "adam",
                "momentum": 0.0,
                "schedule": "cosine",
                "patience": 6,
                "monitor": "val_accuracy",
                "keep": "last",
                "batch_norm": "train",
            }.items()
        ],
    ],
    ids=lambda other: next(
        f"{type(was).__name__}.{field.name}"
        for was, now in ((TUNER.head, other.head), (TUNER.phases[0], other.phases[0]), (TUNER, other))
        for field in dataclasses.fields(was)
        if getattr(was, field.name) != getattr(now, field.name)
    ),
)
def test_no_setting_of_a_network_differs_unsaid(other):
    said = differing_settings(settings(TUNER), settings(other))
    names = [line.split(":")[0] for line in said]
    assert said != ["nothing"]
    assert len(set(names)) == len(names)


def test_augmented_validation_images_do_not_differ_unsaid():
    augmented = dataclasses.replace(TUNER, augmentation=tl.Augmentation(rotation_range=10))
    fault = dataclasses.replace(augmented, augment_val=True)
    assert differing_settings(settings(fault), settings(augmented)) != ["nothing"]


def test_what_best_is_judged_by_does_not_differ_unsaid():
    by_loss, by_accuracy = (
        dataclasses.replace(TUNER, phases=tl.Phase(10, 1e-4, monitor=monitor)) for monitor in (None, "val_accuracy")
    )
    assert differing_settings(settings(by_loss), settings(by_accuracy)) == [
        "weights kept: best val_loss → best val_accuracy"
    ]
    balanced = dataclasses.replace(by_loss, imbalance="class_weights")
    assert differing_settings(settings(by_loss), settings(balanced)) == [
        "weights kept: best val_loss → best val_balanced_loss",
        "unequal classes: none → class_weights",
    ]


def test_phases_and_protocols_are_not_taken_for_each_other():
    trained, frozen = ("train", "frozen")
    one, two, three = (
        settings(dataclasses.replace(TUNER, phases=[tl.Phase(10, 1e-4, batch_norm=kind) for kind in kinds]))
        for kinds in ((frozen, trained), (frozen, frozen), (trained, frozen))
    )
    assert differing_settings(one, two) != differing_settings(two, three)


# A run folder written by hand: four test images, two of each class, whose predictions say which are right.


SEARCH = tl.Search(
    dataclasses.replace(TUNER, phases=tl.Phase(5, 1e-4, keep="last")),
    {"learning_rate": (1e-4, 1e-2), "epochs": (3, 5), "head.dropout": (0.0, 0.5)},
    tl.KFold(5, respect_groups=False),
)
EXTRACTOR = tl.Extractor("resnet18", "knn", arguments={"n_neighbors": 5}, weights=tl.EarlierRun("other", "all"))
TREES = tl.PixelBaseline("random_forest", image_size=(24, 32))


def test_what_a_grid_varies_stands_in_place_of_the_recipes_own_value():
    ours = settings_table([SEARCH], {"learning rate": "1e-4"})["ours"]
    assert ours["learning rate"] == "0.0001 or 0.01, by cross-validation"
    assert ours["epochs per phase"] == "3 or 5, by cross-validation"
    assert ours["head.dropout"] == "0 or 0.5, by cross-validation"
    assert ours["folds"] == "5, image by image"
    assert "ranked by" not in ours  # accuracy goes without saying
    balanced = dataclasses.replace(SEARCH, recipe=dataclasses.replace(SEARCH.recipe, imbalance="oversample"))
    assert settings_table([balanced], {})["ours"]["ranked by"] == "balanced_accuracy"
    assert ours["batch size"] == "32"
    assert settings_table([SEARCH], {}).index.is_unique


def test_settings_of_a_classifier_on_features():
    ours = settings_table([EXTRACTOR, dataclasses.replace(EXTRACTOR, layer="add")], {})["ours"]
    assert ours["classifier on features"] == "knn, n_neighbors=5"
    assert ours["features"] == "last of the backbone, pooling avg / add, pooling avg"
    assert ours["scaling of features"] == "standard"
    assert ours["weights"] == "of other, all"
    assert ours["image size"] == "224x224"
    assert "precision" not in ours  # float32 goes without saying


@pytest.mark.parametrize("recipe", [TUNER, EXTRACTOR, TREES, SEARCH], ids=lambda recipe: type(recipe).__name__)
def test_the_recipe_of_a_cell_is_the_one_it_was_made_with(recipe):
    assert recipe_of({"settings": settings(recipe)}).describe() == recipe.describe()


def test_what_trained_a_cell_is_the_recipe_or_what_the_search_fitted_last():
    tuner, refit = TUNER.resolved, dataclasses.replace(TUNER.resolved, batch_size=64)
    for recipe, facts, trained in (
        (tuner, {}, tuner),
        (EXTRACTOR, {}, None),
        (TREES, {}, None),
        (SEARCH, {"search": {"refit": refit.describe()}}, refit),
        (tl.Search(TREES, {"n_trees": (1, 3)}), {"search": {"refit": TREES.describe()}}, None),
    ):
        assert training_of({"settings": settings(recipe), "facts": facts}) == trained


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            SEARCH,
            dataclasses.replace(SEARCH, folds=tl.KFold(5)),
            ["folds: 5, image by image → 5"],
        ),
        (
            SEARCH,
            dataclasses.replace(SEARCH, grid={**SEARCH.grid, "epochs": (3, 5, 7)}),
            ["epochs per phase: 3 or 5, by cross-validation → 3 or 5 or 7, by cross-validation"],
        ),
        (
            EXTRACTOR,
            dataclasses.replace(EXTRACTOR, scaling="none", preprocessing="unit"),
            ["scaling of features: standard → none", "preprocessing: imagenet → unit"],
        ),
        (EXTRACTOR, EXTRACTOR, ["nothing"]),
        (SEARCH, SEARCH, ["nothing"]),
    ],
    ids=["folds", "grid", "features", "same features", "same grid"],
)
def test_searches_and_features_differ_in_words(before, after, said):
    assert differing_settings(settings(before), settings(after)) == said
