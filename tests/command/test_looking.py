from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import TINY

import tlkeras as tl
from tlkeras.command.looking import audit_data, compare_data
from tlkeras.reviewing import look_alikes, shift

NETWORK = tl.Extractor(TINY, "logistic_regression", weights=None, image_size=(32, 32))


def write_images(root, n, seed, parts=("",), level=0):
    rng = np.random.default_rng(seed)
    for number in range(n):
        blocks = rng.integers(0, 200, (4, 4, 3)).repeat(8, axis=0).repeat(8, axis=1) + level
        name = "cat" if number % 2 else "dog"
        folder = root / parts[number // 2 % len(parts)] / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(blocks.astype(np.uint8)).save(folder / f"{number:02d}.png")
    return root


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    """The tiny network in place of MobileNetV2."""
    for module in (look_alikes.look_alikes, shift.shift):
        monkeypatch.setitem(module.__kwdefaults__ or {}, "network", NETWORK)
    monkeypatch.setattr(look_alikes.look_alikes, "__defaults__", (NETWORK,))


def test_the_audit_is_that_of_its_own_parts_or_of_a_split_by_image(tmp_path):
    parted = write_images(tmp_path / "parted", 24, 0, parts=("train", "test"))
    copied = next((parted / "train" / "dog").iterdir())
    (parted / "test" / "dog" / "copy.png").write_bytes(copied.read_bytes())
    found = audit_data(parted)
    assert found.split == "its own parts"
    assert found.audit.crossing_sets == 1
    assert "its own parts" in found.describe()
    plain = audit_data(write_images(tmp_path / "plain", 24, 0))
    assert "image by image" in plain.split
    assert plain.look_alikes is None


@pytest.mark.slow
def test_pairs_are_written_and_drawn(tmp_path):
    root = write_images(tmp_path / "data", 40, 0)
    file = root / "dog" / "00.png"
    with Image.open(file) as image:
        image.point(lambda level: min(level + 1, 255)).save(root / "cat" / "brighter.png")
    found = audit_data(root, show=tmp_path / "shown")
    table = pd.read_csv(tmp_path / "shown" / "look_alikes.csv")
    of_copy = table[(table["sample_id_a"] == "cat/brighter.png") | (table["sample_id_b"] == "cat/brighter.png")]
    assert "dog/00.png" in set(of_copy.iloc[0][["sample_id_a", "sample_id_b"]])
    assert len(table) == len(found.look_alikes.pairs)
    with Image.open(tmp_path / "shown" / "look_alikes.png") as sheet:
        assert sheet.width > 300


@pytest.mark.slow
def test_two_sets_are_compared_in_words_and_pictures(tmp_path):
    one, other = write_images(tmp_path / "one", 40, 0), write_images(tmp_path / "other", 40, 1, level=50)
    said = compare_data(one, other, tmp_path / "out")
    assert "ROC AUC" in said
    assert "| cat " in said
    assert (tmp_path / "out" / "least_familiar.png").is_file()


def test_a_table_tells_groups(tmp_path):
    root = write_images(tmp_path / "data", 24, 0)
    rows = [(str(file), file.parent.name, f"p{file.stem[0]}") for file in sorted(root.rglob("*.png"))]
    pd.DataFrame(rows, columns=["path", "label", "patient"]).to_csv(tmp_path / "table.csv", index=False)
    found = audit_data(tmp_path / "table.csv", group="patient")
    assert found.audit.crossing_groups > 0
    with pytest.raises(tl.InputError, match="--group"):
        audit_data(root, group="patient")
    with pytest.raises(tl.MissingInputError, match="nowhere"):
        audit_data(tmp_path / "nowhere")
