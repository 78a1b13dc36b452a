"""A fit that is killed goes on from its checkpoint; here it is killed by an exception out of an epoch's beginning."""

import dataclasses
import functools
import json

import numpy as np
import pytest
from faults import Killed, killed_before
from tiny import TINY, build_tiny, tiny_tuner

import tlkeras as tl
from tlkeras.data.image_index import INDEX
from tlkeras.training import checkpoint as checkpoints
from tlkeras.training import loop


@pytest.fixture
def parts(toy_pixels):
    images, labels = toy_pixels
    return (images[:28], labels[:28]), (images[28:], labels[28:])


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    """A checkpoint after every epoch, however short."""
    monkeypatch.setattr(checkpoints, "_SHARE", np.inf)


def same(one, other):
    assert all((a == b).all() for a, b in zip(one.model.get_weights(), other.model.get_weights(), strict=True))
    assert one.history.drop(columns="seconds").equals(other.history.drop(columns="seconds"))
    assert one.layers.equals(other.layers)


RECIPES = {
    "features": tiny_tuner(),
    "augmented": tiny_tuner(augmentation=tl.Augmentation(rotation_range=20), imbalance="oversample"),
    "batch_norm": tiny_tuner(phases=(tl.Phase(2, 1e-2), tl.Phase(2, 1e-2, unfreeze="all", batch_norm="train"))),
    "sgd": tiny_tuner(
        phases=(tl.Phase(2, 1e-2, optimizer="sgd", keep="last"), tl.Phase(2, 1e-3, unfreeze="all", schedule="cosine"))
    ),
    "modern": tiny_tuner(
        phases=(
            tl.Phase(2, 1e-2, optimizer="adamw", warmup=0.5, average=tl.EMA(0.7)),
            tl.Phase(
                2,
                1e-2,
                unfreeze="all",
                optimizer="lion",
                schedule="cosine",
                stage_decay=0.5,
                weight_decay=0.1,
                clip_norm=1,
                accumulate=2,
                average=tl.SWA(2),
                batch_norm="train",
            ),
        ),
        loss=tl.Loss(label_smoothing=0.1),
        imbalance="balanced_sampling",
    ),
    "smaller": tiny_tuner(
        head=tl.Head(hidden=(4,), pooling="avg"),
        phases=(
            tl.Phase(2, 1e-2, unfreeze="all", batch_norm="train", image_size=(16, 24)),
            tl.Phase(2, 1e-3, unfreeze="all"),
        ),
        augmentation=tl.Augmentation(rotation_range=20),
    ),
    "bfloat16": tiny_tuner(precision="bfloat16"),
    "float16": tiny_tuner(precision="float16"),
}


@pytest.mark.parametrize(
    ("name", "phase", "epoch"),
    [
        ("features", 2, 1),
        pytest.param("augmented", 2, 2, marks=pytest.mark.slow),
        pytest.param("features", 1, 2, marks=pytest.mark.slow),
        *(pytest.param(name, 2, 2, marks=pytest.mark.slow) for name in ("features", *list(RECIPES)[2:])),
        *(pytest.param(name, 2, 1, marks=pytest.mark.slow) for name in list(RECIPES)[1:]),
    ],
)
def test_a_killed_fit_goes_on_to_the_same_bits(name, phase, epoch, parts, tmp_path, monkeypatch, heard):
    recipe, (train, val), file = RECIPES[name], parts, tmp_path / "run" / "checkpoint.npz"
    unbroken = recipe.fit(train, val, seed=1)
    with monkeypatch.context() as patch:
        killed_before(patch, phase, epoch)
        with pytest.raises(Killed):
            recipe.fit(train, val, seed=1, checkpoint=file)
    with monkeypatch.context() as patch:
        ran = killed_before(patch, 0, 0)
        resumed = recipe.fit(train, val, seed=1, checkpoint=str(file))
    assert ran == [(p, e) for p in (1, 2) for e in (1, 2) if (p, e) >= (phase, epoch)]
    before = (phase, epoch - 1) if epoch > 1 else (phase - 1, 2)
    assert f"goes on after epoch {before[1]} of phase {before[0]}, from checkpoint.npz\n" in heard.text()
    same(resumed, unbroken)


def test_a_head_that_was_solved_comes_out_of_the_file(parts, tmp_path, monkeypatch):
    recipe = tiny_tuner(
        head=tl.Head(hidden=(), pooling="avg"),
        phases=(tl.LinearProbe((1.0, 0.1)), tl.Phase(2, 1e-3, unfreeze="all")),
        augmentation=tl.Augmentation(horizontal_flip=True),
    )
    (train, val), file = parts, tmp_path / "checkpoint.npz"
    unbroken = recipe.fit(train, val, seed=1)
    with monkeypatch.context() as patch:
        killed_before(patch, 2, 2)
        with pytest.raises(Killed):
            recipe.fit(train, val, seed=1, checkpoint=file)
    with monkeypatch.context() as patch:
        ran = killed_before(patch, 0, 0)
        same(recipe.fit(train, val, seed=1, checkpoint=file), unbroken)
    assert ran == [(2, 2)]


