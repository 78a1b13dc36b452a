import numpy as np
import pandas as pd
import pytest

from tlkeras.data.selection import Selection
from tlkeras.errors import InputError
from tlkeras.schema import Samples

NAMES = ("ADI", "MUS", "NORM", "STR")
SIZES = {"ADI": 4, "MUS": 30, "NORM": 20, "STR": 25}


@pytest.fixture
def samples():
    labels = np.random.default_rng(5).permutation(np.repeat(range(4), list(SIZES.values())))
    n = len(labels)
    return Samples(
        images=tuple(f"/data/{NAMES[label]}/{row}.tif" for row, label in enumerate(labels)),
        labels=labels,
        class_names=NAMES,
        parts=["train" if row % 3 else "val" for row in range(n)],
        groups=[f"patient {row // 2}" for row in range(n)],
        metadata=pd.DataFrame({"row": range(n)}),
        root="/data",
    )


def ids_of(samples, class_name):
    return samples.sample_ids[samples.labels == samples.class_names.index(class_name)].tolist()


def test_nothing_asked_for_is_everything(samples):
    kept = Selection()(samples)
    assert kept.sample_ids.tolist() == samples.sample_ids.tolist()
    assert kept.labels.tolist() == samples.labels.tolist()
    assert kept.class_names == NAMES
    assert kept.parts.tolist() == samples.parts.tolist()


def test_labels_follow_the_order_of_the_names(samples):
    kept = Selection(class_names=("STR", "MUS"))(samples)
    assert kept.class_names == ("STR", "MUS")
    assert kept.class_counts() == {"STR": 25, "MUS": 30}
    assert all(
        name.startswith(kept.class_names[label]) for name, label in zip(kept.sample_ids, kept.labels, strict=True)
    )


def test_at_most_per_class_and_small_classes_whole(samples):
    kept = Selection(per_class=20)(samples)
    assert kept.class_counts() == {"ADI": 4, "MUS": 20, "NORM": 20, "STR": 20}
    assert ids_of(kept, "NORM") == ids_of(samples, "NORM")
    assert set(ids_of(kept, "MUS")) < set(ids_of(samples, "MUS"))


def test_rows_keep_their_order_and_all_that_is_known_of_them(samples):
    kept = Selection(class_names=("NORM", "MUS"), per_class=7)(samples)
    rows = kept.metadata["row"].to_numpy()
    assert (np.diff(rows) > 0).all()
    assert kept.images == tuple(samples.images[row] for row in rows)
    assert kept.groups.tolist() == samples.groups[rows].tolist()
    assert kept.sample_ids.tolist() == samples.sample_ids[rows].tolist()
    assert kept.parts.tolist() == samples.parts[rows].tolist()
    assert [kept.class_names[label] for label in kept.labels] == [NAMES[label] for label in samples.labels[rows]]


def test_a_draw_depends_on_seed_and_class_alone(samples):
    kept = Selection(class_names=("MUS", "STR"), per_class=10, seed=3)(samples)
    for other in (("STR", "MUS"), ("NORM", "ADI", "MUS", "STR")):
        again = Selection(class_names=other, per_class=10, seed=3)(samples)
        assert ids_of(again, "MUS") == ids_of(kept, "MUS")
        assert ids_of(again, "STR") == ids_of(kept, "STR")
    another = Selection(class_names=("MUS", "STR"), per_class=10, seed=4)(samples)
    assert ids_of(another, "MUS") != ids_of(kept, "MUS")


def test_a_smaller_draw_lies_within_a_larger(samples):
    small, large = Selection(per_class=5)(samples), Selection(per_class=15)(samples)
    assert set(small.sample_ids) < set(large.sample_ids)


def test_classes_are_drawn_apart():
    """Two classes of equal size: the same positions of both would be one draw used twice."""
    samples = Samples(np.zeros((80, 1, 1, 3), np.uint8), np.repeat([0, 1], 40), ("a", "b"))
    kept = Selection(per_class=20)(samples)
    rows = kept.sample_ids.astype(int)
    assert kept.images.shape == (40, 1, 1, 3)
    assert rows[:20].tolist() != (rows[20:] - 40).tolist()


def test_pooled_parts_are_forgotten(samples):
    assert Selection(pool_parts=True)(samples).parts is None
    pooled = Selection(per_class=6, pool_parts=True)(samples)
    assert pooled.sample_ids.tolist() == Selection(per_class=6)(samples).sample_ids.tolist()
    assert Selection(pool_parts=True)(pooled).parts is None


@pytest.mark.parametrize(
    "class_names", ["MUS", (), ("MUS",), ("MUS", "STR", "MUS"), (1, 2)], ids=["text", "none", "one", "twice", "numbers"]
)
def test_class_names_that_are_refused_at_once(class_names):
    with pytest.raises(InputError, match=r"class_names: received .*two or more classes, each once"):
        Selection(class_names=class_names)


@pytest.mark.parametrize("per_class", [0, -1, 2.5, True, "20"])
def test_per_class_is_a_whole_number(per_class):
    with pytest.raises(InputError, match=r"per_class: received .*at least 1"):
        Selection(per_class=per_class)


def test_lists_are_taken_and_selections_compare():
    assert Selection(class_names=["a", "b"]) == Selection(class_names=("a", "b"))
    assert hash(Selection(class_names=["a", "b"])) == hash(Selection(class_names=("a", "b")))


def test_unknown_classes_list_the_known(samples):
    with pytest.raises(InputError, match=r"no images of TUM, LYM; the samples have ADI \(4\), MUS \(30\)"):
        Selection(class_names=("MUS", "TUM", "LYM"))(samples)


def test_a_named_class_needs_images(samples):
    only = samples.take(np.flatnonzero(samples.labels != 0))
    assert Selection()(only).class_names == NAMES
    with pytest.raises(InputError, match=r"no images of ADI; .*ADI \(0\)"):
        Selection(class_names=("ADI", "MUS"))(only)


def test_one_class_is_too_few(samples):
    with pytest.raises(InputError, match="fewer than two classes"):
        Selection()(samples.take(np.flatnonzero(samples.labels == 1)))


def test_a_selection_needs_labels(samples):
    with pytest.raises(InputError, match="no labels"):
        Selection()(Samples(samples.images, None, NAMES))
