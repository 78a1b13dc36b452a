import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image, PngImagePlugin
from test_perceptual_hash import scene

from tlkeras.data import image_index
from tlkeras.data.datasets import load_dataset
from tlkeras.data.file_contents import Unreadable, read_bytes
from tlkeras.data.fingerprints import fingerprint
from tlkeras.data.grouping import Grouping
from tlkeras.data.image_index import INDEX
from tlkeras.data.images import read_pixels
from tlkeras.data.leakage import audit
from tlkeras.data.leakage_findings import Audit
from tlkeras.data.perceptual_hash import near_pairs
from tlkeras.data.python_decoder import decode_slowly
from tlkeras.data.sources import from_folders
from tlkeras.data.splits import Holdout, Predefined
from tlkeras.errors import InputError
from tlkeras.schema import Samples, Splits


def part(seeds, labels=None, groups=None, ids=None, class_names=("a", "b")):
    """Images of an array, each drawn from its seed."""
    images = np.stack([scene(seed, 40, 48) for seed in seeds])
    labels = np.arange(len(seeds)) % 2 if labels is None else np.asarray(labels)
    ids = [f"s{seed}" for seed in seeds] if ids is None else ids
    return Samples(images, labels, class_names, groups=groups, sample_ids=ids)


def splits(train, val=None, **tests):
    return Splits(train=train, val=val, tests=tests)


def reference():
    """Groups g0 to g6: g1 in train and val, g2 in train, test and other, g5 in both test parts."""
    return splits(
        part([0, 1, 2, 3], labels=[0, 1, 0, 1], groups=["g0", "g1", "g2", "g2"]),
        part([4, 5], groups=["g1", "g3"]),
        test=part([6, 7, 8], groups=["g2", "g4", "g5"], labels=[0, 0, 0]),
        other=part([9, 10], groups=["g5", "g2"]),
    )


def rows_known(**known):
    columns = ["part", "images", "group_in_train", "group_in_val", "image_in_train", "image_in_val"]
    return [dict(zip(columns, (name, *counts), strict=True)) for name, counts in known.items()]


def test_groups_on_two_sides_and_the_images_they_concern():
    found = audit(reference())
    assert found.groups.to_dict("records") == [
        {"group": "g1", "parts": "train, val", "images": 2},
        {"group": "g2", "parts": "train, test, other", "images": 4},
    ]
    assert found.known.to_dict("records") == rows_known(
        val=(2, 1, 0, 0, 0), test=(3, 1, 0, 0, 0), other=(2, 1, 0, 0, 0)
    )
    assert (found.crossing_groups, found.crossing_sets, found.without_group, found.crossing) == (2, 0, 0, True)
    assert found.grouping == Grouping(groups=6, of_one=3)
    assert found.findings() == (
        "1 of 2 val images (50.0%) are of a group (patient, lesion) that is also in train.",
        "1 of 3 test images (33.3%) are of a group (patient, lesion) that is also in train.",
        "1 of 2 other images (50.0%) are of a group (patient, lesion) that is also in train.",
        "2 groups in all lie on two sides.",
        "test has no image of class b.",
        "Class shares differ: a is 100.0% of test, 50.0% of train.",
    )


def test_val_and_test_may_share_no_group_either_but_two_test_parts_may():
    found = audit(splits(part([0, 1], groups=["x", "y"]), part([2], groups=["z"]), test=part([3], groups=["z"])))
    assert found.groups.to_dict("records") == [{"group": "z", "parts": "val, test", "images": 2}]
    assert found.known["group_in_val"].tolist() == [0, 1]
    assert "1 of 1 test images (100.0%) are of a group (patient, lesion) that is also in val." in found.findings()
    tests = {"one": part([2], groups=["z"]), "two": part([3], groups=["z"])}
    assert not audit(splits(part([0, 1], groups=["x", "y"]), **tests)).crossing


def test_sizes_class_shares_and_missing_classes():
    found = audit(splits(part([0, 1, 2, 3], labels=[0, 1, 1, 1]), test=part([4, 5], labels=[1, 1])))
    assert found.sizes == {"train": 4, "test": 2}
    assert found.class_counts == {"train": {"a": 1, "b": 3}, "test": {"a": 0, "b": 2}}
    assert found.class_shares.to_dict("index") == {"train": {"a": 0.25, "b": 0.75}, "test": {"a": 0, "b": 1}}
    assert found.missing_classes == (("test", "a"),)


