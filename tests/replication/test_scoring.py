import dataclasses

import numpy as np
import pandas as pd
import pytest
from cells import KEY, TOY, answers, right_in, write_cell
from sklearn import metrics
from sklearn.dummy import DummyClassifier

import tlkeras as tl
from tlkeras.evaluation.blocks import Table, page_as_markdown
from tlkeras.evaluation.comparison_tables import comes_from
from tlkeras.evaluation.score_tables import calibration_table
from tlkeras.evaluation.tables import BASELINE, SCORES
from tlkeras.files import write_json
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.scoring import pair_cells, score_cells

LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 1])
TEST = answers(LABELS, [0.1, 0.6, 0.3, 0.9, 0.8, 0.55, 0.2, 0.7])  # rows 1 and 6 are wrong
VAL = answers([0, 0, 0, 1, 1, 1], [0.05, 0.02, 0.9, 0.97, 0.95, 0.99])  # row 2 is wrong, and sure of it
ALL_RIGHT = answers([0, 1, 1], [0.2, 0.7, 0.9])


def scored(root, cells, experiment=TOY, **facts):
    """Scores of {key: {part: predictions}}, by (method, part, seed, metric)."""
    made = {key: write_cell(root, key, parts, experiment=experiment, **facts) for key, parts in cells.items()}
    scores = score_cells(experiment.under("corrected"), RunFolder(root), made, cells)
    assert tuple(scores.columns) == SCORES
    assert not scores.duplicated(["protocol", "method", "backbone", "part", "seed", "metric"]).any()
    return scores


def of(scores, method, part, seed=0):
    """{metric: value} of one part of one method."""
    rows = scores.query("method == @method and part == @part and seed == @seed")
    return rows.set_index("metric")["value"].astype(float).to_dict()


def test_the_figures_of_a_cell_are_those_of_its_predictions_with_their_intervals(tmp_path):
    scores = scored(tmp_path, {KEY: {"val": VAL, "test": TEST}})
    found = of(scores, "frozen", "test")
    predicted, truth = TEST.predicted, LABELS
    assert found["n"] == 8
    assert found["accuracy"] == 6 / 8
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, TEST.probs), rel=1e-6)
    # Of PNEUMONIA, for the document speaks of it.
    assert found["sensitivity"] == found["recall_PNEUMONIA"] == 4 / 5
    assert found["specificity"] == pytest.approx(2 / 3)
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, TEST.probs[:, 1]))
    with_ends = scores.dropna(subset=["low", "high"]).astype({"value": float, "low": float, "high": float})
    assert (with_ends["low"] <= with_ends["high"]).all()
    row = with_ends.query("metric == 'accuracy' and part == 'test' and method == 'frozen'")
    interval = tl.intervals(TEST, metrics=["accuracy"]).loc["accuracy", ["low", "high"]]
    assert row[["low", "high"]].to_numpy()[0] == pytest.approx(interval.to_numpy())
    assert row["groups"].tolist() == [8]
    assert set(with_ends["part"]) == {"test", "val"}  # seconds, memory and the log of the training have no interval


def test_the_positive_class_of_the_document_is_left_alone_where_the_data_have_others(tmp_path):
    other = tl.Predictions(dataclasses.replace(TEST.samples, class_names=("ill", "well")), TEST.probs)
    key = CellKey("tree", PIXELS, 0)
    facts = {"images": {"train": {"ill": 3, "well": 5}}}
    found = of(scored(tmp_path, {key: {"test": other}}, facts=facts), "tree", "test")
    assert "sensitivity" not in found
    assert found["recall_ill"] == pytest.approx(2 / 3)


def test_what_was_trained_stands_in_model_and_train_in_the_epoch_that_was_kept(tmp_path):
    scores = scored(tmp_path, {KEY: {"test": TEST}})
    assert of(scores, "frozen", "model") == {
        "seconds": 12.4,
        "peak_mb": 700,
        "parameters": 100,
        "trainable_parameters": 14,
    }
    assert of(scores, "frozen", "train") == {
        "accuracy": 0.625,
        "loss": 2,
        "epochs": 3,
        "epochs_allowed": 4 + 6,
        "kept_epoch": 2,
    }


def test_predictions_of_training_images_stand_before_the_log_and_its_loss_stays(tmp_path):
    found = of(scored(tmp_path, {KEY: {"train": right_in(range(7)), "test": TEST}}), "frozen", "train")
    assert found["accuracy"] == 7 / 8
    assert (found["n"], found["loss"], found["epochs"]) == (8, 2, 3)


