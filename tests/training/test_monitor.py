"""What chooses the epoch that is kept: Keras' own figures, or those that count every class alike."""

import dataclasses

import numpy as np
import pytest
from tiny import tiny_tuner

import tlkeras as tl
from tlkeras.schema import EpochLog
from tlkeras.training.monitor import BALANCED, MONITORS, balanced_figure, value_of
from tlkeras.training.recipe import describe

NAMES = ("common", "rare")
LABELS = np.array([0, 0, 0, 1])
PROBS = np.array([[0.8, 0.2], [0.4, 0.6], [0.8, 0.2], [0.5, 0.5]], np.float32)
# -ln of what each image's class was given: the common class's mean, the rare one's, and their mean.
BALANCED_LOSS = ((-2 * np.log(0.8) - np.log(0.4)) / 3 - np.log(0.5)) / 2


@pytest.fixture(scope="module")
def unequal():
    """(train, val): 30 and 12 images, a quarter of them of class 1, which is a little brighter."""

    def draw(n, seed):
        rng, labels = np.random.default_rng(seed), (np.arange(n) % 4 == 0).astype(int)
        images = rng.normal(100 + 25 * labels[:, None, None, None], 40, (n, 32, 32, 3))
        return np.clip(images, 0, 255).astype(np.uint8), labels

    return draw(30, 0), draw(12, 1)


@pytest.mark.parametrize(
    ("monitor", "expected"),
    [
        ("val_balanced_loss", BALANCED_LOSS),
        ("val_balanced_accuracy", (2 / 3 + 0) / 2),  # the tie of the last image goes to the first class
        ("val_macro_f1", (2 * 2 / (3 + 3) + 0) / 2),
        ("val_roc_auc", 2 / 3),  # of the three common ones two were given less of the rare class
    ],
)
def test_balanced_figures_by_hand(monitor, expected):
    assert balanced_figure(monitor, LABELS, PROBS, NAMES) == pytest.approx(expected)
    assert np.isnan(balanced_figure(monitor, LABELS[:3], PROBS[:3], NAMES))


@pytest.mark.parametrize("monitor", MONITORS)
def test_the_better_epoch_has_the_lower_value_whatever_is_monitored(monitor):
    phase = tl.Phase(1, 1e-3, monitor=monitor)
    low, high = (EpochLog(1, 1, 0.1, 0.5, 0.5, **{"val_loss": 1.0, "val_accuracy": 0.0} | {monitor: v}) for v in (0, 1))
    assert (value_of(low, phase) < value_of(high, phase)) == monitor.endswith("loss")
    assert value_of(EpochLog(1, 1, 0.1, 0.5, 0.5, None, None), phase) is None


def monitors(recipe):
    return [phase["monitor"] for phase in describe(recipe)["phases"]]


def test_what_is_trained_to_count_classes_alike_is_judged_so_unless_another_monitor_is_named():
    plain, weighted = tiny_tuner(), tiny_tuner(imbalance="class_weights")
    assert monitors(plain) == ["val_loss"] * 2
    assert monitors(weighted) == ["val_balanced_loss"] * 2
    assert monitors(dataclasses.replace(weighted, imbalance=None)) == ["val_loss"] * 2
    assert monitors(dataclasses.replace(plain, imbalance="oversample")) == ["val_balanced_loss"] * 2
    named = tl.Phase(1, 1e-3, monitor="val_loss")
    assert monitors(tiny_tuner(imbalance="oversample", phases=named)) == ["val_loss"]
    searched = tl.Search(tiny_tuner(phases=tl.Phase(1, 1e-2)), {"imbalance": (None, "oversample")})
    assert [monitors(dataclasses.replace(searched.recipe, **s)) for s in searched.settings] == [
        ["val_loss"],
        ["val_balanced_loss"],
    ]


def test_a_recipe_is_described_by_its_monitors_names_and_nothing_new():
    recipe = tiny_tuner()
    named = dataclasses.replace(recipe, phases=[dataclasses.replace(p, monitor="val_loss") for p in recipe.phases])
    assert describe(recipe) == describe(named)
    assert list(describe(recipe)) == ["type", *(field.name for field in dataclasses.fields(recipe))]


