"""The quickstart: tiles of different parts share no pixel, and its smoke run leaves what a newcomer is promised."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scripts import load_script

SCRIPT = Path(__file__).parents[2] / "experiments" / "quickstart.py"


@pytest.fixture(scope="module")
def quickstart():
    yield load_script("quickstart")
    del sys.modules["quickstart"]


def covered_pixels(samples, tile, margin):
    """{photograph: bool (H, W)}: what a part's tiles cover, and `margin` pixels around."""
    covered = {}
    for name in samples.sample_ids:
        photograph, corner = name.split("/")
        top, left = (int(number) + 1 for number in corner.split(","))  # 1: room for the margin at the upper left
        mask = covered.setdefault(photograph, np.zeros((1500, 1500), dtype=bool))
        mask[top - margin : top + tile + margin, left - margin : left + tile + margin] = True
    return covered


@pytest.mark.parametrize("seed", [0, 1])
def test_parts_neither_share_pixels_nor_touch(quickstart, seed):
    for splits in quickstart.source_and_target(quickstart.Size(), seed):
        parts = list(splits.parts().values())
        assert len(parts) == 3
        for i, one in enumerate(parts):
            for other in parts[i + 1 :]:
                reached = covered_pixels(one, quickstart.TILE, margin=1)
                covered = covered_pixels(other, quickstart.TILE, margin=0)
                for photograph in reached.keys() & covered.keys():
                    assert not (reached[photograph] & covered[photograph]).any()


def test_every_class_is_in_every_part(quickstart):
    for splits in quickstart.source_and_target(quickstart.Size(), 0):
        for samples in splits.parts().values():
            assert min(samples.class_counts().values()) > 0


def test_few_target_tiles_are_learnt_from_and_most_are_tested(quickstart):
    source, target = quickstart.source_and_target(quickstart.Size(), 0)
    assert len(target.train) < len(source.train) / 20
    assert len(target.test) > len(target.train) + len(target.val)


def test_tiles_are_the_same_every_time(quickstart):
    once, again = (quickstart.read_tiles(quickstart.TARGET, step=48, blocks=16) for _ in range(2))
    np.testing.assert_array_equal(once.images, again.images)
    assert list(once.sample_ids) == list(again.sample_ids)


def test_a_tile_is_where_its_name_says(quickstart):
    ramp = np.add.outer(np.zeros(96), np.arange(224.0))  # grey level = column; two blocks of 96 fit with 16 between
    tiles, corners, blocks = quickstart.cut_tiles(ramp, step=48, blocks=16)
    assert corners.tolist() == [[y, x + b] for b in (0, 112) for y in (0, 48) for x in (0, 48)]
    assert blocks.tolist() == [0] * 4 + [1] * 4
    # A ramp over 48 levels has a deviation of sqrt((48² - 1) / 12) = 13.85: it is raised to 48 around 127.5.
    raised = np.rint(127.5 + (np.arange(48) - 23.5) * 48 / np.sqrt((48**2 - 1) / 12))
    np.testing.assert_array_equal(tiles[-1, 0, :, 0], raised)


def test_a_block_with_a_tile_that_shows_nothing_is_left_out(quickstart):
    photograph = np.tile([90.0, 110.0], (96, 112))  # two blocks
    photograph[:48, :48] = 100.0
    _, corners, blocks = quickstart.cut_tiles(photograph, step=48, blocks=16)
    assert set(blocks) == {1}
    assert corners[:, 1].min() == 112


def test_brightness_and_colour_do_not_tell_classes_apart(quickstart):
    tiles = quickstart.read_tiles(quickstart.TARGET, step=48, blocks=16).images
    assert (tiles == tiles[..., :1]).all()
    # Clipping at black and white moves the mean of a tile with few bright spots, and no more.
    assert np.quantile(np.abs(tiles.mean(axis=(1, 2, 3)) - 127.5), 0.95) < 4


def test_help_answers_without_tensorflow_or_scikit_image(quickstart):
    program = f"""
import runpy, sys
sys.argv = ["quickstart.py", "--help"]
try:
    runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
except SystemExit:
    print("loaded:", sorted({{"tensorflow", "keras", "skimage", "pandas"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--weights" in done.stdout
    assert done.stdout.rstrip().endswith("loaded: []")


@pytest.mark.slow
def test_smoke_run_writes_table_scores_and_figures(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TLKERAS_WEIGHTS"}
    out = tmp_path / "run"
    command = [sys.executable, str(SCRIPT), "--smoke", "--out", str(out), "--seeds", "3", "4"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    page = (out / "table.md").read_text(encoding="utf-8")
    assert page.strip() in done.stdout
    assert "No imagenet row" in page
    for name in ("accuracy_bars.png", "explanation.png", "tiles.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    scores = pd.read_csv(out / "scores.csv")
    assert list(scores.columns)[:7] == ["weights", "method", "seed", "part", "metric", "value", "low"]
    assert set(scores["seed"]) == {3, 4}
    tested = scores[(scores["part"] == "test") & (scores["metric"] == "accuracy")]
    tested = tested.set_index(["weights", "method", "seed"])["value"]
    cells = [(weights, method) for weights in ("random", "transferred") for method in ("frozen", "fine_tuned")]
    assert sorted(tested.index) == sorted(
        [("random", "source", 3), *((*cell, seed) for cell in cells for seed in (3, 4))]
    )
    for cell in cells:  # every number shown comes from predictions files
        rights = []
        for seed in (3, 4):
            predictions = pd.read_csv(out.joinpath(*cell, f"seed{seed}", "predictions.csv"))
            rights.append(predictions[predictions["part"] == "test"].eval("label == predicted").mean())
            assert tested[*cell, seed] == pytest.approx(rights[-1])
        assert f"| {100 * np.mean(rights):.1f} ± {100 * np.std(rights, ddof=1):.1f}" in page
