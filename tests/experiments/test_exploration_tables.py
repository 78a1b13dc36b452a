from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from ham10000_exploration import tables as exploration

import tlkeras as tl
from tlkeras.errors import InputError
from tlkeras.schema import Samples

COLUMNS = ["lesion_id", "dx", "dx_type", "age", "sex", "localization"]
# Eight images of five lesions; the known ages are 40, 40, 45, 61, 70, 80, 80: their mean is 416 / 7.
ROWS = [
    ("L1", "nv", "follow_up", 40, "male", "back"),
    ("L1", "nv", "follow_up", 40, "male", "back"),
    ("L2", "nv", "histo", 45, "female", "lower extremity"),
    ("L3", "bkl", "consensus", None, "unknown", "unknown"),
    ("L4", "bkl", "histo", 61, "female", "face"),
    ("L5", "mel", "histo", 80, "male", "back"),
    ("L5", "mel", "histo", 80, "male", "back"),
    ("L5", "mel", "histo", 70, "male", "back"),
]
CLASS_NAMES = ("bkl", "mel", "nv")


def samples_of(rows=ROWS, class_names=CLASS_NAMES, **columns):
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.insert(1, "image_id", [f"ISIC_{i}" for i in range(len(frame))])
    frame = frame.assign(**columns)
    return Samples(
        images=tuple(f"/data/part/{name}.jpg" for name in frame["image_id"]),
        labels=np.array([class_names.index(dx) for dx in frame["dx"]], dtype=np.int64),
        class_names=class_names,
        groups=frame["lesion_id"].to_numpy(dtype=object),
        metadata=frame.drop(columns=["lesion_id", "dx"]),
        root="/data",
    )


@pytest.fixture
def lesions():
    return exploration.lesion_table(samples_of())


def test_the_three_columns_are_added_and_unknown_ages_take_the_mean_of_the_known_ones(lesions):
    assert list(lesions.loc[3, ["lesion_id", "image_id", "dx", "dx_type"]]) == ["L3", "ISIC_3", "bkl", "consensus"]
    assert list(lesions.loc[3, ["path", "cell_type", "cell_type_idx"]]) == [
        "part/ISIC_3.jpg", "Benign keratosis-like lesions", 0,
    ]  # fmt: skip
    assert lesions["age"].tolist() == pytest.approx([40, 40, 45, 416 / 7, 61, 80, 80, 70])
    assert lesions["age_filled"].tolist() == [False, False, False, True, False, False, False, False]
    assert (lesions["age"].dtype, lesions["cell_type_idx"].dtype) == (np.float64, np.int64)


def test_the_rows_of_a_part_belong_to_its_samples():
    part = samples_of().take([4, 0])
    assert exploration.lesion_table(part)["image_id"].tolist() == ["ISIC_4", "ISIC_0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": ["old", *[50] * 7]}, 'age cannot be used for 1 images, the first is "old"'),
        ({"age": [50, 121, -1, *[50] * 5]}, 'age cannot be used for 2 images, the first is "121"'),
        ({"age": [None] * 8}, "no age is known"),
        ({"sex": ["male", " ", None, *["male"] * 5]}, r"sex is empty for 2 images, the first part/ISIC_1\.jpg"),
    ],
)
def test_values_that_cannot_be_used_are_told(change, message):
    with pytest.raises(InputError, match=message):
        exploration.lesion_table(samples_of(**change))


def test_what_is_not_ham10000_is_refused():
    whole = samples_of()
    bare = {"images": whole.images, "class_names": whole.class_names}
    with pytest.raises(InputError, match="none of the labels"):
        exploration.lesion_table(Samples(labels=None, groups=whole.groups, metadata=whole.metadata, **bare))
    with pytest.raises(InputError, match=r"none of the groups \(lesion_id\)"):
        exploration.lesion_table(Samples(labels=whole.labels, metadata=whole.metadata, **bare))
    with pytest.raises(InputError, match="image_id, dx_type, sex, localization, age are missing; it has none"):
        exploration.lesion_table(Samples(labels=whole.labels, groups=whole.groups, **bare))
    metadata = whole.metadata.drop(columns=["dx_type", "age"])
    with pytest.raises(InputError, match="dx_type, age are missing; it has image_id, sex"):
        exploration.lesion_table(Samples(labels=whole.labels, groups=whole.groups, metadata=metadata, **bare))
    with pytest.raises(InputError, match="received scar; accepted are akiec"):
        exploration.lesion_table(samples_of(class_names=("bkl", "mel", "nv", "scar")))
    with pytest.raises(InputError, match="received no image"):
        exploration.lesion_table(whole.take([]))