def test_identical_arrays_on_two_sides_within_one_and_under_two_labels():
    found = audit(
        splits(
            part([0, 1, 1, 2, 2], labels=[0, 1, 0, 1, 1], ids=["t0", "t1", "t2", "t3", "t4"]),
            part([3], ids=["v0"]),
            test=part([0, 4], labels=[0, 1], ids=["e0", "e1"]),
            other=part([3, 4, 5], labels=[0, 1, 1], ids=["o0", "o1", "o2"]),
        )
    )
    sets = found.identical.groupby("set")["sample_id"].agg(set).tolist()
    assert sorted(map(sorted, sets)) == [["e0", "t0"], ["o0", "v0"]]
    assert set(found.identical["same_bytes"]) == {True}
    assert (found.crossing_sets, found.crossing_same_bytes, found.sets_within) == (2, 2, 3)  # t1 = t2, t3 = t4, e1 = o1
    assert found.two_labels["sample_id"].tolist() == ["t1", "t2"]
    assert found.two_labels["class_name"].tolist() == ["b", "a"]
    assert found.known.to_dict("records") == rows_known(
        val=(1, 0, 0, 0, 0), test=(2, 0, 0, 1, 0), other=(3, 0, 0, 0, 1)
    )
    said = found.findings()
    assert said[0] == "No groups (patients, lesions) are known; whether one lies on two sides cannot be told."
    assert "2 sets of byte-identical images lie on two sides." in said
    assert "1 of 2 test images are themselves in train." in said
    assert "1 of 3 other images are themselves in val." in said
    assert "1 set of identical images under two labels: t1, t2." in said
    assert "3 sets of identical images on one side." in said


def test_a_sample_in_two_parts_is_found_and_one_shown_twice_in_its_part_is_no_second_image():
    samples = part(range(6))
    shown_twice = splits(samples.take([0, 1, 2, 2]), test=samples.take([3, 4, 5]))
    assert (audit(shown_twice).sets_within, audit(shown_twice).crossing) == (0, False)
    found = audit(splits(samples.take([0, 1, 2]), test=samples.take([2, 3])), fingerprints=fingerprint(samples))
    assert found.identical[["sample_id", "part"]].to_numpy().tolist() == [["s2", "train"], ["s2", "test"]]


def save(image, path, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **how)
    return str(path)


def files(*paths, labels=None):
    return Samples(paths, np.arange(len(paths)) % 2 if labels is None else np.asarray(labels), ("a", "b"))


def test_equal_pixels_in_other_bytes_are_one_image_and_a_compressed_copy_only_looks_alike(tmp_path):
    images = [scene(seed, 90, 120) for seed in range(6)]
    upside_down = images[2][::-1, ::-1]
    exif = Image.Exif()
    exif[274] = 3  # shown turned by 180 degrees
    quarter = Image.Exif()
    quarter[274] = 6  # shown turned by 90 degrees to the right
    train = files(
        save(images[0], tmp_path / "0.png"),
        save(images[1], tmp_path / "1.png"),
        save(images[2], tmp_path / "2.bmp"),
        save(images[3], tmp_path / "3.png"),
        save(images[4], tmp_path / "4.png"),
        save(images[5], tmp_path / "5.bmp"),
    )
    shutil.copy(tmp_path / "4.png", tmp_path / "copy.png")
    test = files(
        save(images[0], tmp_path / "0.tif"),
        save(images[1], tmp_path / "1.jpeg", quality=60),
        save(upside_down, tmp_path / "2.png", exif=exif),
        save(np.rot90(images[3]), tmp_path / "3.tiff", tiffinfo=quarter),
        save(np.rot90(images[5]), tmp_path / "5.png", exif=quarter),
        str(tmp_path / "copy.png"),
    )
    found = audit(splits(train, test=test))
    names = found.identical.assign(name=[path.rsplit("/", 1)[1] for path in found.identical["sample_id"]])
    assert sorted(map(sorted, names.groupby("set")["name"].agg(list))) == [
        ["0.png", "0.tif"],
        ["2.bmp", "2.png"],
        ["3.png", "3.tiff"],
        ["4.png", "copy.png"],
        ["5.bmp", "5.png"],
    ]
    assert names.loc[names["same_bytes"], "name"].tolist() == ["4.png", "copy.png"]
    assert (found.crossing_sets, found.crossing_same_bytes, found.crossing_near) == (5, 1, 1)
    assert found.near[["sample_id_a", "part_a", "sample_id_b", "part_b"]].iloc[0].tolist() in (
        [train.images[1], "train", test.images[1], "test"],
        [test.images[1], "test", train.images[1], "train"],
    )
    assert "5 sets of identical images lie on two sides, 1 byte for byte, 4 pixel for pixel." in found.findings()


