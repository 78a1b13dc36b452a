import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkeras.data.datasets import load_dataset
from tlkeras.data.splits import Holdout, KFold, Predefined, identical_images, joined_groups
from tlkeras.errors import InputError, MissingInputError
from tlkeras.schema import Samples


def build(labels, groups=None, parts=None, images=None):
    """Samples of 1x1 images, each of its own colour unless told otherwise."""
    n, labels = len(labels), np.asarray(labels)
    if images is None:
        images = np.stack([np.arange(n) // 256, np.arange(n) % 256, np.zeros(n)], axis=-1).reshape(n, 1, 1, 3)
    names = tuple(f"c{label}" for label in range(labels.max() + 1))
    return Samples(np.asarray(images, dtype=np.uint8), labels, names, parts=parts, groups=groups)


def ids(samples):
    return samples.sample_ids.tolist()


def rows_per_part(splits):
    return {part: ids(samples) for part, samples in splits.parts().items()}


def everything(*samples):
    return sorted(name for part in samples for name in ids(part))


def same(one, other):
    return rows_per_part(one) == rows_per_part(other)


@st.composite
def grouped_samples(draw):
    """30 to 120 images, 2 to 4 classes mixed within groups of 1 to 5."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=30, max_size=40))
    groups = np.repeat([f"g{i}" for i in range(len(sizes))], sizes)
    labels = draw(st.lists(st.integers(0, 3), min_size=len(groups), max_size=len(groups)))
    return build([0, 1, *labels[2:]], groups=groups.astype(object))


@given(grouped_samples(), st.integers(0, 2**31 - 1), st.sampled_from([0.0, 0.15, 0.25]), st.sampled_from([0.15, 0.3]))
@settings(max_examples=40, deadline=None)
def test_holdout_never_cuts_a_group_and_uses_every_image_once(samples, seed, val, test):
    splits = Holdout(val, test).split(samples, seed)
    parts = splits.parts()
    assert everything(*parts.values()) == samples.sample_ids.tolist()
    held = [set(part.groups) for part in parts.values()]
    assert len(set().union(*held)) == sum(map(len, held))
    assert (splits.val is None) == (val == 0)
    assert same(splits, Holdout(val, test).split(samples, seed))


@given(grouped_samples(), st.integers(0, 2**31 - 1), st.integers(2, 5), st.sampled_from([0.0, 0.1]))
@settings(max_examples=25, deadline=None)
def test_every_image_is_tested_in_exactly_one_fold(samples, seed, n_folds, val):
    folds = KFold(n_folds, val=val).folds(samples, seed)
    assert everything(*(fold.test for fold in folds)) == samples.sample_ids.tolist()
    for fold in folds:
        assert everything(*fold.parts().values()) == samples.sample_ids.tolist()
        held = [set(part.groups) for part in fold.parts().values()]
        assert len(set().union(*held)) == sum(map(len, held))
        assert (fold.val is None) == (val == 0)


def test_seeds_differ():
    samples = build([0, 1] * 50)
    assert not same(Holdout().split(samples, 0), Holdout().split(samples, 1))
    assert ids(KFold().folds(samples, 0)[0].test) != ids(KFold().folds(samples, 1)[0].test)


def test_seeds_are_the_folds_of_one_round_after_the_other():
    samples, folds = build([0, 1] * 20), KFold(4, val=0.25)
    rounds = [[ids(folds.split(samples, seed).test) for seed in range(4 * n, 4 * n + 4)] for n in (0, 1)]
    for n, found in enumerate(rounds):
        assert found == [ids(fold.test) for fold in folds.folds(samples, seed=n)]
        assert sorted(name for of_fold in found for name in of_fold) == sorted(samples.sample_ids)
    assert rounds[0] != rounds[1]


def test_the_seed_is_0_unless_it_is_given():
    samples = build([0, 1] * 20, parts=["train"] * 30 + ["test"] * 10)
    for way in (Holdout(), Predefined(val=0.2)):
        assert same(way.split(samples), way.split(samples, seed=0))
        assert not same(way.split(samples), way.split(samples, seed=1))
    assert same(KFold(4).folds(samples)[0], KFold(4).folds(samples, seed=0)[0])
    assert not same(KFold(4).folds(samples)[0], KFold(4).folds(samples, seed=1)[0])


def test_folds_of_equal_numbers_have_nothing_to_note():
    for fold in KFold(4, val=0.25).folds(build([0, 1] * 20)):
        assert {part: len(samples) for part, samples in fold.parts().items()} == {"train": 20, "val": 10, "test": 10}
        assert fold.notes == ()


def test_the_validation_part_is_offered_for_testing_only_where_there_is_one():
    for parts, offered in (["train", "val"], True), (["train", "train"], False), (["val", "val"], False):
        with pytest.raises(InputError, match="Predefined needs 'train' and a test part") as caught:
            Predefined().split(build([0, 1], parts=parts))
        assert ("Predefined(test='val')" in str(caught.value)) == offered


def test_shares_are_exact_without_groups():
    splits = Holdout(val=0.15, test=0.25).split(build([0] * 60 + [1] * 120 + [2] * 20))
    assert splits.train.class_counts() == {"c0": 36, "c1": 72, "c2": 12}
    assert splits.val.class_counts() == {"c0": 9, "c1": 18, "c2": 3}
    assert splits.test.class_counts() == {"c0": 15, "c1": 30, "c2": 5}
    assert splits.notes == ()
    for fold in KFold(5, val=0.1).folds(build([0] * 60 + [1] * 120 + [2] * 20)):
        assert fold.test.class_counts() == {"c0": 12, "c1": 24, "c2": 4}
        assert fold.val.class_counts() == {"c0": 6, "c1": 12, "c2": 2}


@pytest.mark.parametrize("seed", range(5))
def test_shares_stay_within_two_points_with_unequal_groups(seed):
    rng = np.random.default_rng(seed)
    sizes = np.maximum(1, rng.lognormal(1, 1, size=200).astype(int))  # 1 to about 40 images per patient
    mixtures = rng.dirichlet([0.5, 0.3, 0.2], size=200)
    labels = np.concatenate([rng.choice(3, size, p=mix) for size, mix in zip(sizes, mixtures, strict=True)])
    splits = Holdout(val=0.15, test=0.15).split(
        build(labels, groups=np.repeat(np.arange(200), sizes).astype(str)), seed
    )
    whole = np.bincount(labels) / len(labels)
    for part, share in {"train": 0.7, "val": 0.15, "test": 0.15}.items():
        samples = splits.parts()[part]
        assert len(samples) / len(labels) == pytest.approx(share, abs=0.02)
        np.testing.assert_allclose(np.bincount(samples.labels, minlength=3) / len(samples), whole, atol=0.02)
    assert splits.notes == ()


def test_large_and_small_groups_spread_alike():
    sizes = np.array([4] * 40 + [1] * 160)
    groups = np.repeat(np.arange(200), sizes).astype(str)
    splits = Holdout(val=0.25, test=0.25).split(build(np.repeat([0, 1], 160), groups=groups))
    for part, share in {"train": 0.5, "val": 0.25, "test": 0.25}.items():
        _, counts = np.unique(splits.parts()[part].groups.astype(str), return_counts=True)
        assert (counts == 4).sum() == 40 * share
        assert (counts == 1).sum() == 160 * share


def test_identical_images_become_one_group_and_join_their_groups():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1).repeat(3, axis=-1)
    images[3], images[5] = images[0], images[4]
    samples = build([0, 1, 0, 1, 0, 1], groups=["a", "a", "b", "b", "c", "d"], images=images)
    assert [rows.tolist() for rows in identical_images(samples)] == [[0, 3], [4, 5]]
    assert joined_groups(samples).tolist() == ["a", "a", "a", "a", "c", "c"]
    without = build([0, 1, 0, 1, 0, 1], images=images)
    assert joined_groups(without).tolist() == ["000000", "000001", "000002", "000000", "000004", "000004"]


def test_identical_files_are_found_by_their_bytes(tmp_path):
    for name, content in {"a": b"xx", "b": b"yy", "c": b"xx", "d": b"xxx"}.items():
        (tmp_path / name).write_bytes(content)
    paths = tuple(str(tmp_path / name) for name in "abcd")
    samples = Samples(paths, np.array([0, 1, 0, 1]), ("c0", "c1"))
    assert [rows.tolist() for rows in identical_images(samples)] == [[0, 2]]
    (tmp_path / "b").unlink()
    with pytest.raises(MissingInputError, match="not there any more"):
        identical_images(samples)


def test_identical_images_stay_together_and_are_noted():
    images = np.repeat(np.arange(40, dtype=np.uint8), 2).reshape(80, 1, 1, 1).repeat(3, axis=-1)
    samples = build([0, 1] * 40, images=images)
    splits = Holdout().split(samples)
    held = [{image.tobytes() for image in part.images} for part in splits.parts().values()]
    assert len(set().union(*held)) == sum(map(len, held)) == 40
    assert splits.notes[0] == "40 sets of byte-identical images were found"


def test_groups_can_be_left_unrespected_and_the_notes_say_so():
    samples = build([0, 1] * 50, groups=[f"g{i // 10}" for i in range(100)])
    splits = Holdout(respect_groups=False).split(samples)
    assert set(splits.train.groups) & set(splits.test.groups)
    assert [note for note in splits.notes if note.startswith("groups were not respected: 10 groups")]
    assert any("not respected" in note for note in KFold(respect_groups=False).folds(samples)[0].notes)


def test_a_share_that_groups_prevent_is_said():
    splits = Holdout(val=0, test=0.5).split(build([0] * 30 + [1] * 10, groups=["big"] * 30 + ["other"] * 10))
    assert splits.notes == (
        "train has 75.0% of the images; 50.0% were wanted",
        "class c0 is 100.0% of train and 75.0% of the whole (+25.0 points)",
        "train has no image of class c1",
        "test has 25.0% of the images; 50.0% were wanted",
        "test has no image of class c0",
        "class c1 is 100.0% of test and 25.0% of the whole (+75.0 points)",
    )


def test_too_few_images_for_the_parts():
    with pytest.raises(InputError, match="2 images in 2 groups are too few"):
        Holdout().split(build([0, 1]))
    with pytest.raises(InputError, match="too few"):
        KFold(5).folds(build([0, 1, 0, 1], groups=list("abca")))


# --- the set's own parts ---------------------------------------------------------------------------------------------


def own_parts(groups=None):
    parts = ["train"] * 60 + ["val"] * 4 + ["test1"] * 20 + ["test2"] * 16
    return build([0, 1] * 50, groups=groups, parts=parts)


def test_predefined_keeps_the_own_parts():
    splits = Predefined().split(own_parts())
    assert {part: len(samples) for part, samples in splits.parts().items()} == {
        "train": 60,
        "val": 4,
        "test1": 20,
        "test2": 16,
    }
    assert splits.notes == ()


def test_predefined_without_a_validation_part():
    samples = own_parts()
    assert Predefined().split(samples.take(np.flatnonzero(samples.parts != "val"))).val is None


@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_predefined_draws_val_by_group_from_train_and_own_val(seed):
    samples = own_parts(groups=[f"g{i // 4}" for i in range(100)])
    splits = Predefined(val=0.25).split(samples, seed)
    assert everything(splits.train, splits.val) == samples.sample_ids[:64].tolist()
    assert len(splits.val) == 16
    assert not set(splits.train.groups) & set(splits.val.groups)
    assert (len(splits.tests["test1"]), len(splits.tests["test2"])) == (20, 16)
    assert same(splits, Predefined(val=0.25).split(samples, seed))


def test_parts_that_share_a_group_are_refused_unless_told_otherwise():
    groups = [f"g{i}" for i in range(100)]
    groups[70] = "g3"
    with pytest.raises(InputError, match=r"share 1 groups \(g3\).*respect_groups=False"):
        Predefined().split(own_parts(groups))
    with pytest.raises(InputError, match="share 1 groups"):
        Predefined(val=0.25).split(own_parts(groups))
    splits = Predefined(respect_groups=False).split(own_parts(groups))
    assert splits.notes == (
        "groups were not respected: 1 groups (g3) lie in more than one part; 2.8% of the test images have another of "
        "their group in train",  # 1 of 36
    )


def test_a_group_in_train_and_own_val_is_no_crossing_once_val_is_drawn_anew():
    groups = [f"g{i}" for i in range(100)]
    groups[61] = "g3"
    with pytest.raises(InputError, match="g3"):
        Predefined().split(own_parts(groups))
    splits = Predefined(val=0.25).split(own_parts(groups))
    assert sum((part.groups == "g3").sum() for part in (splits.train, splits.val)) == 2
    assert not set(splits.train.groups) & set(splits.val.groups)


def test_a_group_in_two_test_parts_is_no_crossing():
    groups = [f"g{i}" for i in range(100)]
    groups[70] = groups[90] = "twice"
    splits = Predefined().split(own_parts(groups))
    assert ["twice" in splits.tests[part].groups for part in ("test1", "test2")] == [True, True]
    assert "twice" not in {*splits.train.groups, *splits.val.groups}
    assert splits.notes == ()


def test_shares_of_own_parts_that_differ_are_said():
    splits = Predefined().split(build([0] * 60 + [1] * 40, parts=["train"] * 80 + ["test"] * 20))
    assert "test has no image of class c0" in splits.notes
    assert "class c1 is 25.0% of train and 40.0% of the whole (-15.0 points)" in splits.notes


def train_and_val():
    return build([0, 1] * 20, parts=["train"] * 30 + ["val"] * 10)


def test_a_set_without_a_test_part_may_be_tested_on_its_validation_part():
    with pytest.raises(InputError, match=r"received \['train', 'val'\]; .*Predefined\(test='val'\)"):
        Predefined().split(train_and_val())
    splits = Predefined(test="val").split(train_and_val())
    assert {part: len(samples) for part, samples in splits.parts().items()} == {"train": 30, "test": 10}
    assert splits.val is None
    drawn = Predefined(val=0.2, test=("val",)).split(train_and_val())
    assert {part: len(samples) for part, samples in drawn.parts().items()} == {"train": 24, "val": 6, "test": 10}
    assert ids(drawn.test) == ids(splits.test) == train_and_val().sample_ids[30:].tolist()


def test_a_part_that_is_no_known_one_is_refused_until_it_is_named():
    samples = build([0, 1] * 20, parts=["train"] * 20 + ["north"] * 10 + ["exclude"] * 5 + ["test_b"] * 5)
    with pytest.raises(InputError, match=r"'north', 'exclude': neither .*test=\('test_b', 'north', 'exclude'\)"):
        Predefined().split(samples)
    with pytest.raises(InputError, match=r"'exclude', 'test_b': neither .*samples\.parts != 'exclude'"):
        Predefined(test="north").split(samples)
    kept = samples.take(np.flatnonzero(samples.parts != "exclude"))
    splits = Predefined(test=["north", "test_b"]).split(kept)
    assert {part: len(samples) for part, samples in splits.parts().items()} == {"train": 20, "north": 10, "test_b": 5}
    with pytest.raises(InputError, match="needs 'train' and a test part called 'south'"):
        Predefined(test="south").split(kept)


def test_validation_images_do_not_become_test_images_beside_others():
    with pytest.raises(InputError, match=r"'test1', 'test2': neither .*Leave these images out"):
        Predefined(test="val").split(own_parts())


@pytest.mark.parametrize("test", ["train", ("val", "test"), (), "", ("train", "test"), 0.2, ("test", 1)])
def test_names_that_are_no_test_parts(test):
    with pytest.raises(InputError, match=r"test: received .*; accepted are names of parts"):
        Predefined(test=test)


@pytest.mark.parametrize("split", [Holdout(), Holdout(respect_groups=False), Predefined()])
def test_groups_in_two_spellings_are_not_split(split):
    groups = [f"P{i // 2}" for i in range(40)]
    samples = build([0, 1] * 20, groups=groups, parts=["train"] * 20 + ["test"] * 20)
    split.split(samples)
    groups[30] = "p1 "
    with pytest.raises(InputError, match=r"samples\.groups: the names 'P1' and 'p1 ' differ only in case"):
        split.split(replace(samples, groups=groups))
    with pytest.raises(InputError, match="'P1' and 'p1 '"):
        KFold(2).folds(replace(samples, groups=groups))
    with pytest.raises(InputError, match="'P1' and 'p1 '"):
        joined_groups(replace(samples, groups=groups))


@pytest.mark.parametrize("parts", [None, ["train"] * 4, ["val", "test"] * 2])
def test_predefined_needs_train_and_a_test_part(parts):
    with pytest.raises(InputError, match="needs 'train' and a test part"):
        Predefined().split(build([0, 1, 0, 1], parts=parts))


@pytest.mark.parametrize(
    "call",
    [
        lambda: Holdout(val=-0.1),
        lambda: Holdout(test=0),
        lambda: Holdout(test=20),
        lambda: Holdout(val=0.5, test=0.5),
        lambda: Holdout(val=float("nan")),
        lambda: Predefined(val=0),
        lambda: KFold(1),
        lambda: KFold(2, val=0.5),
    ],
)
def test_shares_that_cannot_be(call):
    with pytest.raises(InputError, match=r"accepted is|leave nothing"):
        call()


def test_samples_without_labels_cannot_be_split():
    samples = Samples(np.zeros((4, 1, 1, 3), np.uint8), None, ("a", "b"))
    with pytest.raises(InputError, match="no labels"):
        Holdout().split(samples)


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.fixture
def data():
    if "TLKERAS_DATA" not in os.environ:
        pytest.skip("TLKERAS_DATA is not set: it names the folder that holds chest_xray and ham10000")
    return os.environ["TLKERAS_DATA"]


@pytest.mark.real
@pytest.mark.slow
def test_real_lesion_split_keeps_shares(data):
    samples = load_dataset("ham10000", data)
    splits = Holdout(val=0.2, test=0.2).split(samples, seed=0)
    whole = np.bincount(samples.labels) / len(samples)
    for part in splits.parts().values():
        np.testing.assert_allclose(np.bincount(part.labels) / len(part), whole, atol=0.02)
    assert splits.notes == ("2 sets of byte-identical images were found",)


@pytest.mark.real
def test_real_chest_xray_parts_share_nothing(data):
    samples = load_dataset("chest_xray", data)
    assert len(identical_images(samples)) == 30
    splits = Predefined(val=0.1).split(samples, seed=0)
    assert len(splits.test) == 624
    assert len(splits.train) + len(splits.val) == 5_216 + 16
    assert len(splits.val) / 5_232 == pytest.approx(0.1, abs=0.001)
    assert not set(splits.train.groups) & set(splits.val.groups)
