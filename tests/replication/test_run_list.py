import itertools
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cells import KEY, TOY, answers, right_in, write_cell
from scipy.stats import binomtest

import tlkeras as tl
from tlkeras.errors import MissingInputError
from tlkeras.files import read_json, write_csv, write_json
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.publishing import publish
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.run_list import COMPARED, compare_runs, runs_table
from tlkeras.replication.scoring import score_cells

FINE_TUNED = CellKey("fine_tuned", "vgg16", 0)
TREE = CellKey("tree", PIXELS, 0)


def reported(root, cells, **facts):
    """Writes {key: {part: predictions}} as cells, and their scores.csv."""
    made = {key: write_cell(root, key, parts, **facts) for key, parts in cells.items()}
    write_csv(score_cells(TOY.under("corrected"), RunFolder(root), made, cells), root / "scores.csv")
    return root


def of_seed(key, seed):
    return CellKey(key.method, key.backbone, seed)


# ---- The list


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Three runs: two seeds of a network and a tree; a smoke run of two test parts; one that was not reported."""
    tmp_path = tmp_path_factory.mktemp("listed")
    seeds = {
        of_seed(KEY, seed): {"val": right_in(range(7)), "test": right_in(range(n))} for seed, n in ((0, 6), (1, 4))
    }
    reported(tmp_path / "runs" / "toy" / "corrected", seeds | {TREE: {"test": right_in(range(8))}})
    two = {KEY: {"near": right_in(range(4)), "far": right_in(range(2))}}
    reported(tmp_path / "runs" / "toy-smoke" / "paper", two, settings={"smoke": True})
    write_cell(tmp_path / "runs" / "other" / "corrected", FINE_TUNED, {"test": right_in(range(8))})
    return tmp_path / "runs"


@pytest.fixture
def runs(listed, tmp_path):
    """A copy to change."""
    return shutil.copytree(listed, tmp_path / "runs")


def test_every_finished_cell_has_a_row_for_each_test_part_with_its_scores(listed):
    table = runs_table(listed).sort_index()
    assert table.index.names == ["run", "backbone", "method", "part"]
    assert list(table.index) == [
        ("other/corrected", "vgg16", "fine_tuned", ""),
        ("toy-smoke/paper (smoke)", "vgg16", "frozen", "far"),
        ("toy-smoke/paper (smoke)", "vgg16", "frozen", "near"),
        ("toy/corrected", PIXELS, "tree", "test"),
        ("toy/corrected", "vgg16", "frozen", "test"),
    ]
    frozen = table.loc[("toy/corrected", "vgg16", "frozen", "test")]
    # 6 and 4 of 8 right; the standard deviation of 75 and 50 is 17.7.
    assert frozen["seeds"] == "0, 1"
    assert frozen["accuracy, %"].startswith("62.5 ± 17.7 [")
    assert frozen["balanced accuracy, %"].startswith("62.5 ± 17.7")
    assert frozen["macro F1"].startswith("0.625 ± 0.177")
    smoke = table.loc[("toy-smoke/paper (smoke)", "vgg16", "frozen"), "accuracy, %"]
    assert [smoke[part].split()[0] for part in ("near", "far")] == ["50.0", "25.0"]


def test_a_cell_whose_tables_were_not_made_says_so(runs):
    (row,) = runs_table(runs / "other").to_dict("records")
    assert row == {
        "seeds": "0",
        "accuracy, %": "not reported",
        "balanced accuracy, %": "not reported",
        "macro F1": "not reported",
        "groups": "not reported",
    }
    # Likewise in a run whose tables are older than the cell.
    write_cell(runs / "toy" / "corrected", FINE_TUNED, {"test": right_in(range(8))})
    found = runs_table(runs).sort_index()
    assert found.loc[("toy/corrected", "vgg16", "fine_tuned", ""), "accuracy, %"] == "not reported"
    assert found.loc[("toy/corrected", "vgg16", "frozen", "test"), "accuracy, %"].startswith("62.5")
    assert found.loc[("toy/corrected", "vgg16", "frozen", "test"), "groups"] == "8"


@pytest.mark.parametrize("change", ["finished", "removed"])
def test_figures_are_never_shown_beside_other_seeds_than_they_are_of(runs, change):
    root = runs / "toy" / "corrected"
    if change == "finished":
        write_cell(root, of_seed(KEY, 2), {"test": right_in(range(8))})
    else:
        shutil.rmtree(RunFolder(root).cell(of_seed(KEY, 1)))
    row = runs_table(runs).xs("frozen", level="method").loc["toy/corrected"].iloc[0]
    assert row["seeds"] == "0, 1" or not row["accuracy, %"].startswith("62.5 ± 17.7")


def test_what_is_unfinished_or_a_copy_is_not_listed(runs):
    root = runs / "other" / "corrected"
    shutil.copytree(RunFolder(root).cell(FINE_TUNED), RunFolder(root).cell(FINE_TUNED).with_name("seed0.bak"))
    write_cell(root, KEY, {"test": right_in(range(8))})
    (RunFolder(root).cell(KEY) / "cell.json").unlink()
    assert runs_table(runs / "other")["seeds"].to_dict() == {("corrected", "vgg16", "fine_tuned", ""): "0"}


def test_a_protocols_own_folder_can_be_listed(listed):
    assert sorted(runs_table(listed / "toy" / "corrected").index.droplevel("run")) == [
        (PIXELS, "tree", "test"),
        ("vgg16", "frozen", "test"),
    ]


def test_the_majority_class_is_no_run(listed):
    assert "majority class" in (listed / "toy" / "corrected" / "scores.csv").read_text()
    assert "majority class" not in runs_table(listed).index.get_level_values("method")


def test_no_folder_and_no_finished_cell_are_said(tmp_path):
    with pytest.raises(MissingInputError, match=r"there is no folder .*nowhere; give one that holds run folders"):
        runs_table(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInputError, match=r"empty holds no finished cell, or lies inside a run folder"):
        runs_table(tmp_path / "empty")


# ---- The comparison

LABELS = np.array([0, 0, 1, 1, 0, 1, 1, 0])
FIRST = answers(LABELS, [0.1, 0.6, 0.9, 0.4, 0.2, 0.3, 0.8, 0.7])  # rows 1, 3, 5 and 7 are wrong
SECOND = answers(LABELS, [0.2, 0.3, 0.8, 0.7, 0.6, 0.9, 0.6, 0.1])  # row 4 is wrong


def exact_p(figure):
    """The share of all ways to exchange the two methods' answers, image by image, whose difference is as large."""

    def difference(exchanged):
        swap = np.array(exchanged)[:, None]
        first, second = np.where(swap, SECOND.probs, FIRST.probs), np.where(swap, FIRST.probs, SECOND.probs)
        return figure(second) - figure(first)

    found = np.array([difference(exchanged) for exchanged in itertools.product([False, True], repeat=8)])
    return (np.abs(found) >= abs(found[0]) - 1e-12).mean()