@pytest.mark.slow
def test_killed_again_and_again_and_at_last_after_the_end(parts, tmp_path, monkeypatch):
    """The best epoch lies before the kills, so its weights have to come out of the file."""
    (train, val), file = parts, tmp_path / "checkpoint.npz"
    recipe = tiny_tuner(phases=(tl.Phase(2, 1e-2), tl.Phase(3, 50.0, unfreeze="all", patience=2)))
    unbroken = recipe.fit(train, val, seed=0)
    assert unbroken.history.loc[unbroken.history["kept"], "phase"].tolist() == [1]
    for moment in ((1, 2), (2, 1), (2, 2)):
        with monkeypatch.context() as patch:
            killed_before(patch, *moment)
            with pytest.raises(Killed):
                recipe.fit(train, val, seed=0, checkpoint=file)
    for _ in range(2):  # the second finds a training that is over
        same(recipe.fit(train, val, seed=0, checkpoint=file), unbroken)


def test_a_checkpoint_holds_what_learns_and_no_pickle(parts, tmp_path):
    train, val = parts
    recipe = tiny_tuner(phases=tl.Phase(1, 1e-2))
    model = recipe.fit(train, val, seed=0, checkpoint=tmp_path / "c.npz").model
    head = sum(weight.size for weight in model.layers[-1].get_weights() + model.get_layer("head_dense_1").get_weights())
    with np.load(tmp_path / "c.npz", allow_pickle=False) as file:
        kept = {kind: [file[name] for name in file.files if name.startswith(kind)] for kind in ("weights", "optimizer")}
        assert all(array.dtype != object for arrays in kept.values() for array in arrays)
    assert sum(array.size for array in kept["weights"]) == head
    assert sum(array.size for array in kept["optimizer"]) == 2 * head + 2  # Adam's moments, its steps and rate
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"seed": 5}, r"its seed is 0, that of this one 5\. Remove it"),
        ({"recipe": {"batch_size": 8}}, r"its recipe\.batch_size is 16, that of this one 8"),
        ({"recipe": {"phases": tl.Phase(1, 1e-3)}}, r"its recipe\.phases\.0\.learning_rate is 0\.01"),
        ({"flipped": True}, r"its images\.train is '[0-9a-f]{32}'"),
    ],
)
def test_another_trainings_checkpoint_is_refused(other, said, parts, tmp_path):
    (train, val), file, recipe = parts, tmp_path / "c.npz", tiny_tuner(phases=tl.Phase(1, 1e-2))
    recipe.fit(train, val, seed=0, checkpoint=file)
    before = file.read_bytes()
    if "flipped" in other:  # one label, the images as they were
        train = (train[0], np.r_[1 - train[1][:1], train[1][1:]])
    with pytest.raises(tl.InputError, match=f"c.npz is another training's checkpoint: {said}"):
        dataclasses.replace(recipe, **other.get("recipe", {})).fit(
            train, val, seed=other.get("seed", 0), checkpoint=file
        )
    assert file.read_bytes() == before


def test_a_damaged_checkpoint_is_named_with_the_remedy(parts, tmp_path):
    (train, val), path, recipe = parts, tmp_path / "c.npz", tiny_tuner(phases=tl.Phase(1, 1e-2))
    recipe.fit(train, val, seed=0, checkpoint=path)
    with np.load(path) as file:
        training = json.loads(file["state"].tobytes())["training"]
    whole, unnoticed = path.read_bytes(), 0
    kept = checkpoints.CheckpointFile(path, training).read()
    places = np.random.default_rng(0).choice(len(whole), 200, replace=False)
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1], b"no archive", *(flip(whole, i) for i in places)):
        path.write_bytes(damaged)
        try:
            found = checkpoints.CheckpointFile(path, training).read()
        except tl.InputError as error:
            words = str(error)
        else:  # the byte was none that counts, such as a date
            assert all((found.weights[name] == kept.weights[name]).all() for name in kept.weights)
            unnoticed += 1
            continue
        assert f"{path} is no checkpoint that can be read" in words
        assert "Remove it, and the training begins anew." in words
    assert unnoticed < 20
    with pytest.raises(tl.InputError, match="is no checkpoint that can be read"):
        recipe.fit(train, val, seed=0, checkpoint=path)


