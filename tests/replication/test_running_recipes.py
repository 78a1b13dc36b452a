"""Three toy experiments of one script: a network is trained, its features are classified, a grid is searched."""

import dataclasses
import functools
import gzip
import json

import numpy as np
import pandas as pd
import pytest
from liang2024_parts import every_part
from PIL import Image
from scripts import load_script
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.evaluation import embedding
from tlkeras.files import read_json
from tlkeras.replication.common_page import every_figure, rankings
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.script import main
from tlkeras.replication.settings import training_of
from tlkeras.training import grid

pytestmark = [pytest.mark.usefixtures("quick_figures"), pytest.mark.slow]  # three experiments, 20 seconds

OTHER = dataclasses.replace(TINY, name="other")
ONE_PHASE = tiny_tuner(phases=tl.Phase(1, 1e-2, keep="last"))
COMMON = {
    "script": "toys",
    "paper": tl.Paper(title="Toys", authors="Nobody", venue="nowhere"),
    "default_backbones": ("tiny", "other"),
    "smoke_backbones": ("tiny", "other"),
}
HABEL, LIANG = load_script("habel2023_feature_transfer"), load_script("liang2024_tumor")
SUMMARY = {"data set": "Tiles", "images, original": "120 000", "pixels, used": "224x224"}
PUBLISHED = {"best_of_grid": {(1e-3, 1): 0.798, (1e-2, 9): 0.96}}


def grid_page(plan, common):
    """The page of liang2024, with other figures of the grid."""
    page = common.replacing(every_figure, functools.partial(every_part, titles=LIANG.PARTS))
    return page.replacing(rankings, functools.partial(rankings, published=PUBLISHED))


SOURCE = tl.Experiment(
    name="toy_source",
    dataset="prostate_tiles",
    protocols={
        "corrected": tl.Protocol(
            split=tl.Holdout(val=0.2, test=0.3),
            select=tl.Selection(per_class=10),
            cells={("trained", "tiny"): tiny_tuner(phases=tl.Phase(1, 1e-2, unfreeze="all"))},
        )
    },
    reported={(("trained", "tiny"), "test", "accuracy"): 98.33},
    after_fit=HABEL.embed_features,
    page=HABEL.page_with(SUMMARY),
    **COMMON,
)
FEATURES = tl.Experiment(
    name="toy_features",
    dataset="tumor",
    protocols={
        "corrected": tl.Protocol(
            split=tl.Predefined(),
            cells={
                ("knn_custom", "tiny"): tl.Extractor(
                    TINY, weights=tl.EarlierRun("toy_source", "trained"), image_size=(32, 32)
                ),
                ("svm_random", "other"): tl.Extractor(OTHER, "svm", weights=None, image_size=(32, 32)),
            },
        )
    },
    reported={},
    after_fit=HABEL.embed_features,
    page=HABEL.page_with({}),
    **COMMON,
)
GRID = tl.Experiment(
    name="toy_grid",
    dataset="tumor",
    protocols={
        "corrected": tl.Protocol(
            split=tl.Predefined(),
            cells={
                ("baseline", "tiny"): ONE_PHASE,
                ("best_of_grid", "tiny"): tl.Search(
                    ONE_PHASE, {"learning_rate": (1e-3, 1e-2), "epochs": (1, 2)}, tl.KFold(2)
                ),
            },
        )
    },
    reported={
        (("baseline", "tiny"), "train", "accuracy"): 92.0,
        (("baseline", "tiny"), "test1", "f1_tumor"): 0.923,
    },
    positive_class="tumor",
    scores_training=True,
    page=grid_page,
    **COMMON,
)
TOYS = (SOURCE, FEATURES, GRID)


def write_toys(root):
    """Prostate tiles and a tumor folder whose classes differ in brightness; test2 is too small for t-SNE."""
    rng = np.random.default_rng(0)
    for name, level in (("Gland", 40), ("Nongland", 120), ("Tumor", 200)):
        _write_images(rng, root / "prostate_tiles" / name, level, 12)
    for part, count in (("train", 10), ("test1", 4), ("test2", 2)):
        for name, level in (("no_tumor", 70), ("tumor", 170)):
            _write_images(rng, root / "tumor" / part / name, level, count)
    return root