def test_summary_before_and_after_filling(lesions):
    table = exploration.numerical_summary_table(lesions)
    recorded, filled = table.loc["age as recorded, years"], table.loc["age after filling, years"]
    assert recorded[["count", "unknown", "filled"]].tolist() == [7, 1, 0]
    assert filled[["count", "unknown", "filled"]].tolist() == [8, 0, 1]
    known = [40, 40, 45, 61, 80, 80, 70]
    assert recorded[["mean", "std", "min", "50%", "max"]].tolist() == pytest.approx(
        [416 / 7, np.std(known, ddof=1), 40, 61, 80]
    )
    # The mean stays, and so the sum of squares; there is one image more.
    assert filled["mean"] == pytest.approx(416 / 7)
    assert filled["std"] == pytest.approx(np.std(known, ddof=1) * np.sqrt(6 / 7))
    assert table.loc["images per lesion", ["count", "mean", "max"]].tolist() == pytest.approx([5, 8 / 5, 3])
    assert table.loc[["sex", "localization"], ["count", "unknown"]].to_numpy().tolist() == [[7, 1], [7, 1]]
    assert np.isnan(table.loc["sex", "mean"])


def test_counts_fall_and_unknown_comes_last(lesions):
    table = exploration.counts_table(lesions, "localization")
    assert table.to_numpy().tolist() == [
        ["all", "back", 5, 5 / 8, 2],
        ["all", "face", 1, 1 / 8, 1],
        ["all", "lower extremity", 1, 1 / 8, 1],
        ["all", "unknown", 1, 1 / 8, 1],
    ]
    assert table.columns.tolist() == ["group", "value", "images", "share", "lesions"]
    many_unknown = lesions.assign(sex=["unknown"] * 6 + ["male", "female"])
    assert exploration.counts_table(many_unknown, "sex")["value"].tolist() == ["female", "male", "unknown"]


def test_two_way_counts_hold_every_combination_and_shares_of_the_group(lesions):
    table = exploration.counts_table(lesions, "localization", by="dx").set_index(["group", "value"])
    assert table.index.tolist() == [
        (dx, site) for dx in ("mel", "nv", "bkl") for site in ("back", "face", "lower extremity", "unknown")
    ]
    assert table.loc[("nv", "back")].tolist() == [2, pytest.approx(2 / 3), 1]
    assert table.loc[("nv", "face")].tolist() == [0, 0, 0]
    np.testing.assert_allclose(table["share"].groupby(level="group").sum(), 1)


def test_ages_are_counted_in_bins_of_five_years_without_a_gap(lesions):
    table = exploration.counts_table(lesions, "age").set_index("value")["images"]
    assert table.index.tolist() == ["40", "45", "50", "55", "60", "65", "70", "75", "80"]
    # 61 is in the bin from 60, the filled 59.4 in the bin from 55.
    assert table.tolist() == [2, 1, 0, 1, 1, 0, 1, 0, 2]


def test_a_column_that_is_not_there_and_an_empty_table_are_refused(lesions):
    with pytest.raises(InputError, match="column: received 'site'; accepted are lesion_id"):
        exploration.counts_table(lesions, "site")
    with pytest.raises(InputError, match="by: received 'site'"):
        exploration.counts_table(lesions, "sex", by="site")
    with pytest.raises(InputError, match="received no row"):
        exploration.counts_table(lesions[:0], "sex")


def test_lesions_by_their_number_of_images():
    rows = [(lesion, "nv", "histo", 50, "male", "back") for lesion in "ABCC" + "DDDD"]
    table = exploration.images_per_lesion_table(exploration.lesion_table(samples_of(rows)))
    assert table.reset_index().to_numpy().tolist() == [
        [1, 2, 2, 2 / 8],
        [2, 1, 2, 2 / 8],
        [3, 0, 0, 0],
        [4, 1, 4, 4 / 8],
    ]


