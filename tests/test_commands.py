import subprocess
import sys

import pytest
from tiny import TINY

import tlkeras as tl
from tlkeras.commands import main
from tlkeras.training.feed import Part


@pytest.fixture
def store(tmp_path, toy_pixels):
    """A feature store with one table of 40 images."""
    store = tl.FeatureStore(tmp_path / "store")
    part = Part(tl.from_arrays(*toy_pixels), (32, 32))
    store.features([tl.build_encoder(TINY, image_size=(32, 32), pooling="avg")], part.sources, part.stream)
    return store


def test_store_shows_what_is_kept_and_clears_it(store, capsys):
    main(["store", "--store", str(store.folder)])
    shown = capsys.readouterr().out
    assert "1 tables, 1.3 KB of at most 20 GB" in shown  # 40 images of 8 float32
    assert "tiny up to head_avg: 40 images at 32x32, 8 float32 each" in shown
    main(["store", "--store", str(store.folder), "--clear"])
    assert "1 tables removed, 1.3 KB free again" in capsys.readouterr().out
    assert store.entries() == []


def test_what_a_process_is_writing_stays(store, capsys):
    from tlkeras.files import holding

    (entry,) = store.entries()
    with holding(store.folder / "locks" / entry["folder"].name):
        main(["store", "--store", str(store.folder), "--clear"])
    assert "1 are being written by other processes and stay" in capsys.readouterr().out
    assert len(store.entries()) == 1


def test_a_store_that_is_not_there_is_empty(tmp_path, capsys):
    main(["store", "--store", str(tmp_path / "none")])
    assert "0 tables" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_the_command_is_installed_and_asks_for_a_subcommand():
    done = subprocess.run([sys.executable, "-m", "tlkeras.commands"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage: tlkeras" in done.stderr
    assert "store" in done.stderr
