"""Whatever holds images out, anywhere in the package, keeps a patient's images, and identical ones, on one side.

A place that is new here has to be added: the last tests find code that holds out in another way.
"""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scripts import EXPERIMENTS, load_script
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.data.splits import joined_groups
from tlkeras.training import grid
from tlkeras.training.extractor import CLASSIFIERS

SIZE = (16, 16)
# Protocols whose document draws image by image.
BY_IMAGE = {"paper", "image_level", "pixels"}


def draw_samples():
    """64 images of 16 patients in two classes, the images of a patient far apart, so that what cuts between images cuts
    patients; patients 0 and 2, 5 and 7 share a byte-identical image."""
    rng, patient = np.random.default_rng(0), np.arange(64) % 16
    images = rng.integers(0, 256, (64, *SIZE, 3), dtype=np.uint8)
    images[2], images[7] = images[0], images[5]
    parts = np.repeat(["train", "val", "test"], [8, 4, 4])[patient]
    samples = tl.from_arrays(images, patient % 2, class_names=("NORMAL", "PNEUMONIA"), groups=patient)
    return replace(samples, parts=parts)


SAMPLES = draw_samples()
GROUP = dict(zip(SAMPLES.sample_ids, joined_groups(SAMPLES), strict=True))


def groups(samples):
    return {GROUP[name] for name in samples.sample_ids}


def sides_of(splits):
    """[(what is learnt from, what is held out), ...] of each two parts."""
    parts = list(splits.parts().values())
    return [(one, other) for i, one in enumerate(parts) for other in parts[i + 1 :]]


def of_search(recipe, setting, monkeypatch):
    """The sides of every cell of a grid, none of them trained."""
    cells = []

    def noting(cell):
        cells.append(cell)
        return dict.fromkeys(cell.answers, np.eye(2, dtype=np.float32)[cell.test.labels]), 0.0

    monkeypatch.setattr(grid, "run_cell", noting)
    tl.Search(recipe, setting, tl.KFold(4)).fit(SAMPLES, seed=0, store=False)
    return [(cell.train, cell.test) for cell in cells]


def of_calibration(samples=SAMPLES):
    recipe = tl.Extractor(TINY, "svm", weights=None, image_size=SIZE)
    folds = recipe.fit(samples, seed=0, store=False).estimator.cv
    return [(samples.take(learnt), samples.take(held_out)) for learnt, held_out in folds]


def two_test_parts():
    found = load_script("liang2024_tumor").TwoTestParts()(SAMPLES)
    rows = {part: np.flatnonzero(found.parts == part) for part in ("train", "test1")}
    return [(found.take(rows["train"]), found.take(rows["test1"]))]