def accuracy(probs):
    return (probs.argmax(axis=1) == LABELS).mean()


def log_loss(probs):
    return -np.log(probs[np.arange(8), LABELS].astype(float)).mean()


@pytest.fixture
def pair(tmp_path):
    """The folders of two cells on the same images."""
    for protocol, predictions in (("first", FIRST), ("second", SECOND)):
        write_cell(tmp_path / protocol, KEY, {"val": right_in(range(3)), "test": predictions})
    return [tmp_path / protocol / "vgg16" / "frozen" / "seed0" for protocol in ("first", "second")]


def test_two_cells_are_compared_figure_by_figure(pair):
    table = compare_runs(*pair).set_index("metric")
    assert tuple(table.index) == COMPARED
    assert set(table["first_method"]) == set(table["second_method"]) == {"frozen, vgg16"}
    assert set(table["part"]) == {"test"}  # not on the validation images, which chose the weights
    row = table.loc["accuracy"]
    assert (row["first"], row["second"], row["difference"]) == (4 / 8, 7 / 8, 3 / 8)
    assert row["low"] <= 3 / 8 <= row["high"]
    assert row["p"] == pytest.approx(exact_p(accuracy))
    assert row["mcnemar_p"] == pytest.approx(binomtest(1, 5).pvalue)  # row 4 against rows 1, 3, 5 and 7
    row = table.loc["log_loss"]
    assert row["difference"] == pytest.approx(log_loss(SECOND.probs) - log_loss(FIRST.probs), rel=1e-6)
    assert row["p"] == pytest.approx(exact_p(log_loss))
    assert np.isnan(row["mcnemar_p"])


