"""Reads a .keras file without running code that is in it."""

from __future__ import annotations

import contextlib
import json
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.schema import InputError

if TYPE_CHECKING:
    import keras

ARCHIVE = {"metadata.json", "config.json", "model.weights.h5"}  # what Keras writes for a model without vocabularies
LARGEST_CONFIG = 64 * 2**20  # bytes; MobileNetV2's takes 167 kB
RUNS_CODE = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper"}  # their code comes out of the file


def read_model(file: Path) -> keras.Model:
    """The model in a .keras file, uncompiled, read in Keras' safe mode.

    Layers that bring code of their own are refused before Keras sees them. A layer of your own is taken where it is
    registered (keras.saving.register_keras_serializable).

    Raises:
        InputError: the file is damaged, foreign, or holds what cannot be loaded without running its code.
    """
    import keras

    with reading(file):
        _refuse_foreign_layers(file, _read_config(file))
        return keras.saving.load_model(file, compile=False, safe_mode=True)


@contextlib.contextmanager
def reading(file: Path) -> Iterator[None]:
    """Says of whatever is raised inside that `file` is what cannot be read."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # what a foreign file makes json, zipfile, h5py and Keras raise has no common type
        reason = textwrap.shorten(str(error), 300) or "no reason given"
        raise InputError(
            f"{file} cannot be read ({type(error).__name__}: {reason}). If it is damaged or foreign, copy it again "
            "from where it was saved, or save it again."
        ) from error


def _read_config(file: Path) -> object:
    """The description of the layers in a .keras archive."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        if sorted(names) != sorted(ARCHIVE):
            raise InputError(
                f"{file} holds {textwrap.shorten(', '.join(names), 200) or 'nothing'}; accepted is a .keras archive of "
                f"exactly {', '.join(sorted(ARCHIVE))}. Save the model again with Keras."
            )
        if archive.getinfo("config.json").file_size > LARGEST_CONFIG:
            raise InputError(
                f"{file}: its config.json unpacks to more than {LARGEST_CONFIG:,} bytes; no network's does."
            )
        return json.loads(archive.read("config.json"))


def _refuse_foreign_layers(file: Path, config: object) -> None:
    """Refuses layers and functions whose code is in the file, or is neither Keras' own nor registered."""
    import keras

    pending = [config]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            pending += node.values()
            if "class_name" not in node:
                continue
            name, module = str(node["class_name"]), str(node.get("module") or "keras")
            if name in RUNS_CODE:
                raise InputError(
                    f"{file} holds a {name.strip('_')}, whose code would come out of the file; it is never loaded. "
                    "Put layers of Keras in its place (Tuner's `preprocessing` scales pixels), and save again."
                )
            registered = str(node.get("registered_name") or name)
            ours = module == "builtins" or module.split(".")[0] == "keras"  # Keras looks its own names up by itself
            if not ours and keras.saving.get_registered_object(registered) is None:
                raise InputError(
                    f"{file} holds {registered} of the module {module}, which is not known here. Import the module "
                    "that registers it with keras.saving.register_keras_serializable, then load again."
                )
