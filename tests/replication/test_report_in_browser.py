"""The report as a reader meets it."""

import pandas as pd
import pytest
from browser import faults_of, open_page
from PIL import Image

from tlkeras.evaluation.blocks import Bullets, Code, Figure, Folded, Heading, Table, Text
from tlkeras.evaluation.report import report_html
from tlkeras.files import write_text

pytestmark = pytest.mark.slow

PATH = "/a/folder/without/end/" + "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_" * 6 + "no_top.h5"
HACK = "<script>window.hacked = true</script><img src=x onerror='window.hacked = true'>"
SCORES = {
    "vgg19": "91.3 ± 0.4 [88.9, 93.4]",
    "vgg16": "1,341",
    "resnet101": "not run",
    "resnet50": "-0.012",
    "Xception": "12 %",
    "": "",
    "alexnet": "−3",
    "lenet": "< 0.001",
    "densenet": "not defined",
}
BY_SCORE = ["alexnet", "resnet50", "lenet", "Xception", "vgg19", "vgg16"]
WITHOUT_SCORE = ["resnet101", "", "densenet"]
BY_NAME = ["alexnet", "densenet", "lenet", "resnet50", "resnet101", "vgg16", "vgg19", "Xception"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    Image.new("RGB", (1400, 700), "white").save(folder / "wide.png", dpi=(150, 150))
    Image.new("RGB", (300, 300), "teal").save(folder / "small.png")
    wide = pd.DataFrame(
        {
            f"a column of many words, number {i}": [f"{i}.25 [{i}.00, {i}.50]", PATH if i == 7 else HACK]
            for i in range(12)
        },
        index=pd.Index(["ours", HACK], name="backbone"),
    )
    blocks = [
        Heading(f"report of_{'a_name_without_end_' * 5}", 1),
        Text(f"Class {HACK} of {PATH}, `{PATH}`, **{PATH}**."),
        Heading("Scores"),
        Table(pd.DataFrame({"score": SCORES.values()}, index=pd.Index(list(SCORES), name="backbone"))),
        Heading(f"Wide {PATH}"),
        Heading("Deeper", 3),
        Table(wide),
        Figure(folder / "wide.png", f"A white box of {HACK}", f"From {PATH}"),
        Folded(
            f"Behind {PATH}",
            (Figure(folder / "small.png", "A square"), Figure(folder / "small.png", "Another"), Table(wide)),
        ),
        Bullets((PATH, HACK)),
        Heading("Made with"),
        Code((f"python {PATH} --out {PATH}", "python second.py")),
        *[Text("Words that make the page long. " * 40) for _ in range(8)],
    ]
    return write_text(folder / "report.html", report_html(blocks, title="A report"))


@pytest.mark.parametrize("width", [390, 1280, 2200])
@pytest.mark.parametrize("dark", [False, True])
def test_whole_and_quiet_on_every_screen(report, width, dark):
    assert faults_of(report, width=width, dark=dark) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<h1>a</h1><div style='width: 3000px'>b</div>", "3000 pixels wide or more on a screen of 1280"),
        ("<h1>a</h1><details><div style='width: 3000px'>b</div></details>", "3000 pixels wide or more"),
        ("<h1>a</h1><script>missing()</script>", "missing is not defined"),
        ("<h1>a</h1><script>console.log('b')</script>", "log: b"),
        ("<h1>a</h1><img alt='b' src='https://example.invalid/a.png'>", "asked for https://example.invalid/a.png"),
        ("<h1>a</h1><img alt='b' src='data:image/png;base64,AAAA'>", "image 1 is not shown"),
        ("<h1>a</h1><img src='data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA='>", "image 1 has no words"),
        ("<h1>a</h1><h3>b</h3>", "headings of levels [1, 3]"),
        ("<h1>a</h1><h1>b</h1>", "headings of levels [1, 1]"),
    ],
)
def test_the_check_sees_what_it_is_for(tmp_path, body, fault):
    icon = "<link rel='icon' href='data:,'>"
    path = write_text(tmp_path / "a.html", f"<!DOCTYPE html>{icon}<body style='margin: 0'>{body}")
    assert any(fault in found for found in faults_of(path))


def first_column(page):
    return page.locator("table").first.locator("tbody th").all_inner_texts()


def press(page, name, *, key=None):
    button = page.locator("table").first.get_by_role("button", name=name)
    button.press(key) if key else button.click()
    return (
        page.locator("table")
        .first.locator("[aria-sort]")
        .evaluate_all("all => all.map(e => [e.textContent, e.getAttribute('aria-sort')])")
    )