@pytest.mark.slow
def test_a_checkpoint_of_a_version_that_knew_two_monitors_is_gone_on_from(parts, tmp_path, monkeypatch):
    (train, val), path, recipe = parts, tmp_path / "c.npz", RECIPES["features"]
    unbroken = recipe.fit(train, val, seed=0)
    with monkeypatch.context() as patch:
        killed_before(patch, 2, 2)
        with pytest.raises(Killed):
            recipe.fit(train, val, seed=0, checkpoint=path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    state = json.loads(arrays.pop("state").tobytes())
    known = ("phase", "epoch", "seconds", "loss", "accuracy", "val_loss", "val_accuracy", "kept")
    state["history"] = [{name: log[name] for name in known} for log in state["history"]]
    np.savez(path, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **arrays)
    same(recipe.fit(train, val, seed=0, checkpoint=path), unbroken)


@pytest.mark.slow
def test_a_precision_chosen_by_the_clock_is_not_chosen_again(parts, tmp_path, monkeypatch):
    (train, val), file, recipe = parts, tmp_path / "c.npz", tiny_tuner(precision="auto")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "choose_precision", lambda *_: tl.schema.Precision("bfloat16"))
        killed_before(patch, 1, 2)
        with pytest.raises(Killed):
            recipe.fit(train, val, seed=0, checkpoint=file)
    monkeypatch.setattr(loop, "choose_precision", None)
    assert recipe.fit(train, val, seed=0, checkpoint=file).precision.name == "bfloat16"


def flip(contents, place):
    return contents[:place] + bytes([contents[place] ^ 0xFF]) + contents[place + 1 :]


def test_checkpoints_take_a_twentieth_of_the_time_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "_SHARE", 0.05)
    clock = iter([0.0, 0.0, 1.0, 20.9, 21.0, 22.5, 40.0])  # begin and end of the first, begin, begin and end, begin
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: next(clock))
    file = checkpoints.CheckpointFile(tmp_path / "c.npz", {})
    written = []

    def take():
        written.append(len(written))
        return checkpoints.Checkpoint(
            (tl.schema.EpochLog(1, 1, 0.1, 0.5, 0.5, None, None),), tl.schema.Precision(), {}, (), None, None
        )

    for expected in (1, 1, 2, 2):
        file.offer(take)
        assert len(written) == expected


def test_another_machine_goes_on_and_says_so(parts, tmp_path, monkeypatch, heard):
    (train, val), file, recipe = parts, tmp_path / "c.npz", tiny_tuner(phases=tl.Phase(1, 1e-2))
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "n_cores", lambda: 96)
        recipe.fit(train, val, seed=0, checkpoint=file)
    recipe.fit(train, val, seed=0, checkpoint=file)
    assert "note: begun with threads 96, it goes on with" in heard.text()


def test_a_checkpoint_that_cannot_be_opened_is_not_called_damaged(parts, tmp_path):
    train, val = parts
    with pytest.raises(tl.InputError, match=r"cannot be opened \(Is a directory\)\. Name a file") as error:
        tiny_tuner().fit(train, val, seed=0, checkpoint=tmp_path)
    assert "Remove" not in str(error.value)


def test_the_weights_of_a_network_that_was_changed_are_refused(parts, tmp_path):
    """A Backbone of one's own is known by the name of its constructor."""
    (train, val), file = parts, tmp_path / "c.npz"
    tiny_tuner(phases=tl.Phase(1, 1e-2)).fit(train, val, seed=0, checkpoint=file)
    wider = dataclasses.replace(TINY, constructor=functools.partial(build_tiny, filters=8))
    with pytest.raises(tl.InputError, match=r"its recipe\.backbone\.constructor is 'build_tiny'"):
        dataclasses.replace(tiny_tuner(phases=tl.Phase(1, 1e-2)), backbone=wider).fit(
            train, val, seed=0, checkpoint=file
        )

    def build_tiny_again(input_tensor, weights=None):
        return build_tiny(input_tensor, weights, filters=8)

    build_tiny_again.__qualname__ = "build_tiny"
    same_name = dataclasses.replace(TINY, constructor=build_tiny_again)
    with pytest.raises(tl.InputError, match="it holds the weights of another network than tiny"):
        dataclasses.replace(tiny_tuner(phases=tl.Phase(1, 1e-2)), backbone=same_name).fit(
            train, val, seed=0, checkpoint=file
        )


def test_images_are_hashed_once(parts, tmp_path, monkeypatch):
    hashed, real = [], INDEX.digests
    monkeypatch.setattr(INDEX, "digests", lambda samples: (hashed.append(len(samples)), real(samples))[1])
    train, val = parts
    tiny_tuner(phases=tl.Phase(1, 1e-2)).fit(train, val, seed=0, checkpoint=tmp_path / "c.npz")
    assert hashed == [len(train[1]), len(val[1])]