def test_the_tidy_table_holds_each_image_once_per_figure(lesions):
    table = exploration.exploration_table(lesions)
    assert table.columns.tolist() == ["figure", "group", "value", "images", "share", "lesions"]
    assert set(table.groupby("figure")["images"].sum()) == {8}
    assert set(table["figure"]) == {
        "class_counts", "age", "sex", "localization", "diagnosis_method", "localization_by_sex",
        "localization_by_cell_type", "images_per_lesion",
    }  # fmt: skip
    filled = table[(table["group"] == "filled with the mean") & (table["images"] > 0)]
    assert filled[["figure", "value", "images"]].to_numpy().tolist() == [["age", "55", 1]]


def test_what_the_document_says_is_counted_here(lesions):
    here = exploration.document_table(lesions)["here"]
    assert here["Most frequent around age 45"] == "age 40: 2 of 7 images (28.6 %)"
    assert here["Least frequent at age 10 and below"] == (
        "age 70: 1 of 7 images (14.3 %); 10 and below: 0 of 7 images (0.0 %)"
    )
    assert here["Slightly more in men than in women"] == (
        "male: 5 of 8 images (62.5 %), female: 2 of 8 images (25.0 %)"
    )
    assert here["Most on the back"] == "back: 5 of 8 images (62.5 %); by lesion, back: 2 of 5 lesions (40.0 %)"
    assert here["90 % identified by histopathology or follow-up"] == "7 of 8 images (87.5 %)"
    assert here["Benign keratosis-like lesions most on the face"] == "face: 1 of 2 images (50.0 %)"
    assert here["Melanocytic nevi lead on every other part"] == (
        "on 1 of 3 known parts; not on the back, where mel: 3 of 5 images (60.0 %); "
        "not on the face, where bkl: 1 of 1 images (100.0 %)"
    )


def test_the_document_table_of_images_without_a_known_place():
    rows = [("A", "nv", "histo", 50, "unknown", "unknown"), ("B", "mel", "histo", 50, "unknown", "unknown")]
    here = exploration.document_table(exploration.lesion_table(samples_of(rows)))["here"]
    assert here["Least on acral surfaces"] == "none known"
    assert here["The back more affected in men"] == "male: no images, female: no images"


def test_the_sheet_shows_distinct_lesions_of_each_class_by_seed():
    rows = [(f"{dx}{i // 2}", dx, "histo", 50, "male", "back") for dx in ("nv", "mel") for i in range(20)]
    lesions = exploration.lesion_table(samples_of([*rows, ("only", "bkl", "histo", 50, "male", "back")]))
    shown = exploration.sheet_table(lesions, seed=0)
    assert shown["dx"].tolist() == ["bkl"] + ["mel"] * 5 + ["nv"] * 5
    assert shown["lesion_id"].is_unique
    assert shown.equals(lesions.loc[shown.index])
    one_each = lesions.assign(lesion_id=lesions["lesion_id"].str.replace(r"\d", "", regex=True))
    assert exploration.sheet_table(one_each, seed=0)["lesion_id"].tolist() == ["only", "mel", "nv"]
    shuffled = lesions.sample(frac=1, random_state=3)
    assert exploration.sheet_table(shuffled, seed=0).equals(shown)
    assert not exploration.sheet_table(lesions, seed=1).index.equals(shown.index)


@pytest.mark.real
def test_ham10000_as_the_document_describes_it(real_data):
    lesions = exploration.lesion_table(tl.load_dataset("ham10000", real_data, check_counts=False))
    assert lesions["age_filled"].sum() == 57
    assert exploration.counts_table(lesions, "dx").set_index("value")["images"].to_dict() == {
        "nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115,
    }  # fmt: skip
    assert exploration.images_per_lesion_table(lesions)["lesions"].tolist() == [5514, 1423, 490, 34, 5, 4]
    here = exploration.document_table(lesions)["here"]
    assert here["90 % identified by histopathology or follow-up"] == "9,044 of 10,015 images (90.3 %)"