def test_p_is_corrected_over_all_rows_that_are_shown(pair, tmp_path):
    for protocol, predictions in (("first", FIRST), ("second", SECOND)):
        parts = {"near": predictions, "far": right_in(range(5 if protocol == "first" else 8))}
        write_cell(tmp_path / protocol, KEY, parts)
    table = compare_runs(*pair, metrics=["accuracy", "log_loss"])
    assert len(table) == 4
    ordered = table.sort_values("p")
    stepped = np.maximum.accumulate(ordered["p"].to_numpy() * np.arange(len(ordered), 0, -1)).clip(max=1)
    assert ordered["p_holm"].to_numpy() == pytest.approx(stepped)
    assert (table["p_holm"] >= table["p"]).all()


def test_the_other_way_round_only_the_sign_changes(pair):
    there, back = compare_runs(*pair), compare_runs(*pair[::-1])
    assert back["metric"].tolist() == there["metric"].tolist() == list(COMPARED)
    assert back["first"].tolist() == there["second"].tolist()
    assert back["difference"].tolist() == pytest.approx((-there["difference"]).tolist())
    assert back["p"].tolist() == pytest.approx(there["p"].tolist())


def test_metrics_stand_in_the_order_they_were_asked_for(pair):
    wanted = ["log_loss", "recall_PNEUMONIA", "accuracy"]
    table = compare_runs(*pair, metrics=wanted)
    assert table["metric"].tolist() == wanted
    assert table["first"].tolist()[1] == 2 / 4  # of rows 2, 3, 5 and 6 the second and third are wrong
    with pytest.raises(tl.InputError, match="acuracy"):
        compare_runs(*pair, metrics=["acuracy"])


def test_rows_are_matched_by_the_name_of_the_image(pair):
    before, file = compare_runs(*pair), pair[1] / "predictions.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + "".join(lines[:0:-1]))
    manifest = read_json(pair[1] / "cell.json")
    write_json(pair[1] / "cell.json", {key: manifest[key] for key in ("settings", "facts")})  # as earlier versions did
    pd.testing.assert_frame_equal(compare_runs(*pair), before)


def test_methods_are_compared_over_the_seeds_they_have_in_common(tmp_path):
    for seed, n_frozen, n_tuned in ((3, 6, 8), (4, 4, 5), (12, 2, 8)):
        write_cell(tmp_path, of_seed(KEY, seed), {"test": right_in(range(n_frozen))})
        if seed < 12:
            write_cell(tmp_path, of_seed(FINE_TUNED, seed), {"test": right_in(range(n_tuned))})
    (row,) = compare_runs(tmp_path / "vgg16/frozen", tmp_path / "vgg16/fine_tuned", ["accuracy"]).to_dict("records")
    assert (row["first_method"], row["second_method"]) == ("frozen, vgg16", "fine_tuned, vgg16")
    assert (row["first"], row["second"]) == (10 / 16, 13 / 16)  # seeds 3 and 4


