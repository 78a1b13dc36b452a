"""A saved classifier as a file that runs without tlkeras, checked against it on real images before it is kept.

Every format takes float32 pixels (n, H, W, 3), RGB, 0..255, and gives probabilities (n, k); n is free. What is exported
computes in float32, whatever the classifier computes in: ONNX and TFLite know no convolution in bfloat16, and whether
half precision pays is another question on another machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.checks import real
from tlkeras.command.installed import version_of
from tlkeras.command.predicting import NOTICE, image_files
from tlkeras.errors import InputError
from tlkeras.files import atomic_folder, atomic_write, sha256_of, write_json
from tlkeras.machine import environment
from tlkeras.models.formats import FORMATS, Format, Run, get_format, in_float32, write_network
from tlkeras.schema import Samples
from tlkeras.terminal import quiet_terminal, start_keras

if TYPE_CHECKING:
    from tlkeras.training.tuned_classifier import TunedClassifier

# In probability. Other kernels round otherwise: 7e-6 was the most on 64 X-rays (MobileNetV2, width 0.35). A wrong
# conversion does more: one grey level added to all pixels moved them by 8e-3, one doubled BatchNorm epsilon by 6e-3.
TOLERANCE = 1e-4
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "retina", "rocket")
_BATCH = 16


@dataclass(frozen=True)
class Parity:
    """How far an exported network agrees with the classifier it was made from.

    Attributes:
        images: how many it was compared on.
        largest_difference: of a probability.
        same_class: how many images have the same predicted class.
        spread: how far the probabilities of a class lie apart over the images, at most; near 0 the comparison says
            little, for a network that answers every image alike agrees on all of them.
        tolerance: the largest difference that was accepted.
        runtime: what ran the exported network, with its version.
        half_precision: of a classifier that computes in half precision: the largest difference between its own
            probabilities and those of its weights in float32, which are what is exported; else None.
    """

    images: int
    largest_difference: float
    same_class: int
    spread: float
    tolerance: float
    runtime: str
    half_precision: float | None = None


@dataclass(frozen=True)
class Export:
    """What `export_classifier` wrote.

    Attributes:
        path: the file, or the folder of a SavedModel.
        card: the JSON beside it: what goes in, what comes out, where it is from.
        format: a name of `FORMATS`.
        parity: with the classifier.
    """

    path: Path
    card: Path
    format: str
    parity: Parity

    def describe(self) -> str:
        """What was written and how far it agrees, in lines for a terminal."""
        parity = self.parity
        lines = [
            f"{self.path} ({self.format}), and {self.card.name} beside it: what goes in and what comes out",
            f"run in {parity.runtime} on {parity.images} images: probabilities differ by at most "
            f"{parity.largest_difference:.1g} (accepted: {parity.tolerance:g}), the same class on {parity.same_class}",
        ]
        if parity.half_precision is not None:
            lines.append(
                "exported in float32, from which the classifier in half precision differs by at most "
                f"{parity.half_precision:.1g}"
            )
        if parity.spread < 10 * parity.tolerance:
            lines.append(
                "the classifier answers all these images alike, so they show little: give others to compare on"
            )
        return "\n".join([*lines, NOTICE])


def export_classifier(
    folder: str | os.PathLike,
    target: str | os.PathLike | None,
    format: str,
    images: Sequence[str | os.PathLike] | None = None,
    *,
    tolerance: float = TOLERANCE,
) -> Export:
    """Exports a saved classifier, loads what was written afresh and compares the two on images.

    Beside it comes <name>.json: classes, image size, what goes in, how to call it, hashes, and how far it agreed.

    Args:
        folder: as `TunedClassifier.save` wrote it, or the folder of a run's cell.
        target: the file or (SavedModel) folder to write, which must not be there yet; None takes export/<default name>
            in `folder`.
        format: a name of `FORMATS`: "savedmodel", "onnx" or "tflite".
        images: files, and folders of images, to compare on, better ones like those it will see; None takes photographs
            that come with scikit-image.
        tolerance: the largest accepted difference of a probability.

    Raises:
        InputError: an argument or package that does not fit, a network that cannot be converted, or a result that
            differs: then nothing is left at `target`.
        MissingInputError: the folder, its files or images that are not there.
    """
    chosen = get_format(format)
    target = Path(folder, "export", chosen.default_name) if target is None else Path(target)
    _check_target(target, chosen)
    tolerance = real(least=0, below=1).also(", a difference of probabilities").check("tolerance", tolerance)
    files = None if images is None else image_files(images)

    start_keras()
    from tlkeras.models.saved import read_card
    from tlkeras.training.tuned_classifier import load

    classifier = load(folder)
    exact = classifier
    if any(layer.compute_dtype != "float32" for layer in classifier.model._flatten_layers()):
        exact = replace(classifier, model=in_float32(classifier.model))
    whole = atomic_write if chosen.suffix else atomic_folder
    with whole(target) as temporary, quiet_terminal():
        write_network(exact.model, classifier.image_size, temporary, chosen)
        run, call = chosen.open(temporary)
        parity = _compare(classifier, exact, run, files, chosen, tolerance)
        hashes = {str(Path(target.name, file.relative_to(temporary))): sha256_of(file) for file in _files_of(temporary)}
    export = Export(target, _card_of(target), format, parity)
    write_json(export.card, _describe(export, classifier, read_card(folder).describe(), hashes, call))
    return export


def _card_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _check_target(target: Path, format: Format) -> None:
    if format.suffix and target.suffix != format.suffix:
        raise InputError(
            f"target: received {target}; accepted for {format.name} are names that end in {format.suffix}."
        )
    for path in (target, _card_of(target)):
        if os.path.lexists(path):
            raise InputError(f"target: {path} is there already. Remove it, or name another one.")


def _compare(
    classifier: TunedClassifier,
    exact: TunedClassifier,
    run: Run,
    files: list[str] | None,
    format: Format,
    tolerance: float,
) -> Parity:
    """How far `run` agrees with `exact`, the classifier in float32; `exact` is `classifier` where it computes so."""
    from tlkeras.backend import keras

    names, ours, theirs, halves = [], [], [], []
    # Not on a GPU, whose tensor cores round float32 to 11 bits.
    with keras.device("cpu"):
        for of_batch, batch in _image_batches(files, classifier.image_size, classifier.resize):
            if not names:  # the first image alone as well: a batch size that is not free shows in one or the other
                names.append(of_batch[0])
                ours.append(exact.predict_pixels(batch[:1]))
                theirs.append(_run(run, batch[:1], format))
            names += of_batch
            ours.append(exact.predict_pixels(batch))
            theirs.append(_run(run, batch, format))
            if exact is not classifier:
                halves.append(classifier.predict_pixels(batch))
    ours, theirs = np.concatenate(ours), np.concatenate(theirs)
    if ours.shape != theirs.shape:
        raise InputError(
            f"format: as {format.name} the network answers with {theirs.shape} numbers, not {ours.shape}. Nothing is "
            f"kept. Choose another of {', '.join(FORMATS)}."
        )
    differences = np.nan_to_num(np.abs(ours - theirs), nan=np.inf)
    same = int((ours.argmax(axis=1) == theirs.argmax(axis=1))[1:].sum())
    if not differences.max() <= tolerance:
        row, label = np.unravel_index(differences.argmax(), differences.shape)
        raise InputError(
            f"format: as {format.name} the network differs. For {names[row]} the probability of "
            f"{classifier.class_names[label]} is {theirs[row, label]:.7f}, the classifier's {ours[row, label]:.7f} "
            f"(accepted is a difference of {tolerance:g}); the predicted class is the same on {same} of "
            f"{len(names) - 1} images. Nothing is kept. Choose another of {', '.join(FORMATS)}, or accept more with "
            "`tolerance`."
        )
    return Parity(
        images=len(names) - 1,
        largest_difference=float(differences.max()),
        same_class=same,
        spread=float(np.ptp(ours, axis=0).max()),
        tolerance=tolerance,
        runtime=f"{format.runtime} {version_of(format.runtime)}",
        half_precision=float(np.abs(np.concatenate(halves) - ours[1:]).max()) if halves else None,
    )


def _run(run: Run, batch: np.ndarray, format: Format) -> np.ndarray:
    try:
        return np.asarray(run(batch.astype(np.float32)))
    except Exception as error:  # each runtime has exceptions of its own
        raise InputError(
            f"format: what was written as {format.name} does not run ({type(error).__name__}: {str(error)[:300]}). "
            f"Nothing is kept. Choose another of {', '.join(FORMATS)}."
        ) from error


def _image_batches(
    files: list[str] | None, image_size: tuple[int, int], resize: str
) -> Iterable[tuple[list[str], np.ndarray]]:
    """Names, and uint8 (b, H, W, 3), decoded and resized as in training."""
    if files is None:
        from skimage import data

        from tlkeras.data.images import resize_pixels

        photographs = (getattr(data, name)() for name in PHOTOGRAPHS)
        pixels = np.stack([resize_pixels(photograph, image_size, resize=resize) for photograph in photographs])
        yield [f"skimage.data.{name}" for name in PHOTOGRAPHS], pixels
        return
    from tlkeras.data.pipeline import decoded_batches

    start, samples = 0, Samples(images=tuple(files), labels=None, class_names=())
    for batch in decoded_batches(samples, image_size, _BATCH, resize=resize):
        yield files[start : start + len(batch)], batch
        start += len(batch)


_RESIZED = {
    "squash": "to height and width whatever the aspect ratio",
    "crop": "of the largest middle part that has the aspect ratio of height and width",
    "pad": "of the whole image, in the middle of black edges where its aspect ratio is another",
}


def _describe(export: Export, classifier: TunedClassifier, saved: dict, hashes: dict[str, str], call: str) -> dict:
    """What the JSON beside an exported network says."""
    height, width = classifier.image_size
    return {
        "format": export.format,
        "class_names": list(classifier.class_names),
        "image_size": [height, width],
        "input": {
            "dtype": "float32",
            "shape": ["n", height, width, 3],
            "values": "RGB, 0 to 255 as decoded, not scaled: the network's preprocessing is inside",
            "resizing": f"bilinear, antialiased, {_RESIZED[classifier.resize]}",
        },
        "output": {
            "dtype": "float32",
            "shape": ["n", len(classifier.class_names)],
            "values": "probabilities, in the order of class_names",
        },
        "call": call,
        "sha256": hashes,
        "source": {name: saved[name] for name in ("sha256", "fingerprint", "precision", "versions")},
        "parity": asdict(export.parity),
        "environment": environment(),
        "use": NOTICE,
    }


def _files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
