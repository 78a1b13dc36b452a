import json
from dataclasses import replace

import numpy as np
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.training.recipe import describe
from tlkeras.training.search import last_epochs, with_setting

ONE_PHASE = tiny_tuner(phases=tl.Phase(5, 1e-2))
TWO_PHASES = tiny_tuner()  # of 2 epochs each
PATIENT = tiny_tuner(phases=tl.Phase(5, 1e-2, patience=2))
FOREST = tl.PixelBaseline("random_forest", image_size=(8, 8))
KNN = tl.Extractor(TINY, weights=None, image_size=(16, 16))


def test_settings_are_all_combinations_the_last_name_varying_fastest():
    search = tl.Search(ONE_PHASE, {"learning_rate": [1e-3, 1e-2], "epochs": range(1, 4)})
    assert [tuple(setting.items()) for setting in search.settings[:4]] == [
        (("learning_rate", 1e-3), ("epochs", 1)),
        (("learning_rate", 1e-3), ("epochs", 2)),
        (("learning_rate", 1e-3), ("epochs", 3)),
        (("learning_rate", 1e-2), ("epochs", 1)),
    ]
    assert len(search.settings) == 6


def test_values_of_numpy_are_taken_as_numbers_of_python():
    search = tl.Search(ONE_PHASE, {"epochs": np.arange(1, 3), "learning_rate": np.array([1e-3, 1e-2])})
    assert search == tl.Search(ONE_PHASE, {"epochs": (1, 2), "learning_rate": (1e-3, 1e-2)})
    assert {type(value) for values in search.grid.values() for value in values} == {int, float}


@pytest.mark.parametrize(
    ("recipe", "setting", "expected"),
    [
        (ONE_PHASE, {"batch_size": 4}, replace(ONE_PHASE, batch_size=4)),
        (ONE_PHASE, {"epochs": 9}, replace(ONE_PHASE, phases=(tl.Phase(9, 1e-2),))),
        (ONE_PHASE, {"phase_1.epochs": 9}, replace(ONE_PHASE, phases=(tl.Phase(9, 1e-2),))),
        (ONE_PHASE, {"head.dropout": 0.1}, replace(ONE_PHASE, head=tl.Head(hidden=(8,), dropout=0.1))),
        (
            TWO_PHASES,
            {"phase_2.learning_rate": 1e-4, "phase_1.epochs": 7},
            replace(TWO_PHASES, phases=(tl.Phase(7, 1e-2), tl.Phase(2, 1e-4, unfreeze="all"))),
        ),
        (
            replace(KNN, arguments={"p": 1}),
            {"arguments.n_neighbors": 5},
            replace(KNN, arguments={"p": 1, "n_neighbors": 5}),
        ),
        (KNN, {"classifier": "svm"}, replace(KNN, classifier="svm")),
        (FOREST, {"n_trees": 3}, replace(FOREST, n_trees=3)),
    ],
)
def test_a_setting_changes_the_field_it_names_and_nothing_else(recipe, setting, expected):
    before = describe(recipe)
    assert with_setting(recipe, setting) == expected
    assert describe(recipe) == before


