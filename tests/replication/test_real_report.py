"""Reports of real runs, from what was published of them, and of a run on the toy images, as their readers meet them."""

import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from browser import faults_of, open_page
from scripts import EXPERIMENTS, load_script
from test_running import EXPERIMENT

import tlkeras as tl
from tlkeras.files import read_json
from tlkeras.replication.auditing import read_audits
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.script import main
from tlkeras.replication.settings import recipe_of

pytestmark = pytest.mark.slow

ASSETS = EXPERIMENTS.parent / "assets"
PUBLISHED = ("burugupalli_chest_xray", "subnets2022_ham10000")
PROTOCOL = "corrected"
SCREENS = [(1280, False), (1280, True), (390, False), (390, True)]
REPORT = """
import atexit, os, runpy, sys
script, out = sys.argv[1:]
sys.argv = [script, "--report-only", "--protocol", "corrected", "--out", out]
sys.path.insert(0, os.path.dirname(script))  # as `python script` does
atexit.register(lambda: print("LOADED", *sys.modules))
runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture(scope="module", params=PUBLISHED)
def reported(request, tmp_path_factory):
    """(name, folder of the protocol): a copy of a published run without its pages, reported anew in a process of its
    own, which has neither data nor weights nor models, and loads no TensorFlow."""
    copy = tmp_path_factory.mktemp("published") / request.param
    shutil.copytree(ASSETS / request.param, copy)
    for page in ("table.md", "report.html", "scores.csv"):
        (copy / PROTOCOL / page).unlink(missing_ok=True)
    command = [sys.executable, "-c", REPORT, str(EXPERIMENTS / f"{request.param}.py"), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=copy)
    assert done.returncode == 0, done.stderr
    assert not {"tensorflow", "keras"} & set(done.stdout.split("LOADED")[1].split())
    return request.param, copy / PROTOCOL


@pytest.fixture(scope="module")
def toy(toy_chest_xray, tmp_path_factory):
    """The folder of a smoke run on the toy images, reported by the process that trained."""
    out = tmp_path_factory.mktemp("toy")
    main(EXPERIMENT, ["--data", str(toy_chest_xray), "--out", str(out), "--smoke"])
    return out / PROTOCOL


def words_of(folder):
    """What the page says, without its tags, style and script."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    body = re.sub(r"(?s)<(style|script)>.*?</\1>", "", page)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.mark.parametrize(("width", "dark"), SCREENS)
def test_a_published_run_reads_well_on_every_screen(reported, width, dark):
    assert faults_of(reported[1] / "report.html", width=width, dark=dark) == []


@pytest.mark.parametrize(("width", "dark"), SCREENS)
def test_a_run_reads_well_on_every_screen(toy, width, dark):
    assert faults_of(toy / "report.html", width=width, dark=dark) == []


