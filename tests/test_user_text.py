"""Names that people give, on every way out: they are shown, and do nothing."""

import csv
import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from cells import KEY, TOY, answers, write_cell
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import tlkeras as tl
from tlkeras.evaluation.blocks import Bullets, Code, Folded, Heading, Table, Text, page_as_markdown, to_markdown
from tlkeras.files import read_csv, write_csv
from tlkeras.replication.results import report_experiment
from tlkeras.replication.run_folder import RunFolder
from tlkeras.user_text import from_csv, in_csv, in_figure, in_file_name, in_markdown, in_terminal

NAMES = ("a $x$ and $", "_hidden", "=SUM(A1)", "cut\rhere", "<b>bold</b> | `code`", "\x1b[2J+1|2")
ANY = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def predictions(names=NAMES):
    labels = np.arange(4 * len(names)) % len(names)
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(len(names)), len(labels)).astype(np.float32)
    groups = [f"{names[label]} {row}" for row, label in enumerate(labels)]
    return answers(labels, probs, classes=names, ids=[f"{group}.png" for group in groups], groups=groups)


@pytest.mark.parametrize(
    ("given", "shown"),
    [("$5", "$5"), ("a $x$ b", "a $x$ b"), (r"\$x$", r"\$x$"), ("_a", " _a"), ("a\tb", "a b"), ("\x1b[2J", r"\x1b[2J")],
)
def test_a_figure_shows_the_name_itself(given, shown):
    figure = Figure()
    text = figure.text(0, 0, in_figure(given))
    assert text._preprocess_math(text.get_text()) == (shown, False)  # what matplotlib draws, and that it is no formula
    ax = figure.add_subplot()
    ax.plot([0, 1], label=in_figure(given))
    assert len(ax.legend().get_texts()) == 1


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)>"),
        ("</details>", "&lt;/details>"),
        ("p <0.001 and a < b", "p <0.001 and a < b"),
        ("R&amp;D, R&D, &#60;b&#62;", "R&amp;amp;D, R&D, &amp;#60;b&amp;#62;"),
        ("![x](http://elsewhere/x.png)", r"![x]\(http://elsewhere/x.png)"),
        ("two\r\nlines", "two lines"),
        ("`--out <DIR>` and <DIR>", "`--out <DIR>` and &lt;DIR>"),
        ("``<a> ` <b>`` <c>", "``<a> ` <b>`` &lt;c>"),
        ("`` ` <b>", "`` ` &lt;b>"),  # no code: the ticks do not match
    ],
)
def test_markdown_shows_the_name_itself(given, written):
    assert in_markdown(given) == written


def test_every_block_of_a_page_is_written_so():
    name = "<b>"
    blocks = [
        Heading(name),
        Text(name),
        Bullets((name,)),
        Folded(name, (Text(name), Table(pd.DataFrame({name: [name]})))),
    ]
    page = page_as_markdown(blocks, ".")
    assert name not in page
    assert page.count("&lt;b>") == 7
    assert name in page_as_markdown([Code((name,))], ".")


def test_a_cell_of_a_table_stays_one_cell():
    table = to_markdown(pd.DataFrame({"name": ["a|b", "two\r\nlines", "<i>"]}))
    assert [line.replace("\\|", "").count("|") for line in table.splitlines()] == [3] * 5
    assert "two lines" in table
    assert "&lt;i>" in table


@pytest.mark.parametrize(
    ("given", "written"),
    [
        *(("=1+1", "'=1+1"), ("@x", "'@x"), ("+a", "'+a"), ("-a", "'-a"), ("\tx", "'\tx"), ("'=x", "''=x")),
        *((name, name) for name in ("", "-", "=", "-5", "+0.31", "-.5e-3", "'quoted'", "a=b", "nv")),
    ],
)
def test_a_spreadsheet_takes_no_cell_for_a_formula(given, written):
    assert in_csv(given) == written
    assert from_csv(written) == given


@given(cell=st.text(alphabet=st.sampled_from("'=+-@\t\r\n1.ea "), max_size=5) | st.text(max_size=8))
@ANY
def test_every_cell_is_read_as_it_was(cell):
    assert from_csv(in_csv(cell)) == cell


def test_what_earlier_versions_wrote_is_read_as_it_stands():
    old = "sample_id,value\n=1+1,1\n-x,2\n"
    assert read_csv(io.BytesIO(old.encode()))["sample_id"].tolist() == ["=1+1", "-x"]


def test_tables_are_read_back_exactly_and_their_lines_end_as_before(tmp_path):
    frame = pd.DataFrame({"name": [*NAMES, "plain", "\r", "a\r\nb"], "=x": np.arange(9) / 4})
    contents = write_csv(frame, tmp_path / "a.csv").read_bytes()
    pd.testing.assert_frame_equal(read_csv(tmp_path / "a.csv"), frame)
    rows = list(csv.reader(io.StringIO(contents.decode(), newline="")))
    assert [row[0] for row in rows[1:4]] == ["a $x$ and $", "_hidden", "'=SUM(A1)"]
    assert b"\nplain,1.5\n" in contents
    plain = pd.DataFrame({"a": ["x", "y, z"], "b": [0.1, -2.5]})
    assert write_csv(plain, tmp_path / "b.csv").read_bytes() == b'a,b\nx,0.1\n"y, z",-2.5\n'


