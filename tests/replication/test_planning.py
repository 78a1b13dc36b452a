import dataclasses

import pytest
from tiny import TINY

import tlkeras as tl
from tlkeras.errors import MissingInputError
from tlkeras.replication.planning import carried_weights
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.training.recipe import describe

KEY = CellKey("knn", "tiny", 3)
RECIPE = tl.Extractor(TINY, weights=tl.EarlierRun("training", "trained"), image_size=(32, 32))
SPLIT, OTHER_SPLIT = tl.Holdout(), tl.Holdout(respect_groups=False)


def settings(recipe=RECIPE, data="new", split=SPLIT, smoke=False):
    return {"recipe": describe(recipe), "data": data, "split": describe(split), "smoke": smoke}


@pytest.fixture
def earlier(tmp_path):
    """The run folder of the other experiment, still empty."""
    folder = tmp_path / "runs" / "training" / "paper"
    folder.mkdir(parents=True)
    return folder


def write_earlier(earlier, recipe=None, **fields):
    """A finished cell of it; model.keras holds no model, which is looked at later."""
    folder, key = RunFolder(earlier), CellKey("trained", "tiny", 3)
    recipe = recipe or tl.Tuner(TINY, weights=None, image_size=(64, 64))
    folder.cell(key).mkdir(parents=True)
    (folder.cell(key) / "model.keras").write_bytes(b"")
    folder.write_cell(key, {**settings(recipe, data="old"), **fields}, {})
    return folder.cell(key)


def carry(earlier, *, now=None, finished=None, script=None):
    return carried_weights(RECIPE, KEY, now or settings(), earlier, finished, script)


@pytest.mark.parametrize(
    ("script", "start", "end"),
    [
        (None, "python experiments/training.py ", "--seeds 3 --out {runs}/training --image-size 32"),
        ("both", "python experiments/both.py ", "--seeds 3 --only training --out {runs} --image-size 32"),
    ],
    ids=["a script of its own", "one script for both"],
)
def test_a_missing_network_is_made_by_the_command_that_is_named(earlier, script, start, end):
    with pytest.raises(MissingInputError) as stopped:
        carry(earlier, script=script)
    said = str(stopped.value)
    assert f"tiny/knn/seed3 starts from the network of training, paper, tiny/trained/seed3, and {earlier}" in said
    command = said.splitlines()[-1].strip()
    assert command.startswith(start)
    assert "--protocol paper --backbones tiny --methods trained" in command
    assert command.endswith(end.format(runs=earlier.parent.parent))


def test_a_smoke_runs_network_and_a_run_without_its_model_are_not_carried(earlier):
    cell = write_earlier(earlier, smoke=True)
    with pytest.raises(MissingInputError, match="holds a smoke run"):
        carry(earlier)
    (cell / "model.keras").unlink()
    RunFolder(earlier).write_cell(CellKey("trained", "tiny", 3), settings(tl.Tuner(TINY, weights=None)), {})
    with pytest.raises(MissingInputError, match=r"holds no model\.keras"):
        carry(earlier)


def test_an_extractor_gives_its_network_the_inputs_that_it_was_trained_on(earlier):
    write_earlier(earlier, tl.Tuner(TINY, weights=None, preprocessing="unit"))
    with pytest.raises(tl.InputError, match=r"images scaled as 'symmetric', and the one in .* was trained on 'unit'"):
        carry(earlier)


def test_features_of_images_that_the_network_learnt_from_are_no_test(earlier):
    write_earlier(earlier, data="new", split=describe(OTHER_SPLIT))
    with pytest.raises(tl.InputError, match="same data under another split"):
        carry(earlier)


def test_a_search_carries_the_network_that_its_recipe_names(earlier):
    search = tl.Search(RECIPE, {"arguments.n_neighbors": (1, 3)}, tl.KFold(2))
    write_earlier(earlier, tl.Tuner(TINY, weights=None, preprocessing="unit"))
    with pytest.raises(tl.InputError, match=r"images scaled as 'symmetric'"):
        carry(earlier, now=settings(search))


def test_a_finished_cell_needs_the_earlier_run_no_more(earlier):
    weights = carry(earlier.parent.parent / "gone" / "paper", finished={"weights_sha256": "abc"})
    assert (weights.sha256, weights.source) == ("abc", "run")


def test_a_folder_that_is_not_there_is_named_and_what_makes_it(earlier):
    gone = earlier.parent.parent / "gone"
    with pytest.raises(MissingInputError, match=r"--earlier: there is no folder .*gone, where training ran") as stopped:
        carry(gone / "paper", script="both")
    assert "python experiments/both.py" in str(stopped.value)
    assert f"--only training --out {gone.parent} " in str(stopped.value)


@pytest.mark.parametrize("searched", [False, True], ids=["trained", "searched"])
def test_the_note_says_where_a_network_is_from(earlier, toy_pixels, searched):
    classifier = tl.Tuner(
        TINY, weights=None, image_size=(32, 32), phases=tl.Phase(1, 1e-3, keep="last"), head=tl.Head(hidden=())
    ).fit(toy_pixels, seed=0)
    recipe = tl.Tuner(TINY, weights=None, image_size=(64, 64), phases=tl.Phase(1, 1e-3, keep="last"))
    classifier.save(write_earlier(earlier, tl.Search(recipe, {"batch_size": (8, 16)}) if searched else recipe))
    folder, key = RunFolder(earlier), CellKey("trained", "tiny", 3)
    folder.write_cell(key, folder.settings_of(key), {})  # with this network
    weights = carry(earlier)
    assert weights.note == "backbone of training, paper, tiny/trained/seed3, trained at 64x64"
    assert dataclasses.replace(RECIPE, weights=weights).weights.source == "run"


def test_a_network_that_is_not_what_was_written_is_not_carried_on(earlier):
    (write_earlier(earlier) / "model.keras").write_bytes(b"another")
    with pytest.raises(tl.InputError, match=r"tiny/trained/seed3/model\.keras is not what was written"):
        carry(earlier)
