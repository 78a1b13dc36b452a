import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

import tlkeras as tl
from tlkeras.files import read_json, write_json
from tlkeras.replication import planning, running
from tlkeras.replication.auditing import FILE, audit_splits, audited_seeds, read_audits
from tlkeras.replication.planning import RunOptions
from tlkeras.replication.run_folder import RunFolder
from tlkeras.replication.running import run_experiment

GROUPS = np.array([f"patient{row // 2}" for row in range(12)], dtype=object)  # two images each


@pytest.fixture(scope="module")
def samples():
    """Twelve images of six patients; 0 and 8 are the same image."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 24, 24, 3)).astype(np.uint8)
    images[8] = images[0]
    return tl.from_arrays(images, np.arange(12) % 2, groups=GROUPS)


def split(samples, train, val, test):
    return tl.Splits(samples.take(train), samples.take(val), {"test": samples.take(test)})


@pytest.fixture(scope="module")
def clean(samples):
    """No patient and no image on two sides."""
    return split(samples, [0, 1, 2, 3, 8, 9], [4, 5], [6, 7, 10, 11])


@pytest.fixture(scope="module")
def leaky(samples):
    """patient1 is in training and test, and image 8, which is image 0, in the test part."""
    return split(samples, [0, 1, 2, 6, 7], [4, 5], [3, 8, 9, 10, 11])


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "corrected")


@pytest.fixture
def audited(monkeypatch):
    """The splits that are audited from now on, and "images" for each time all images are read."""
    from tlkeras.data import fingerprints, leakage

    seen, audit, fingerprint = [], leakage.audit, fingerprints.fingerprint
    monkeypatch.setattr(leakage, "audit", lambda splits, **given: (seen.append(splits), audit(splits, **given))[1])
    monkeypatch.setattr(fingerprints, "fingerprint", lambda *given: (seen.append("images"), fingerprint(*given))[1])
    return seen


def test_what_is_read_back_from_the_folder_has_the_findings_of_the_audit(samples, clean, leaky, folder):
    audit_splits(folder, samples, {10: clean, 2: leaky}, strict=False)
    assert list(read_json(folder.root / "audit.json")) == ["2", "10"]
    kept = read_audits(folder)
    assert set(kept) == {2, 10}
    for seed, splits in ((2, leaky), (10, clean)):
        assert kept[seed].findings() == tl.audit(splits).findings()
        assert kept[seed].sizes == {part: len(of_part) for part, of_part in splits.parts().items()}
    assert (kept[2].crossing_groups, kept[2].crossing_sets, kept[2].crossing) == (1, 1, True)
    assert "1 of 5 test images (20.0%) are of a group (patient, lesion) that is also in train." in kept[2].findings()
    assert (kept[10].crossing, kept[10].sets_within) == (False, 1)
    assert kept[10].findings()[0] == "No group and no image lies on two sides."


def test_a_leak_is_written_down_before_it_is_refused(samples, leaky, folder):
    with pytest.raises(
        tl.InputError, match=r"1 group \(patient1\) and 1 set of identical images \(0000\d\d, 0000\d\d\)"
    ):
        audit_splits(folder, samples, {0: leaky}, strict=True)
    assert read_audits(folder)[0].findings() == tl.audit(leaky).findings()


def test_every_split_is_audited_before_one_is_refused(samples, clean, leaky, folder):
    with pytest.raises(tl.InputError, match="lie on two sides"):
        audit_splits(folder, samples, {0: clean, 1: leaky, 2: clean}, strict=True)
    assert set(read_audits(folder)) == {0, 1, 2}


def test_clean_splits_pass_however_strict(samples, clean, folder):
    audit_splits(folder, samples, {0: clean}, strict=True)
    assert not read_audits(folder)[0].crossing


def test_no_split_is_audited_twice_and_images_are_read_once_for_all(samples, clean, leaky, folder, audited, heard):
    audit_splits(folder, samples, {0: clean, 1: leaky}, strict=False)
    assert audited == ["images", clean, leaky]
    assert "auditing 12 images, 2 splits" in heard.text()
    written = (folder.root / "audit.json").stat().st_mtime_ns
    audit_splits(folder, samples, {0: clean, 1: leaky}, strict=False)
    assert audited == ["images", clean, leaky]
    assert (folder.root / "audit.json").stat().st_mtime_ns == written
    assert "auditing" not in heard.text()
    audit_splits(folder, samples, {0: clean, 3: clean}, strict=False)
    assert audited == ["images", clean, leaky, "images", clean]
    assert set(read_audits(folder)) == {0, 1, 3}  # what other seeds found stays


def test_an_audit_that_is_kept_is_told_and_refused_again(samples, leaky, folder, heard):
    audit_splits(folder, samples, {0: leaky}, strict=False)
    first = [line for line in heard.lines() if line.startswith("audit, seed 0: ")]
    assert [line.removeprefix("audit, seed 0: ") for line in first] == list(read_audits(folder)[0].findings())
    with pytest.raises(tl.InputError, match="patient1"):
        audit_splits(folder, samples, {0: leaky}, strict=True)
    assert [line for line in heard.lines() if line.startswith("audit")] == first


def test_what_several_seeds_have_in_common_is_told_once(samples, clean, leaky, folder, heard):
    audit_splits(folder, samples, {0: leaky, 1: clean, 2: leaky}, strict=False)
    told = heard.text()
    assert told.count("1 group in all lies on two sides.") == 1
    assert "audit, seeds 0, 2: 1 group in all lies on two sides." in told
    assert "audit, seed 1: No group and no image lies on two sides." in told


@pytest.mark.parametrize("edit", [("audit", "crossing_groups", 0), ("parts", "test", "0" * 64)])
def test_an_audit_that_was_edited_is_refused(samples, leaky, folder, edit):
    audit_splits(folder, samples, {0: leaky}, strict=False)
    kept = read_json(folder.root / "audit.json")
    section, name, value = edit
    assert kept["0"][section][name] != value
    kept["0"][section][name] = value
    write_json(folder.root / "audit.json", kept)
    with pytest.raises(tl.InputError, match=r"audit\.json is not what was written"):
        read_audits(folder)


def test_a_folder_without_an_audit_has_none(folder):
    assert read_audits(folder) == {}


def test_data_that_were_mended_after_a_refusal_are_audited_anew(samples, clean, leaky, folder):
    with pytest.raises(tl.InputError, match="leave one out"):
        audit_splits(folder, samples, {0: leaky}, strict=True)
    mended = samples.take([row for row in range(12) if row != 8])
    splits = split(mended, [0, 1, 2, 3], [4, 5], [6, 7, 8, 9, 10])
    audit_splits(folder, mended, {0: splits}, strict=True)
    assert read_audits(folder)[0].findings() == tl.audit(splits).findings()


def test_a_test_image_overwritten_by_a_training_image_of_its_size_is_found(tmp_path, folder):
    rng, paths = np.random.default_rng(0), [tmp_path / f"{row}.bmp" for row in range(6)]
    for path in paths:  # all of one size
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path)
    samples = tl.Samples(tuple(map(str, paths)), np.arange(6) % 2, ("a", "b"))
    splits = split(samples, [0, 1], [2, 3], [4, 5])
    audit_splits(folder, samples, {0: splits}, strict=True)
    shutil.copy2(paths[0], paths[4])
    with pytest.raises(tl.InputError, match="1 set of identical images"):
        audit_splits(folder, samples, {0: splits}, strict=True)


# ---- In a run


@dataclasses.dataclass(frozen=True)
class OfficialParts:
    """A split of one's own, which does not say whether it respects groups."""

    def split(self, samples, seed=0):
        return tl.Predefined(respect_groups=False).split(samples, seed=seed)