@pytest.mark.parametrize(
    ("given", "written"),
    [("nv", "nv"), ("../a\\b", "%2E.%2Fa%5Cb"), ("100 %", "100 %25"), ("a\nb", "a%0Ab"), ("Grüße.x", "Grüße.x")],
)
def test_a_name_leads_to_no_other_folder(given, written):
    assert in_file_name(given) == written


def test_the_terminal_shows_control_characters_and_obeys_none():
    assert in_terminal("a\x1b[31mb\x07\n\tc\x9b\u202e\r") == "a\\x1b[31mb\\x07\n\tc\\x9b\\u202e\\x0d"
    assert in_terminal("50 %\r", keep="\r") == "50 %\r"
    assert in_terminal("Grüße 肺 🫁") == "Grüße 肺 🫁"


def test_a_run_with_such_names_is_reported_and_read_back(tmp_path, quick_figures):
    experiment = dataclasses.replace(TOY, positive_class=None, reported={})
    found = predictions()
    counts = dict.fromkeys(NAMES, 4)
    write_cell(
        tmp_path, KEY, {"test": found}, experiment=experiment, facts={"images": {"train": counts, "test": counts}}
    )
    folder = RunFolder(tmp_path)
    read = folder.read_predictions(KEY)["test"]
    assert read.samples.class_names == NAMES
    assert read.samples.sample_ids.tolist() == found.samples.sample_ids.tolist()
    assert read.samples.groups.tolist() == found.samples.groups.tolist()
    np.testing.assert_array_equal(read.samples.labels, found.samples.labels)
    report_experiment(experiment.under("corrected"), folder)
    page = (tmp_path / "table.md").read_text()
    assert "<b>" not in page
    assert "&lt;b>bold&lt;/b>" in page
    assert (folder.cell(KEY) / "confusion_test.png").is_file()


def test_every_drawing_takes_such_names_and_names_every_class_in_its_legend(tmp_path):
    from tlkeras.evaluation import plots
    from tlkeras.evaluation.curve_plots import draw_accuracy_lines, draw_precision_recall, draw_roc
    from tlkeras.evaluation.embedding import embedding_figure
    from tlkeras.evaluation.image_plots import (
        draw_activations,
        draw_explanation,
        draw_heatmap,
    )
    from tlkeras.evaluation.metrics import confusion_table
    from tlkeras.evaluation.sheets import draw_predictions_sheet
    from tlkeras.evaluation.table_plots import draw_class_counts, draw_confusion

    found = predictions()
    drawn = {}
    for draw in (draw_roc, draw_precision_recall):
        drawn[draw] = draw(found, plots.new_figure(5, 5)[1]).figure
        assert len(drawn[draw].axes[0].get_legend().get_texts()) >= len(NAMES)
    drawn["confusion"] = draw_confusion(confusion_table(found), plots.new_figure(5, 5)[1]).figure
    counts = pd.DataFrame({name: range(1, 1 + len(NAMES)) for name in NAMES}, index=NAMES)
    drawn["counts"] = draw_class_counts(counts, plots.new_figure(5, 5)[1]).figure
    assert len(drawn["counts"].axes[0].get_legend().get_texts()) == len(NAMES)
    history = pd.DataFrame({"phase": 1, "epoch": [1, 2], "accuracy": 0.5, "val_accuracy": 0.5})
    drawn["lines"] = draw_accuracy_lines(dict.fromkeys(NAMES, history), plots.new_figure(5, 5)[1]).figure
    assert len(drawn["lines"].axes[0].get_legend().get_texts()) == len(NAMES)
    drawn["embedding"] = embedding_figure({"$t$ $": (np.eye(2), np.array([0, 1]))}, NAMES)
    image = np.zeros((8, 8, 3), np.uint8)
    for name in NAMES:
        explained = tl.Explanation(image, np.zeros((8, 8), int), np.zeros(1), 0, name, 0.5, 0.5)
        drawn[f"lime {name}"] = draw_explanation(explained).figure
        drawn[f"heat {name}"] = draw_heatmap(tl.Heatmap(image, np.zeros((8, 8)), 0, name, 0.5, name)).figure
        drawn[f"maps {name}"] = draw_activations(tl.Activations(image, np.zeros((2, 2, 1), np.float32), name)).figure
    sheet, axes = plots.new_grid(1, len(NAMES))
    draw_predictions_sheet([image] * len(NAMES), NAMES, NAMES, axes)
    for figure in (*drawn.values(), sheet):
        plots.save_figure(figure, tmp_path / "a.png")  # a formula that is none would raise here
