from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import TINY

import tlkeras as tl
from tlkeras.command.evaluating import evaluate_model, validation_of
from tlkeras.evaluation.calibration import at_adjustment
from tlkeras.evaluation.decisions import fit_threshold
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.training.tuned_classifier import TunedClassifier

pytestmark = pytest.mark.usefixtures("quick_figures")
NAMES = ("well", "sick")


@pytest.fixture(scope="module")
def classifier():
    """A tiny network that tells bright images from dark ones somehow."""
    model = tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), head=tl.Head(hidden=(), dropout=0.0), seed=8)
    return TunedClassifier(model=model, class_names=NAMES, image_size=(32, 32))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """48 images in class folders, and the same as a table with 24 patients."""
    root, rng, rows = tmp_path_factory.mktemp("centre"), np.random.default_rng(0), []
    for number in range(48):
        name = NAMES[number % 2]
        (root / "images" / name).mkdir(parents=True, exist_ok=True)
        pixels = np.clip(rng.normal(60 + 90 * (number % 2), 50, (32, 32, 3)), 0, 255).astype(np.uint8)
        file = root / "images" / name / f"{number:02d}.png"
        Image.fromarray(pixels).save(file)
        rows.append((str(file), name, f"p{number // 2}"))
    pd.DataFrame(rows, columns=["path", "label", "patient"]).to_csv(root / "table.csv", index=False)
    return root


@pytest.fixture
def saved(classifier, tmp_path):
    return classifier.save(tmp_path / "model")


@pytest.fixture
def cell(classifier, data, tmp_path):
    """The folder of a run's cell, with predictions of validation images."""
    key = CellKey("method", "tiny", 0)
    folder = RunFolder(tmp_path / "run")
    classifier.save(folder.cell(key))
    val = classifier.predict(tl.from_folders(data / "images", class_names=NAMES).take(range(0, 48, 2)))
    val.to_frame("val").to_csv(folder.cell(key) / "predictions.csv", index=False)
    folder.write_cell(key, {"recipe": {}}, {"images": {}})
    return folder.cell(key)


def test_figures_are_those_of_the_classifier_on_these_images(saved, classifier, data, tmp_path):
    found = evaluate_model(saved, data / "images", tmp_path / "out")
    samples = tl.from_folders(data / "images", class_names=NAMES)
    expected = tl.intervals(classifier.predict(samples), positive_class="sick", metrics=["accuracy", "sensitivity"])
    for metric in expected.index:
        row = found.table.loc[("as it is", metric)]
        np.testing.assert_allclose(row, expected.loc[metric, ["value", "low", "high"]], rtol=1e-9)
    written = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert len(written) == 48
    assert (tmp_path / "out" / "report.html").read_text().count("<img") == 3
    page = (tmp_path / "out" / "table.md").read_text()
    assert "No run's validation images lie beside it" in page
    assert "Not for diagnosis" in page
    assert list(found.answers) == ["as it is"]


@pytest.mark.slow
def test_groups_come_from_the_table(saved, data, tmp_path):
    found = evaluate_model(saved, data / "table.csv", tmp_path / "out", group="patient", positive_class="well")
    assert len(set(found.predictions.samples.groups)) == 24
    assert found.positive == "well"
    assert "48 images in 24 groups" in (tmp_path / "out" / "table.md").read_text()


def test_the_threshold_of_its_own_run_is_kept(cell, data, tmp_path):
    val = validation_of(cell)
    assert len(val) == 24
    found = evaluate_model(cell, data / "images", tmp_path / "out")
    threshold = fit_threshold(val, "sick", sensitivity=0.95)
    expected = tl.score(at_adjustment(found.judged, threshold), "sick")
    assert found.table.loc[("its threshold", "sensitivity"), "value"] == pytest.approx(expected["sensitivity"])
    assert "Sets of classes" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.slow
def test_recalibration_is_fitted_to_other_groups_than_are_judged(saved, data, tmp_path):
    found = evaluate_model(saved, data / "table.csv", tmp_path / "out", group="patient", recalibrate=0.4)
    judged, everything = set(found.judged.samples.groups), set(found.predictions.samples.groups)
    assert 0 < len(judged) < len(everything)
    fitted = [name not in judged for name in found.predictions.samples.groups]
    of_fitted = tl.fit_adjustment(
        type(found.judged)(found.predictions.samples.take(fitted), found.predictions.probs[np.array(fitted)])
    )
    expected = tl.score(tl.at_adjustment(found.judged, of_fitted))["log_loss"]
    assert found.table.loc[("recalibrated", "log_loss"), "value"] == pytest.approx(expected)
    again = evaluate_model(saved, data / "table.csv", tmp_path / "two", group="patient", recalibrate=0.4)
    pd.testing.assert_frame_equal(found.table, again.table)


def test_data_that_do_not_fit_are_refused(saved, data, tmp_path):
    with pytest.raises(tl.MissingInputError, match="nowhere"):
        evaluate_model(saved, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(tl.InputError, match="--group"):
        evaluate_model(saved, data / "images", tmp_path / "out", group="patient")
    with pytest.raises(tl.InputError, match="recalibrate: received 1"):
        evaluate_model(saved, data / "images", tmp_path / "out", recalibrate=1)
    with pytest.raises(tl.InputError, match="'ill'"):
        evaluate_model(saved, data / "images", tmp_path / "out", positive_class="ill")
    shutil.copytree(data / "images", tmp_path / "parts" / "test")
    shutil.copytree(data / "images", tmp_path / "parts" / "train")
    with pytest.raises(tl.InputError, match="test, train"):
        evaluate_model(saved, tmp_path / "parts", tmp_path / "out")


def test_a_classifier_without_a_run_has_no_validation_images(saved, tmp_path):
    assert validation_of(saved) is None
    (saved / "cell.json").write_text(json.dumps({}))  # of no run: its name is no seed's
    assert validation_of(saved) is None
    copied = shutil.copytree(saved, tmp_path / "seed0.bak")
    assert validation_of(copied) is None