def _write_images(rng, folder, level, count):
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.clip(rng.normal(level, 25, (36, 36, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """The folder of both toy sets."""
    return write_toys(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def _two_features_in_place_of_t_sne():
    """What is drawn is then the network's features; t-SNE itself has its own tests, and is slow beside other work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "embed", lambda features, *, seed: features[:, :2])
        yield


@pytest.fixture(scope="module")
def ran(toys, tmp_path_factory):
    """The folder of the run folders, in runs/, and of what was published, in assets/, of one command."""
    root = tmp_path_factory.mktemp("ran")
    main(TOYS, ["--data", str(toys), "--out", str(root / "runs"), "--publish", str(root / "assets")])
    return root


@pytest.fixture(scope="module")
def folders(ran):
    """{experiment: its RunFolder}."""
    return {toy.name: RunFolder(ran / "runs" / toy.name / "corrected") for toy in TOYS}


def cell_json(folder, method, backbone):
    return read_json(folder.cell(CellKey(method, backbone, 0)) / "cell.json")


def page_of(folder):
    return (folder.root / "table.md").read_text()


def section(page, title):
    """The lines of a section, up to the next title."""
    return page.split(f"# {title}\n", 1)[1].split("\n#", 1)[0]


def rows_of(text):
    """The pipe tables of a text as lists of words, header and rule left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_one_command_runs_every_experiment_into_a_folder_of_its_own(folders, ran):
    assert {name: [str(key) for key in folder.finished()] for name, folder in folders.items()} == {
        "toy_source": ["tiny/trained/seed0"],
        "toy_features": ["other/svm_random/seed0", "tiny/knn_custom/seed0"],
        "toy_grid": ["tiny/baseline/seed0", "tiny/best_of_grid/seed0"],
    }
    for kind in ("runs", "assets"):
        assert {path.name for path in (ran / kind).iterdir()} == set(folders)
        assert all((ran / kind / name / "protocols.md").is_file() for name in folders)


def test_the_features_of_a_network_trained_earlier_are_those_it_has(folders, toys):
    cell = cell_json(folders["toy_features"], "knn_custom", "tiny")
    trained = folders["toy_source"].cell(CellKey("trained", "tiny", 0))
    assert cell["settings"]["weights_sha256"] == read_json(trained / "classifier.json")["sha256"]
    assert cell["facts"]["weights"]["note"].startswith("backbone of toy_source, corrected, tiny/trained/seed0")
    assert cell["facts"]["features"] == 8  # the channels of TINY's last layer
    samples = tl.load_dataset("tumor", toys)
    test1 = samples.take(np.flatnonzero(samples.parts == "test1"))
    placed = pd.read_csv(
        folders["toy_features"].cell(CellKey("knn_custom", "tiny", 0)) / "embedding_test1.csv", dtype={"sample_id": str}
    )
    assert placed["sample_id"].tolist() == test1.sample_ids.tolist()
    assert placed["label"].tolist() == [test1.class_names[label] for label in test1.labels]
    expected = tl.load(trained).features(test1)[:, :2]
    np.testing.assert_allclose(placed[["x", "y"]].to_numpy(), expected, rtol=1e-4, atol=1e-5)


def test_embeddings_are_drawn_and_published_and_too_few_images_have_none(folders, ran):
    features = folders["toy_features"]
    assert [path.name for path in features.root.glob("embedding_*.png")] == ["embedding_test1.png"]
    assert not list(features.root.rglob("embedding_test2*"))  # four images
    assert (folders["toy_source"].root / "embedding_test.png").read_bytes().startswith(b"\x89PNG")
    published = ran / "assets" / "toy_features" / "corrected"
    assert (published / "tiny" / "knn_custom" / "seed0" / "embedding_test1.csv").is_file()
    assert (published / "embedding_test1.png").is_file()


def test_cells_that_nobody_declared_are_a_dash_and_not_run_cells_say_so(folders):
    assert rows_of(section(page_of(folders["toy_features"]), "Accuracy on test1 (8 images in 8 groups), per cent")) == [
        ["tiny", "100.0", "–"],
        ["other", "–", "100.0"],
        ["majority class", "50.0 [14.3, 85.7]", "50.0 [14.3, 85.7]"],
    ]


def test_the_page_shows_the_data_and_every_class(folders):
    page = page_of(folders["toy_source"])
    data = {row[0]: row[1:] for row in rows_of(section(page, "The data"))}
    assert data["data set"] == ["Tiles", tl.DATASETS["prostate_tiles"].title]
    assert data["images, original"] == ["120 000", "not known"]
    assert data["images, used"] == ["", "30"]  # ten of twelve of each class
    assert data["classes, used"] == ["", "Gland, Nongland, Tumor"]
    assert data["pixels, used"] == ["224x224", "32x32"]
    classes = rows_of(section(page, "Every class, on test"))
    assert [row[2] for row in classes[:4]] == ["Gland", "Nongland", "Tumor", "mean over the classes"]
    test = folders["toy_source"].read_predictions(CellKey("trained", "tiny", 0))["test"]
    for label, row in enumerate(classes[:3]):
        assert row[3] == str((test.samples.labels == label).sum())  # groups: of unknown ones each image is one
        assert row[5].split()[0] == f"{(test.predicted[test.samples.labels == label] == label).mean():.3f}"


def test_training_images_are_predicted_where_the_experiment_says_so(folders):
    for method in ("baseline", "best_of_grid"):
        predicted = folders["toy_grid"].read_predictions(CellKey(method, "tiny", 0))
        assert {part: len(of_part) for part, of_part in predicted.items()} == {"train": 20, "test1": 8, "test2": 4}
        scores = pd.read_csv(folders["toy_grid"].root / "scores.csv").query("method == @method and part == 'train'")
        figures = scores.set_index("metric")["value"]
        assert figures["accuracy"] == predicted["train"].correct.mean()
        history = pd.read_csv(folders["toy_grid"].cell(CellKey(method, "tiny", 0)) / "history.csv")
        assert figures["loss"] == pytest.approx(history.query("kept")["loss"].item())
    assert set(folders["toy_source"].read_predictions(CellKey("trained", "tiny", 0))) == {"val", "test"}


def test_every_part_has_its_row_with_the_published_figures(folders):
    page = page_of(folders["toy_grid"])
    rows = rows_of(section(page, "baseline, tiny, on every part"))
    assert [row[:2] for row in rows] == [["Train data", "20"], ["Test data 1", "8"], ["Test data 2", "4"]]
    assert rows[0][2].endswith("(0.920)")
    assert rows[1][-1].endswith("(0.923)")
    assert not rows[2][2].endswith(")")


def test_a_searched_cell_tells_what_was_chosen_and_how_it_was_trained(folders):
    folder = folders["toy_grid"]
    cell = cell_json(folder, "best_of_grid", "tiny")
    ranking = pd.read_csv(folder.cell(CellKey("best_of_grid", "tiny", 0)) / "ranking.csv")
    best = cell["facts"]["search"]["best"]
    assert ranking.loc[ranking["best"], ["learning_rate", "epochs"]].to_dict("records") == [best]
    (phase,) = training_of(cell).phases
    assert (phase.learning_rate, phase.epochs) == (best["learning_rate"], best["epochs"])
    phases = tl.Phase(best["epochs"], best["learning_rate"], keep="last")
    assert training_of(cell).describe() == dataclasses.replace(ONE_PHASE, phases=phases).describe()
    history = pd.read_csv(folder.cell(CellKey("best_of_grid", "tiny", 0)) / "history.csv")
    assert len(history) == best["epochs"]
    rows = rows_of(section(page_of(folder), "The grid of tiny/best_of_grid/seed0"))
    assert len(rows) == 5
    assert rows[-1][1:] == ["0.01", "9", "not run", "0.960"]
    assert [row[4] for row in rows[:-1] if row[1:3] == ["0.001", "1"]] == ["0.798"]


def test_ranking_and_out_of_fold_predictions_agree(folders):
    cell = folders["toy_grid"].cell(CellKey("best_of_grid", "tiny", 0))
    out_of_fold = pd.read_csv(cell / "out_of_fold.csv", keep_default_na=False)
    assert len(out_of_fold) == out_of_fold["sample_id"].nunique() == 20
    ranking = pd.read_csv(cell / "ranking.csv").set_index(["learning_rate", "epochs"])
    for number, setting in enumerate([(1e-3, 1), (1e-3, 2), (1e-2, 1), (1e-2, 2)]):
        correct = out_of_fold[f"setting_{number}"] == out_of_fold["label"]
        assert ranking.loc[setting, "mean"] == pytest.approx(correct.groupby(out_of_fold["fold"]).mean().mean())


@pytest.mark.slow
def test_what_was_published_is_reported_again_and_holds_neither_models_nor_finished_grid_cells(folders, ran):
    assets = ran / "assets"
    pages = {toy.name: page_of(folders[toy.name]) for toy in TOYS}
    main(TOYS, ["--report-only", "--out", str(assets)])
    for toy in TOYS:
        assert (assets / toy.name / "corrected" / "table.md").read_text() == pages[toy.name]
    assert not [*assets.rglob("model.keras"), *assets.rglob("search")]
    cell = assets / "toy_grid" / "corrected" / "tiny" / "best_of_grid" / "seed0"
    assert {"out_of_fold.csv", "ranking.csv", "grid.png"} <= {path.name for path in cell.iterdir()}


def test_no_file_that_is_published_names_a_folder_of_this_machine(ran, toys):
    here = [str(toys), str(ran)]
    for path in (ran / "assets").rglob("*"):
        if path.is_file() and path.suffix in (".json", ".md", ".csv", ".gz"):
            text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
            assert not [folder for folder in here if folder in text], path


@pytest.mark.slow
def test_a_killed_grid_keeps_its_finished_cells_and_ends_as_an_unbroken_one(folders, toys, tmp_path, monkeypatch):
    given = ["--data", str(toys), "--out", str(tmp_path), "--only", "toy_grid", "--methods", "best_of_grid"]
    cell = tmp_path / "toy_grid" / "corrected" / "tiny" / "best_of_grid" / "seed0"
    run_cell, ran_now = grid.run_cell, []

    def counting(one, *, most):
        if len(ran_now) == most:
            raise KeyboardInterrupt
        ran_now.append(one.fold)
        return run_cell(one)

    monkeypatch.setattr(grid, "run_cell", lambda one: counting(one, most=3))
    with pytest.raises(SystemExit) as stopped:
        main(TOYS, given)
    assert stopped.value.code == 130
    kept = {path.name: path.read_bytes() for path in (cell / "search").iterdir()}
    assert len(kept) == 3
    (cell / "history.csv").write_text("of another run")
    ran_now.clear()
    monkeypatch.setattr(grid, "run_cell", lambda one: counting(one, most=99))
    main(TOYS, given)
    assert len(ran_now) == 1  # two rates and two folds make four trainings, each for both numbers of epochs
    assert {path.name: path.read_bytes() for path in (cell / "search").iterdir()}.items() >= kept.items()
    unbroken = folders["toy_grid"].cell(CellKey("best_of_grid", "tiny", 0))
    for name in ("out_of_fold.csv", "ranking.csv", "predictions.csv"):
        assert (cell / name).read_bytes() == (unbroken / name).read_bytes(), name
    assert "of another run" not in (cell / "history.csv").read_text()


def test_a_missing_earlier_run_names_the_experiment_of_the_same_script(ran, toys, capsys):
    given = ["--data", str(toys), "--out", str(ran / "runs"), "--only", "toy_features", "--seeds", "7"]
    with pytest.raises(SystemExit) as stopped:
        main(TOYS, given)
    assert stopped.value.code == 2
    assert (
        "  python experiments/toys.py --data DATA --weights WEIGHTS --protocol corrected --backbones tiny "
        f"--methods trained --seeds 7 --only toy_source --out {ran / 'runs'} --image-size 32\n"
    ) in capsys.readouterr().err
    assert not (ran / "runs/toy_features/corrected/tiny/knn_custom/seed7").exists()


def test_the_command_of_the_page_names_the_experiment(folders):
    assert (
        "python experiments/toys.py --data DATA --weights WEIGHTS --only toy_grid --protocol corrected "
        "--backbones tiny --methods baseline best_of_grid --seeds 0\n"
    ) in page_of(folders["toy_grid"])


@pytest.mark.slow
def test_the_weights_of_a_search_are_told_as_every_recipes_and_not_by_their_folder(folders, toys, tmp_path):
    network = folders["toy_source"].cell(CellKey("trained", "tiny", 0))
    searched = tl.Search(
        dataclasses.replace(ONE_PHASE, weights=tl.EarlierRun("toy_source", "trained")),
        {"learning_rate": (1e-2,)},
        tl.KFold(2),
    )
    protocol = dataclasses.replace(GRID.protocols["corrected"], cells={("best_of_grid", "tiny"): searched})
    experiment = dataclasses.replace(GRID, protocols={"corrected": protocol}, reported={}, page=None)
    main(
        experiment,
        ["--data", str(toys), "--out", str(tmp_path / "grid"), "--earlier", str(network.parents[3])],
    )
    cell = cell_json(RunFolder(tmp_path / "grid" / "corrected"), "best_of_grid", "tiny")
    assert cell["settings"]["weights_sha256"] == read_json(network / "classifier.json")["sha256"]
    assert cell["facts"]["weights"]["path"] == "model.keras"
    assert str(network) not in json.dumps(cell)


def test_a_protocol_of_folds_is_cross_validated_by_its_seeds(toys, tmp_path):
    protocol = tl.Protocol(
        split=tl.KFold(2), cells={("svm", "tiny"): tl.Extractor(TINY, "svm", weights=None, image_size=(32, 32))}
    )
    experiment = tl.Experiment(name="toy_folds", dataset="tumor", protocols={"folds": protocol}, reported={}, **COMMON)
    arguments = ["--data", str(toys), "--out", str(tmp_path), "--seeds", "0", "1", "--backbones", "tiny"]
    main(experiment, arguments)
    folder = RunFolder(tmp_path / "folds")
    tested = [folder.read_table(key, "predictions.csv").query("part == 'test'") for key in folder.finished()]
    names = np.concatenate([table["sample_id"] for table in tested])
    assert len(names) == len(set(names)) == len(tl.load_dataset("tumor", toys))
    assert "KFold, groups" in page_of(folder)
    assert "each is a fold" in page_of(folder)
    right = np.mean([np.mean(table["label"] == table["predicted"]) for table in tested])
    scores = pd.read_csv(folder.root / "scores.csv").query(
        "metric == 'accuracy' and part == 'test' and method == 'svm'"
    )
    assert list(scores["seed"]) == [0, 1]
    assert scores["value"].mean() == pytest.approx(right)