@pytest.fixture(scope="module")
def doubled(toy_chest_xray, tmp_path_factory):
    """The toy set, one training image once more in the test part, in other bytes: a byte behind the end of its JPEG."""
    root = tmp_path_factory.mktemp("doubled") / "data"
    shutil.copytree(toy_chest_xray, root)
    image = (root / "chest_xray/train/NORMAL/IM-0001-0001.jpeg").read_bytes()
    (root / "chest_xray/test/NORMAL/IM-0000-0001.jpeg").write_bytes(image + b"\0")
    return root


def start(split, data, out, monkeypatch):
    """Runs one tree under a split; returns the cells that got as far as being run."""
    reached = []
    monkeypatch.setattr(running, "_run_cells", lambda *given: reached.extend(str(c.key) for c in given[2]))
    cells = {("tree", "pixels"): tl.PixelBaseline("decision_tree", image_size=(8, 8))}
    experiment = tl.Experiment(
        name="toy",
        paper=tl.Paper(title="A toy", authors="Nobody", venue="nowhere"),
        dataset="chest_xray",
        default_backbones=(),
        smoke_backbones=(),
        protocols={"corrected": tl.Protocol(split=split, cells=cells)},
        reported={},
    )
    options = RunOptions(data=data, out=out, protocol="corrected", backbones=(), methods=("tree",), smoke=True)
    try:
        run_experiment(experiment, options)
    except tl.InputError as error:
        return reached, str(error)
    return reached, ""


@pytest.mark.parametrize("split", [tl.Predefined(val=0.25), OfficialParts()], ids=["respects groups", "of one's own"])
def test_a_run_stops_at_an_image_on_two_sides_names_it_and_trains_nothing(split, doubled, tmp_path, monkeypatch):
    reached, said = start(split, doubled, tmp_path, monkeypatch)
    assert reached == []
    assert "1 set of identical images" in said
    assert "train/NORMAL/IM-0001-0001.jpeg" in said
    assert "test/NORMAL/IM-0000-0001.jpeg" in said
    assert "give both one group, or leave one out" in said
    (found,) = read_audits(RunFolder(tmp_path / "corrected")).values()
    assert (found.crossing_sets, found.crossing_same_bytes) == (1, 0)


