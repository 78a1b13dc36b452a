"""What a saved classifier says of image files, and which regions of each spoke for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tlkeras.data.file_names import IMAGE_SUFFIXES, is_image, visible
from tlkeras.data.names import few
from tlkeras.errors import InputError, MissingInputError
from tlkeras.files import write_csv
from tlkeras.schema import PROBABILITY_PREFIX, Samples
from tlkeras.terminal import start_keras

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tlkeras.training.tuned_classifier import TunedClassifier

SHOWN_SKIPPED = 20  # files that were skipped, by name
NOTICE = "Not for diagnosis."
SHOWN_CLASSES = 8  # up to so many classes have a column each on the terminal


def predict_files(
    folder: str | os.PathLike,
    paths: Sequence[str | os.PathLike],
    explain_to: str | os.PathLike | None = None,
    seed: int = 0,
    *,
    n_samples: int = 1000,
    n_repeats: int = 5,
) -> pd.DataFrame:
    """Predicts image files with a saved classifier; the pixels are read as in training, bit for bit.

    Args:
        folder: as `TunedClassifier.save` wrote it, or the folder of a run's cell.
        paths: image files, and folders, which stand for the images that lie directly in them.
        explain_to: a folder that gets explanation_<row>_<file name>.png of every image (LIME, of the predicted class)
            and the same as .npz, as a run writes it; those of an earlier call are replaced. Before them it gets
            predictions.csv, which an explanation that fails does not cost. None explains nothing.
        seed: of the explanations. An image's does not depend on the images beside it.
        n_samples: perturbed copies per explanation.
        n_repeats: seeds its stability is told from; with 1 it is not.

    Returns:
        One row per image in the order given, images of a folder by name: path, predicted (class name), probability (of
        that class), prob_<class> for every class; where `explain_to` is given also r2, stability and explanation (the
        figure's path).

    Raises:
        InputError: no images, files that cannot be read (all are named), or a folder that holds no classifier.
        MissingInputError: paths, the folder or its files that are not there.
    """
    import pandas as pd

    files = image_files(paths)
    start_keras()
    from tlkeras.training.tuned_classifier import load

    classifier = load(folder)
    predictions = _predict(classifier, Samples(images=tuple(files), labels=None, class_names=()))
    names = classifier.class_names
    table = pd.DataFrame(
        {
            "path": files,
            "predicted": [names[label] for label in predictions.predicted],
            "probability": predictions.probs.max(axis=1),
            **{PROBABILITY_PREFIX + name: predictions.probs[:, label] for label, name in enumerate(names)},
        }
    )
    if explain_to is None:
        return table
    write_csv(table, Path(explain_to) / "predictions.csv")
    explained = _explain(classifier, files, predictions.predicted, Path(explain_to), seed, n_samples, n_repeats)
    return pd.concat([table, explained], axis=1)


def image_files(paths: Sequence[str | os.PathLike]) -> list[str]:
    """The files that `paths` stand for, in order, a folder's by name.

    Of a folder the files that end in one of `IMAGE_SUFFIXES` are taken, hidden ones and others left aside (see
    `format_skipped`); a folder that holds folders is refused, for it is not clear which of its images are meant.

    Raises:
        InputError: no paths, or a folder without images or with folders in it.
        MissingInputError: paths that are not there, all of them named.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    paths = [os.fsdecode(path) for path in paths]
    if not paths:
        raise InputError("images: received none; accepted are image files and folders of images.")
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        raise MissingInputError(
            f"images: {len(missing)} of {len(paths)} are not there:\n"
            + "\n".join([*(f"  {path}" for path in missing), "Correct these paths, or leave them out."])
        )
    files = []
    for path in paths:
        files += _files_in(path) if os.path.isdir(path) else [path]
    return files


def format_skipped(paths: Sequence[str | os.PathLike]) -> str:
    """What `image_files` leaves aside in the folders among `paths`, a line each: files that are not called as images
    are. Empty where it takes every file; hidden ones are not told."""
    folders = [path for path in map(os.fsdecode, paths) if os.path.isdir(path)]
    skipped = [os.path.join(folder, name) for folder in folders for name in visible(folder)[1] if not is_image(name)]
    if not skipped:
        return ""
    lines = [f"  {path!r}" for path in skipped[:SHOWN_SKIPPED]]
    more = [f"  and {len(skipped) - len(lines):,} more"] if len(skipped) > len(lines) else []
    return "\n".join([f"skipped {len(skipped):,}, named as no image ({', '.join(IMAGE_SUFFIXES)}):", *lines, *more])


def format_predictions(table: pd.DataFrame) -> str:
    """The table of `predict_files` for a terminal, one line per image, and that it is not for diagnosis.

    With more than `SHOWN_CLASSES` classes only the predicted one's probability is shown.
    """
    shown, classes = table, [column for column in table.columns if column.startswith(PROBABILITY_PREFIX)]
    if len(classes) > SHOWN_CLASSES:
        shown = table.drop(columns=classes)
    return f"{shown.to_string(index=False, float_format='{:.3f}'.format)}\n{NOTICE}"


def _files_in(folder: str) -> list[str]:
    nested, names = visible(folder)
    if nested:
        raise InputError(
            f"images: {folder} holds folders: {few(nested)}. Name those that are meant; of a folder the images that "
            "lie directly in it are taken."
        )
    images = [os.path.join(folder, name) for name in names if is_image(name)]
    if not images:
        raise InputError(
            f"images: {folder} holds no image ({', '.join(IMAGE_SUFFIXES)}). Name another folder, or files."
        )
    return images


def _predict(classifier: TunedClassifier, samples: Samples):
    from tlkeras.data.readable import unreadable

    try:
        return classifier.predict(samples)
    except InputError:
        bad = unreadable(samples)
        if bad.empty:
            raise
    listed = "\n".join(f"  {path!r}: {reason}" for path, reason in zip(bad["path"], bad["reason"], strict=True))
    raise InputError(
        f"{len(bad)} of {len(samples)} image files cannot be read:\n{listed}\nReplace these files, or leave them out."
    )


def _explain(classifier, files, labels, folder: Path, seed: int, n_samples: int, n_repeats: int) -> pd.DataFrame:
    import pandas as pd

    from tlkeras.data.images import read_pixels
    from tlkeras.evaluation.image_plots import draw_explanation
    from tlkeras.evaluation.plots import save_figure
    from tlkeras.explaining.lime import explain, write_explanation

    rows = []
    for row, (file, label) in enumerate(zip(files, labels, strict=True)):
        # Of floats, an image next to black could be one scaled to 0..1.
        image = read_pixels(file, classifier.image_size, classifier.resize).astype("uint8")
        explanation = explain(classifier, image, label=int(label), seed=seed, n_samples=n_samples, n_repeats=n_repeats)
        # Numbered, for files of different folders may have one name.
        figure = folder / f"explanation_{row:04d}_{Path(file).stem}.png"
        write_explanation(explanation, figure.with_suffix(".npz"))
        save_figure(cast("Figure", draw_explanation(explanation).figure), figure)
        rows.append((explanation.r2, explanation.stability, str(figure)))
    return pd.DataFrame(rows, columns=["r2", "stability", "explanation"])