def test_the_page_holds_what_a_reader_has_to_know(reported):
    name, folder = reported
    words, experiment = words_of(folder), load_script(name).EXPERIMENT
    row = tl.DATASETS[experiment.dataset]
    assert experiment.question in words
    assert f"{row.title}, {row.licence}. {row.citation}" in words
    for note in (*experiment.protocols[PROTOCOL].deviations, *experiment.stated, *experiment.assumed):
        assert " ".join(note.split()) in words
    (environment, *_) = read_json(folder / "environment.json")
    for package in ("keras", "tensorflow", "numpy"):
        assert f"{package} {environment['packages'][package]}" in words
    assert f"python experiments/{name}.py --data DATA --weights WEIGHTS --protocol {PROTOCOL}" in words
    for title in ("Every metric", "Probabilities", "Temperature scaling", "Settings", "Every cell", "majority class"):
        assert title in words
    assert str(folder.parent) not in (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_holds_the_audit_of_its_splits(reported):
    run, words = RunFolder(reported[1]), words_of(reported[1])
    audits = read_audits(run)
    assert set(audits) == {key.seed for key in run.finished()}
    used = {recipe_of(run.read_cell(key)).image_size for key in run.finished()}
    for audit in audits.values():
        assert all(" ".join(finding.split()) in words for finding in audit.findings(*used))


COPIES = {
    "burugupalli_chest_xray": ("A resized copy: published in varying sizes, here all 224x224", "224x224"),
    "subnets2022_ham10000": ("A smaller copy: published at 600x450, here 200x150", "200x150"),
}


def test_the_page_says_how_large_the_images_on_the_disk_are(reported):
    (said, size), words = COPIES[reported[0]], words_of(reported[1])
    assert f"{said} (width x height)." in words
    (table,) = re.findall(r"pixels \(width x height\), seed 0 all train val test (.*?) used, ", words)
    lines = [f"on disk, {which} {size} {size} {size} {size}" for which in ("smallest", "median", "largest")]
    assert table == " ".join(lines)


def test_every_published_figure_of_the_table_is_on_the_page(reported):
    name, folder = reported
    experiment, words = load_script(name).EXPERIMENT, words_of(folder)
    accuracies = [
        value for (_, part, metric), value in experiment.under(PROTOCOL).reported.items() if metric == "accuracy"
    ]
    assert len(accuracies) >= 4
    for value in accuracies:
        assert re.search(rf"(?<![\d.]){re.escape(f'{value:g}')}0*(?!\d)", words), value


def test_accuracy_and_interval_on_the_page_are_those_of_the_predictions(reported):
    _, folder = reported
    run, words = RunFolder(folder), words_of(folder)
    for key in run.finished():
        if CellKey(key.method, key.backbone, 1) in run.finished():
            continue  # shown is a mean over seeds
        test = run.read_predictions(key)["test"]
        low, high = tl.intervals(test, metrics=["accuracy"]).loc["accuracy", ["low", "high"]]
        accuracy = (test.predicted == test.samples.labels).mean()
        assert f"{100 * accuracy:.1f} [{100 * low:.1f}, {100 * high:.1f}]" in words, key
    assert re.search(r"\d\d\.\d (± \d\.\d )?\[\d\d\.\d, \d\d\.\d\]", words)


def test_the_page_says_what_table_md_says(reported):
    markdown = (reported[1] / "table.md").read_text(encoding="utf-8")
    titles = [line.lstrip("# ") for line in markdown.splitlines() if line.startswith("#")]
    with open_page(reported[1] / "report.html") as opened:
        shown = opened.page.locator("h1, h2, h3").all_inner_texts()
    assert [title for title in shown if title in titles] == titles
    # The page has its figures and every cell besides.
    assert {"Figures", "Every cell"} <= set(shown) - set(titles)


def test_the_run_on_toy_images_says_what_its_audit_found_and_that_it_is_a_smoke_run(toy):
    words, (audit,) = words_of(toy), read_audits(RunFolder(toy)).values()
    assert "A smoke run" in words
    assert "The split and its audit" in words
    assert not audit.crossing
    for finding in audit.findings():
        assert finding in words
    assert "--methods unit_frozen own_frozen --seeds 0 --smoke" in words
    assert "84.75" in words


SHEETS = ("test images with their class and what was predicted", "the test images with the largest loss, ")


def n_sheets(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    return [page.count(f'alt="{words}') for words in SHEETS]


def test_images_of_the_data_set_are_in_no_published_page(reported):
    assert n_sheets(reported[1]) == [0, 0]


def test_images_are_in_the_page_of_a_run_for_each_of_its_cells(toy):
    assert n_sheets(toy) == [2, 2]


def column_of(table, number):
    """The numbers that the cells of a column begin with; None where one begins with none."""
    cells = table.locator(f"tbody tr > :nth-child({number + 1})").all_inner_texts()
    found = [re.match(r"[+\-]?\d[\d,]*(\.\d+)?", cell) for cell in cells]
    return [None if match is None else float(match[0].replace(",", "")) for match in found]


def test_its_tables_sort_by_number(reported):
    with open_page(reported[1] / "report.html") as opened:
        tried = 0
        for table in opened.page.locator("main > section .table table, main > .table table").all():
            headers = table.locator("thead th")
            numeric = [i for i in range(headers.count()) if "number" in (headers.nth(i).get_attribute("class") or "")]
            told_apart = [i for i in numeric if len({*column_of(table, i)} - {None}) > 1]
            if not told_apart or not table.is_visible():
                continue
            tried, column = tried + 1, told_apart[0]
            before = column_of(table, column)
            button = headers.nth(column).get_by_role("button")
            button.click()
            numbers = [number for number in before if number is not None]
            assert column_of(table, column) == sorted(numbers) + [None] * (len(before) - len(numbers))
            button.click()
            assert column_of(table, column)[: len(numbers)] == sorted(numbers, reverse=True)
            button.click()
            assert column_of(table, column) == before
        assert tried >= 3
        assert opened.complaints == []


def test_explanations_are_in_the_report_of_the_command_that_made_them(toy, toy_chest_xray, tmp_path, monkeypatch):
    from tlkeras.replication import explanations

    real = explanations.explain_cells
    monkeypatch.setattr(explanations, "explain_cells", lambda *a, **k: real(*a, n_samples=10, n_repeats=1, **k))
    shutil.copytree(toy.parent, tmp_path / "toy")
    given = ["--data", str(toy_chest_xray), "--out", str(tmp_path / "toy"), "--smoke", "--methods", "own_frozen"]
    main(EXPERIMENT, [*given, "--explain"])
    assert list(Path(tmp_path).rglob("explanations_test.png"))
    page = (tmp_path / "toy" / PROTOCOL / "report.html").read_text(encoding="utf-8")
    assert 'alt="one test image of each class, with the regions LIME and Grad-CAM find"' in page
