"""What the pages of Habel et al. (2023) show beyond the common page: the document's table about its data, precision,
recall and F1 of every class, and the features in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from tlkeras.data.measures import PixelSizes, size_words
from tlkeras.evaluation.blocks import Block, Figure, Heading, Table
from tlkeras.evaluation.embedding import embedding_figure
from tlkeras.evaluation.plots import save_figure
from tlkeras.evaluation.tables import apart_from, by_cell, cell_rows, check_scores, counts_in_words, measured
from tlkeras.replication.finished_run import FinishedRun
from tlkeras.replication.provenance import pixel_sizes, used_image_sizes

OF_CLASS_REPORT = {"precision": "precision", "recall": "recall", "f1": "F1"}


def about_the_data(run: FinishedRun, *, summary: Mapping[str, str]) -> list[Block]:
    """The document's table about its data, with ours beside it.

    Args:
        run: the finished run.
        summary: {line: the document's text}.
    """
    row, sizes = run.plan.dataset, PixelSizes.together(pixel_sizes(run)[1].values())
    assert row is not None  # each of the three experiments, and of their stand-ins, names a data set
    images = next(iter(run.cells.values()))["facts"]["images"]
    ours = {
        "data set": row.title,
        "images, original": "not known" if row.n_images is None else f"{row.n_images:,}",
        "images, used": f"{sum(sum(of_part.values()) for of_part in images.values()):,}",
        "classes, original": "not known" if row.n_classes is None else str(row.n_classes),
        "classes, used": ", ".join(run.class_names),
        "pixels, original": sizes.words() if len(sizes) else "not measured",
        "pixels, used": " / ".join(map(size_words, used_image_sizes(run.cells))),
    }
    rows = [(summary.get(line, ""), words) for line, words in ours.items()]
    table = pd.DataFrame(rows, index=pd.Index(list(ours), name="the data"), columns=["document", "ours"])
    return [Table(table)]


def every_class(run: FinishedRun) -> list[Block]:
    """Precision, recall and F1 of every class, as the document tabulates them, of each test part."""
    tables = {part: class_reports_table(run.scores, part=part) for part in run.parts}
    return [block for part, table in tables.items() for block in (Heading(f"Every class, on {part}"), Table(table))]


def class_reports_table(scores: pd.DataFrame, *, part: str) -> pd.DataFrame:
    """What `tl.classification_report_table` says of every cell, for the eye, each figure as `measured` writes it.

    Args:
        scores: tidy, of one protocol, with `precision_<class>`, `recall_<class>` and `f1_<class>`; see
            `evaluation.tables`.
        part: the part whose scores are shown.

    Returns:
        str, index (method, backbone, class), columns groups (those that hold the class), precision, recall, F1. A
        figure that the samples leave undefined says so.
    """
    check_scores(scores)
    rows = {}
    for cell, figures in by_cell(scores[scores["part"] == part], "method", "backbone").items():
        names = [metric.removeprefix("recall_") for metric in figures if metric.startswith("recall_")]
        of_rows = {name: [f"{figure}_{name}" for figure in OF_CLASS_REPORT] for name in names}
        of_rows[apart_from("mean over the classes", names)] = [f"macro_{figure}" for figure in OF_CLASS_REPORT]
        for name, metrics in of_rows.items():
            row = {"groups": counts_in_words(figures[metrics[1]]["groups"])}
            for title, metric in zip(OF_CLASS_REPORT.values(), metrics, strict=True):
                row[title] = measured(figures, metric, factor=1, form=".3f")
            rows[*cell, name] = row
    return cell_rows(rows, ["method", "backbone", "class"])


def embeddings(run: FinishedRun, *, titles: Mapping[str, str]) -> list[Block]:
    """Figures 6 and 7, from the points of each cell's embedding_<part>.csv: a figure for each seed and part, a panel
    for each network.

    Args:
        run: the finished run.
        titles: {method: title} of the panels.
    """
    panels: dict[tuple[int, str], dict[str, pd.DataFrame]] = {}
    blocks: list[Block] = []
    for key in run.cells:
        for name in run.folder.files(key, "embedding_*.csv"):
            part = name.removeprefix("embedding_").removesuffix(".csv")
            title = f"{titles[key.method]} ({key.backbone})"
            panels.setdefault((key.seed, part), {})[title] = run.folder.read_table(key, name, dtype=str)
    for (seed, part), tables in panels.items():
        names = sorted({name for table in tables.values() for name in table["label"]})
        number = {name: label for label, name in enumerate(names)}
        points = {
            title: (table[["x", "y"]].astype(float).to_numpy(), table["label"].map(number).to_numpy())
            for title, table in tables.items()
        }
        suffix = "" if seed == min(seed for seed, _ in panels) else f"_seed{seed}"
        file = save_figure(embedding_figure(points, names), run.folder.root / f"embedding_{part}{suffix}.png")
        what = f"features of the images of {part} in two dimensions (t-SNE), coloured by class, seed {seed}"
        blocks.append(Figure(file, what))
    return blocks
