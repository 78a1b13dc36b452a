"""A grid finds what its settings find alone, wherever its cells run and however often it is begun."""

import io
import json
import os
import sys
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec

import joblib
import numpy as np
import pandas as pd
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.data.digests import sealed, unsealed
from tlkeras.errors import DivergedError
from tlkeras.progress import silenced
from tlkeras.seeds import derive_seed
from tlkeras.training import grid, loop
from tlkeras.training.recipe import describe

SIZE = 16
FOREST = tl.PixelBaseline("random_forest", image_size=(8, 8))
TREES = tl.Search(FOREST, {"n_trees": (1, 3), "pixels": ("raw", "normalised")}, tl.KFold(3))


@pytest.fixture(scope="module")
def samples():
    """36 images of 18 patients, two of each, in two classes that overlap."""
    rng = np.random.default_rng(5)
    labels = np.arange(36) // 2 % 2
    images = np.clip(rng.normal(110 + 25 * labels[:, None, None, None], 40, (36, SIZE, SIZE, 3)), 0, 255)
    names = ("normal", "tumour")
    return tl.from_arrays(images.astype(np.uint8), labels, class_names=names, groups=np.arange(36) // 2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A classifier's folder: with random weights every fold would have a trunk of its own."""
    images = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
    fitted = tuner(tl.Phase(1, 1e-3), weights=None).fit((images, [0, 1, 0, 1]), seed=9, store=False)
    return str(fitted.save(tmp_path_factory.mktemp("weights")))


@pytest.fixture
def cells_run(monkeypatch):
    """The cells that are really run from now on, in order."""
    ran, run_cell = [], grid.run_cell

    def counting(cell):
        ran.append(cell)
        return run_cell(cell)

    monkeypatch.setattr(grid, "run_cell", counting)
    return ran


def tuner(*phases, **fields):
    return tiny_tuner(**({"phases": phases, "image_size": (SIZE, SIZE), "batch_size": 8} | fields))


def same(first, second):
    pd.testing.assert_frame_equal(first.out_of_fold, second.out_of_fold)
    pd.testing.assert_frame_equal(first.ranking, second.ranking)
    assert first.best == second.best
    return True


def certain(labels, n_classes=2):
    return np.eye(n_classes, dtype=np.float32)[labels]


def answering(monkeypatch, n_right):
    """Puts in place of training what gives `n_right(setting)` right answers in every fold."""

    def run_cell(cell):
        labels = cell.test.labels
        answers = {}
        for number, epochs in cell.answers.items():
            right = np.arange(len(labels)) < n_right(cell.recipe, epochs, len(labels))
            answers[number] = certain(np.where(right, labels, 1 - labels))
        return answers, 0.0

    monkeypatch.setattr(grid, "run_cell", run_cell)


@pytest.mark.slow
def test_a_column_is_what_its_setting_predicts_alone_and_the_best_is_fitted_on_all(samples, tmp_path):
    recipe = tuner(tl.Phase(5, 1e-2))
    search = tl.Search(recipe, {"learning_rate": (1e-2, 1e-3), "epochs": (3, 1)}, tl.KFold(2))
    options = {"store": str(tmp_path)}
    found = search.fit(samples, seed=4, **options)
    folds = tl.KFold(2).folds(samples, seed=4)
    assert found.out_of_fold["sample_id"].tolist() == [name for fold in folds for name in fold.test.sample_ids]
    names = np.array(samples.class_names)
    for number, epochs in ((0, 3), (1, 1)):  # at 1e-2
        for fold, splits in enumerate(folds):
            rows = found.out_of_fold[found.out_of_fold["fold"] == fold]
            alone = tuner(tl.Phase(epochs, 1e-2)).fit(splits.train, seed=derive_seed(4, "fold", fold), **options)
            assert rows[f"setting_{number}"].tolist() == names[alone.predict(splits.test).predicted].tolist()
            assert rows["label"].tolist() == names[splits.test.labels].tolist()
    columns = found.out_of_fold[[f"setting_{n}" for n in range(4)]]
    assert columns.nunique(axis=1).max() > 1  # settings differ, or anything would be equal
    best = found.ranking.iloc[0]
    assert found.best == {"learning_rate": best["learning_rate"], "epochs": best["epochs"]}
    assert found.recipe == tuner(tl.Phase(**{"epochs": 0, **found.best}))
    refitted = found.recipe.fit(samples, seed=4, **options)
    for ours, theirs in zip(found.classifier.model.get_weights(), refitted.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(found.predict(samples).probs, refitted.predict(samples).probs)
    np.testing.assert_array_equal(found.predict_pixels(samples.images), refitted.predict_pixels(samples.images))


def test_the_ranking_is_the_mean_over_folds_of_the_columns(samples):
    found = TREES.fit(samples, seed=0)
    table = found.out_of_fold
    for row in found.ranking.itertuples():
        number = TREES.settings.index({"n_trees": row.n_trees, "pixels": row.pixels})
        by_fold = (table[f"setting_{number}"] == table["label"]).groupby(table["fold"]).mean()
        assert row.mean == pytest.approx(by_fold.mean())
        assert row.sd == pytest.approx(by_fold.std())
    assert found.ranking["best"].tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("phases", "varied", "trainings"),
    [
        ((tl.Phase(5, 1e-2),), {"learning_rate": (1e-2, 1e-3), "epochs": (3, 5, 7)}, [(7, 3), (7, 3)]),
        ((tl.Phase(5, 1e-2), tl.Phase(5, 1e-3)), {"phase_2.epochs": (3, 7)}, [(7, 2)]),
        ((tl.Phase(5, 1e-2), tl.Phase(4, 1e-3)), {"phase_1.epochs": (3, 7)}, [(4, 1), (4, 1)]),
        ((tl.Phase(5, 1e-2, schedule=tl.StepDecay(2)),), {"epochs": (3, 7)}, [(7, 2)]),
        ((tl.Phase(5, 1e-2, schedule="cosine"),), {"epochs": (3, 7)}, [(3, 1), (7, 1)]),
        ((tl.Phase(5, 1e-2),), {"schedule": (None, "cosine"), "epochs": (3, 7)}, [(7, 2), (3, 1), (7, 1)]),
        ((tl.Phase(5, 1e-2),), {"batch_size": (4, 8)}, [(5, 1), (5, 1)]),
    ],
)
def test_settings_that_differ_in_the_last_epochs_share_a_training(phases, varied, trainings):
    search = tl.Search(tuner(*phases), varied)
    runs = grid._shared_runs(search.recipe, search)
    assert [(recipe.phases[-1].epochs, len(answers)) for recipe, answers in runs] == trainings
    assert sorted(number for _, answers in runs for number in answers) == list(range(len(search.settings)))
    for recipe, answers in runs:
        for number, epochs in answers.items():
            wanted = grid.with_setting(search.recipe, search.settings[number])
            assert (recipe if epochs is None else grid.to_epochs(recipe, epochs)) == wanted


def test_every_image_is_held_out_once_with_its_group(samples):
    found = TREES.fit(samples, seed=1)
    table = found.out_of_fold
    assert Counter(table["sample_id"]) == Counter(samples.sample_ids)
    group_of = dict(zip(samples.sample_ids, samples.groups, strict=True))
    assert table["group"].tolist() == [group_of[name] for name in table["sample_id"]]
    assert table.groupby("group")["fold"].nunique().max() == 1
    assert table.groupby(["fold", "label"]).size().tolist() == [6] * 6  # three folds of two classes
    other = TREES.fit(samples, seed=2).out_of_fold
    assert set(other.query("fold == 0")["sample_id"]) != set(table.query("fold == 0")["sample_id"])


@pytest.mark.slow
def test_each_image_passes_the_frozen_layers_once_over_the_whole_grid(samples, weights, tmp_path, computed):
    search = tl.Search(
        tuner(tl.Phase(1, 1e-2), weights=weights), {"learning_rate": (1e-2, 1e-3), "epochs": (1, 2)}, tl.KFold(2)
    )
    found = search.fit(samples, seed=0, store=str(tmp_path))
    assert sum(computed) == len(samples)
    found.predict(samples)
    assert sum(computed) == len(samples)
    assert found.classifier.weights is not None
    assert found.recipe.weights == weights  # as they were named


@pytest.mark.slow
def test_features_are_classified_over_a_grid(samples, weights, tmp_path, computed):
    recipe = tl.Extractor(TINY, weights=weights, image_size=(SIZE, SIZE))
    search = tl.Search(recipe, {"classifier": ("knn", "decision_tree")}, tl.KFold(2))
    options = {"store": str(tmp_path)}
    found = search.fit(samples, seed=0, **options)
    assert sum(computed) == len(samples)
    first = tl.KFold(2).folds(samples, seed=0)[0]
    alone = recipe.fit(first.train, seed=derive_seed(0, "fold", 0), **options).predict(first.test).predicted
    ours = found.out_of_fold.query("fold == 0")["setting_0"].tolist()
    assert ours == np.array(samples.class_names)[alone].tolist()
    neighbours = tl.Search(recipe, {"arguments.n_neighbors": (1, 5)}, tl.KFold(2)).fit(samples, seed=0, **options)
    assert neighbours.recipe.arguments == {"n_neighbors": neighbours.best["arguments.n_neighbors"]}
    assert neighbours.classifier.estimator[-1].n_neighbors == neighbours.best["arguments.n_neighbors"]


def test_pairs_of_arrays_are_taken_and_validation_images_choose_nothing(samples):
    expected = TREES.fit(samples, seed=0)
    pair = (samples.images, samples.labels)
    ungrouped = TREES.fit(pair, seed=0)
    assert ungrouped.class_names == ("0", "1")
    assert set(ungrouped.out_of_fold["group"]) == {""}
    assert same(TREES.fit(samples, samples.take([0, 2]), seed=0), expected)
    with pytest.raises(tl.InputError, match="val: its classes"):
        TREES.fit(samples, tl.from_arrays(*pair), seed=0)


@pytest.mark.parametrize("flip", [False, True])
def test_ties_go_to_the_fewest_epochs_then_to_the_lower_rate_whatever_the_order(samples, monkeypatch, flip):
    answering(monkeypatch, lambda recipe, epochs, n: n if epochs > 3 else n - 1)
    rates, epochs = (1e-2, 1e-4, 1e-3), (7, 3, 5)
    varied = {"learning_rate": rates, "epochs": epochs}
    if flip:
        varied = {"epochs": epochs[::-1], "learning_rate": rates[::-1]}
    recipe, fitted = tuner(tl.Phase(1, 1e-2)), []
    monkeypatch.setattr(loop, "fit_tuner", lambda recipe, *args, **options: fitted.append((recipe, options["seed"])))
    found = tl.Search(recipe, varied, tl.KFold(2)).fit(samples, seed=6, store=False)
    assert found.best == {"learning_rate": 1e-4, "epochs": 5}
    assert fitted == [(found.recipe, 6)]
    assert found.recipe.phases == (tl.Phase(5, 1e-4),)
    assert found.ranking["rank"].tolist() == [1] * 6 + [7] * 3
    order = list(zip(found.ranking["epochs"], found.ranking["learning_rate"], strict=True))
    assert order == [(number, rate) for number in (5, 7, 3) for rate in (1e-4, 1e-3, 1e-2)]


def test_values_that_are_no_numbers_are_ranked_and_found_again(samples, monkeypatch):
    wanted = {"schedule": None, "unfreeze": ("block1", "block2")}
    schedules, unfrozen = (tl.StepDecay(2), "cosine", None), (0, "all", ("block1", "block2"))
    best = tuner(tl.Phase(1, 1e-2, **wanted))
    answering(monkeypatch, lambda recipe, epochs, n: n if recipe == best else 0)
    monkeypatch.setattr(loop, "fit_tuner", lambda *args, **options: None)
    search = tl.Search(tuner(tl.Phase(1, 1e-2)), {"schedule": schedules, "unfreeze": unfrozen}, tl.KFold(2))
    found = search.fit(samples, seed=0)
    assert found.best == wanted
    assert found.recipe == best
    assert len(found.ranking) == 9


# With one batch an epoch the loss of the first is still a number, and the weights after it are none.
@pytest.mark.parametrize("batch_size", [4, 64])
@pytest.mark.slow
def test_a_training_that_diverges_counts_as_wrong_and_stops_nothing(samples, batch_size):
    recipe = tuner(tl.Phase(1, 1e-2, optimizer="sgd"), batch_size=batch_size)
    search = tl.Search(recipe, {"learning_rate": (1e30, 1e-3), "epochs": (1, 2)}, tl.KFold(2))
    found = search.fit(samples, seed=0)
    assert (found.out_of_fold[["setting_0", "setting_1"]] == "").all(axis=None)
    assert (found.out_of_fold[["setting_2", "setting_3"]] != "").all(axis=None)
    assert found.ranking["learning_rate"].tolist() == [1e-3, 1e-3, 1e30, 1e30]
    assert found.ranking["mean"].tolist()[2:] == [0, 0]
    assert found.best["learning_rate"] == 1e-3


def test_where_all_diverge_it_is_said_after_the_grid(samples, monkeypatch):
    none = np.full((18, 2), np.nan, np.float32)  # of the half that is held out
    monkeypatch.setattr(grid, "run_cell", lambda cell: (dict.fromkeys(cell.answers, none), 0.0))
    search = tl.Search(tuner(tl.Phase(1, 1e30)), {"epochs": (1, 2)}, tl.KFold(2))
    with pytest.raises(DivergedError, match="of every setting is no longer a number, in every fold"):
        search.fit(samples, seed=0)


def test_a_grid_that_was_killed_goes_on_with_what_is_left(samples, tmp_path, monkeypatch):
    expected = TREES.fit(samples, seed=0)
    folder, run_cell, begun = tmp_path / "search", grid.run_cell, []

    def killed_in_the_fifth(cell):
        begun.append(cell)
        if len(begun) == 5:
            raise KeyboardInterrupt
        return run_cell(cell)

    with monkeypatch.context() as patch:
        patch.setattr(grid, "run_cell", killed_in_the_fifth)
        with pytest.raises(KeyboardInterrupt):
            TREES.fit(samples, seed=0, folder=folder)
    kept = sorted(folder.iterdir())
    assert kept == sorted(cell.file for cell in begun[:4])
    answers = [np.load(io.BytesIO(unsealed(path.read_bytes()))) for path in kept]
    assert {each.shape for each in answers} == {(1, 12, 2)}  # whole, one setting each
    before = {path: path.stat().st_mtime_ns for path in kept}
    ran = []
    monkeypatch.setattr(grid, "run_cell", lambda cell: ran.append(cell) or run_cell(cell))
    assert same(TREES.fit(samples, seed=0, folder=folder), expected)
    assert len(ran) == 12 - 4
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert same(TREES.fit(samples, seed=0, folder=folder), expected)
    assert len(ran) == 12 - 4
    assert len(list(folder.iterdir())) == 12


def test_what_is_killed_while_it_is_written_leaves_nothing_that_is_read(samples, tmp_path, monkeypatch, cells_run):
    import tlkeras.files

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tlkeras.files.os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            TREES.fit(samples, seed=0, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    TREES.fit(samples, seed=0, folder=tmp_path)
    assert len(cells_run) == 1 + 12


@pytest.mark.slow
def test_one_run_for_several_epochs_is_kept_in_their_order(samples, tmp_path, cells_run):
    search = tl.Search(tuner(tl.Phase(1, 1e-1)), {"epochs": (3, 1)}, tl.KFold(2))
    first = search.fit(samples, seed=0, folder=tmp_path)
    assert first.out_of_fold["setting_0"].tolist() != first.out_of_fold["setting_1"].tolist()
    other_order = tl.Search(search.recipe, {"epochs": (1, 3)}, tl.KFold(2))
    again = other_order.fit(samples, seed=0, folder=tmp_path)
    assert len(cells_run) == 2
    for ours, theirs in (("setting_0", "setting_1"), ("setting_1", "setting_0")):
        assert again.out_of_fold[ours].tolist() == first.out_of_fold[theirs].tolist()
    assert again.best == first.best
    assert same(search.fit(samples, seed=0, folder=tmp_path), first)
    assert len(cells_run) == 2


def files_of(search, samples, monkeypatch, folder, seed=0):
    """The names of the cells, of which none is trained."""
    files = []

    def noting(cell):
        files.append(cell.file)
        assert replace(cell, seed=cell.seed + 1).file != cell.file  # with the same images
        return {number: certain(cell.test.labels) for number in cell.answers}, 0.0

    with monkeypatch.context() as patch:
        patch.setattr(grid, "run_cell", noting)
        patch.setattr(loop, "fit_tuner", lambda *args, **options: None)
        search.fit(samples, seed=seed, folder=folder, store=False)
    return set(files)


def test_a_cell_is_found_again_by_all_that_decides_its_answers_and_nothing_else(
    samples, weights, tmp_path, monkeypatch
):
    def search(epochs=(1, 2), rates=(1e-2,), folds=2, **fields):
        recipe = tuner(tl.Phase(1, 1e-2), **({"weights": weights} | fields))
        return tl.Search(recipe, {"learning_rate": rates, "epochs": epochs}, tl.KFold(folds))

    def files(search, samples=samples, seed=0):
        return files_of(search, samples, monkeypatch, tmp_path, seed)

    first = files(search())
    assert len(first) == 2
    brighter, swapped = samples.images.copy(), 1 - samples.labels  # the same folds
    brighter[0] += 1
    moved = tmp_path / "elsewhere"
    (moved / "x").mkdir(parents=True)
    for name in ("model.keras", "classifier.json"):
        (moved / "x" / name).write_bytes(((tmp_path / weights) / name).read_bytes())
    others = [
        files(search(), seed=1),
        files(search(epochs=(1, 3))),
        files(search(epochs=(2,))),
        files(search(folds=3)),
        files(search(batch_size=4)),
        files(search(weights=None)),
        files(search(), tl.from_arrays(brighter, samples.labels, samples.class_names, samples.groups)),
        files(search(), tl.from_arrays(samples.images, swapped, samples.class_names, samples.groups)),
    ]
    assert all(first.isdisjoint(other) for other in others)
    assert len(set.union(first, *others)) == 2 + sum(map(len, others))
    assert files(search(weights=str(moved / "x"))) == first  # the same file in another folder
    assert files(search(epochs=(2, 1))) == first
    assert files(search(rates=(1e-2, 1e-3))) > first  # one more rate leaves the others as they are
    assert not any(path.exists() for path in first)


def test_a_class_that_a_fold_cannot_learn_is_said_before_anything_is_trained(samples, cells_run):
    one_patient = samples.take([*range(0, 2), *np.flatnonzero(samples.labels == 1)])
    with pytest.raises(tl.InputError, match=r"train: without fold \d of 3 there is no training image of normal\. Add"):
        TREES.fit(one_patient, seed=0)
    with pytest.raises(tl.InputError, match="have no labels"):
        TREES.fit(tl.Samples(samples.images, None, ("a", "b")), seed=0)
    assert cells_run == []


def test_lines_tell_each_cell_what_was_kept_and_what_was_chosen(samples, tmp_path, heard):
    with silenced():
        TREES.fit(samples, seed=0, folder=tmp_path)
    assert heard.lines() == []
    for path in sorted(tmp_path.iterdir())[:2]:
        path.unlink()
    found = TREES.fit(samples, seed=0, folder=tmp_path)
    said = heard.lines()
    assert said[0].startswith("grid: 4 settings x 3 folds, 12 trainings on 36 images")
    assert ["kept" in line for line in said[1:13]] == [True] * 10 + [False] * 2
    assert [line.split("/12")[0].strip() for line in said[1:13]] == [str(n) for n in range(1, 13)]
    best = f"best: n_trees {found.best['n_trees']}, pixels {found.best['pixels']}, mean accuracy "
    assert said[13].startswith(f"{best}{found.ranking['mean'].iloc[0]:.4f} over 3 folds")


def test_what_a_run_keeps_of_it(samples, tmp_path):
    found = TREES.fit(samples, seed=0)
    facts = found.write_run(tmp_path)
    assert json.loads(json.dumps(facts["search"])) == facts["search"]
    assert facts["search"]["best"] == found.best
    assert facts["search"]["refit"] == describe(found.recipe)
    assert facts["device"] == "CPU"
    read = pd.read_csv(tmp_path / "out_of_fold.csv", dtype={"sample_id": str, "group": str})
    assert read["sample_id"].tolist() == found.out_of_fold["sample_id"].tolist()
    assert read["setting_3"].tolist() == found.out_of_fold["setting_3"].tolist()


def test_what_it_returns_can_be_explained(samples):
    found = tl.Search(FOREST, {"n_trees": (2, 3)}, tl.KFold(2)).fit(samples, seed=0)
    assert (found.image_size, found.class_names) == ((8, 8), ("normal", "tumour"))
    explanation = tl.explain(found, np.ascontiguousarray(samples.images[0][:8, :8]), n_samples=20, seed=0)
    assert explanation.class_name in samples.class_names


def elsewhere(samples, weights, folder, backend):
    """A grid of two trainings in each of two folds, run by two processes."""
    search = tl.Search(
        tuner(tl.Phase(1, 1e-2), weights=weights), {"learning_rate": (1e-2, 1e-3), "epochs": (1, 3)}, tl.KFold(2)
    )
    options = {"seed": 0, "store": str(folder)}
    here = search.fit(samples, **options, folder=folder / "here")
    with joblib.parallel_config(backend=backend, n_jobs=2):
        there = search.fit(samples, **options, folder=folder / "there")
    assert same(here, there)
    first, second = (
        {path.name: path.read_bytes() for path in (folder / place).iterdir()} for place in ("here", "there")
    )
    assert len(first) == 4
    assert first == second
    np.testing.assert_array_equal(here.predict(samples).probs, there.predict(samples).probs)


@pytest.mark.slow
def test_two_processes_find_what_one_finds(samples, weights, tmp_path):
    elsewhere(samples, weights, tmp_path, "loky")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_finds_what_one_process_finds(samples, weights, tmp_path, monkeypatch):
    import ray

    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))  # Ray's workers import tests/tiny.py
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        elsewhere(samples, weights, tmp_path, "ray")
    finally:
        ray.shutdown()


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1", "roc_auc", "log_loss", "balanced_log_loss"])
def test_settings_are_ranked_by_what_tl_score_gives_on_each_fold(metric, samples, heard):
    recipe = tl.PixelBaseline("random_forest", image_size=(8, 8))
    found = tl.Search(recipe, {"n_trees": (1, 9)}, tl.KFold(2), metric).fit(samples, seed=3)
    said = heard.lines()
    for number, n_trees in enumerate((1, 9)):
        values = []
        for fold, splits in enumerate(tl.KFold(2).folds(samples, seed=3)):
            alone = replace(recipe, n_trees=n_trees).fit(splits.train, seed=derive_seed(3, "fold", fold))
            values.append(tl.score(alone.predict(splits.test), metrics=[metric]).item())
            assert any(f"fold {fold + 1}, " in line and f"n_trees {n_trees}: {values[-1]:.3f}" in line for line in said)
        mean = found.ranking.set_index("n_trees").loc[n_trees, "mean"]
        assert mean == pytest.approx(np.mean(values), rel=1e-6)
        kept = f"setting_{number}_prob_tumour" in found.out_of_fold
        assert kept == (metric in ("roc_auc", "log_loss", "balanced_log_loss"))
    means = found.ranking["mean"].tolist()
    assert means[0] == (min if metric.endswith("loss") else max)(means)
    assert len(set(means)) == 2
    assert found.best == {"n_trees": found.ranking["n_trees"].iloc[0]}