@pytest.mark.parametrize(
    ("recipe", "grid", "said"),
    [
        (TWO_PHASES, {"epochs": [1]}, "'epochs' of which phase. Accepted: phase_1.epochs or phase_2.epochs"),
        (TWO_PHASES, {"phase_3.epochs": [1]}, "'phase_3.epochs' is nothing of this Tuner"),
        (ONE_PHASE, {"epoch": [1]}, "'epoch' is nothing of this Tuner; accepted: image_size, head, .*, epochs, learn"),
        (ONE_PHASE, {"phases": [tl.Phase(1, 1e-2)]}, "'phases' is nothing"),
        (ONE_PHASE, {"backbone": ["vgg16"]}, "'backbone' cannot be varied; each network"),
        (ONE_PHASE, {"weights": [None, "imagenet"]}, "'weights' cannot be varied; each network"),
        (ONE_PHASE, {"head.drop": [0.1]}, "'head.drop' names no field of Head"),
        (ONE_PHASE, {"augmentation.rotation_range": [5]}, "'augmentation.rotation_range' names no field of None"),
        (KNN, {"epochs": [1]}, "'epochs' is nothing of this Extractor; accepted: classifier,"),
        (FOREST, {"arguments.k": [1]}, "'arguments.k' is nothing of this PixelBaseline"),
        (ONE_PHASE, {"epochs": [1, 0]}, "Phase.epochs: received 0"),
        (ONE_PHASE, {"head.dropout": [0.5, 2]}, "Head.dropout: received 2"),
        (FOREST, {"n_trees": [0]}, "PixelBaseline.n_trees: received 0"),
        (ONE_PHASE, {"epochs": 5}, "received 5 for 'epochs'; accepted: {name: values}"),
        (ONE_PHASE, {"optimizer": "adam"}, "received 'adam' for 'optimizer'; accepted"),
        (ONE_PHASE, {"epochs": []}, "received .* for 'epochs'; accepted"),
        (ONE_PHASE, {}, "received {}; accepted"),
        (ONE_PHASE, ["epochs"], "received .'epochs'.; accepted"),
        (ONE_PHASE, {"epochs": [3, 5, 3]}, "{'epochs': 3} and {'epochs': 3} are the same recipe"),
        (ONE_PHASE, {"epochs": [1, 2], "phase_1.epochs": [3]}, "are the same recipe"),
        (PATIENT, {"epochs": [1, 2]}, "no validation images for Phase.patience"),
        (ONE_PHASE, {"patience": [None, 3]}, "no validation images for Phase.patience"),
        (
            replace(ONE_PHASE, augmentation=tl.Augmentation(horizontal_flip=True), augment_val=True),
            {"epochs": [1]},
            "or for augment_val",
        ),
        (tl.Search(ONE_PHASE, {"epochs": [1]}), {"batch_size": [1]}, "received Search; accepted: a tl.Tuner"),
        ("tiny", {"epochs": [1]}, "received str; accepted: a tl.Tuner"),
    ],
)
def test_what_cannot_be_searched_is_refused_where_it_is_declared(recipe, grid, said):
    with pytest.raises(tl.InputError, match=said):
        tl.Search(recipe, grid)


@pytest.mark.parametrize("folds", [tl.KFold(5, val=0.1), 5, tl.Holdout()])
def test_folds_with_validation_images_are_refused(folds):
    with pytest.raises(tl.InputError, match=r"Search\.folds: .* accepted is a tl\.KFold with val=0"):
        tl.Search(ONE_PHASE, {"epochs": [1]}, folds)


def test_epochs_are_shared_where_the_rate_does_not_depend_on_them():
    assert last_epochs(TWO_PHASES) == 2
    assert last_epochs(tiny_tuner(phases=tl.Phase(4, 1e-2, schedule=tl.StepDecay(2)))) == 4
    assert last_epochs(tiny_tuner(phases=tl.Phase(4, 1e-2, schedule="cosine"))) is None
    assert last_epochs(tiny_tuner(phases=(tl.Phase(4, 1e-2, schedule="cosine"), tl.Phase(3, 1e-2)))) == 3
    assert last_epochs(KNN) is None
    assert last_epochs(FOREST) is None


def test_a_search_is_changed_as_its_recipe_is():
    grid = {"learning_rate": (1e-3, 1e-2, 1e-1), "epochs": (3, 5, 7)}
    search = tl.Search(ONE_PHASE, grid, tl.KFold(5, respect_groups=False))
    assert search.resized((48, 40)).image_size == (48, 40)
    assert search.resized((48, 40)).recipe == ONE_PHASE.resized((48, 40))
    assert search.in_precision("bfloat16").recipe.precision == "bfloat16"
    assert search.starting_from("somewhere.h5").network.weights == "somewhere.h5"
    for changed in (search.resized((48, 40)), search.in_precision("bfloat16"), search.starting_from(None)):
        assert (changed.grid, changed.folds) == (search.grid, search.folds)
    small = search.for_smoke(16)
    assert small.recipe == ONE_PHASE.for_smoke(16)
    assert small.grid == {"learning_rate": (1e-3, 1e-2), "epochs": (1, 2)}
    assert small.folds == tl.KFold(2, respect_groups=False)
    assert tl.Search(TWO_PHASES, {"phase_2.epochs": (9,)}).for_smoke(16).grid == {"phase_2.epochs": (1,)}
    assert tl.Search(FOREST, {"n_trees": (10, 20, 30)}).for_smoke(8).grid == {"n_trees": (10, 20)}