def test_numbers_sort_up_then_down_then_as_they_were(report):
    with open_page(report) as opened:
        page = opened.page
        assert first_column(page) == list(SCORES)
        assert press(page, "score") == [["score", "ascending"]]
        assert first_column(page) == BY_SCORE + WITHOUT_SCORE
        assert press(page, "score") == [["score", "descending"]]
        assert first_column(page) == BY_SCORE[::-1] + WITHOUT_SCORE
        assert press(page, "score") == []
        assert first_column(page) == list(SCORES)


def test_words_sort_by_the_numbers_in_them_and_from_the_keyboard(report):
    with open_page(report) as opened:
        page = opened.page
        press(page, "score")
        assert press(page, "backbone", key="Enter") == [["backbone", "ascending"]]
        assert first_column(page) == [*BY_NAME, ""]
        assert press(page, "backbone", key="Space") == [["backbone", "descending"]]
        assert first_column(page) == [*BY_NAME[::-1], ""]


def test_without_javascript_the_table_is_there_and_offers_no_buttons(report):
    with open_page(report, javascript=False) as opened:
        assert first_column(opened.page) == list(SCORES)
        assert opened.page.locator("button").count() == 0
        assert opened.complaints == []


def test_names_cannot_run_code_and_nothing_can_be_fetched(report):
    with open_page(report) as opened:
        assert opened.page.evaluate("window.hacked === undefined")
        assert HACK in opened.page.locator("main li").last.inner_text()
        refused = opened.page.evaluate(
            """() => new Promise((resolve) => {
                 addEventListener("securitypolicyviolation", (event) => resolve(event.violatedDirective));
                 new Image().src = "https://example.invalid/a.png";
               })"""
        )
        assert refused == "img-src"


def test_dark_is_dark_and_figures_stay_on_white(report):
    colours = []
    for dark in (False, True):
        with open_page(report, dark=dark) as opened:
            colour = "(name) => getComputedStyle(document.querySelector(name)).backgroundColor"
            colours.append([opened.page.evaluate(colour, name) for name in ("body", "img")])
    (light_page, light_figure), (dark_page, dark_figure) = colours
    assert light_page == light_figure == dark_figure == "rgb(255, 255, 255)"
    assert max(map(int, dark_page.removeprefix("rgb(").removesuffix(")").split(","))) < 50


def test_contents_are_folded_on_a_phone_and_stand_beside_the_text_on_a_screen(report):
    with open_page(report, width=390) as opened:
        link = opened.page.get_by_role("link", name="Made with")
        assert not link.is_visible()
        opened.page.get_by_text("Contents").click()
        link.click()
        opened.page.wait_for_function("() => scrollY > 500")
    with open_page(report) as opened:
        link = opened.page.get_by_role("link", name="Made with")
        assert link.is_visible()
        assert link.bounding_box()["x"] < opened.page.locator("h1").bounding_box()["x"] - 150


def test_wide_tables_scroll_in_their_box_and_keep_their_first_column(report):
    with open_page(report, width=390) as opened:
        box, name = opened.page.locator(".table").nth(1), opened.page.locator(".table").nth(1).locator("tbody th").first
        before = name.bounding_box()["x"]
        assert box.evaluate("box => (box.scrollLeft = 400, box.scrollLeft)") == 400
        assert name.bounding_box()["x"] == pytest.approx(before, abs=1)


@pytest.mark.parametrize(
    ("before", "says"),
    [
        (
            "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => (window.got = text)}})",
            "Copied",
        ),
        ("Object.defineProperty(navigator, 'clipboard', {value: undefined})", "Selected"),
    ],
)
def test_commands_are_copied_or_where_that_is_refused_selected(report, before, says):
    with open_page(report, before=before) as opened:
        button = opened.page.locator(".code button")
        button.click()
        opened.page.wait_for_function("says => document.querySelector('.code button').textContent === says", arg=says)
        got = opened.page.evaluate("window.got ?? getSelection().toString()")
        assert got.rstrip("\n").split("\n") == [f"python {PATH} --out {PATH}", "python second.py"]
        assert opened.complaints == []


def test_a_press_on_a_figure_shows_it_whole(report):
    with open_page(report, width=390) as opened:
        figure = opened.page.locator("figure").first
        assert figure.locator("img").bounding_box()["width"] < 390
        figure.locator("img").click()
        assert figure.locator("img").bounding_box()["width"] == 896  # 1400 pixels at 150 per inch
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
