"""The quickstart: tiles of different parts share no pixel, and its smoke run leaves what a newcomer is promised."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scripts import load_script

import tlkeras as tl

SCRIPT = Path(__file__).parents[2] / "experiments" / "quickstart.py"


# The seeds of the committed tables, and one more.
SEEDS = (0, 1, 2, 3)


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


def splits_of(quickstart, seed):
    """Those of the source and of the target."""
    protocols = [(each, each.protocols["tiles"]) for each in quickstart.EXPERIMENTS]
    return [protocol.split.split(each.under("tiles").load("."), seed=seed) for each, protocol in protocols]


@pytest.mark.parametrize("seed", [0, 1])
def test_parts_neither_share_pixels_nor_touch(quickstart, seed):
    for splits in splits_of(quickstart, seed):
        parts = list(splits.parts().values())
        assert len(parts) == 3
        for i, one in enumerate(parts):
            for other in parts[i + 1 :]:
                reached = covered_pixels(one, quickstart.TILE, margin=1)
                covered = covered_pixels(other, quickstart.TILE, margin=0)
                for photograph in reached.keys() & covered.keys():
                    assert not (reached[photograph] & covered[photograph]).any()


def test_every_class_is_in_every_part(quickstart):
    for seed in SEEDS:
        for splits in splits_of(quickstart, seed):
            for samples in splits.parts().values():
                assert min(samples.class_counts().values()) > 0


def test_few_target_tiles_are_learnt_from_and_most_are_tested(quickstart):
    source, target = splits_of(quickstart, 0)
    assert len(target.train) < len(source.train) / 20
    assert len(target.test) > len(target.train) + len(target.val)


def test_tiles_are_the_same_every_time(quickstart):
    once, again = (quickstart.read_tiles(quickstart.TARGET, step=48) for _ in range(2))
    np.testing.assert_array_equal(once.images, again.images)
    assert list(once.sample_ids) == list(again.sample_ids)


def test_a_tile_is_where_its_name_says(quickstart):
    ramp = np.add.outer(np.zeros(96), np.arange(224.0))  # grey level = column; two blocks of 96 fit with 16 between
    tiles, corners, blocks = quickstart.cut_tiles(ramp, step=48)
    assert corners.tolist() == [[y, x + b] for b in (0, 112) for y in (0, 48) for x in (0, 48)]
    assert blocks.tolist() == [0] * 4 + [1] * 4
    # A ramp over 48 levels has a deviation of sqrt((48² - 1) / 12) = 13.85: it is raised to 48 around 127.5.
    raised = np.rint(127.5 + (np.arange(48) - 23.5) * 48 / np.sqrt((48**2 - 1) / 12))
    np.testing.assert_array_equal(tiles[-1, 0, :, 0], raised)


def test_a_block_with_a_tile_that_shows_nothing_is_left_out(quickstart):
    photograph = np.tile([90.0, 110.0], (96, 112))  # two blocks
    photograph[:48, :48] = 100.0
    _, corners, blocks = quickstart.cut_tiles(photograph, step=48)
    assert set(blocks) == {1}
    assert corners[:, 1].min() == 112


def test_brightness_and_colour_do_not_tell_classes_apart(quickstart):
    tiles = quickstart.read_tiles(quickstart.TARGET, step=48).images
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


def test_the_starts_differ_in_nothing_but_what_they_start_from(quickstart):
    cells = quickstart.EXPERIMENTS[1].protocols["tiles"].cells
    for method in ("frozen", "fine_tuned"):
        random, transferred = (cells[f"{start}_{method}", quickstart.BACKBONE] for start in ("random", "transferred"))
        assert random.weights is None
        assert transferred.weights == tl.EarlierRun("quickstart_source", "learnt")
        phases = [replace(phase, batch_norm="frozen") for phase in random.phases]
        assert replace(transferred, weights=None) == replace(random, phases=phases)


@pytest.mark.slow
def test_smoke_run_leaves_reports_and_cards_and_says_nothing_of_a_gpu(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TLKERAS_")}
    command = [sys.executable, str(SCRIPT), "--smoke", "--seeds", "3", "--no-store"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if re.search("gpu|cuda|warning", line, re.IGNORECASE)]
    source, target = (tmp_path / "runs" / "smoke" / name / "tiles" for name in ("quickstart_source", "quickstart"))
    for folder in (source, target):
        assert (folder / "report.html").is_file()
        assert (folder / "table.md").read_text(encoding="utf-8") in done.stdout
    assert "not measured" not in next(target.rglob("model_card.md")).read_text(encoding="utf-8")
    methods = [f"{start}_{method}" for start in ("random", "transferred") for method in ("frozen", "fine_tuned")]
    scores = pd.read_csv(target / "scores.csv")
    tested = scores[(scores["part"] == "test") & (scores["metric"] == "accuracy")].set_index("method")["value"]
    for method in methods:  # every number shown comes from predictions files
        predictions = pd.read_csv(target / "mobilenet_025" / method / "seed3" / "predictions.csv")
        tested_images = predictions.query("part == 'test'")
        assert tested[method] == pytest.approx(tested_images.eval("label == predicted").mean())
    command = [sys.executable, "-m", "tlkeras.command.main", "runs", str(tmp_path / "runs")]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(method in listed for method in (*methods, "learnt"))