def test_a_run_that_is_told_not_to_respect_groups_goes_on_and_says_what_crosses(doubled, tmp_path, monkeypatch, heard):
    split = tl.Predefined(val=0.25, respect_groups=False)
    assert start(split, doubled, tmp_path, monkeypatch) == (["pixels/tree/seed0"], "")
    assert "audit, seed 0: 1 set of pixel-identical images lies on two sides." in heard.text()


def test_a_run_on_clean_data_goes_on(toy_chest_xray, tmp_path, monkeypatch):
    assert start(tl.Predefined(val=0.25), toy_chest_xray, tmp_path, monkeypatch) == (["pixels/tree/seed0"], "")
    (found,) = read_audits(RunFolder(tmp_path / "corrected")).values()
    assert (found.crossing, sum(found.sizes.values())) == (False, sum(map(len, found.pixel_sizes.values())))


def test_an_audit_of_another_version_counts_as_none_and_is_made_again(samples, clean, folder):
    audit_splits(folder, samples, {0: clean}, strict=True)
    kept = read_json(folder.root / FILE)
    write_json(folder.root / FILE, {"0": {"version": 0, "parts": kept["0"]["parts"], "audit": {"sizes": {}}}})
    assert read_audits(folder) == {}
    audit_splits(folder, samples, {0: clean}, strict=True)
    assert read_json(folder.root / FILE) == kept


def of_version_1(kept):
    """What version 1 wrote in place of these audits: no pixels, and no hash."""
    old = {}
    for seed, found in kept.items():
        audit = {name: value for name, value in found["audit"].items() if name != "pixel_sizes"}
        old[seed] = {"version": 1, "parts": found["parts"], "audit": audit}
    return old


def test_an_audit_without_pixels_is_still_told_of_and_is_made_again(samples, leaky, folder, audited):
    audit_splits(folder, samples, {0: leaky, 1: leaky}, strict=False)
    kept, findings = read_json(folder.root / FILE), read_audits(folder)[0].findings()
    assert kept["0"]["audit"]["pixel_sizes"] == {"train": {"24x24": 5}, "val": {"24x24": 2}, "test": {"24x24": 5}}
    write_json(folder.root / FILE, of_version_1({"0": kept["0"]}) | {"1": kept["1"]})
    old = read_audits(folder)[0]
    assert (old.pixel_sizes, old.findings((99, 99))) == ({}, findings)
    assert audited_seeds(folder) == {1}
    del audited[:]
    audit_splits(folder, samples, {0: leaky, 1: leaky}, strict=False)
    assert audited == ["images", leaky]  # of seed 0 alone
    assert read_json(folder.root / FILE) == kept
    assert audited_seeds(folder) == {0, 1}


def test_a_finished_run_whose_audit_has_no_pixels_is_audited_again(toy_chest_xray, tmp_path, monkeypatch):
    given = (tl.Predefined(val=0.25), toy_chest_xray, tmp_path, monkeypatch)
    start(*given)
    file = tmp_path / "corrected" / FILE
    kept = read_json(file)
    write_json(file, of_version_1(kept))
    monkeypatch.setattr(RunFolder, "is_finished", lambda *given: True)
    assert start(*given) == ([], "")
    assert read_json(file) == kept
    written = file.stat().st_mtime_ns
    assert start(*given) == ([], "")
    assert file.stat().st_mtime_ns == written


def test_a_run_is_told_how_many_images_its_resize_enlarges(samples, clean, folder, heard):
    audit_splits(folder, samples, {0: clean}, strict=True, image_sizes=[(24, 24), (24, 32), (99, 24)])
    said = heard.lines()
    assert [line.split(" and are ")[0] for line in said[-2:]] == [
        "audit, seed 0: 12 of 12 images (100.0%) are lower or narrower than 32x24",
        "audit, seed 0: 12 of 12 images (100.0%) are lower or narrower than 24x99",
    ]


def test_the_image_sizes_of_the_chosen_cells_are_those_that_are_asked_about(doubled, tmp_path, monkeypatch, heard):
    monkeypatch.setattr(planning, "SMOKE_SIDE", 42)  # the images are 44x40
    start(tl.Predefined(val=0.25, respect_groups=False), doubled, tmp_path, monkeypatch)
    (found,) = read_audits(RunFolder(tmp_path / "corrected")).values()
    n = sum(found.sizes.values())
    assert [line for line in heard.lines() if "lower or narrower" in line] == [
        f"audit, seed 0: {n} of {n} images (100.0%) are lower or narrower than 42x42 and are enlarged to it: 44x40 "
        "(width x height)."
    ]
