import numpy as np
import pandas as pd

from tlkeras.evaluation.blocks import (
    Bullets,
    Code,
    Figure,
    Folded,
    Heading,
    Table,
    Text,
    bullets,
    page_as_markdown,
    to_markdown,
)


def test_every_kind_as_markdown(tmp_path):
    frame = pd.DataFrame({"ours": [0.5]}, index=pd.Index(["vgg16"], name="backbone"))
    blocks = [
        Heading("A page", 1),
        Text("Some **strong** `code`."),
        Heading("A section"),
        Bullets(("one", "two")),
        Code(("first --line", "second")),
        Table(frame),
        Figure(tmp_path / "figures" / "a.png", "Bars", "The caption."),
    ]
    assert page_as_markdown(blocks, tmp_path).split("\n") == [
        "# A page",
        "",
        "Some **strong** `code`.",
        "",
        "## A section",
        "",
        "- one",
        "- two",
        "",
        "```sh",
        "first --line",
        "second",
        "```",
        "",
        "| backbone |  ours |",
        "| -------- | ----: |",
        "| vgg16    | 0.500 |",
        "",
        "![Bars](figures/a.png)",
        "",
        "The caption.",
        "",
    ]


def test_a_figure_is_linked_from_where_the_page_lies_and_needs_no_caption(tmp_path):
    page = page_as_markdown([Figure(tmp_path / "a.png", "Bars")], tmp_path / "deep" / "folder")
    assert page == "![Bars](../../a.png)\n"


def test_what_is_folded_may_hold_any_block_and_folds():
    page = page_as_markdown([Folded("More", (Text("inside"), Folded("Deeper", (Bullets(("x",)),))))], ".")
    assert page.split("\n") == [
        "<details>",
        "<summary>More</summary>",
        "",
        "inside",
        "",
        "<details>",
        "<summary>Deeper</summary>",
        "",
        "- x",
        "",
        "</details>",
        "",
        "</details>",
        "",
    ]


def test_bullets_are_a_heading_and_a_list():
    assert bullets("Why", (word for word in ("a", "b"))) == [Heading("Why", 2), Bullets(("a", "b"))]


def test_a_page_ends_with_one_newline():
    assert page_as_markdown([Text("a"), Code(("b",))], ".") == "a\n\n```sh\nb\n```\n"
    assert page_as_markdown([], ".") == "\n"


def test_markdown_is_aligned_and_escaped():
    frame = pd.DataFrame(
        {"a|b": ["x|y", None], "n": [1, 20], "share": [0.5, np.nan]}, index=pd.Index(["r1", "r2"], name="row")
    )
    assert to_markdown(frame) == (
        "| row | a\\|b |   n | share |\n"
        "| --- | ---- | --: | ----: |\n"
        "| r1  | x\\|y |   1 | 0.500 |\n"
        "| r2  |      |  20 |       |\n"
    )


def test_markdown_joins_column_levels_and_keeps_every_index_level():
    frame = pd.DataFrame(
        [[1.0]],
        index=pd.MultiIndex.from_tuples([("p", "q")], names=["protocol", None]),
        columns=pd.MultiIndex.from_tuples([("frozen", "ours")]),
    )
    assert to_markdown(frame).splitlines() == [
        "| protocol |     | frozen ours |",
        "| -------- | --- | ----------: |",
        "| p        | q   |       1.000 |",
    ]