def test_monitors_that_cannot_be_compared_are_refused_by_the_names_they_get():
    phases = (tl.Phase(1, 1e-3), tl.Phase(1, 1e-3, monitor="val_loss"))
    tiny_tuner(phases=phases)
    with pytest.raises(tl.InputError, match=r"Tuner\.phases: .*'val_balanced_loss', 'val_loss'"):
        tiny_tuner(phases=phases, imbalance="oversample")


@pytest.mark.parametrize(
    "monitor", [None, *(pytest.param(each, marks=pytest.mark.slow) for each in list(BALANCED)[1:])]
)
def test_the_kept_epoch_is_the_best_by_the_figure_that_tl_score_gives(monitor, unequal):
    train, val = unequal
    phases = (tl.Phase(3, 1e-2, monitor=monitor), tl.Phase(2, 1e-2, unfreeze="all", monitor=monitor))
    classifier = tiny_tuner(phases=phases, imbalance="class_weights").fit(train, val, seed=0)
    name, history = monitor or "val_balanced_loss", classifier.history
    assert list(history.columns[5:]) == ["val_loss", "val_accuracy", name, "kept"]
    best = history[name].min() if name.endswith("loss") else history[name].max()
    assert history["kept"].tolist().index(True) == history[name].tolist().index(best)
    scored = tl.score(classifier.predict(tl.from_arrays(*val)), metrics=[BALANCED[name]]).item()
    assert best == pytest.approx(scored, abs=1e-6)


def test_looking_at_another_figure_changes_neither_training_nor_keras_own(unequal):
    train, val = unequal
    columns = ["loss", "accuracy", "val_loss", "val_accuracy"]
    own, balanced = (
        tiny_tuner(phases=tl.Phase(3, 1e-2, monitor=monitor)).fit(train, val, seed=0).history[columns]
        for monitor in ("val_loss", "val_macro_f1")
    )
    assert own.equals(balanced)


@pytest.mark.slow
def test_augmented_validation_images_are_the_same_for_both_losses(unequal):
    """With as many images of each class the mean over the classes is the mean over the images."""
    train, (images, labels) = unequal
    rows = np.concatenate([np.flatnonzero(labels == label)[:3] for label in (0, 1)])
    recipe = tiny_tuner(
        phases=tl.Phase(2, 1e-2, monitor="val_balanced_loss"),
        augmentation=tl.Augmentation(brightness_range=(0.3, 1.7), rotation_range=90),
        augment_val=True,
    )
    history = recipe.fit(train, (images[rows], labels[rows]), seed=0).history
    assert history["val_balanced_loss"].tolist() == pytest.approx(history["val_loss"].tolist(), rel=1e-4)


def test_patience_looks_at_the_monitor(unequal):
    train, val = unequal
    phase = tl.Phase(9, 1e-12, patience=2, monitor="val_macro_f1", keep="last")
    assert len(tiny_tuner(phases=phase).fit(train, val, seed=0).history) == 3


def test_a_class_without_validation_image_is_refused_before_anything_is_trained(unequal, heard):
    (images, labels), (val_images, val_labels) = unequal
    common = val_labels == 0
    parts = [tl.from_arrays(images, labels, NAMES), tl.from_arrays(val_images[common], val_labels[common], NAMES)]
    recipe = tiny_tuner(imbalance="class_weights")
    with pytest.raises(
        tl.InputError, match=r"^val: no validation image of rare, which leaves the monitor val_balanced_loss"
    ):
        recipe.fit(*parts, seed=0)
    assert "epoch" not in heard.text()
    for phase in (tl.Phase(1, 1e-2, monitor="val_loss"), tl.Phase(1, 1e-2, keep="last")):  # nothing undefined is asked
        history = dataclasses.replace(recipe, phases=phase).fit(*parts, seed=0).history
        assert list(history.columns[5:]) == ["val_loss", "val_accuracy", "kept"]


def test_each_epochs_line_tells_the_monitor(unequal, heard):
    tiny_tuner(phases=tl.Phase(1, 1e-2, monitor="val_roc_auc")).fit(*unequal, seed=0)
    (line,) = (line for line in heard.lines() if line.startswith("  epoch"))
    assert [word for word in line.split() if word.startswith("val_")] == ["val_loss", "val_accuracy", "val_roc_auc"]