def test_near_images_have_one_pixel_apart_and_do_not_count_as_crossing():
    changed = scene(0, 40, 48)
    changed[20, 20] ^= 8
    train, test = part([0, 1]), part([2, 3])
    images = test.images.copy()
    images[0] = changed
    test = Samples(images, test.labels, test.class_names, sample_ids=test.sample_ids)
    found = audit(splits(train, test=test))
    assert (found.crossing_near, found.near_within, found.crossing_sets, found.crossing) == (1, 0, 0, False)
    assert {found.near["sample_id_a"][0], found.near["sample_id_b"][0]} == {"s0", "s2"}
    assert not found.near["same_group"][0]
    assert "1 pair of images on two sides look alike: candidates, to be looked at." in found.findings()
    found.require_separate()
    within = Samples(np.concatenate([train.images, images[:1]]), np.array([0, 1, 0]), ("a", "b"))
    found = audit(splits(within, test=part([5])))
    assert (found.crossing_near, found.near_within) == (0, 1)


def test_images_of_one_colour_are_alike_only_where_they_are_equal(tmp_path):
    flat = np.repeat(np.array([10, 20, 20, 30], np.uint8), 40 * 40 * 3).reshape(4, 40, 40, 3)
    found = audit(splits(Samples(flat[:2], None, ("a",)), test=Samples(flat[2:], None, ("a",))))
    assert (found.crossing_sets, found.crossing_near, found.near_within) == (1, 0, 0)
    assert found.identical["sample_id"].tolist() == ["000001", "000000"]
    assert found.class_counts == {}
    assert found.missing_classes == ()
    train = files(save(flat[0], tmp_path / "0.png"), save(flat[1], tmp_path / "1.png"))
    found = audit(splits(train, test=files(save(flat[2], tmp_path / "2.bmp"), save(flat[3], tmp_path / "3.bmp"))))
    assert found.identical["sample_id"].tolist() == [str(tmp_path / "1.png"), str(tmp_path / "2.bmp")]


def test_parts_made_apart_may_use_the_same_ids_and_other_sizes():
    small = Samples(np.stack([scene(7, 32, 32)]), np.array([0]), ("a", "b"))
    found = audit(splits(Samples(np.stack([scene(8, 40, 48)]), np.array([0]), ("a", "b")), test=small))
    assert not found.crossing
    assert found.crossing_near == 0


def test_the_answer_is_the_same_with_fingerprints_made_before(tmp_path):
    samples = files(*(save(scene(seed % 7, 40 + seed % 7, 48), tmp_path / f"{seed}.png") for seed in range(12)))
    prints = fingerprint(samples)
    for rows in (range(6), (9, 8, 1, 7, 2), (11, 0, 4)):
        rest = [row for row in range(12) if row not in rows]
        drawn = splits(samples.take(rest), test=samples.take(rows))
        found = audit(drawn, fingerprints=prints)
        assert found.as_json() == audit(drawn).as_json()
        heights = [sorted(height for height, _ in found.pixel_sizes[name].counts) for name in ("train", "test")]
        assert heights == [sorted({40 + row % 7 for row in of_part}) for of_part in (rest, rows)]


def test_fingerprints_of_other_samples_are_refused():
    samples = part(range(4))
    with pytest.raises(InputError, match=r"fingerprints: 2 of 3 samples are not among the 2 .* the first 's1'"):
        audit(splits(samples.take([0, 1, 2]), test=samples.take([3])), fingerprints=fingerprint(samples.take([0, 3])))
    others = part(range(4, 8), ids=samples.sample_ids)
    with pytest.raises(InputError, match="fingerprints: 3 of 3 samples are not among"):
        audit(splits(samples.take([0, 1, 2]), test=samples.take([3])), fingerprints=fingerprint(others))