def test_trees_have_no_training_log(tmp_path):
    scores = scored(tmp_path, {CellKey("tree", PIXELS, 0): {"test": TEST}}, facts={"peak_mb": None})
    model = of(scores, "tree", "model")
    assert model["seconds"] == 12.4
    assert np.isnan(model["peak_mb"])  # not measured
    assert set(model) == {"seconds", "peak_mb"}
    assert of(scores, "tree", "train") == {}


def test_the_log_of_an_earlier_version_is_refused_by_the_name_of_its_cell(tmp_path):
    cell = write_cell(tmp_path, KEY, {"test": TEST})
    history = tmp_path / "vgg16" / "frozen" / "seed0" / "history.csv"
    pd.read_csv(history).drop(columns="kept").to_csv(history, index=False)
    made = {name: cell[name] for name in ("settings", "facts")}  # it kept no hashes
    write_json(history.with_name("cell.json"), made)
    with pytest.raises(tl.InputError, match=r"vgg16/frozen/seed0 was made by an earlier version.* remove it"):
        score_cells(TOY.under("corrected"), RunFolder(tmp_path), {KEY: cell}, {KEY: {"test": TEST}})


def test_confusions_are_counted_where_the_document_prints_them(tmp_path):
    scores = scored(tmp_path, {KEY: {"val": VAL, "test": TEST}})
    counted = scores[scores["metric"].str.startswith("confused_")]
    # Row 1 is NORMAL called PNEUMONIA, row 6 the other way round.
    assert counted.set_index("metric")["value"].to_dict() == {
        "confused_NORMAL_as_PNEUMONIA": 1,
        "confused_others_as_NORMAL": 1,
    }
    assert set(counted["part"]) == {"test"}


def test_the_majority_class_of_each_seed_is_a_dummy_classifier_of_its_own_training_images(tmp_path):
    counts = {0: (30, 10), 1: (5, 15)}
    parts = {0: TEST, 1: answers([0, 0, 1], [0.4, 0.6, 0.7])}
    cells = {CellKey("frozen", "vgg16", seed): {"val": VAL, "test": part} for seed, part in parts.items()}
    made = {
        key: write_cell(
            tmp_path,
            key,
            of_parts,
            facts={"images": {"train": dict(zip(("NORMAL", "PNEUMONIA"), counts[key.seed], strict=True))}},
        )
        for key, of_parts in cells.items()
    }
    scores = score_cells(TOY.under("corrected"), RunFolder(tmp_path), made, cells)
    rows = scores[scores["method"] == BASELINE[0]]
    assert set(rows["backbone"]) == {BASELINE[1]}
    assert set(rows["part"]) == {"test"}
    assert sorted(set(rows["seed"])) == [0, 1]
    for seed, part in parts.items():
        learnt, truth = np.repeat([0, 1], counts[seed]), part.samples.labels
        dummy = DummyClassifier(strategy="prior").fit(np.zeros((len(learnt), 1)), learnt)
        probs = dummy.predict_proba(np.zeros((len(truth), 1)))
        said = dummy.predict(np.zeros((len(truth), 1)))
        found = of(scores, BASELINE[0], "test", seed)
        assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
        assert found["balanced_accuracy"] == 0.5
        assert found["macro_f1"] == pytest.approx(metrics.f1_score(truth, said, average="macro"))
        assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, probs), rel=1e-6)
        assert found["brier"] == pytest.approx(((probs - np.eye(2)[truth]) ** 2).sum(axis=1).mean(), rel=1e-6)
        assert found["ece"] == pytest.approx(abs(found["accuracy"] - probs.max()), rel=1e-6)
        assert found["roc_auc"] == 0.5
        assert found["sensitivity"] == said[0]
    # 30 to 10 answers NORMAL, 5 to 15 PNEUMONIA.
    assert [of(scores, BASELINE[0], "test", seed)["accuracy"] for seed in (0, 1)] == pytest.approx([3 / 8, 1 / 3])


def test_one_baseline_for_all_cells_of_a_seed(tmp_path):
    keys = [KEY, CellKey("fine_tuned", "vgg16", 0), CellKey("tree", PIXELS, 0)]
    scores = scored(tmp_path, {key: {"test": TEST} for key in keys})
    assert len(scores.query("method == 'majority class' and metric == 'accuracy'")) == 1


def nll(temperature, predictions):
    logits = np.log(predictions.probs.astype(float)) / temperature
    of_label = logits[np.arange(len(logits)), predictions.samples.labels]
    return (np.log(np.exp(logits).sum(axis=1)) - of_label).mean()


