from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cells import KEY, MIXED, ONE, finished, measured, right_in, write_cell
from habel2023_sections import about_the_data, class_reports_table
from tidy import tidy

import tlkeras as tl
from tlkeras.errors import InputError
from tlkeras.evaluation.metrics import classification_report_table
from tlkeras.replication.run_folder import CellKey

CELL, OTHER = ("knn", "resnet18"), ("svm", "resnet18")


def test_the_documents_table_about_the_data_has_ours_beside_it(tmp_path):
    summary = {"data set": "X-rays", "images, used": "5,863", "pixels, original": "512x512"}
    images = {"train": {"NORMAL": 1000, "PNEUMONIA": 2000}, "test": {"NORMAL": 300, "PNEUMONIA": 45}}
    facts, parts = {"images": images}, {"test": right_in(range(8))}
    cells = {key: write_cell(tmp_path, key, parts, facts=facts) for key in (KEY, CellKey("tree", "pixels", 0))}
    (block,) = about_the_data(finished(cells, audits={0: measured(train=MIXED, test=ONE)}), summary=summary)
    frame = block.frame
    assert frame["ours"].to_dict() == {
        "data set": tl.DATASETS["chest_xray"].title,
        "images, original": "5,856",
        "images, used": "3,345",
        "classes, original": "2",
        "classes, used": "NORMAL, PNEUMONIA",
        "pixels, original": "smallest 64x100, median 200x150, largest 600x450",
        "pixels, used": "150x150 / 64x64",
    }
    assert frame.loc["images, used", "document"] == "5,863"
    assert frame.loc["pixels, original", "document"] == "512x512"
    assert frame.loc["pixels, used", "document"] == ""
    (unknown,) = about_the_data(finished(cells), summary=summary)
    assert unknown.frame.loc["pixels, original"].tolist() == ["512x512", "not measured"]


def scores_of(cell, part="test", seeds=((0.5, 1.0, 2 / 3), (0.6, 0.8, 0.7))):
    """One class, "Gland", beside means over the classes, over so many seeds."""
    names = ("precision", "recall", "f1")
    return tidy(
        cell,
        part,
        **{f"{name}_Gland": [(seed, row[i]) for seed, row in enumerate(seeds)] for i, name in enumerate(names)},
        **{f"macro_{name}": [(seed, row[i] / 2) for seed, row in enumerate(seeds)] for i, name in enumerate(names)},
    )


def test_each_class_and_their_mean_has_a_line_in_every_cell():
    table = class_reports_table(pd.concat([scores_of(CELL), scores_of(OTHER, seeds=((1, 1, 1),))]), part="test")
    assert table.index.names == ["method", "backbone", "class"]
    assert table.index.tolist() == [
        (*CELL, "Gland"),
        (*CELL, "mean over the classes"),
        (*OTHER, "Gland"),
        (*OTHER, "mean over the classes"),
    ]
    # (0.5 + 0.6) / 2 and |0.6 - 0.5| / sqrt(2); the deviation of two values has n - 1 = 1 below it.
    assert table.loc[(*CELL, "Gland")].tolist() == ["", "0.550 ± 0.071", "0.900 ± 0.141", "0.683 ± 0.024"]
    assert table.loc[(*CELL, "mean over the classes"), "precision"] == "0.275 ± 0.035"
    assert table.loc[(*OTHER, "Gland")].tolist() == ["", "1.000", "1.000", "1.000"]


def test_groups_are_those_that_hold_the_class_of_each_seed():
    scores = scores_of(CELL).assign(groups=np.nan)
    of_class, of_all = (scores["metric"] == metric for metric in ("recall_Gland", "macro_recall"))
    scores.loc[of_class, "groups"] = scores.loc[of_class, "seed"].map({0: 1200.0, 1: 900.0})
    scores.loc[of_all, "groups"] = 3000.0
    assert class_reports_table(scores, part="test")["groups"].tolist() == ["900 or 1,200", "3,000"]


def test_only_the_part_that_is_asked_for_is_shown():
    scores = pd.concat([scores_of(CELL), scores_of(CELL, "test2", seeds=((0.25, 0.25, 0.25),))])
    assert class_reports_table(scores, part="test2")["recall"].tolist() == ["0.250", "0.125"]


def test_it_says_what_the_report_of_the_predictions_says():
    # Gland 2 of 3 right, Tumor 1 of 1, Nongland never predicted: no precision.
    samples = tl.Samples(
        images=tuple("abcde"), labels=np.array([0, 0, 0, 1, 2]), class_names=("Gland", "Nongland", "Tumor")
    )
    report = classification_report_table(tl.Predictions(samples, np.eye(3, dtype=np.float32)[[0, 0, 2, 0, 2]]))
    figures = {
        f"macro_{metric}" if name == "macro" else f"{metric}_{name}": [(0, report.loc[name, metric])]
        for name in report.index
        for metric in ("precision", "recall", "f1")
    }
    table = class_reports_table(tidy(CELL, "test", **figures), part="test").droplevel(["method", "backbone"])
    table = table.drop(columns="groups")
    assert table.loc["Gland"].tolist() == ["0.667", "0.667", "0.667"]
    assert table.loc["Tumor"].tolist() == ["0.500", "1.000", "0.667"]
    assert table.loc["Nongland"].tolist() == ["not defined", "0.000", "0.000"]
    assert table.loc["mean over the classes"].tolist() == ["not defined", "0.556", "0.444"]


def test_a_class_called_macro_is_not_taken_for_the_mean_over_the_classes():
    figures = {
        f"{metric}_{name}": [(0, value)]
        for metric in ("precision", "recall", "f1")
        for name, value in (("macro", 0.5), ("mean over the classes", 0.25))
    }
    figures |= {f"macro_{metric}": [(0, 0.375)] for metric in ("precision", "recall", "f1")}
    table = class_reports_table(tidy(CELL, "test", **figures), part="test").droplevel(["method", "backbone"])
    assert table["recall"].to_dict() == {
        "macro": "0.500",
        "mean over the classes": "0.250",
        "mean over the classes average": "0.375",
    }


def test_a_missing_column_and_a_score_that_is_there_twice_are_refused():
    scores = scores_of(CELL)
    with pytest.raises(InputError, match="'seed'"):
        class_reports_table(scores.drop(columns="seed"), part="test")
    with pytest.raises(InputError, match="1 rows are there twice"):
        class_reports_table(pd.concat([scores, scores.iloc[:1]]), part="test")