def test_what_crosses_is_refused_by_name_and_with_what_to_do():
    with pytest.raises(InputError, match=r"splits: 2 groups \(g1, g2\) lie on two sides .*respect_groups=True"):
        audit(reference()).require_separate()
    crossing = splits(part([0, 1]), test=part([1, 2]))
    with pytest.raises(InputError, match=r"splits: 1 set of identical images \(s1, s1\) .* leave one out"):
        audit(crossing).require_separate()
    separate = splits(part([0, 1], groups=["x", "y"]), test=part([2, 3], groups=["z", "z"]))
    assert audit(separate).findings() == ("No group and no image lies on two sides.",)
    audit(separate).require_separate()


def mixed_sizes(tmp_path):
    """In train 200x150 twice, one file lying on its side; in val 600x450; in test 30x40, 40x30 and 300x224."""
    turned = Image.Exif()
    turned[274] = 6  # shown turned by 90 degrees to the right
    train = files(
        save(scene(0, 150, 200), tmp_path / "0.png"), save(scene(1, 200, 150), tmp_path / "1.jpeg", exif=turned)
    )
    test = files(
        save(scene(2, 40, 30), tmp_path / "2.bmp"),
        save(scene(3, 30, 40), tmp_path / "3.tif"),
        save(scene(4, 224, 300), tmp_path / "4.webp"),
    )
    return splits(train, files(save(scene(5, 450, 600), tmp_path / "5.jpg")), test=test)


def test_how_large_the_images_of_every_part_are_as_they_are_shown(tmp_path):
    found = audit(mixed_sizes(tmp_path))
    assert {part: sizes.as_json() for part, sizes in found.pixel_sizes.items()} == {
        "train": {"200x150": 2},
        "val": {"600x450": 1},
        "test": {"40x30": 1, "30x40": 1, "300x224": 1},
    }
    shown = {path: read_pixels(path, None).shape[:2] for path in ("0.png", "1.jpeg") for path in [str(tmp_path / path)]}
    assert set(shown.values()) == {(150, 200)}


def test_images_that_a_resize_enlarges_are_a_finding(tmp_path):
    found = audit(mixed_sizes(tmp_path))
    at_224 = (
        "4 of 6 images (66.7%) are lower or narrower than 224x224 and are enlarged to it: smallest 40x30, "
        "median 30x40, largest 200x150 (width x height)."
    )
    assert found.findings((224, 224)) == (*found.findings(), at_224)
    wide = (
        "5 of 6 images (83.3%) are lower or narrower than 500x100 and are enlarged to it: smallest 40x30, "
        "median 200x150, largest 300x224 (width x height)."
    )
    assert found.findings((224, 224), (30, 30), (100, 500))[-2:] == (at_224, wide)  # 30x30 enlarges none
    with pytest.raises(InputError, match=r"image_size: received \(224,\)"):
        found.findings((224,))


def test_arrays_have_the_size_of_their_rows():
    found = audit(splits(part([0, 1]), test=Samples(np.stack([scene(7, 32, 64)]), None, ("a", "b"))))
    assert {part: sizes.counts for part, sizes in found.pixel_sizes.items()} == {
        "train": {(40, 48): 2},
        "test": {(32, 64): 1},
    }
    assert found.findings((40, 48))[-1].startswith("1 of 3 images (33.3%) are lower or narrower than 48x40 ")
    assert found.findings((32, 49))[-1].startswith("2 of 3 images (66.7%) are lower or narrower than 49x32 ")
    assert found.findings((32, 48)) == found.findings()


def test_a_part_without_images_has_no_sizes():
    none = Samples(np.empty((0, 8, 8, 3), np.uint8), np.empty(0, np.int64), ("a", "b"))
    found = audit(splits(part([0]), none, test=part([1])))
    assert found.pixel_sizes["val"].counts == {}
    assert found.findings((41, 8))[-1].startswith("2 of 2 images (100.0%)")


def test_a_file_that_only_tensorflow_forgives_is_measured_as_it_is_decoded(tmp_path):
    path = save(scene(0, 40, 48), tmp_path / "0.png", pnginfo=comment("taken on Monday"))
    contents = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(contents.replace(b"Monday", b"Sunday"))  # the comment's checksum is wrong
    with pytest.raises(Unreadable):
        decode_slowly((tmp_path / "0.png").read_bytes())
    assert fingerprint(files(path)).sizes.tolist() == [[40, 48]]