def test_of_two_runs_the_cells_they_share_are_compared_on_the_parts_they_share(tmp_path):
    for run, keys, n in (("first", (KEY, FINE_TUNED), 4), ("second", (FINE_TUNED, KEY, TREE), 6)):
        for key in keys:
            parts = {"near": right_in(range(n)), "far": right_in(range(n - 2)), run: right_in(range(8))}
            write_cell(tmp_path / run, key, parts)
    table = compare_runs(tmp_path / "first", tmp_path / "second", ["accuracy"])
    rows = table.set_index(["first_method", "part"])["difference"].to_dict()
    assert (table["first_method"] == table["second_method"]).all()
    cells = itertools.product(("frozen, vgg16", "fine_tuned, vgg16"), ("near", "far"))
    assert rows == dict.fromkeys(cells, 2 / 8)


def test_published_folders_are_compared_as_well(pair, tmp_path):
    before = compare_runs(*pair)
    published = publish(tmp_path / "second", tmp_path / "published")
    pd.testing.assert_frame_equal(compare_runs(pair[0], published / "vgg16/frozen/seed0"), before)


def test_runs_without_a_cell_in_common_are_refused_with_what_each_holds(tmp_path):
    for run, keys in (("first", (KEY, TREE)), ("second", (FINE_TUNED, CellKey("frozen", "resnet50", 0)))):
        for key in keys:
            recipe = TOY.protocols["corrected"].cells["frozen", "vgg16"]
            write_cell(tmp_path / run, key, {"test": right_in(range(8))}, recipe=recipe)
    with pytest.raises(tl.InputError, match=r"No cell is in both\. Name the folders of two methods") as refused:
        compare_runs(tmp_path / "first", tmp_path / "second")
    assert "first holds tree, pixels; frozen, vgg16" in str(refused.value)
    assert "second holds frozen, resnet50; fine_tuned, vgg16" in str(refused.value)


def test_runs_on_other_test_images_are_refused(pair, tmp_path):
    write_cell(tmp_path / "third", KEY, {"test": answers(LABELS, SECOND.probs, ids="abcdefgh")})
    with pytest.raises(tl.InputError, match=r"16 samples are in one of them alone, e\.g\. .* the same test samples"):
        compare_runs(pair[0], tmp_path / "third")
    write_cell(tmp_path / "fourth", KEY, {"test": answers(1 - LABELS, SECOND.probs)})
    with pytest.raises(
        tl.InputError, match=r"sample '0\.png' has the label 'NORMAL' in one and 'PNEUMONIA' in the other"
    ):
        compare_runs(pair[0], tmp_path / "fourth")


def test_runs_of_other_seeds_are_refused(pair, tmp_path):
    write_cell(tmp_path / "third", of_seed(KEY, 1), {"test": SECOND})
    with pytest.raises(tl.InputError, match=r"no seed in common \(seed 0 and seed 1\).*Run both with the same --seeds"):
        compare_runs(pair[0], tmp_path / "third")


def test_folders_without_a_finished_cell_are_refused(pair, tmp_path):
    with pytest.raises(MissingInputError, match=r"there is no folder .*nowhere; give one that holds a finished cell"):
        compare_runs(pair[0], tmp_path / "nowhere")
    for folder in (tmp_path, tmp_path / "first" / "vgg16"):  # above a run; between it and its methods
        with pytest.raises(MissingInputError, match=r"holds no finished cell: no cell\.json, and no seed0"):
            compare_runs(folder, pair[1])
    (pair[1] / "cell.json").unlink()
    with pytest.raises(MissingInputError, match="holds no finished cell"):
        compare_runs(*pair)


def test_runs_without_a_test_part_in_common_are_refused_in_words(pair, tmp_path):
    write_cell(tmp_path / "third", KEY, {"val": right_in(range(3)), "test1": SECOND})
    with pytest.raises(tl.InputError, match="test1"):
        compare_runs(pair[0], tmp_path / "third" / "vgg16/frozen/seed0")


def test_a_run_folder_may_lie_at_the_top_of_the_disk(pair, tmp_path, monkeypatch):
    # As in a container: compare /first /second. Paths without parents stand for those of the top.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "resolve", lambda path, strict=False: path)
    assert compare_runs(Path("first"), Path("second"), ["accuracy"])["difference"].tolist() == [3 / 8]
