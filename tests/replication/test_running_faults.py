"""Runs that are killed, find no room, diverge or need more memory than there is.

`experiments/benchmarks/drill_faults.py` does the same to whole processes.
"""

import dataclasses

import pytest
from faults import Killed, files_of_at_most, killed_before
from tiny import tiny_tuner

import tlkeras as tl
from tlkeras.errors import DivergedError, UnwritableError
from tlkeras.files import read_json
from tlkeras.replication.planning import RunOptions
from tlkeras.replication.run_folder import CHECKPOINT, CellKey, RunFolder
from tlkeras.replication.running import LAST_GOOD, run_experiment
from tlkeras.replication.script import main
from tlkeras.training import checkpoint

pytestmark = pytest.mark.usefixtures("quick_figures")


def experiment(**recipes):
    """Of these methods, on the toy chest X-rays."""
    protocol = tl.Protocol(split=tl.Predefined(val=0.25), cells={(name, "tiny"): recipes[name] for name in recipes})
    return tl.Experiment(
        name="toy",
        paper=tl.Paper(title="A toy", authors="Nobody", venue="nowhere"),
        dataset="chest_xray",
        positive_class="PNEUMONIA",
        default_backbones=("tiny",),
        smoke_backbones=("tiny",),
        protocols={"corrected": protocol},
        reported={},
    )


@pytest.fixture
def options(toy_chest_xray, tmp_path):
    def of(out, *methods, **fields):
        return RunOptions(toy_chest_xray, tmp_path / out, "corrected", ("tiny",), methods, smoke=True, **fields)

    return of


@pytest.mark.slow
def test_a_killed_cell_goes_on_and_ends_with_the_same_predictions(options, monkeypatch):
    toy, key = experiment(tuned=tiny_tuner()), CellKey("tuned", "tiny", 0)
    monkeypatch.setattr(checkpoint, "_SHARE", float("inf"))
    unbroken = run_experiment(toy, options("unbroken", "tuned")).cell(key)
    with monkeypatch.context() as patch:
        killed_before(patch, 2, 1)
        with pytest.raises(Killed):
            run_experiment(toy, options("killed", "tuned"))
    cell = RunFolder(options("killed").out / "corrected").cell(key)
    (cell / "history.csv").write_text("what an earlier run left")
    assert (cell / CHECKPOINT).is_file()
    ran = killed_before(monkeypatch, 0, 0)
    run_experiment(toy, options("killed", "tuned"))
    assert ran == [(2, 1)]  # a smoke run has one epoch in each phase
    assert (cell / "predictions.csv").read_bytes() == (unbroken / "predictions.csv").read_bytes()
    assert {path.name for path in cell.iterdir()} == {path.name for path in unbroken.iterdir()}
    assert not (cell / CHECKPOINT).exists()
    resumed, whole = (read_json(each / "cell.json")["facts"] for each in (cell, unbroken))
    assert whole["resumed"] is None
    before = resumed["resumed"]["seconds"]
    assert before > 0
    assert resumed["seconds"]["fit"] >= round(before, 1)  # the time of both processes
    (cell / CHECKPOINT).write_bytes(b"of a run that was killed just before this was removed")
    run_experiment(toy, options("killed", "tuned"))
    assert not (cell / CHECKPOINT).exists()


@pytest.mark.slow
def test_the_last_good_weights_of_a_training_that_diverged_are_kept(options, heard):
    phases = (tl.Phase(1, 1e-3), tl.Phase(1, 1e30, optimizer="sgd"))
    toy = experiment(hopeless=tiny_tuner(phases=phases))
    with pytest.raises(
        tl.InputError, match=r"phase 2, epoch 1, with learning rate 1e\+30 \(sgd, batches of 16, float32"
    ):
        run_experiment(toy, options("out", "hopeless"))
    folder = RunFolder(options("out").out / "corrected")
    place = folder.cell(CellKey("hopeless", "tiny", 0)) / LAST_GOOD
    assert f"The weights of phase 1, epoch 1 are kept. They are in {place}." in heard.text()
    history = tl.load(place).history
    assert history[["phase", "epoch", "kept"]].values.tolist() == [[1, 1, True]]
    assert folder.finished() == []
    milder = experiment(hopeless=tiny_tuner(phases=(phases[0], tl.Phase(1, 1e-3, optimizer="sgd"))))
    run_experiment(milder, options("out", "hopeless"))  # as the message advises
    assert len(folder.finished()) == 1
    assert not place.exists()


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_costs_nothing_of_it(options):
    toy = experiment(first=tiny_tuner(), second=tiny_tuner(batch_size=8))
    with (
        files_of_at_most(20_000),
        pytest.raises(UnwritableError, match=r"(File too large).*Make room there") as stopped,
    ):
        run_experiment(toy, options("out", "first", "second", store=False))
    folder = RunFolder(options("out").out / "corrected")
    assert "first" in str(stopped.value)  # the second was not tried: it would have found no room either
    assert folder.finished() == []
    assert not list(folder.root.rglob(".writing-*"))
    run_experiment(toy, options("out", "first", "second", store=False))
    assert len(folder.finished()) == 2


def test_a_run_folder_that_cannot_be_made_ends_with_one_message(toy_chest_xray, tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SystemExit) as stopped:
        main(experiment(tuned=tiny_tuner()), ["--data", str(toy_chest_xray), "--out", str(tmp_path / "out"), "--smoke"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"error: {tmp_path / 'out' / 'corrected'} cannot be written (Not a directory). A file stands"
    )
    assert said.count("\n") == 1


@pytest.mark.slow
def test_a_diverged_fit_hands_on_what_it_had(toy_pixels):
    images, labels = toy_pixels
    good, hopeless = tl.Phase(2, 1e-3), tl.Phase(2, 1e30, unfreeze="all", optimizer="sgd", keep="last")
    recipe = tiny_tuner(phases=(good, hopeless))
    for val in (None, (images[28:], labels[28:])):
        alone = dataclasses.replace(recipe, phases=good).fit((images[:28], labels[:28]), val, seed=0)
        with pytest.raises(DivergedError, match="are kept") as stopped:
            recipe.fit((images[:28], labels[:28]), val, seed=0)
        kept = stopped.value.classifier
        assert (kept.predict_pixels(images) == alone.predict_pixels(images)).all()
        assert kept.history["kept"].sum() == 1
    with pytest.raises(DivergedError) as stopped:
        dataclasses.replace(recipe, phases=hopeless).fit((images, labels), seed=0)
    assert stopped.value.classifier is None


def test_weights_that_are_no_numbers_after_the_last_step_are_not_handed_out(toy_pixels):
    """One step in the whole training: its loss is that of the weights before it."""
    images, labels = toy_pixels
    recipe = tiny_tuner(phases=tl.Phase(1, 1e38, optimizer="sgd", keep="last"), preprocessing="none")
    with pytest.raises(DivergedError, match="weights are no numbers after the last step in phase 1, epoch 1"):
        recipe.fit((images[:16], labels[:16]), seed=0)


@pytest.mark.parametrize("with_val", [True, False])
def test_weights_that_make_no_numbers_are_not_handed_on(toy_pixels, with_val):
    """After one step at this rate they are finite, and what the network makes of them is not."""
    images, labels = toy_pixels
    recipe = tiny_tuner(phases=tl.Phase(3, 1e37, optimizer="sgd", keep="last"), batch_size=40)
    val = (images, labels) if with_val else None
    with pytest.raises(DivergedError, match=f"the {'validation' if with_val else 'training'} loss is nan") as stopped:
        recipe.fit((images, labels), val, seed=0)
    assert stopped.value.classifier is None