def test_fingerprints_come_of_one_reading_of_the_files(tmp_path, monkeypatch):
    samples, read = files(*(save(scene(n % 3), tmp_path / f"{n}.jpeg") for n in range(4))), []
    monkeypatch.setattr(image_index, "read_bytes", lambda path: (read.append(path), read_bytes(path))[1])
    prints = fingerprint(samples)
    assert sorted(read) == sorted(samples.images)
    assert list(prints.digests) == INDEX.digests(samples)
    assert prints.pictures[0] == prints.pictures[3]
    assert len(set(prints.pictures)) == 3
    assert prints.sizes.tolist() == [[*read_pixels(path, None).shape[:2]] for path in samples.images]


def comment(text):
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    return info


def test_a_patient_in_two_spellings_is_no_separate_one():
    found = audit(splits(part([0, 1], groups=["P1", "P2"]), test=part([2, 3], groups=["P1 ", "\uff302"])))
    assert (found.crossing, found.crossing_groups, found.grouping.alike_crossing) == (True, 0, 2)
    assert found.findings()[0].startswith("2 groups are written in two ways and counted as two, 2 of them on two sides")
    with pytest.raises(InputError, match=r"splits: 2 groups written in two ways \('P1' and 'P1 '; .* lie on two sides"):
        found.require_separate()


def test_groups_that_hold_the_names_of_folders_are_a_finding(tmp_path):
    for n, name in enumerate(("train/a/x_1", "train/a/x_2", "train/b/y_1", "test/a/x_3", "test/b/y_2", "test/b/y_3")):
        save(scene(n, 20, 20), tmp_path / f"{name}.png")
    by_path = from_folders(tmp_path, group_of_path=lambda path: path.split("_")[0])
    found = audit(Predefined().split(by_path))
    assert not found.crossing
    assert found.findings()[1].startswith(
        "Every group's name holds that of its part or class, as 'train/a/x' does 'train'"
    )
    by_name = from_folders(tmp_path, group_of=lambda name: name.split("_")[0])
    found = audit(Predefined(respect_groups=False).split(by_name))
    assert found.known["group_in_train"].tolist() == [3]
    assert not any("name holds" in finding for finding in found.findings())


def test_an_audit_that_was_kept_before_groups_were_looked_at_is_read():
    found = audit(reference())
    value = {name: kept for name, kept in found.as_json().items() if name != "grouping"}
    assert Audit.from_json(value).findings() == found.findings()
    assert Audit.from_json(value).grouping == Grouping()


def test_groups_that_are_known_in_part():
    found = audit(splits(part([0, 1], groups=["x", "y"]), test=part([2, 3], groups=["x", None])))
    assert found.without_group == 1
    assert found.findings()[0] == "Of 1 of 4 images the group is not known; what it shares cannot be told."
    assert found.groups["group"].tolist() == ["x"]


def test_json_brings_back_the_findings_and_the_head_of_the_tables(monkeypatch):
    monkeypatch.setattr("tlkeras.data.leakage_findings.LISTED", 3)
    n = 8
    groups = [f"g{seed}" for seed in range(n)]
    found = audit(splits(part(range(n), groups=groups), test=part(range(n), groups=groups)))
    value = json.loads(json.dumps(found.as_json()))
    assert value["groups"]["total"] == n
    assert len(value["identical"]["rows"]) == 3
    again = Audit.from_json(value)
    assert again.findings() == found.findings()
    assert again.crossing
    pd.testing.assert_frame_equal(again.groups, found.groups.head(3), check_dtype=False)
    pd.testing.assert_frame_equal(again.class_shares, found.class_shares)
    assert value["pixel_sizes"] == {"train": {"48x40": n}, "test": {"48x40": n}}
    assert again.pixel_sizes == found.pixel_sizes
    assert again.findings((50, 50)) == found.findings((50, 50)) != found.findings()
    with pytest.raises(InputError, match="8 groups"):
        again.require_separate()
    empty = audit(splits(part([0]), test=part([1])))
    assert Audit.from_json(json.loads(json.dumps(empty.as_json()))).findings() == empty.findings()


