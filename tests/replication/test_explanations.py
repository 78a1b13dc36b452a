import numpy as np
import pandas as pd
import pytest
from test_running import EXPERIMENT

import tlkeras as tl
from tlkeras.explaining.lime import read_explanation
from tlkeras.replication.explanations import _choose, explain_cells
from tlkeras.replication.run_folder import RunFolder
from tlkeras.replication.script import main


@pytest.fixture(scope="module")
def finished(toy_chest_xray, tmp_path_factory):
    """The run folder of one smoke cell, explained by the command line."""
    out = tmp_path_factory.mktemp("out")
    main(
        EXPERIMENT,
        ["--data", str(toy_chest_xray), "--out", str(out), "--smoke", "--methods", "own_frozen", "--explain"],
    )
    return RunFolder(out / "corrected")


@pytest.mark.slow
def test_one_image_of_each_class_is_explained_and_drawn(finished):
    (key,) = finished.finished()
    cell = finished.cell(key)
    assert (cell / "explanations_test.png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(cell / "explained_test.csv").set_index("class")
    predictions = finished.read_predictions(key)["test"]
    for label, name in enumerate(predictions.samples.class_names):
        explanation = read_explanation(cell / f"explanation_test_{name}.npz")
        assert (explanation.label, explanation.class_name) == (label, name)
        assert table.loc[name, ["r2", "stability"]].tolist() == pytest.approx(
            [explanation.r2, explanation.stability], nan_ok=True
        )
        row = _choose(predictions, label, key.seed)
        assert explanation.probability == pytest.approx(predictions.probs[row, label], abs=1e-5)


def test_a_correct_image_is_taken_where_there_is_one_else_the_most_probable():
    samples = tl.Samples(images=tuple("abcd"), labels=np.array([0, 0, 1, 1]), class_names=("p", "q", "r"))
    probs = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1]], np.float32)
    predictions = tl.Predictions(samples, probs)
    assert [_choose(predictions, label, seed=0) for label in range(3)] == [0, 3, None]


@pytest.mark.slow
def test_what_cannot_be_explained_is_said(finished, toy_chest_xray, tmp_path):
    with pytest.raises(tl.InputError, match="nothing to explain"):
        explain_cells(
            finished, [], samples=tl.load_dataset("chest_xray", toy_chest_xray, check_counts=False), credit=""
        )
    (key,) = finished.finished()
    from conftest import write_chest_xray

    other = tl.load_dataset("chest_xray", write_chest_xray(tmp_path, patients=(8, 3, 1)), check_counts=False)
    with pytest.raises(tl.InputError, match="is not in the data set given with --data"):
        explain_cells(finished, [key], samples=other, credit="", n_samples=10, n_repeats=1)
