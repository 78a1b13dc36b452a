"""What the metadata of HAM10000 say before any training: counts by class, age, sex, site and way of diagnosis.

The exploratory analysis of "Subnets" (2022): Methods, first paragraph; Results, first two. Tables only, no figures.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tlkeras.errors import InputError
from tlkeras.schema import Samples
from tlkeras.seeds import generator

CELL_TYPES: dict[str, str] = {
    "akiec": "Actinic keratoses and intraepithelial carcinoma / Bowen's disease",
    "bcc": "Basal cell carcinoma",
    "bkl": "Benign keratosis-like lesions",
    "df": "Dermatofibroma",
    "mel": "Melanoma",
    "nv": "Melanocytic nevi",
    "vasc": "Vascular lesions",
}
DIAGNOSIS_METHODS: dict[str, str] = {
    "histo": "histopathology",
    "follow_up": "follow-up examination",
    "consensus": "expert consensus",
    "confocal": "confocal microscopy",
}
UNKNOWN = "unknown"
AGE_BIN = 5  # years; ages are recorded in multiples of it
OLDEST = 120
TEXT_COLUMNS = ("image_id", "dx_type", "sex", "localization")


def lesion_table(samples: Samples) -> pd.DataFrame:
    """The metadata, one row per image, with the columns that the document adds (Methods, first paragraph).

    Args:
        samples: of `load_dataset("ham10000", root)` or a part of them: labels and class_names hold the dx code, groups
            the lesion_id, metadata the columns image_id, dx_type, age (years, empty where unknown), sex, localization.

    Returns:
        Row i belongs to sample i. Text: lesion_id, image_id, dx, dx_type, sex, localization, path (below the data
        set's folder) and cell_type (the full name). float64: age, where an unknown one is the mean of the known ones
        over images. bool: age_filled, whether it is. int64: cell_type_idx, the label that classifiers are trained on;
        `class_names` is in alphabetical order of dx, so 5 is nv and not the 4 of a numbering by full name.

    Raises:
        InputError: labels, lesions or a column are missing, a text is empty, an age is not a number in 0..120, no age
            is known, or a class is not one of `CELL_TYPES`.
    """
    metadata = _checked_metadata(samples)
    assert samples.groups is not None  # without them it was refused
    dx = np.array(samples.class_names, dtype=object)[samples.labels]
    ages = _checked_ages(metadata)
    return pd.DataFrame(
        {
            "lesion_id": samples.groups.astype(str),
            "image_id": metadata["image_id"].astype(str),
            "dx": dx,
            "dx_type": metadata["dx_type"].astype(str),
            "age": ages.fillna(ages.mean()),
            "sex": metadata["sex"].astype(str),
            "localization": metadata["localization"].astype(str),
            "path": samples.sample_ids.astype(str),
            "cell_type": [CELL_TYPES[code] for code in dx],
            "cell_type_idx": samples.labels,
            "age_filled": ages.isna(),
        }
    )


def numerical_summary_table(lesions: pd.DataFrame) -> pd.DataFrame:
    """The numerical columns as pandas' `describe` sums them up, and how much of each column is unknown.

    Args:
        lesions: of `lesion_table`.

    Returns:
        Index "column": age as recorded, age after filling, images per lesion, sex, localization. int64: count (known
        values), unknown, filled. float64: mean, std (n - 1), min, 25%, 50%, 75%, max, in years or images, NaN for sex
        and localization. cell_type_idx is left out: the mean of a label says nothing.
    """
    filled = int(lesions["age_filled"].sum())
    recorded = lesions.loc[~lesions["age_filled"], "age"]
    rows = {
        "age as recorded, years": {"unknown": filled, "filled": 0, **recorded.describe()},
        "age after filling, years": {"unknown": 0, "filled": filled, **lesions["age"].describe()},
        "images per lesion": {"unknown": 0, "filled": 0, **lesions["lesion_id"].value_counts().describe()},
    }
    for column in ("sex", "localization"):
        unknown = int((lesions[column] == UNKNOWN).sum())
        rows[column] = {"count": len(lesions) - unknown, "unknown": unknown, "filled": 0}
    order = ["count", "unknown", "filled", "mean", "std", "min", "25%", "50%", "75%", "max"]
    table = pd.DataFrame.from_dict(rows, orient="index")[order].rename_axis("column")
    return table.astype({"count": np.int64, "unknown": np.int64, "filled": np.int64})


def counts_table(lesions: pd.DataFrame, column: str, by: str | None = None) -> pd.DataFrame:
    """How many images and lesions each value of a column has.

    Args:
        lesions: of `lesion_table`.
        column: a column with few values; "age" is counted in bins of 5 years, named by their lower edge: "45" is
            45 <= age < 50.
        by: a second column; counts are then made within each of its values.

    Returns:
        One row per group and value, those without an image included. Text: group (a value of `by`, "all" without one)
        and value. int64: images, lesions. float64: share, of the group's images, 0..1. Groups and values come in
        descending number of images over the whole table, equals by name, "unknown" last; ages in ascending order with
        no bin between the first and the last left out.

    Raises:
        InputError: no row, or a column that is not there.
    """
    for name, value in (("column", column), ("by", by)):
        if value is not None and value not in lesions.columns:
            raise InputError(f"{name}: received {value!r}; accepted are {', '.join(lesions.columns)}.")
    if lesions.empty:
        raise InputError("lesions: received no row; accepted is at least one image.")
    values, value_order = _values(lesions, column)
    groups, group_order = (pd.Series("all", lesions.index), ["all"]) if by is None else _values(lesions, by)
    frame = pd.DataFrame({"group": groups, "value": values, "lesion_id": lesions["lesion_id"]})
    counts = frame.groupby(["group", "value"])["lesion_id"].agg(images="size", lesions="nunique")
    every = pd.MultiIndex.from_product([group_order, value_order], names=["group", "value"])
    counts = counts.reindex(every, fill_value=0)
    share = counts["images"] / counts.groupby(level="group")["images"].transform("sum")
    counts.insert(1, "share", share)
    return counts.reset_index()


def images_per_lesion_table(lesions: pd.DataFrame) -> pd.DataFrame:
    """How many lesions have 1, 2, 3, ... images, and how many images that is.

    Returns:
        Index "images_per_lesion", 1 to the most found. int64: lesions, images. float64: share, of all images, 0..1.
        The rows from 2 on are the lesions and images with a sibling: those that a split by image can tear apart.
    """
    sizes = lesions["lesion_id"].value_counts()
    n_images = pd.RangeIndex(1, sizes.max() + 1, name="images_per_lesion")
    n_lesions = sizes.value_counts().reindex(n_images, fill_value=0).to_numpy(np.int64)
    images = n_images.to_numpy() * n_lesions
    return pd.DataFrame({"lesions": n_lesions, "images": images, "share": images / len(lesions)}, index=n_images)


def exploration_table(lesions: pd.DataFrame) -> pd.DataFrame:
    """Every number that the figures of `page.write_exploration` show.

    Returns:
        Columns figure (the file's name without ".png"), group, value, images, share (of the group's images), lesions;
        see `counts_table`. Groups of age are "recorded" and "filled with the mean". In images_per_lesion, value is
        the number of images of a lesion.
    """
    origin = lesions["age_filled"].map({False: "recorded", True: "filled with the mean"})
    per_lesion = images_per_lesion_table(lesions).reset_index(names="value").astype({"value": str})
    figures = {
        "class_counts": counts_table(lesions, "dx"),
        "age": counts_table(lesions.assign(origin=origin), "age", by="origin"),
        "sex": counts_table(lesions, "sex"),
        "localization": counts_table(lesions, "localization"),
        "diagnosis_method": counts_table(lesions, "dx_type"),
        "localization_by_sex": counts_table(lesions, "localization", by="sex"),
        "localization_by_cell_type": counts_table(lesions, "localization", by="dx"),
        "images_per_lesion": per_lesion.assign(group="all"),
    }
    table = pd.concat([rows.assign(figure=figure) for figure, rows in figures.items()], ignore_index=True)
    return table[["figure", "group", "value", "images", "share", "lesions"]]


def document_table(lesions: pd.DataFrame) -> pd.DataFrame:
    """What the document reads off its figures 2 and 4 to 7 (Results, first two paragraphs), beside these images.

    Returns:
        Index "the document", column "here", text. Shares are of the images that the line is about. Filled ages and
        "unknown" are not ranked; by lesion, the first image of each counts.
    """
    recorded = lesions[~lesions["age_filled"]]
    recorded = recorded.assign(age_bin=_values(recorded, "age")[0])
    ages, sites, classes = _ranked(recorded, "age_bin"), _ranked(lesions, "localization"), _ranked(lesions, "dx")
    at = {site: lesions[lesions["localization"] == site] for site in ("back", "lower extremity", *sites)}
    keratoses = lesions[lesions["dx"] == "bkl"]
    one_each = lesions.drop_duplicates("lesion_id")
    leaders = {site: _ranked(at[site], "dx")[0] for site in sites}
    others = [f"{site}, where {_tell(at[site], 'dx', [code])}" for site, code in leaders.items() if code != "nv"]
    rows = {
        "Most frequent around age 45": "age " + _tell(recorded, "age_bin", ages[:1]),
        "Least frequent at age 10 and below": "age "
        + _tell(recorded, "age_bin", ages[-1:])
        + f"; 10 and below: {_share(recorded['age'] <= 10)}",
        "Slightly more in men than in women": _tell(lesions, "sex", ["male", "female"]),
        "Most on the back": _tell(lesions, "localization", sites[:1])
        + f"; by lesion, {_tell(one_each, 'localization', _ranked(one_each, 'localization')[:1], 'lesions')}",
        "Least on acral surfaces": _tell(lesions, "localization", sites[-1:]),
        "Melanocytic nevi the most common, over 65 %": _tell(lesions, "dx", classes[:1]),
        "Dermatofibroma the least common": _tell(lesions, "dx", classes[-1:]),
        "90 % identified by histopathology or follow-up": _share(lesions["dx_type"].isin(["histo", "follow_up"])),
        "The back more affected in men": _tell(at["back"], "sex", ["male", "female"]),
        "The lower extremity more in women": _tell(at["lower extremity"], "sex", ["male", "female"]),
        "Benign keratosis-like lesions most on the face": _tell(
            keratoses, "localization", _ranked(keratoses, "localization")[:1]
        ),
        "Melanocytic nevi lead on every other part": f"on {len(sites) - len(others)} of {len(sites)} known parts"
        + "".join(f"; not on the {other}" for other in others),
    }
    return pd.DataFrame({"here": rows}).rename_axis("the document")


def sheet_table(lesions: pd.DataFrame, *, n_per_class: int = 5, seed: int) -> pd.DataFrame:
    """The rows of `lesions` to show, in order of cell_type_idx: up to `n_per_class` of each class, drawn by seed.

    No two are of one lesion. The draw depends on the seed, the class and its paths, not on the order of the rows.
    """
    chosen = []
    for code, rows in lesions.sort_values(["cell_type_idx", "path"]).groupby("dx", sort=False):
        order = generator(seed, "eda", "sheet", str(code)).permutation(len(rows))
        chosen.append(rows.iloc[order].drop_duplicates("lesion_id").head(n_per_class))
    return pd.concat(chosen)


def _checked_metadata(samples: Samples) -> pd.DataFrame:
    if samples.labels is None or samples.groups is None:
        lacking = "labels" if samples.labels is None else "groups (lesion_id)"
        raise InputError(f'samples: received none of the {lacking}; use load_dataset("ham10000", root).')
    metadata = samples.metadata
    columns = () if metadata is None else metadata.columns
    missing = [column for column in (*TEXT_COLUMNS, "age") if column not in columns]
    if metadata is None or missing:
        raise InputError(
            f"samples.metadata: the columns {', '.join(missing)} are missing; it has {', '.join(columns) or 'none'}. "
            'Use load_dataset("ham10000", root), whose HAM10000_metadata.csv holds them.'
        )
    foreign = [name for name in samples.class_names if name not in CELL_TYPES]
    if foreign:
        raise InputError(f"samples.class_names: received {', '.join(foreign)}; accepted are {', '.join(CELL_TYPES)}.")
    if not len(samples):
        raise InputError("samples: received no image; accepted is at least one.")
    metadata = metadata.reset_index(drop=True)
    for column in TEXT_COLUMNS:
        empty = metadata[column].isna() | (metadata[column].astype(str).str.strip() == "")
        if empty.any():
            raise InputError(
                f"samples.metadata: {column} is empty for {empty.sum()} images, the first "
                f"{samples.sample_ids[np.argmax(empty)]}; accepted is a text, {UNKNOWN!r} where it is not known."
            )
    return metadata


def _checked_ages(metadata: pd.DataFrame) -> pd.Series:
    ages = pd.to_numeric(metadata["age"], errors="coerce").astype(np.float64)
    wrong = metadata["age"].notna() & ~ages.between(0, OLDEST)
    if wrong.any():
        raise InputError(
            f"samples.metadata: age cannot be used for {wrong.sum()} images, the first is "
            f'"{metadata["age"][np.argmax(wrong)]}"; accepted are years in 0..{OLDEST}, empty where it is not known.'
        )
    if ages.isna().all():
        raise InputError("samples.metadata: no age is known; at least one is needed, for the mean fills the others.")
    return ages


def _values(lesions: pd.DataFrame, column: str) -> tuple[pd.Series, list[str]]:
    """The values of a column as text, and the order to show them in."""
    if column == "age":
        edges = (lesions["age"] // AGE_BIN * AGE_BIN).astype(np.int64)
        return edges.astype(str), [str(edge) for edge in range(edges.min(), edges.max() + 1, AGE_BIN)]
    values = lesions[column].astype(str)
    counts = values.value_counts()
    return values, sorted(counts.index, key=lambda value: (value == UNKNOWN, -counts[value], value))


def _ranked(lesions: pd.DataFrame, column: str) -> list[str]:
    return [value for value in _values(lesions, column)[1] if value != UNKNOWN]


def _tell(lesions: pd.DataFrame, column: str, values: list[str], unit: str = "images") -> str:
    return ", ".join(f"{value}: {_share(lesions[column] == value, unit)}" for value in values) or "none known"


def _share(chosen: pd.Series, unit: str = "images") -> str:
    n, of = int(chosen.sum()), len(chosen)
    return f"{n:,} of {of:,} {unit} ({100 * n / of:.1f} %)" if of else f"no {unit}"