def test_too_many_pairs_that_look_alike_are_cut_and_equal_pixels_still_found(tmp_path, monkeypatch):
    monkeypatch.setattr("tlkeras.data.fingerprints.NEAR_LIMIT", 0)
    paths = []
    for number in range(6):
        image = scene(0, 40, 48)
        image[number % 5, 0] = 7  # the first and the last are equal
        paths.append(save(image, tmp_path / f"{number}.{'bmp' if number == 5 else 'png'}"))
    found = audit(splits(files(*paths[:3]), test=files(*paths[3:])))
    assert not found.near_complete
    assert found.identical["sample_id"].tolist() == [paths[0], paths[5]]
    assert "More pairs of images look alike than the million that was counted." in found.findings()


def test_files_that_cannot_be_read_are_named(tmp_path):
    good = files(save(scene(0), tmp_path / "good.png"))
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"bad\.png.*not an image"):
        audit(splits(good, test=files(str(tmp_path / "bad.png"))))


@pytest.fixture(scope="module")
def ham10000(real_data):
    samples = load_dataset("ham10000", real_data)
    return samples, fingerprint(samples)


@pytest.mark.real
@pytest.mark.slow
def test_the_two_identical_pairs_of_ham10000_are_found(ham10000):
    samples, prints = ham10000
    names = samples.metadata["image_id"]
    for numbers in (prints.files, prints.pictures):
        sets = names.groupby(numbers).agg(lambda held: tuple(sorted(held)))
        assert sorted(held for held in sets if len(held) > 1) == [
            ("ISIC_0024366", "ISIC_0029861"),
            ("ISIC_0024777", "ISIC_0029938"),
        ]


@pytest.mark.real
@pytest.mark.slow
def test_ham10000_is_as_published_or_a_smaller_copy_and_measured_as_it_is_decoded(ham10000):
    samples, prints = ham10000
    ((height, width),) = {(int(height), int(width)) for height, width in prints.sizes}
    assert 4 * height == 3 * width
    assert width <= 600
    assert {read_pixels(path, None).shape[:2] for path in samples.images[::1000]} == {(height, width)}


@pytest.mark.real
@pytest.mark.slow
def test_at_least_95_of_100_flagged_pairs_are_of_one_lesion(ham10000):
    samples, prints = ham10000
    pairs, _, _ = near_pairs(prints.hashes)
    same = samples.groups[pairs[:, 0]] == samples.groups[pairs[:, 1]]
    assert same.mean() >= 0.95
    sizes = np.unique(samples.groups.astype(str), return_counts=True)[1]
    assert 0.03 <= same.sum() / (sizes * (sizes - 1) // 2).sum() <= 0.05


@pytest.mark.real
@pytest.mark.slow
def test_test_images_of_ham10000_whose_lesion_is_also_in_training(ham10000):
    samples, prints = ham10000
    drawn = Holdout(val=0.2, test=0.2, respect_groups=False).split(samples, seed=0)
    found = audit(drawn, fingerprints=prints)
    lesions = pd.Series(samples.groups, index=samples.sample_ids)
    train, test = lesions[drawn.train.sample_ids], lesions[drawn.test.sample_ids]
    expected = sum(test.value_counts()[name] for name in set(test) & set(train))
    assert found.known.set_index("part")["group_in_train"]["test"] == expected
    # assets/benchmark/near_duplicates.md; the split is the one of experiments/subnets2022_ham10000.py, image_level
    assert (expected, len(test)) == (628, 2003)
    assert (
        "628 of 2,003 test images (31.4%) are of a group (patient, lesion) that is also in train." in found.findings()
    )
    by_lesion = audit(Holdout(val=0.2, test=0.2).split(samples, seed=0), fingerprints=prints)
    assert not by_lesion.crossing
    by_lesion.require_separate()


@pytest.mark.real
@pytest.mark.slow
def test_identical_chest_x_rays_lie_in_one_part_and_one_class(real_data):
    samples = load_dataset("chest_xray", real_data)
    prints = fingerprint(samples)
    found = audit(Predefined(respect_groups=False).split(samples), fingerprints=prints)
    assert (found.sets_within, found.crossing_sets, found.two_label_sets) == (30, 0, 0)
    assert not found.crossing
    assert (pd.Series(prints.files).groupby(prints.pictures).nunique() == 1).all()  # all of them byte for byte
    sets = pd.DataFrame({"picture": prints.pictures, "part": samples.parts, "label": samples.labels}).groupby("picture")
    assert (sets[["part", "label"]].nunique() == 1).all(axis=None)
    assert (sets.size() > 1).sum() == 30
