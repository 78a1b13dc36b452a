import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlkeras.errors import InputError, MissingInputError
from tlkeras.evaluation.blocks import Bullets, Code, Figure, Folded, Heading, Table, Text, to_markdown
from tlkeras.evaluation.report import report_html

VOID = {"meta", "link", "img"}
NASTY = "<script>alert('x')</script> & \"<img src=x onerror=alert(1)>\""


class Tags(HTMLParser):
    """Every start tag with its attributes, and the text inside each; refuses tags that are not closed in order."""

    def __init__(self, page):
        super().__init__()
        self.found, self.open = [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes), []))
        if tag not in VOID:
            self.open.append(self.found[-1])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, texts in self.open:
            texts.append(data)

    def texts(self, tag):
        return ["".join(texts) for name, _, texts in self.found if name == tag]

    def attributes(self, tag):
        return [attributes for name, attributes, _ in self.found if name == tag]


def tags(*blocks, title="A page"):
    return Tags(report_html(blocks, title=title))


def body(*blocks):
    """What the page says between its title and the end of its main part."""
    page = report_html([Heading("A page", 1), *blocks], title="A page")
    return re.search(r"<h1>A page</h1>\n(.*)</main>", page, re.DOTALL)[1].strip()


def save_png(path, size=(300, 150), **options):
    Image.new("RGB", size, "navy").save(path, **options)
    return path


def marked(cells):
    """Whether a column of such cells is marked as numbers."""
    found = tags(Table(pd.DataFrame({"value": cells}, index=pd.Index(["x"] * len(cells), name="name"))))
    kinds = {cell.get("class") for cell in found.attributes("td")} | {found.attributes("th")[1].get("class")}
    assert len(kinds) == 1
    return kinds == {"number"}


def test_nothing_is_loaded_from_elsewhere_and_only_its_own_script_and_style_may_run(tmp_path):
    page = report_html([Figure(save_png(tmp_path / "a.png"), "A square")], title="A page")
    found = Tags(page)
    addresses = [value for _, given, _ in found.found for name, value in given.items() if name in {"src", "href"}]
    assert len(addresses) == 2
    assert all(address.startswith("data:") for address in addresses)
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest|https?:", page)

    policy = next(each["content"] for each in found.attributes("meta") if "http-equiv" in each)
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert (allowed["default-src"], allowed["img-src"]) == ("'none'", "data:")
    for tag in ("script", "style"):
        (text,) = found.texts(tag)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert allowed[f"{tag}-src"] == f"'sha256-{digest}'"
    assert not any(name == "style" or name.startswith("on") for _, given, _ in found.found for name in given)


def test_nothing_a_block_says_becomes_a_tag(tmp_path):
    figure = Figure(save_png(tmp_path / "a.png"), NASTY, NASTY)
    frame = pd.DataFrame({NASTY: [NASTY]}, index=pd.Index([NASTY], name=f"index {NASTY}"))
    blocks = [Heading(NASTY), Text(NASTY), Bullets((NASTY,)), Code((NASTY,)), Table(frame), Folded(NASTY, (figure,))]
    found = tags(*blocks, title=NASTY)
    assert len(found.texts("script")) == 1
    assert "alert" not in found.texts("script")[0]
    assert [each["alt"] for each in found.attributes("img")] == [NASTY]
    for tag in ("title", "h1", "h2", "p", "td", "figcaption"):
        assert found.texts(tag) == [NASTY], tag
    assert found.texts("summary") == ["Contents", NASTY]
    assert found.texts("code") == [NASTY + "\n"]
    assert found.texts("th") == [f"index {NASTY}", NASTY, NASTY]
    assert found.texts("li") == [NASTY, NASTY]  # the contents list, the bullets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a **b c** d", "a <strong>b c</strong> d"),
        ("`a**b` and **c**", "<code>a**b</code> and <strong>c</strong>"),
        ("**a `b` c**", "<strong>a <code>b</code> c</strong>"),
        ("`a < b`", "<code>a &lt; b</code>"),
        ("2 ** 3 ** 4, fine_tuned_x, *a*", "2 ** 3 ** 4, fine_tuned_x, *a*"),
        ("2 ** 3** 4", "2 ** 3** 4"),
        ("2 **3 ** 4", "2 **3 ** 4"),
        ("[text](https://example.org)", "[text](https://example.org)"),
        ("one ` alone", "one ` alone"),
    ],
)
def test_strong_and_code_are_shown_so_and_nothing_else(text, shown):
    assert body(Text(text)) == f"<p>{shown}</p>"


def test_contents_list_leads_to_every_section_once():
    found = tags(
        Heading("Top", 1), Heading("Accuracy, %"), Heading("Deeper", 3), Heading("Accuracy %"), Heading("±"),
        Heading("±"), Folded("More", (Heading("Inside"),)),
    )  # fmt: skip
    names = ["accuracy", "accuracy-2", "section", "section-2"]
    assert [each["href"] for each in found.attributes("a")] == [f"#{name}" for name in names]
    assert found.texts("a") == ["Accuracy, %", "Accuracy %", "±", "±"]
    assert [given["id"] for _, given, _ in found.found if "id" in given] == names