def test_the_temperature_is_the_best_on_validation_and_changes_probabilities_of_the_test_part_alone(tmp_path):
    scores = scored(tmp_path, {KEY: {"val": VAL, "test": TEST}})
    grid = np.geomspace(0.1, 50, 20_001)
    best = grid[np.argmin([nll(temperature, VAL) for temperature in grid])]
    found = of(scores, "frozen", "val")["temperature"]
    assert found == pytest.approx(best, rel=1e-3)
    assert found > 1  # it is sure of its error
    test = of(scores, "frozen", "test")
    assert test["log_loss_after"] == pytest.approx(nll(found, TEST), rel=1e-5)
    assert {metric for metric in test if metric.endswith("_after")} == {"log_loss_after", "brier_after", "ece_after"}
    assert not [metric for metric in of(scores, "frozen", "val") if metric.endswith("_after")]
    assert not [metric for metric in of(scores, BASELINE[0], "test") if metric.endswith("_after")]


def test_without_an_error_on_validation_no_temperature_is_best_and_nothing_stands_after_it(tmp_path):
    scores = scored(tmp_path, {KEY: {"val": ALL_RIGHT, "test": TEST}})
    assert np.isnan(of(scores, "frozen", "val")["temperature"])
    after = scores[scores["metric"].str.endswith("_after")]
    assert after["value"].isna().all()
    shown = calibration_table(scores, part="test").loc[("frozen", "vgg16")]
    assert set(shown.filter(like="after")) == {"not defined"}
    assert shown["temperature"] == "not defined"
    assert shown["log loss before"].startswith(f"{metrics.log_loss(LABELS, TEST.probs):.3f} [")
    assert "not defined" in page_as_markdown([Table(shown.to_frame())], tmp_path)


def test_without_validation_predictions_there_is_no_temperature(tmp_path):
    scores = scored(tmp_path, {CellKey("tree", PIXELS, 0): {"test": TEST}})
    assert "temperature" not in set(scores["metric"])
    assert calibration_table(scores, part="test") is None


def test_after_scaling_is_not_defined_where_a_seed_has_no_temperature(tmp_path):
    keys = [KEY, CellKey("frozen", "vgg16", 1)]
    scores = scored(
        tmp_path, dict(zip(keys, ({"val": VAL, "test": TEST}, {"val": ALL_RIGHT, "test": TEST}), strict=True))
    )
    shown = calibration_table(scores, part="test").loc[("frozen", "vgg16")]
    assert shown["temperature"] == "not defined"
    assert shown["log loss after"] == "not defined"


def test_of_many_cells_those_that_share_network_or_method_or_are_on_pixels_are_paired(monkeypatch):
    monkeypatch.setattr("tlkeras.replication.scoring.FEW_CELLS", 4)
    rights = {
        ("frozen", "vgg16"): (range(6), range(4)),
        ("fine_tuned", "vgg16"): (range(8), range(6)),
        ("frozen", "mobilenetv2_035"): (range(5), range(5)),
        ("fine_tuned", "mobilenetv2_035"): (range(8),),  # one seed of two
        ("tree", PIXELS): (range(1, 8), range(1, 8)),
    }
    predicted = {
        CellKey(*cell, seed): {"test": right_in(rows)}
        for cell, seeds in rights.items()
        for seed, rows in enumerate(seeds)
    }
    both = pair_cells(predicted, "test")
    assert list(dict.fromkeys(both["metric"])) == ["accuracy", "roc_auc"]  # nothing is adjusted without validation
    table = both[both["metric"] == "accuracy"]
    assert table[["first_method", "second_method"]].to_numpy().tolist() == [
        ["frozen, vgg16", "fine_tuned, vgg16"],
        ["frozen, vgg16", "frozen, mobilenetv2_035"],
        ["frozen, vgg16", "tree, pixels"],
        ["fine_tuned, vgg16", "fine_tuned, mobilenetv2_035"],
        ["fine_tuned, vgg16", "tree, pixels"],
        ["frozen, mobilenetv2_035", "fine_tuned, mobilenetv2_035"],
        ["frozen, mobilenetv2_035", "tree, pixels"],
        ["fine_tuned, mobilenetv2_035", "tree, pixels"],
    ]
    # Over the seeds that both have, said beside it.
    assert table["seeds"].tolist() == ["0, 1", "0, 1", "0, 1", "0", "0, 1", "0", "0, 1", "0"]
    # Means over two seeds: (6 + 4) / 16, (8 + 6) / 16, (5 + 5) / 16, (7 + 7) / 16; of seed 0 alone: 8 / 8, 5 / 8.
    assert table["first"].tolist() == [10 / 16, 10 / 16, 10 / 16, 1, 14 / 16, 5 / 8, 10 / 16, 1]
    assert table["second"].tolist() == [14 / 16, 10 / 16, 14 / 16, 1, 14 / 16, 1, 14 / 16, 7 / 8]
    # Holm: the smallest p eight times, the next seven times, ..., and never below the one before.
    steps = [min(1, (8 - i) * p) for i, p in enumerate(sorted(table["p"]))]
    assert sorted(table["p_holm"]) == pytest.approx(np.maximum.accumulate(steps))