def test_pixels_have_no_network():
    assert tl.Search(FOREST, {"n_trees": (1, 2)}).network is None


def test_a_search_is_described_in_plain_json_and_compared_by_value():
    search = tl.Search(ONE_PHASE, {"schedule": (None, "cosine", tl.StepDecay(2)), "unfreeze": (0, "all", ("block1",))})
    told = describe(search)
    assert json.loads(json.dumps(told)) == told
    assert told["grid"]["unfreeze"] == [0, "all", ["block1"]]
    assert told["grid"]["schedule"][2] == {"type": "StepDecay", "every": 2, "factor": 0.1}
    assert told["folds"]["n_folds"] == 5
    same = tl.Search(ONE_PHASE, dict(search.grid))
    assert search == same
    assert hash(search) == hash(same)
    assert search != tl.Search(ONE_PHASE, {"epochs": (1,)})


def test_what_a_search_was_given_can_change_without_changing_it():
    values = [1, 2]
    grid = {"epochs": values}
    search = tl.Search(ONE_PHASE, grid)
    values.append(3)
    grid["batch_size"] = [1]
    assert search.grid == {"epochs": (1, 2)}


def test_settings_are_ranked_as_the_recipes_train_unless_a_metric_is_named():
    balanced = replace(ONE_PHASE, imbalance="class_weights")
    assert tl.Search(ONE_PHASE, {"epochs": (1, 2)}).ranked_by == "accuracy"
    assert tl.Search(balanced, {"epochs": (1, 2)}).ranked_by == "balanced_accuracy"
    assert tl.Search(ONE_PHASE, {"imbalance": (None, "oversample")}).ranked_by == "balanced_accuracy"
    assert tl.Search(balanced, {"imbalance": (None,)}).ranked_by == "accuracy"
    assert tl.Search(FOREST, {"n_trees": (1, 2)}).ranked_by == "accuracy"
    named = tl.Search(balanced, {"epochs": (1, 2)}, metric="roc_auc")
    assert named.ranked_by == named.for_smoke(16).ranked_by == named.resized((48, 40)).ranked_by == "roc_auc"
    rates = {"head.dropout": (0.1, 0.2), "learning_rate": (1e-3, 1e-2, 1e-1)}
    assert tl.Search(balanced, rates).for_smoke(16).ranked_by == "balanced_accuracy"
    with pytest.raises(
        tl.InputError, match=r"Search\.metric: received 'val_loss'; accepted: 'accuracy', 'balanced_acc"
    ):
        tl.Search(ONE_PHASE, {"epochs": (1, 2)}, metric="val_loss")


def test_a_search_by_accuracy_is_described_as_before_there_was_a_choice():
    grid = {"epochs": (1, 2)}
    by_default, named = tl.Search(ONE_PHASE, grid), tl.Search(ONE_PHASE, grid, metric="accuracy")
    assert describe(by_default) == describe(named)
    assert list(describe(named)) == ["type", "recipe", "grid", "folds"]
    assert describe(tl.Search(ONE_PHASE, grid, metric="log_loss"))["metric"] == "log_loss"


def test_a_probes_fields_are_its_own():
    recipe = tl.recipes.fine_tune(TINY, weights=None, image_size=(16, 16))
    search = tl.Search(recipe, {"phase_1.penalties": [(1.0,), (0.1,)], "phase_2.learning_rate": [1e-3]})
    assert [with_setting(recipe, each).phases[0].penalties for each in search.settings] == [(1.0,), (0.1,)]
    with pytest.raises(tl.InputError, match=r"'phase_1.learning_rate' is nothing of this.*phase_1.penalties"):
        tl.Search(recipe, {"phase_1.learning_rate": [1e-3]})
    with pytest.raises(tl.InputError, match=r"'learning_rate' of which phase.*phase_2.learning_rate"):
        tl.Search(recipe, {"learning_rate": [1e-3]})


def test_an_object_of_keras_is_no_value_of_a_grid():
    import keras

    with pytest.raises(tl.InputError, match=r"object of Keras for 'phase_1.optimizer'"):
        tl.Search(tl.recipes.two_phase(TINY, weights=None), {"phase_1.optimizer": [keras.optimizers.Adam(beta_1=0.5)]})