def test_a_page_without_sections_has_no_contents_list():
    assert tags(Text("a")).texts("nav") == []


def test_the_title_is_the_first_heading_unless_the_blocks_bring_one():
    assert tags(Text("a"), title="Named").texts("h1") == ["Named"]
    found = tags(Heading("Own", 1), title="Named")
    assert (found.texts("h1"), found.texts("title")) == (["Own"], ["Named"])
    assert tags(title="Empty").texts("h1") == ["Empty"]


def test_a_figure_brings_its_file_its_words_and_the_size_it_was_drawn_for(tmp_path):
    path = save_png(tmp_path / "a.png", (300, 150), dpi=(150, 150))  # 2 by 1 inch, 96 CSS pixels each
    (image,) = tags(Figure(path, "A square", "Blue.")).attributes("img")
    kind, _, data = image["src"].partition(",")
    assert (kind, base64.b64decode(data)) == ("data:image/png;base64", path.read_bytes())
    assert (image["width"], image["height"], image["alt"]) == ("192", "96", "A square")
    (image,) = tags(Figure(save_png(tmp_path / "b.png"), "No density")).attributes("img")
    assert (image["width"], image["height"]) == ("300", "150")


def test_figures_that_follow_each_other_share_a_box(tmp_path):
    small, large = save_png(tmp_path / "s.png", (560, 9)), save_png(tmp_path / "l.png", (561, 9))
    found = tags(Figure(small, "a"), Figure(large, "b"), Text("between"), Figure(small, "c"))
    boxes = [each for each in found.attributes("div") if each["class"] == "figures"]
    assert len(boxes) == 2
    assert [each.get("class") for each in found.attributes("figure")] == ["small", None, "small"]
    assert found.texts("figcaption") == []


def test_figures_that_cannot_be_shown_are_named(tmp_path):
    with pytest.raises(MissingInputError, match=r"there is no file .*gone\.png"):
        report_html([Figure(tmp_path / "gone.png", "a")], title="A page")
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.jpg")
    with pytest.raises(InputError, match=r"photo\.jpg is not a PNG"):
        report_html([Folded("More", (Figure(tmp_path / "photo.jpg", "a"),))], title="A page")


def test_what_is_no_block_is_refused():
    with pytest.raises(InputError, match="received 'words'"):
        report_html(["words"], title="A page")


def test_a_table_holds_the_cells_of_the_markdown_table_in_its_order():
    index = pd.MultiIndex.from_tuples([("frozen", 1), ("tuned", 2)], names=["method", None])
    columns = pd.MultiIndex.from_tuples([("test", "ours"), ("test", "n"), ("val", "word")])
    frame = pd.DataFrame([[1 / 3, 4, "a"], [np.nan, 5, None]], index=index, columns=columns)
    found = tags(Table(frame))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in to_markdown(frame).splitlines()]
    assert lines[0] == ["method", "", "test ours", "test n", "val word"]
    heads, rows = found.texts("th")[:5], [found.texts("th")[5:7] + found.texts("td")[:3]]
    rows.append(found.texts("th")[7:] + found.texts("td")[3:])
    assert [heads, *rows] == [lines[0], *lines[2:]]
    assert [each["scope"] for each in found.attributes("th")] == ["col"] * 5 + ["row"] * 4


def test_a_table_may_be_empty():
    assert tags(Table(pd.DataFrame({"a": []}, index=pd.Index([], name="row")))).texts("th") == ["row", "a"]


@pytest.mark.parametrize(
    "cells",
    [
        ["91.3 ± 0.4 [88.9, 93.4]", "not run"],
        ["1,341", ""],
        ["-0.012"],
        ["+0.5"],
        ["−0.5"],
        ["12 %"],
        ["12%"],
        ["1e-05"],
        [".5"],
        ["0.0001, then 1e-05"],
        [0.25, np.nan],
        [3, 4],
        ["5 + 5", "none"],
        ["not defined", ""],
    ],
)
def test_columns_of_numbers_are_marked(cells):
    assert marked(cells)


@pytest.mark.parametrize(
    "cells",
    [
        ["vgg16", "resnet50"],
        ["150x150", "32x32"],
        ["2.5.1", "2.6.0"],
        ["2026-01-31"],
        ["279052de2cfa"],
        ["5", "adam", "ImageNet"],
        [True, False],
        ["", None],
        ["[128]"],
    ],
)
def test_columns_of_words_are_not(cells):
    assert not marked(cells)


def test_what_was_not_run_is_set_apart():
    found = tags(Table(pd.DataFrame({"ours": ["not run", "91.0", "not defined"]})))
    assert found.texts("em") == ["not run", "not defined"]


def test_code_keeps_its_lines_and_its_options_whole():
    found = tags(Code(("python run.py --out a-b --seeds 0", "", "  -v x")))
    assert found.texts("code") == ["python run.py --out a-b --seeds 0\n\n  -v x\n"]
    assert found.texts("i") == ["--out", "--seeds", "-v"]


def test_a_page_is_the_same_text_each_time_and_ends_with_a_newline():
    blocks = [Heading("A"), Text("b")]
    page = report_html(iter(blocks), title="A page")
    assert page == report_html(blocks, title="A page")
    assert page.endswith("</html>\n")