FOREST = tl.PixelBaseline("decision_tree", image_size=(8, 8))
TUNER = tiny_tuner(phases=tl.Phase(1, 1e-3), image_size=SIZE)
PLACES = {
    "Holdout": lambda _: sides_of(tl.Holdout(val=0.25, test=0.25).split(SAMPLES, seed=0)),
    "Predefined": lambda _: sides_of(tl.Predefined(val=0.3).split(SAMPLES, seed=0)),
    "KFold": lambda _: [pair for fold in tl.KFold(4).folds(SAMPLES, seed=0) for pair in sides_of(fold)],
    "KFold with val": lambda _: [p for fold in tl.KFold(4, val=0.2).folds(SAMPLES, seed=0) for p in sides_of(fold)],
    "Search of a Tuner": lambda patch: of_search(TUNER, {"batch_size": (8, 16)}, patch),
    "Search of an Extractor": lambda patch: of_search(
        tl.Extractor(TINY, weights=None, image_size=SIZE), {"classifier": ("knn", "svm")}, patch
    ),
    "Search of a PixelBaseline": lambda patch: of_search(FOREST, {"pixels": ("raw", "rescaled")}, patch),
    "temperature of a support vector machine": lambda _: of_calibration(),
    "the same, images without patients": lambda _: of_calibration(replace(SAMPLES, groups=None)),
    "liang2024's first test part": lambda _: two_test_parts(),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_group_is_on_both_sides(place, monkeypatch):
    pairs = PLACES[place](monkeypatch)
    assert pairs
    for learnt, held_out in pairs:
        assert len(learnt)
        assert len(held_out)
        if place.endswith("without patients"):  # identical images are all there is to keep together
            ids = [{"000000", "000002"}, {"000005", "000007"}]
            assert all(
                not (of_pair & {*learnt.sample_ids}) or not (of_pair & {*held_out.sample_ids}) for of_pair in ids
            )
        else:
            assert not groups(learnt) & groups(held_out)


def test_the_samples_are_such_that_an_ungrouped_cut_would_cross():
    for split in (tl.Holdout(respect_groups=False), tl.Predefined(val=0.3, respect_groups=False)):
        assert any(groups(learnt) & groups(held_out) for learnt, held_out in sides_of(split.split(SAMPLES, seed=0)))
    for fold in tl.KFold(4, respect_groups=False).folds(SAMPLES, seed=0):
        assert groups(fold.train) & groups(fold.test)


def protocols():
    for script in sorted(EXPERIMENTS.glob("*.py")):
        module = load_script(script.stem) if "Experiment(" in script.read_text() else None
        for experiment in getattr(module, "EXPERIMENTS", None) or filter(None, [getattr(module, "EXPERIMENT", None)]):
            yield from ((experiment.name, name, found) for name, found in experiment.protocols.items())


@pytest.mark.parametrize(("experiment", "name", "protocol"), list(protocols()), ids=lambda value: str(value)[:30])
def test_protocols_hold_out_groups_but_where_the_document_does_not(experiment, name, protocol):
    splits = [protocol.split, *(cell.folds for cell in protocol.cells.values() if isinstance(cell, tl.Search))]
    respected = {split.respect_groups for split in splits}
    # Parts that came with the set are taken as the document took them.
    assert respected == {name not in BY_IMAGE}, experiment
    if name not in BY_IMAGE:
        for learnt, held_out in sides_of(protocol.split.split(SAMPLES, seed=1)):
            assert not groups(learnt) & groups(held_out)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_what_scikit_learn_would_hold_out_by_itself_is_refused(name):
    from importlib import import_module

    module, kind, _ = CLASSIFIERS[name]
    parameters = getattr(import_module(module), kind)().get_params()
    for argument in {"oob_score", "probability", "early_stopping", "validation_fraction", "cv"} & {*parameters}:
        recipe = tl.Extractor(TINY, name, weights=None, image_size=SIZE, arguments={argument: True})
        with pytest.raises(tl.InputError, match=rf"Extractor\.arguments: received {argument}"):
            recipe.fit(SAMPLES, seed=0, store=False)


HOLDS_OUT = {"early_stopping", "validation_fraction", "validation_split", "oob_score", "train_test_split", "cv"}
OURS = [*Path(tl.__file__).parent.rglob("*.py"), *EXPERIMENTS.rglob("*.py")]


@pytest.mark.parametrize("path", sorted(OURS), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_else_holds_out(path):
    """By another library, or by a fraction or folds that it cuts itself."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.module != "sklearn.model_selection"
        if isinstance(node, ast.keyword) and node.arg in HOLDS_OUT:
            # Our folds, see the test of the temperature.
            assert (path.name, node.arg, ast.unparse(node.value)) == ("feature_classifier.py", "cv", "folds")
        # `tlkeras audit` asks what such splits let leak; nothing learns from them.
        audits = path.name == "looking.py" or EXPERIMENTS in path.parents
        if isinstance(node, ast.keyword) and node.arg == "respect_groups" and not audits:
            raise AssertionError(f"{path}:{node.value.lineno} chooses by itself whether groups are respected")
