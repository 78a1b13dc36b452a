import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

from tlkeras.command import doctor
from tlkeras.command.doctor import (
    Examination,
    Section,
    examine,
    examine_data,
    examine_devices,
    examine_disk,
    examine_precision,
    examine_versions,
    examine_weights,
)
from tlkeras.data.datasets import DATASETS
from tlkeras.machine import n_cores
from tlkeras.models.zoo import BACKBONES

RESNET18 = "resnet18-f37072fd.pth"
MOBILENET = "mobilenet_2_5_224_tf_no_top.h5"


@pytest.fixture(autouse=True)
def _own_machine(monkeypatch, tmp_path):
    """Nothing of the user's is looked at."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("TLKERAS_WEIGHTS", "TLKERAS_DATA", "TLKERAS_STORE_LIMIT"):
        monkeypatch.delenv(name, raising=False)


def row_of(section, key):
    (row,) = [row for row in section.table.to_dict("records") if key in row.values()]
    return row


def test_every_backbone_has_a_row_and_a_missing_file_is_no_problem(tmp_path):
    section = examine_weights(tmp_path)
    assert list(section.table["backbone"]) == list(BACKBONES)
    assert set(section.table["size"]) == {"missing"}
    assert row_of(section, "vgg16")["published hash"] == "md5 6d6bbae143d832006294945121d1f1fc"
    assert row_of(section, "resnet18")["published hash"] == "sha256 f37072fd..."
    assert row_of(section, "mobilenet_025")["published hash"] == "none is published"
    assert row_of(section, "vgg16")["file"] == BACKBONES["vgg16"].weights[0].url
    assert section.problems == ()
    short = examine_weights(tmp_path, missing=False)
    assert short.table is None
    assert short.lines[1].startswith(f"{len(BACKBONES)} networks have no file here")
    assert section.lines[0].startswith(f"searched: {tmp_path}, {tmp_path / 'keras' / 'models'};")


def test_a_file_of_unknown_hash_is_shown_with_its_own(tmp_path):
    (tmp_path / MOBILENET).write_bytes(b"weights")
    row = row_of(examine_weights(tmp_path), "mobilenet_025")
    assert row["file"] == str(tmp_path / MOBILENET)
    assert row["sha256"] == hashlib.sha256(b"weights").hexdigest()[:16]
    assert row["published hash"] == "none is published"


def test_a_file_that_is_not_the_published_one_is_a_problem_with_an_address(tmp_path):
    (tmp_path / RESNET18).write_bytes(b"a cut download")
    section = examine_weights(tmp_path)
    assert row_of(section, "resnet18")["size"] == "damaged"
    (problem,) = section.problems
    assert "begins with f37072fd" in problem
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in problem


@pytest.mark.parametrize("where", ["keras/models", "own"])
def test_the_published_file_is_found_in_the_folder_and_in_the_cache(tmp_path, monkeypatch, where):
    published = replace(BACKBONES["vgg16"].weights[0], md5=hashlib.md5(b"good").hexdigest())
    monkeypatch.setitem(BACKBONES, "vgg16", replace(BACKBONES["vgg16"], weights=(published,)))
    (tmp_path / where).mkdir(parents=True)
    (tmp_path / where / published.file).write_bytes(b"good")
    section = examine_weights(tmp_path / "own" if where == "own" else None)
    assert row_of(section, "vgg16")["published hash"] == f"md5 {published.md5} matches"
    assert row_of(section, "vgg16")["file"] == str(tmp_path / where / published.file)
    assert section.problems == ()


def test_a_weights_folder_that_is_not_there_is_a_problem_and_the_cache_is_still_searched(tmp_path, monkeypatch):
    (tmp_path / "keras/models").mkdir(parents=True)
    (tmp_path / "keras/models" / MOBILENET).write_bytes(b"weights")
    monkeypatch.setenv("TLKERAS_WEIGHTS", str(tmp_path / "gone"))
    section = examine_weights()
    (problem,) = section.problems
    assert f"weights folder: there is no folder {tmp_path / 'gone'}" in problem
    assert row_of(section, "mobilenet_025")["size"] == "0.0 KB"
    assert row_of(section, "mobilenet_025")["file"] == str(tmp_path / "keras/models" / MOBILENET)


def test_a_set_with_fewer_images_is_incomplete_and_says_where(toy_chest_xray):
    section = examine_data(toy_chest_xray)
    row = row_of(section, "chest_xray")
    assert (row["state"], row["images"], row["published"]) == ("incomplete", "60", "5,856")
    (problem,) = section.problems
    assert "train/NORMAL 16 of 1,341" in problem
    assert "kaggle.com" in problem
    assert row_of(section, "afhq")["state"] == "missing"


def test_a_set_with_the_published_numbers_is_complete(toy_chest_xray, monkeypatch):
    counts = {
        f"{part}/{name}": 2 * n
        for part, n in (("train", 8), ("val", 3), ("test", 4))
        for name in ("NORMAL", "PNEUMONIA")
    }
    monkeypatch.setitem(DATASETS, "chest_xray", replace(DATASETS["chest_xray"], counts=counts))
    section = examine_data(toy_chest_xray)
    assert row_of(section, "chest_xray")["state"] == "complete"
    assert section.problems == ()


def test_an_empty_folder_of_a_set_is_a_problem(tmp_path):
    (tmp_path / "tumor").mkdir()
    section = examine_data(tmp_path)
    assert row_of(section, "tumor")["state"] == "incomplete"
    assert "found none of train, test1, test2" in section.problems[0]


def test_a_data_folder_is_missed_only_where_it_was_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert examine_data().problems == ()
    assert "there is no data folder data" in examine_data().lines[0]
    monkeypatch.setenv("TLKERAS_DATA", str(tmp_path / "gone"))
    assert f"there is no data folder {tmp_path / 'gone'}" in examine_data().problems[0]


def test_room_is_told_for_runs_store_and_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLKERAS_STORE", str(tmp_path / "store"))
    section = examine_disk()
    assert set(section.table["folder"]) == {str(tmp_path), str(tmp_path / "store"), str(tmp_path / "keras/models")}
    assert row_of(section, "feature store")["kept"] == "0.0 KB of at most 20 GB"
    assert section.problems == ()
    assert not (tmp_path / "store").exists()


def test_a_full_disk_and_an_unusable_limit_are_problems(monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_FREE", 10**18)
    assert len(examine_disk().problems) == 3
    assert "tlkeras store --clear" in examine_disk().problems[0]
    monkeypatch.setattr(doctor, "LEAST_FREE", 0)
    monkeypatch.setenv("TLKERAS_STORE_LIMIT", "much")
    (problem,) = examine_disk().problems
    assert "'much'" in problem


def test_a_card_that_tensorflow_does_not_see_is_a_problem(monkeypatch):
    from tlkeras import backend

    monkeypatch.setattr(doctor, "_nvidia_cards", lambda: ["NVIDIA H200, 143771 MiB, 570.1"])
    monkeypatch.setattr(backend, "device_name", lambda: "CPU")
    (problem,) = examine_devices().problems
    assert "tlkeras[gpu]" in problem
    monkeypatch.setattr(backend, "device_name", lambda: "GPU (gpu:0)")
    section = examine_devices()
    assert section.problems == ()
    assert "networks run on: GPU (gpu:0)" in section.lines
    assert "card: NVIDIA H200, 143771 MiB, 570.1" in section.lines
    assert f"{n_cores()} cores for this process" in section.lines[0]


def test_a_tensorflow_that_does_not_start_is_a_problem(monkeypatch):
    from tlkeras import backend

    monkeypatch.setattr(backend, "device_name", lambda: 1 / 0)
    assert "does not start (ZeroDivisionError" in examine_devices().problems[0]


def test_another_backend_is_a_problem(tmp_path):
    code = "from tlkeras.command.doctor import examine_devices; print(*examine_devices().problems)"
    environment = os.environ | {"KERAS_BACKEND": "jax", "KERAS_HOME": str(tmp_path)}
    said = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert said.startswith("Keras' backend is 'jax', says the variable KERAS_BACKEND;")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("flags : sse avx512_bf16 amx_bf16", "(avx512_bf16, amx_bf16)"),
        ("flags : sse avx2", "no instructions"),
        (None, "does not tell"),
    ],
)
def test_what_the_processor_can_do_in_half_precision_is_told(monkeypatch, tmp_path, flags, told):
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(doctor, "Path", lambda path: tmp_path / "cpuinfo")
    assert told in examine_precision().lines[0]


def test_an_installation_without_metadata_is_a_problem(monkeypatch):
    import importlib.metadata

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", missing)
    assert "not installed, only found on the path" in examine_versions().problems[0]


def test_sections_are_printed_with_their_problems_and_a_count():
    table = pd.DataFrame({"name": ["a", "long"], "state": ["", "good"]})
    sections = (Section("first", table, ("said",)), Section("second", problems=("this. Do that.",)))
    assert Examination(sections).describe() == (
        "first\n  name  state\n  a\n  long  good\n  said\n\nsecond\n  PROBLEM: this. Do that.\n\n1 problem found"
    )
    assert Examination(sections).problems == ("this. Do that.",)
    assert Examination(sections[:1]).describe().endswith("no problem found")


def test_everything_is_looked_at_and_this_machine_is_well(tmp_path):
    sections = examine(tmp_path, tmp_path).sections
    assert [section.title for section in sections] == ["versions", "devices", "precision", "weights", "data", "disk"]
    assert sections[1].lines[2].startswith("networks run on: ")
    assert set(sections[4].table["state"]) == {"missing"}


def test_importing_it_loads_no_tensorflow():
    import subprocess
    import sys

    code = "import sys, tlkeras.command.doctor, tlkeras.command.export, tlkeras.command.predicting; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"tensorflow", "keras", "matplotlib", "lime"} & set(loaded)
