import pandas as pd
import pytest
from cells import finished

import tlkeras as tl
from tlkeras.evaluation.blocks import page_as_markdown
from tlkeras.files import write_csv
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.search_report import rankings, write_rankings
from tlkeras.training.recipe import describe

KEY = CellKey("best", "vgg16", 0)
RATES = {"learning_rate": (1e-3, 1e-2), "epochs": (3, 5)}
# Four images in two folds. Settings 0 and 3 are right in all, 1 in fold 0 alone, 2 in none (it has no answer).
LABELS = ["no", "yes", "no", "yes"]
ANSWERS = (LABELS, ["no", "yes", "yes", "no"], ["", "", "", ""], LABELS)


def searched(folder, grid, answers=ANSWERS, ids=("a", "b", "c", "d"), recipe=None, metric=None):
    """{key: cell} of one finished search, its out_of_fold.csv written by hand."""
    recipe = recipe or tl.Tuner("vgg16", phases=tl.Phase(1, 1e-3, keep="last"))
    table = pd.DataFrame({"sample_id": ids, "group": "", "fold": [0, 0, 1, 1], "label": LABELS})
    for number, answer in enumerate(answers):
        table[f"setting_{number}"] = answer
    write_csv(table, folder.cell(KEY) / "out_of_fold.csv")
    described = describe(tl.Search(recipe, grid, tl.KFold(2), metric))
    return {KEY: {"settings": {"recipe": described}, "facts": {"search": {"seconds": 1234.4}}}}


def ranking_blocks(cells, ranked, published=None):
    return rankings(finished(cells, rankings=ranked), published=published)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


def test_the_ranking_is_that_of_the_held_out_folds_ties_to_the_fewest_epochs(folder):
    (ranking,) = write_rankings(folder, searched(folder, RATES)).values()
    assert ranking[["learning_rate", "epochs"]].to_numpy().tolist() == [[1e-3, 3], [1e-2, 5], [1e-3, 5], [1e-2, 3]]
    assert ranking["mean"].tolist() == [1, 1, 0.5, 0]
    assert ranking["rank"].tolist() == [1, 1, 3, 4]
    assert ranking["best"].tolist() == [True, False, False, False]
    written = pd.read_csv(folder.cell(KEY) / "ranking.csv")
    pd.testing.assert_frame_equal(written, ranking, check_dtype=False)
    assert (folder.cell(KEY) / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_the_section_has_the_documents_figures_beside_ours(folder):
    cells = searched(folder, RATES)
    ranked = write_rankings(folder, cells)
    published = {"best": {(1e-3, 3): 0.996, (1e-1, 9): 0.976}}
    page = page_as_markdown(ranking_blocks(cells, ranked, published), folder.root)
    assert page.startswith("## The grid of vgg16/best/seed0\n")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    assert [line[:3] + line[4:] for line in lines[2:]] == [
        ["1= (chosen)", "0.001", "3", "0.996"],
        ["1=", "0.01", "5", ""],
        ["3", "0.001", "5", ""],
        ["4", "0.01", "3", ""],
        ["", "0.1", "9", "0.976"],
    ]
    assert lines[2][3].startswith("1.000 ± 0.000")
    assert lines[-1][3] == "not run"
    assert "over 2 folds" in page
    assert "over their 4 groups" in page
    assert "took 1,234 s" in page


def test_the_metric_that_ranked_is_named_and_the_documents_accuracies_stand_beside_no_other(folder):
    cells = searched(folder, RATES, metric="balanced_accuracy")
    (ranking,) = write_rankings(folder, cells).values()
    assert ranking["mean"].tolist() == [1, 1, 0.5, 0]
    page = page_as_markdown(ranking_blocks(cells, {KEY: ranking}, {"best": {(1e-3, 3): 0.987}}), folder.root)
    assert "mean balanced accuracy over folds" in page
    assert "\nBalanced accuracy on held-out folds, mean" in page
    assert "0.987" not in page


def test_without_published_figures_there_is_no_column_of_them(folder):
    cells = searched(folder, RATES)
    page = page_as_markdown(
        ranking_blocks(cells, write_rankings(folder, cells), {"another": {(1e-3, 3): 0.996}}), folder.root
    )
    assert "published" not in page
    assert "0.987" not in page


def test_a_grid_of_one_name_or_three_has_a_ranking_and_no_map(folder):
    for grid in ({"epochs": (1, 2, 3, 4)}, {"learning_rate": (1e-3, 1e-2), "epochs": (1, 2), "batch_size": (8,)}):
        (ranking,) = write_rankings(folder, searched(folder, grid)).values()
        assert len(ranking) == 4
        assert not (folder.cell(KEY) / "grid.png").exists()


def test_stages_and_none_are_values_like_others(folder):
    grid = {"unfreeze": (("block5",), "all"), "schedule": (None, "cosine")}
    cells = searched(folder, grid)
    (ranking,) = write_rankings(folder, cells).values()
    assert set(zip(ranking["unfreeze"], ranking["schedule"], strict=True)) == {
        ('["block5"]', "null"),
        ('["block5"]', "cosine"),
        ("all", "null"),
        ("all", "cosine"),
    }
    assert "block5" in page_as_markdown(ranking_blocks(cells, {KEY: ranking}), folder.root)
    assert (folder.cell(KEY) / "grid.png").is_file()


def test_classes_and_files_that_look_like_numbers_or_nothing_are_words(folder):
    cells = searched(folder, RATES, answers=(["01", "NA", "01", "NA"],) * 4, ids=("1", "02", "\udce4.png", "nan"))
    table = folder.cell(KEY) / "out_of_fold.csv"
    lines = table.read_text(encoding="utf-8", errors="surrogateescape").replace(",no,", ",01,").replace(",yes,", ",NA,")
    table.write_text(lines, encoding="utf-8", errors="surrogateescape")
    (ranking,) = write_rankings(folder, cells).values()
    assert (ranking["mean"] == 1).all()


def test_cells_that_searched_nothing_have_no_ranking(folder):
    cell = {"settings": {"recipe": describe(tl.PixelBaseline("decision_tree"))}, "facts": {}}
    assert write_rankings(folder, {KEY: cell}) == {}


def test_the_ranking_is_the_one_that_chose(folder, toy_pixels):
    """What `Search.fit` ranked in memory and what is read back from the folder are one table."""
    search = tl.Search(
        tl.PixelBaseline("random_forest", image_size=(8, 8)),
        {"n_trees": (1, 3), "pixels": ("raw", "rescaled")},
        tl.KFold(2),
    )
    found = search.fit(toy_pixels, seed=0)
    facts = found.write_run(folder.cell(KEY))
    (ranking,) = write_rankings(folder, {KEY: {"settings": {"recipe": describe(search)}, "facts": facts}}).values()
    pd.testing.assert_frame_equal(ranking, found.ranking, check_dtype=False)
    assert ranking.loc[ranking["best"], list(search.grid)].to_dict("records") == [facts["search"]["best"]]
