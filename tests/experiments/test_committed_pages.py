"""`--report-only` over a copy of every committed run folder gives its pages and scores.csv, byte by byte."""

import shutil
import sys

import pytest
from scripts import EXPERIMENTS, load_script

from tlkeras.replication.checklist_items import CHECKLISTS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_figures")]

ASSETS = EXPERIMENTS.parent / "assets"
PAGES = ("table.md", "scores.csv", *(f"{name}.md" for name in CHECKLISTS))
SCRIPT_OF = {"quickstart_source": "quickstart"} | {
    f"habel2023_{name}": "habel2023_feature_transfer" for name in ("animals", "colorectal", "prostate")
}
FOLDERS = sorted(file.parent for file in ASSETS.rglob("config.json") if (file.parent / "table.md").is_file())


def test_every_committed_run_folder_is_among_them():
    """A folder of another name or depth would be left out without a word."""
    with_cells = {file.parents[3] for file in ASSETS.rglob("cell.json")}
    assert set(FOLDERS) == with_cells
    assert len(FOLDERS) >= 21


@pytest.mark.parametrize("committed", FOLDERS, ids=lambda folder: folder.relative_to(ASSETS).as_posix())
def test_the_pages_of_a_committed_folder_come_out_again(committed, tmp_path, monkeypatch, capsys):
    name, protocol = committed.relative_to(ASSETS).parts[0], committed.name
    script = load_script(SCRIPT_OF.get(name, name))
    experiments = getattr(script, "EXPERIMENTS", None) or (script.EXPERIMENT,)
    shutil.copytree(committed, copy_of(committed, tmp_path, len(experiments) > 1))
    pages = [page for page in PAGES if (committed / page).is_file()]
    checklists = [page.removesuffix(".md") for page in pages if page.removesuffix(".md") in CHECKLISTS]
    for page in ("table.md", "scores.csv"):  # a checklist may hold somebody's words, which have to be kept
        (copy_of(committed, tmp_path, len(experiments) > 1) / page).unlink()
    only = ["--only", name] if len(experiments) > 1 else []
    monkeypatch.setattr(sys, "argv", ["script"])
    wanted = [*only, *(["--checklist", *checklists] if checklists else [])]
    script.main(experiments, ["--report-only", "--protocol", protocol, "--out", str(tmp_path), *wanted])
    for page in pages:
        made = (copy_of(committed, tmp_path, len(experiments) > 1) / page).read_bytes()
        assert made == (committed / page).read_bytes(), page


def copy_of(committed, out, several):
    """Where a script that was told --out looks for the run folder."""
    name, protocol = committed.relative_to(ASSETS).parts[0], committed.name
    return out / name / protocol if several else out / protocol
