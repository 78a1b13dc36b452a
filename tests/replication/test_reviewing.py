"""`--review`, subgroups and decisions on the page of a toy experiment."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.replication import kept_columns
from tlkeras.replication.reviewed import Reviewed
from tlkeras.replication.run_folder import RunFolder
from tlkeras.replication.script import main
from tlkeras.reviewing import look_alikes

pytestmark = pytest.mark.usefixtures("quick_figures")


def patients(n=120, seed=0):
    """Images of n patients with sex and age, two of each."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(n), 2)
    labels = patient % 2
    level = rng.normal(80 + 60 * labels, 30)
    pixels = np.clip(rng.normal(level[:, None, None, None], 40, (2 * n, 32, 32, 3)), 0, 255).astype(np.uint8)
    metadata = pd.DataFrame({"sex": np.where(patient % 4 < 2, "f", "m"), "age": 20.0 + patient % 60, "name": "secret"})
    return tl.Samples(pixels, labels, ("well", "sick"), groups=patient.astype(str), metadata=metadata)


def experiment(**fields):
    cells = {("tuned", "tiny"): tiny_tuner(phases=tl.Phase(1, 1e-2), head=tl.Head(hidden=(), pooling="avg"))}
    return tl.Experiment(
        name="toy",
        data=patients(),
        protocols={"own": tl.Protocol(split=tl.Holdout(val=0.2, test=0.4), cells=cells)},
        positive_class="sick",
        **fields,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a run with two named columns, and its folder."""
    out = tmp_path_factory.mktemp("run")
    main(experiment(subgroups={"sex": (), "age": (40, 60)}), ["--out", str(out)])
    return (out / "own" / "table.md").read_text(), out / "own"


@pytest.mark.slow
def test_the_page_tells_thresholds_sets_and_subgroups(page):
    text, folder = page
    decided = text[text.index("### Decisions") : text.index("### Whom it fails")]
    assert "| tuned  | tiny" in decided
    assert "sensitivity, %" in decided
    fails = text[text.index("### Whom it fails") : text.index("### Every training")]
    for name in ("f", "m", "below 40", "40 to below 60", "60 and above"):
        assert f"| {name} " in fails
    table = pd.read_csv(folder / "subgroups.csv")
    predicted = RunFolder(folder).read_predictions(RunFolder(folder).finished()[0])["test"]
    of_women = kept_columns.read_columns(RunFolder(folder)).loc[list(predicted.samples.sample_ids), "sex"] == "f"
    shown = table[(table["subgroup"] == "f") & (table["metric"] == "accuracy")]["value"].item()
    assert shown == pytest.approx(predicted.correct[of_women.to_numpy()].mean())


@pytest.mark.slow
def test_only_named_columns_are_kept(page):
    _, folder = page
    kept = kept_columns.read_columns(RunFolder(folder))
    assert list(kept.columns) == ["sex", "age"]
    assert set(kept["age"]) == {"below 40", "40 to below 60", "60 and above"}  # a band, not an age


def test_a_column_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(tl.InputError, match=r"'site'.*sex, age, name"):
        kept_columns.write_columns(RunFolder(tmp_path), patients(4), {"site": ()})
    with pytest.raises(tl.InputError, match=r"\(60, 40\)"):
        experiment(subgroups={"age": (60, 40)})
    with pytest.raises(tl.InputError, match=r"\['sex'\]"):
        experiment(subgroups=["sex"])
    assert kept_columns.write_columns(RunFolder(tmp_path), patients(4), {}) is None
    assert kept_columns.read_columns(RunFolder(tmp_path)) is None


def test_columns_come_back_by_image_and_a_damaged_file_says_so(tmp_path):
    samples = patients(4)
    folder = RunFolder(tmp_path)
    kept_columns.write_columns(folder, samples, {"sex": ()})
    predictions = tl.Predictions(samples.take([5, 2]), np.full((2, 2), 0.5, np.float32))
    predictions = tl.Predictions(
        tl.Samples(predictions.samples.images, None, ("well", "sick"), sample_ids=predictions.samples.sample_ids),
        predictions.probs,
    )
    found = kept_columns.with_columns(predictions, kept_columns.read_columns(folder))
    assert found.samples.metadata["sex"].tolist() == [samples.metadata["sex"][row] for row in (5, 2)]
    (tmp_path / kept_columns.FILE).write_bytes(b"no such thing")
    with pytest.raises(tl.InputError, match="damaged"):
        kept_columns.read_columns(folder)


@pytest.mark.slow
def test_a_review_answers_and_the_page_shows_it(tmp_path, monkeypatch):
    pytest.importorskip("cleanlab")
    small = tl.Extractor(TINY, weights=None, image_size=(32, 32))
    monkeypatch.setattr(look_alikes.look_alikes, "__defaults__", (small,))
    monkeypatch.setattr(
        "tlkeras.replication.reviewing.extractor_of",
        lambda plan, options: tl.Extractor(TINY, "logistic_regression", weights=None, image_size=(32, 32)),
    )
    main(experiment(), ["--out", str(tmp_path / "run"), "--review", "--publish", str(tmp_path / "published")])
    folder = RunFolder(tmp_path / "run" / "own")
    reviewed = Reviewed.of(folder)
    assert set(reviewed.about["seconds"]) == {"learning curve", "labels", "look-alikes", "familiarity"}
    curve = reviewed.table("learning_curve.csv")
    assert len(curve) == 6
    assert reviewed.table("familiarity.csv")["part"].tolist() == ["val", "test"]
    text = (folder.root / "table.md").read_text()
    for title in ("More images or not", "Labels to look at", "Look-alikes", "How unlike the training images"):
        assert f"### {title}" in text
    published = {file.name for file in (tmp_path / "published" / "own" / "review").iterdir()}
    assert "learning_curve.png" in published
    assert "labels.png" not in published  # it shows images of the data set
    main(experiment(), ["--out", str(tmp_path / "run"), "--report-only"])
    assert (folder.root / "table.md").read_text() == text


def test_a_review_needs_all_images(tmp_path):
    with pytest.raises(SystemExit):
        main(experiment(), ["--out", str(tmp_path), "--review", "--smoke"])
