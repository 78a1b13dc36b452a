"""The exploratory analysis of HAM10000 as a folder: a page, its figures, and the numbers behind them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ham10000_exploration.plots import (
    NAMES,
    draw_ages,
    draw_counts,
    draw_counts_by,
    draw_diagnosis_methods,
    draw_images_per_lesion,
    draw_sheet,
    draw_two_way_counts,
    wrap,
)
from ham10000_exploration.tables import (
    CELL_TYPES,
    document_table,
    exploration_table,
    images_per_lesion_table,
    lesion_table,
    numerical_summary_table,
    sheet_table,
)
from tlkeras.errors import InputError
from tlkeras.evaluation.blocks import to_markdown
from tlkeras.evaluation.plots import new_figure, new_grid, save_figure
from tlkeras.files import write_csv, write_text
from tlkeras.schema import Samples

THUMBNAIL_SIZE = (100, 125)  # (height, width), the document's 125 wide by 100 high
CAPTIONS = {
    "sheet_samples": "Five images of each class, 125 x 100 pixels, each of another lesion, drawn by seed",
    "class_counts": "Images of each class",
    "age": "Age in 5-year bins; those not recorded are filled with the mean",
    "sex": "Images by sex",
    "localization": "Images by part of the body",
    "diagnosis_method": "How the diagnosis was made",
    "localization_by_sex": "Part of the body by sex",
    "localization_by_cell_type": "Part of the body by class: counts, and on the right shaded by share of the class",
    "images_per_lesion": "Lesions by the number of their images",
}


def write_exploration(
    samples: Samples,
    folder: str | os.PathLike,
    *,
    read_image: Callable[..., np.ndarray],
    citation: str,
    licence: str,
    seed: int = 0,
) -> Path:
    """Writes the exploratory analysis: eda.csv, summary.csv, nine figures and the page eda.md that shows them.

    Args:
        samples: of `load_dataset("ham10000", root)`; see `tables.lesion_table`.
        folder: where to write; made if it is not there.
        read_image: `read_image(path, image_size=(height, width))` gives (H, W, 3), RGB, 0..255: `tl.read_pixels`.
        citation: whom the data are by, for the page.
        licence: under which terms the images shown may be used, for the page.
        seed: what the images shown are drawn by.

    Returns:
        The path of eda.md.

    Raises:
        InputError: samples hold arrays, or what `tables.lesion_table` and `read_image` refuse.
    """
    if isinstance(samples.images, np.ndarray):
        raise InputError('samples: received arrays; accepted are image files, as load_dataset("ham10000", root) gives.')
    folder, lesions = Path(folder), lesion_table(samples)
    table, summary = exploration_table(lesions), numerical_summary_table(lesions)
    shown = sheet_table(lesions, seed=seed)
    thumbnails = {
        str(code): [read_image(samples.images[row], image_size=THUMBNAIL_SIZE) for row in rows.index]
        for code, rows in shown.groupby("dx", sort=False)
    }
    _write_figures({str(name): rows for name, rows in table.groupby("figure")}, thumbnails, folder)
    write_csv(table, folder / "eda.csv")
    write_csv(summary.reset_index(), folder / "summary.csv")
    return write_text(folder / "eda.md", _page(lesions, table, summary, shown, citation, licence))


def _write_figures(tables: dict[str, pd.DataFrame], thumbnails: dict[str, list[np.ndarray]], folder: Path) -> None:
    labels = [f"{code}\n{wrap(CELL_TYPES[code], 26)}" for code in thumbnails]
    figure, ax = new_figure(1, 1)
    draw_sheet(list(thumbnails.values()), labels, ax)
    height, width = ax.images[0].get_size()
    # At the 150 dots per inch of save_figure a pixel of the sheet is one of the file; the labels lie outside.
    ax.images[0].set_interpolation("none")
    figure.set_layout_engine("none")
    figure.set_size_inches(width / 150, height / 150)
    ax.set_position((0, 0, 1, 1))
    save_figure(figure, folder / "sheet_samples.png")
    drawn = {
        "class_counts": (draw_counts, 7.4, 3.8),
        "age": (draw_ages, 7.4, 3.8),
        "sex": (draw_counts, 6.0, 1.8),
        "localization": (draw_counts, 6.4, 4.6),
        "diagnosis_method": (draw_diagnosis_methods, 6.0, 4.2),
        "localization_by_sex": (draw_counts_by, 6.4, 7.2),
        "images_per_lesion": (draw_images_per_lesion, 6.4, 3.8),
    }
    for name, (draw, width, height) in drawn.items():
        figure, ax = new_figure(width, height)
        draw(tables[name], ax)
        save_figure(figure, folder / f"{name}.png")
    by_class = tables["localization_by_cell_type"]
    figure, (axes,) = new_grid(1, 2, side=5.4)
    draw_counts_by(by_class, axes[0], stacked=True)
    draw_two_way_counts(by_class, axes[1]).set_yticks([])
    save_figure(figure, folder / "localization_by_cell_type.png")


def _page(
    lesions: pd.DataFrame, table: pd.DataFrame, summary: pd.DataFrame, shown: pd.DataFrame, citation: str, licence: str
) -> str:
    per_lesion = images_per_lesion_table(lesions)
    several = per_lesion[per_lesion.index > 1].sum()
    n_lesions, filled = per_lesion["lesions"].sum(), int(lesions["age_filled"].sum())
    classes = table[table["figure"] == "class_counts"].set_index("value")["images"]
    lines = [
        "# The metadata of HAM10000",
        "",
        f"{len(lesions):,} images of {n_lesions:,} lesions. Data: {citation} Licence: {licence}.",
        "",
        "Every number drawn below is in [eda.csv](eda.csv), the summary in [summary.csv](summary.csv).",
        "",
        to_markdown(summary),
        f"{filled:,} ages are not recorded; they were filled with the mean of the others, {lesions['age'].mean():.2f}.",
        "",
        f"The most frequent class is {NAMES[classes.index[0]]}, {classes.iloc[0]:,} images, the least frequent "
        f"{NAMES[classes.index[-1]]}, {classes.iloc[-1]:,}: {classes.iloc[0] / classes.iloc[-1]:.0f} to 1.",
        "",
        f"{several['lesions']:,.0f} lesions ({100 * several['lesions'] / n_lesions:.1f} %) have more than one image; "
        f"{several['images']:,.0f} images ({100 * several['share']:.1f} %) have a sibling. A split by image lets "
        "siblings fall on both sides; a split by lesion does not.",
        "",
        "## Beside the document",
        "",
        to_markdown(document_table(lesions)),
        "These are counts of images in a collection, not of people in a population: they give no rate of any lesion by "
        "age, sex or part of the body.",
    ]
    for figure, caption in CAPTIONS.items():
        rows = table[table["figure"] == figure]
        lines += ["", f"## {caption}", ""]
        if figure == "sheet_samples":
            lines += [
                "In sheet_samples.png, which published copies of this folder leave out: it shows images of the set."
            ]
            ids = shown.groupby("cell_type", sort=False)["image_id"].agg(", ".join)
            lines += ["", to_markdown(ids.rename_axis("class").to_frame("images, from the left")).rstrip()]
            continue
        lines += [f"![{caption}]({figure}.png)"]
        if rows["group"].nunique() == 1:
            share = [f"{100 * value:.1f} %" for value in rows["share"]]
            names = [NAMES.get(value, value) for value in rows["value"]]
            cells = rows.assign(share=share).set_index(pd.Index(names, name="value"))[["images", "share", "lesions"]]
            lines += ["", to_markdown(cells).rstrip()]
    return "\n".join(lines) + "\n"
