import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tlkeras as tl
from tlkeras.command.main import main
from tlkeras.command.new_script import write_script


def write_images(root, parts=("",), names=("{benign}", 'malign """ \\x $'), n=8):
    rng = np.random.default_rng(0)
    for part in parts:
        for name in names:
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(n):
                pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{part or 'all'}_{number}.png")
    return root


@pytest.mark.parametrize(
    ("parts", "split"),
    [
        (("",), tl.Holdout(val=0.2, test=0.2)),
        (("train", "test"), tl.Predefined(val=0.2)),
        (("train", "val"), tl.Predefined(val=0.2, test="val")),
        (("train", "val", "test"), tl.Predefined()),
    ],
)
def test_the_script_declares_an_experiment_on_the_images_that_were_found(tmp_path, monkeypatch, parts, split):
    images = write_images(tmp_path / "some images", parts)
    monkeypatch.chdir(tmp_path)
    file, samples = write_script("skin_2", images)
    assert f"--data '{images}' --weights" in runpy.run_path(str(file))["__doc__"]
    experiment = runpy.run_path(str(file))["EXPERIMENT"]
    assert experiment.name == "skin_2"
    assert experiment.protocols["plain"].split == split
    assert experiment.under("plain").load(images).class_counts() == samples.class_counts()
    assert f"{len(samples)} images: {8 * len(parts)} " in file.read_text()
    assert set(split.split(samples, seed=0).parts()) == {"train", "val", "test"}


@pytest.mark.parametrize("name", ["Skin", "2skin", "skin-2", "../skin", ""])
def test_names_that_make_no_script_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tl.InputError, match="NAME: received"):
        write_script(name, write_images(tmp_path / "images"))
    assert not list(tmp_path.glob("*.py"))


def test_a_script_that_is_there_stays_as_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images = write_images(tmp_path / "images")
    main(["new", "skin", "--folders", str(images)])
    assert "16 images found" in capsys.readouterr().out
    (tmp_path / "skin.py").write_text("mine")
    with pytest.raises(SystemExit) as stopped:
        main(["new", "skin", "--folders", str(images)])
    assert stopped.value.code == 2
    assert "skin.py is there already" in capsys.readouterr().err
    assert (tmp_path / "skin.py").read_text() == "mine"


@pytest.mark.slow
def test_the_script_runs_and_its_run_is_listed(tmp_path):
    images, tlkeras = write_images(tmp_path / "some images"), [sys.executable, "-m", "tlkeras.command.main"]

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(*tlkeras, "new", "skin", "--folders", str(images))
    printed = run(sys.executable, "skin.py", "--data", str(images), "--smoke", "--methods", "frozen", "--no-store")
    assert "python skin.py --data DATA" in printed
    assert (tmp_path / "runs/skin-smoke/plain/report.html").is_file()
    assert "skin-smoke" in run(*tlkeras, "runs")
    shutil.rmtree(tmp_path / "runs")
