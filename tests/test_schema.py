import numpy as np
import pandas as pd
import pytest

from tlkeras.errors import InputError, MissingInputError
from tlkeras.schema import Predictions, Samples, Splits


def samples(n=4, **fields):
    defaults = {
        "images": tuple(f"/data/{i}.png" for i in range(n)),
        "labels": np.arange(n) % 2,
        "class_names": ("a", "b"),
    }
    return Samples(**(defaults | fields))


def test_take_carries_every_column_along():
    whole = samples(parts=list("uvwx"), groups=list("pppq"), metadata=pd.DataFrame({"age": [1, 2, 3, 4]}), root="/data")
    some = whole.take([3, 0, 3])
    assert some.images == ("/data/3.png", "/data/0.png", "/data/3.png")
    assert list(some.labels) == [1, 0, 1]
    assert list(some.parts) == ["x", "u", "x"]
    assert list(some.groups) == ["q", "p", "q"]
    assert list(some.metadata["age"]) == [4, 1, 4]
    assert list(some.sample_ids) == ["3.png", "0.png", "3.png"]
    assert len(some) == 3


def test_rows_of_arrays_keep_their_number_through_take():
    whole = samples(images=np.zeros((4, 2, 2, 3), np.uint8))
    assert list(whole.take([2]).sample_ids) == ["000002"]
    assert whole.class_counts() == {"a": 2, "b": 2}


@pytest.mark.parametrize("indices", [[], np.empty(0), np.zeros(4, bool)])
def test_no_indices_take_nothing(indices):
    assert len(samples().take(indices)) == 0


@pytest.mark.parametrize("images", [None, np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3)])
def test_a_mask_takes_the_samples_where_it_is_true(images):
    whole = samples() if images is None else samples(images=images)
    for mask in (np.array([True, False, False, True]), [True, False, False, True], pd.Series([1, 0, 0, 1]) == 1):
        assert list(whole.take(mask).sample_ids) == list(whole.sample_ids[[0, 3]])
        assert list(whole.take(mask).labels) == [0, 1]
    assert list(whole.take([-1]).sample_ids) == list(whole.sample_ids[[3]])


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        (np.array([0.0, 2.0]), "float64"),
        ([0.5, 1], "float64"),
        ([True, False], r"a mask of shape \(2,\) for 4 samples"),
        ([[True, False, False, True]], r"a mask of shape \(1, 4\) for 4 samples"),
        (["0", "1"], "<U1"),
        (2, r"shape \(\)"),
        ({0, 2}, "object"),
        (np.array([True, None]), "object"),
        ([0, 4], r"0\.\.4; of 4 rows accepted are -4\.\.3"),
        ([-5], r"-5\.\.-5; of 4 rows"),
        ([2**63], r"of 4 rows"),
    ],
)
def test_indices_that_name_no_samples_are_refused_in_words(indices, said):
    with pytest.raises(InputError, match=f"indices: received .*{said}"):
        samples().take(indices)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"labels": np.array([0, 1, 2, 0])}, r"0\.\.2; with 2 class names"),
        ({"images": "/data/0.png"}, r"images: received '/data/0\.png'; accepted are paths, in a list, or"),
        ({"images": None}, "images: received None"),
        ({"images": (0, 1, 2, 3)}, r"images: received \(0, 1, 2, 3\)"),
        ({"labels": np.array([0.0, 1, 1, 0])}, "dtype float64"),
        ({"labels": np.array([0, 1])}, "2 rows for 4 images"),
        ({"groups": ["a"]}, "groups: received 1 rows"),
        ({"class_names": ("a", "a")}, "names a class twice"),
        ({"images": np.zeros((4, 2, 2, 3))}, "dtype float64"),
        ({"images": np.zeros((4, 2, 2), np.uint8)}, r"shape \(4, 2, 2\)"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_words(fields, said):
    with pytest.raises(InputError, match=said):
        samples(**fields)


def test_test_is_the_only_test_part():
    part = samples()
    assert Splits(train=part, val=None, tests={"test": part}).test is part
    assert list(Splits(train=part, val=None, tests={"test": part}).parts()) == ["train", "test"]
    with pytest.raises(InputError, match="2 test parts"):
        Splits(train=part, val=None, tests={"test1": part, "test2": part}).test  # noqa: B018


def test_predictions_come_back_from_their_table_to_the_last_bit(tmp_path):
    from tlkeras.files import write_csv

    probs = np.random.default_rng(0).dirichlet([1, 1], 4).astype(np.float32)
    given = Predictions(samples(groups=["007", "007", "NA", "x"], root="/data"), probs)
    write_csv(given.to_frame("test"), tmp_path / "predictions.csv")
    frame = pd.read_csv(tmp_path / "predictions.csv", dtype={"group": str, "sample_id": str}, keep_default_na=False)
    back = Predictions.from_frame(frame)
    assert (back.probs == probs).all()
    assert (back.samples.labels == given.samples.labels).all()
    assert list(back.samples.groups) == ["007", "007", "NA", "x"]
    assert list(frame.columns[:6]) == ["sample_id", "part", "group", "path", "label", "predicted"]


def test_predicted_is_the_most_probable_label_and_correct_compares():
    given = Predictions(samples(), np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.5, 0.5]], np.float32))
    assert list(given.predicted) == [0, 1, 1, 0]
    assert list(given.correct) == [True, True, False, False]
    with pytest.raises(InputError, match=r"accepted is \(4, 2\)"):
        Predictions(samples(), np.zeros((4, 3), np.float32))


def test_a_missing_file_is_both_an_input_error_and_a_file_not_found():
    assert issubclass(MissingInputError, InputError)
    assert issubclass(MissingInputError, FileNotFoundError)


@pytest.mark.parametrize(
    "probs",
    [
        [[0.5, 0.5]] * 4,
        "0.5",
        np.ones((4, 2), bool),
        np.full((4, 2), 0.5 + 0j),
        np.full((4, 2), 0.5, dtype=object),
    ],
)
def test_probabilities_are_floats_in_an_array(probs):
    with pytest.raises(InputError, match=r"probs: received (list|str|bool|complex128|object); accepted is an array of"):
        Predictions(samples(), probs)
