"""An experiment of one's own images, with no document behind it."""

import sys
import types

import numpy as np
import pandas as pd
import pytest
from tiny import tiny_tuner

import tlkeras as tl
from tlkeras.replication.running import SMOKE_PER_CLASS, _handful
from tlkeras.replication.script import main

pytestmark = pytest.mark.usefixtures("quick_figures")


def own_samples(n_groups=12, per_group=2):
    """Grey noise, the second class brighter; every group is of one class."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(n_groups) % 2, per_group)
    pixels = rng.integers(0, 120, (len(labels), 32, 32, 3)) + 120 * labels[:, None, None, None]
    names = np.array(["healthy", "ill"])[labels]
    groups = np.repeat([f"patient {number}" for number in range(n_groups)], per_group)
    return tl.from_arrays(pixels.astype(np.uint8), names, groups=groups)


EXPERIMENT = tl.Experiment(
    name="mine",
    data=own_samples(),
    about_data="Noise of our own.",
    question="Is it brighter?",
    protocols={
        "plain": tl.Protocol(
            split=tl.Holdout(val=0.25, test=0.34),
            cells={("frozen", "tiny"): tiny_tuner(phases=tl.Phase(1, 1e-2))},
        )
    },
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("own")
    main(EXPERIMENT, ["--out", str(out), "--explain"])
    return out / "plain"


def test_its_page_says_what_is_known_and_nothing_of_a_document(finished):
    page = (finished / "table.md").read_text()
    assert page.startswith("# mine: protocol plain\n")
    for said in ("Is it brighter?", "Noise of our own.", "8 images in 4 groups"):
        assert said in page
    for unknown in ("published", "document", "stands in", "None", "--data DATA"):
        assert unknown not in page
    assert set(pd.read_csv(finished / "scores.csv")["part"]) == {"model", "train", "val", "test"}


@pytest.mark.slow
def test_the_page_names_the_script_that_ran(finished, tmp_path, monkeypatch):
    script = types.SimpleNamespace(__file__=str(tmp_path / "studies" / "mine.py"), EXPERIMENTS=(EXPERIMENT,))
    monkeypatch.setitem(sys.modules, "__main__", script)
    monkeypatch.chdir(tmp_path)
    main(EXPERIMENT, ["--out", str(tmp_path / "runs")])
    assert "python studies/mine.py --weights WEIGHTS --protocol plain" in (tmp_path / "runs/plain/table.md").read_text()


def test_a_handful_is_of_as_many_groups_as_there_are():
    samples = own_samples(n_groups=20, per_group=5)
    few = _handful(samples)
    assert few.class_counts() == {"healthy": SMOKE_PER_CLASS, "ill": SMOKE_PER_CLASS}
    assert len(set(few.groups)) == 2 * SMOKE_PER_CLASS
    tl.Holdout(val=0.2, test=0.2).split(few, seed=0)


def test_the_options_offer_no_folder_where_the_images_are_given(capsys):
    with pytest.raises(SystemExit):
        main(EXPERIMENT, ["--help"])
    said = capsys.readouterr().out
    assert "Is it brighter?" in said
    assert "--data" not in said
