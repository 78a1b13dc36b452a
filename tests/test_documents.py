"""The documents hold together: what they link to and name is there, and every experiment's script is a lab note."""

import ast
import re

import pytest
from claims import documents
from evidence import REPOSITORY

HEADINGS = ["Paper", "Data", "Command", "Cost", "Expected result", "Deviations"]
OUTSIDE = re.compile(r"[a-z]+:")
CODE = re.compile(r"^```[^`]*^```|`[^`\n]+`", re.M)
NAMED = re.compile(r"(?<![\w/<>])(?:tlkeras|tests|experiments|assets|\.ci)/[\w./-]*\w")
EXPERIMENTS = [path for path in sorted(REPOSITORY.glob("experiments/*.py")) if "tl.Experiment(" in path.read_text()]


def links_of(text):
    """(the file a link names, "" for the page itself; its anchor or ""), those that leave the repository left out."""
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", text)):
        if not OUTSIDE.match(target):
            file, _, anchor = target.partition("#")
            yield file, anchor


def anchors_of(text):
    """The anchors that a page's headings make, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", documents())
def test_every_link_leads_somewhere(document):
    page = REPOSITORY / document
    text = page.read_text()
    assert page.name != "README.md" or page.parent == REPOSITORY or [*links_of(text)]
    for file, anchor in links_of(text):
        target = page.parent / file if file else page
        assert target.exists(), file
        assert not anchor or anchor in anchors_of(target.read_text()), f"{file}#{anchor}"


@pytest.mark.parametrize("document", documents())
def test_every_file_that_a_document_names_is_there(document):
    text = re.sub(r"\]\([^)\s]+\)", "]", (REPOSITORY / document).read_text())
    for name in NAMED.findall(text):
        assert (REPOSITORY / name).exists(), name


def test_the_readme_is_one_that_is_read():
    lines = (REPOSITORY / "README.md").read_text().splitlines()
    assert len(lines) <= 200
    quickstart, tests = [line for line in lines if line.startswith("python3 -m venv")]  # .ci/run runs them
    assert quickstart.endswith("python experiments/quickstart.py")
    assert tests.endswith("python -m pytest")


def test_every_experiment_has_its_page_and_its_line_in_the_readme():
    readme = (REPOSITORY / "README.md").read_text()
    of_three = {"habel2023_feature_transfer": "habel2023_prostate"}
    for script in EXPERIMENTS:
        page = f"assets/{of_three.get(script.stem, script.stem)}/README.md"
        assert f"]({page}) |" in readme
        assert f"experiments/{script.name}" in (REPOSITORY / page).read_text()


@pytest.mark.parametrize("script", EXPERIMENTS, ids=lambda path: path.name)
def test_every_experiment_is_a_lab_note(script):
    lines = ast.get_docstring(ast.parse(script.read_text())).splitlines()
    headings = [line for line in lines[1:] if re.fullmatch(r"[A-Z][a-z ]+", line)]
    assert [heading for heading in headings if heading in HEADINGS] == HEADINGS
    for heading in HEADINGS:
        assert lines[lines.index(heading) + 1].startswith("    "), f"{heading}: nothing is said"