def test_a_fold_that_holds_out_no_image_of_a_class_is_said_before_anything_is_trained(samples, cells_run):
    two_patients = samples.take([*range(0, 2), *range(4, 6), *np.flatnonzero(samples.labels == 1)])
    search = tl.Search(FOREST, {"n_trees": (1, 2)}, tl.KFold(3))
    for metric in ("balanced_accuracy", "roc_auc"):
        with pytest.raises(
            tl.InputError, match=rf"fold \d of 3 holds out no image of normal, .*Search\.metric='{metric}'"
        ):
            replace(search, metric=metric).fit(two_patients, seed=0)
    assert cells_run == []
    replace(search, metric="log_loss").fit(two_patients, seed=0)


def of_another_shape(file):
    with io.BytesIO() as kept:
        np.save(kept, np.zeros((1, 12, 3), np.float32))
        return sealed(kept.getvalue())


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file[:50],
        lambda file: b"",
        lambda file: file[:-1],
        lambda file: file[:-1] + bytes([file[-1] ^ 1]),  # one bit of one probability
        of_another_shape,
    ],
)
def test_a_kept_cell_that_is_damaged_or_anothers_is_named_with_the_remedy(damage, samples, tmp_path):
    TREES.fit(samples, seed=0, folder=tmp_path)
    path = sorted(tmp_path.iterdir())[3]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(tl.InputError, match=rf"{path.name} is .*; remove it, and its training is run again"):
        TREES.fit(samples, seed=0, folder=tmp_path)


class Deadly:
    """A cell whose process is killed as it takes it."""

    file = None

    def __reduce__(self):
        return os.abort, ()


@pytest.mark.slow
def test_a_killed_process_ends_as_words():
    with (
        joblib.parallel_config(backend="loky", n_jobs=2),
        pytest.raises(tl.InputError, match=r"a process that ran a cell of the grid was killed.*--jobs"),
    ):
        list(grid._finished([Deadly(), Deadly()]))