def test_of_few_cells_every_two_are_paired():
    keys = [CellKey("frozen", "vgg16", 0), CellKey("fine_tuned", "resnet50", 0)]
    row, _ = pair_cells({key: {"test": TEST} for key in keys}, "test").to_dict("records")
    assert (row["first_method"], row["second_method"]) == ("frozen, vgg16", "fine_tuned, resnet50")


def test_seed_stands_beside_the_same_seed_whatever_ran_first():
    first, second = {0: right_in(range(2)), 1: right_in(range(8))}, {1: right_in(range(8)), 0: right_in(range(2))}
    predicted = {CellKey("a", "vgg16", seed): {"test": part} for seed, part in first.items()}
    predicted |= {CellKey("b", "vgg16", seed): {"test": part} for seed, part in second.items()}
    row, _ = pair_cells(predicted, "test").to_dict("records")
    assert (row["difference"], row["p"]) == (0, 1)
    assert np.isnan([row["low"], row["high"]]).all()  # no exchange gives another difference


def test_a_seed_whose_validation_lacks_a_class_leaves_out_the_adjusted_accuracy_and_nothing_else():
    one_class = with_probs(np.zeros(8, np.int64), np.linspace(0.1, 0.6, 8))
    cells = {
        CellKey(method, "vgg16", seed): {"val": VAL if seed == 0 else one_class, "test": right_in(range(rights))}
        for method, rights in (("frozen", 3), ("fine_tuned", 7))
        for seed in (0, 1)
    }
    table = pair_cells(cells, "test")
    assert table["metric"].tolist() == ["accuracy", "roc_auc"]
    assert set(table["seeds"]) == {"0, 1"}


def test_what_is_fitted_to_validation_images_moves_the_line_and_no_rank(tmp_path):
    # NORMAL scores .2 and PNEUMONIA .4 are both called NORMAL; on validation the line lies between them.
    labels = np.arange(40) % 2
    probs = np.where(labels == 1, 0.4, 0.2) + np.linspace(0, 0.05, 40)
    low = {part: with_probs(labels, probs) for part in ("val", "test")}
    scores = scored(tmp_path, {KEY: low})
    test, val = of(scores, "frozen", "test"), of(scores, "frozen", "val")
    assert (test["accuracy"], test["accuracy_adjusted"], test["balanced_accuracy_adjusted"]) == (0.5, 1, 1)
    assert test["roc_auc"] == 1
    assert 0.25 < val["threshold"] < 0.4
    right = {part: with_probs(labels, probs + 0.2) for part in ("val", "test")}
    predicted = {KEY: low, CellKey("fine_tuned", "vgg16", 0): right}
    table = pair_cells(predicted, "test").set_index("metric")
    assert table["difference"].to_dict() == {"accuracy": 0.5, "accuracy_adjusted": 0, "roc_auc": 0}
    assert comes_from(table) == "the threshold"


def with_probs(labels, positive):
    samples = tl.Samples(tuple(f"{i}.png" for i in range(len(labels))), labels, ("NORMAL", "PNEUMONIA"))
    return tl.Predictions(samples, np.stack([1 - positive, positive], axis=1).astype(np.float32))


def test_seeds_have_one_interval_of_their_own_and_one_of_their_mean(tmp_path):
    keys = [KEY, CellKey("frozen", "vgg16", 1)]
    parts = [right_in(range(6)), right_in(range(3))]
    scores = scored(tmp_path, {key: {"test": part} for key, part in zip(keys, parts, strict=True)})
    rows = scores.query("metric == 'accuracy' and method == 'frozen' and part == 'test'").set_index("seed")
    together = tl.intervals(parts, metrics=["accuracy"]).loc["accuracy"]
    for seed, part in enumerate(parts):
        alone = tl.intervals(part, metrics=["accuracy"]).loc["accuracy"]
        assert rows.loc[seed, ["value", "low", "high"]].tolist() == pytest.approx(alone.tolist()[:3])
        assert rows.loc[seed, ["seeds", "seeds_low", "seeds_high"]].tolist() == pytest.approx(
            [2, together["low"], together["high"]]
        )


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [CellKey("frozen", "vgg16", 0)],
        [CellKey("frozen", "vgg16", 0), CellKey("fine_tuned", "vgg16", 1)],
    ],
    ids=["none", "one", "other seeds"],
)
def test_where_nothing_can_be_compared_there_is_no_table(keys):
    assert pair_cells({key: {"test": TEST} for key in keys}, "test") is None
    assert pair_cells({key: {"test": TEST} for key in [KEY, CellKey("fine_tuned", "vgg16", 0)]}, "test2") is None
