"""Reads a .keras file without running code that is in it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import re
import stat
import sys
import textwrap
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkeras.errors import InputError, MissingInputError

if TYPE_CHECKING:
    import keras

WEIGHTS = "model.weights.h5"
ARCHIVE = {"metadata.json", "config.json", WEIGHTS}  # what Keras writes for a model without vocabularies
LARGEST_CONFIG = 64 * 2**20  # bytes; MobileNetV2's takes 167 kB
LARGEST_RATIO = 100  # bytes unpacked per byte stored, beyond what a config may take; Keras packs nothing
LARGEST_OUTPUT = 2**30  # numbers that a layer makes of one image; 64 channels of 4096 x 4096 pixels
UNSAVED = 2**20  # numbers of a network that its file need not hold: more than any layer keeps to itself

# Where Keras' own layers and functions are looked for, and nowhere else.
_PLACES = {f"keras.{name}" for name in ("layers", "initializers", "regularizers", "constraints", "dtype_policies")}
_PLACES |= {f"keras.{name}" for name in ("optimizers", "optimizers.schedules", "losses", "metrics")}  # of compiled ones
_PLACES |= {
    "keras",
    "keras.src.models.functional",
    "keras.src.applications.convnext",
}  # the last two's have no name else
_OPERATIONS = "keras.src.ops."  # what keras.ops and arithmetic on layers' outputs become
_FUNCTIONS = {"builtins": ("keras.activations", "keras.losses", "keras.metrics"), "keras.activations": None}
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__slice__", "__ellipsis__"}
_HUB = ("keras_hub>", "keras_nlp>")  # keras-hub registers what it has under both
_RUN_CODE = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}  # out of the file
_READ_FILES = {"StringLookup", "IntegerLookup", "TextVectorization"}  # a vocabulary, from where the file says
_NUMERIC = re.compile(r"bool|u?int\d+|float\d+|bfloat16")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # a Path has swallowed the second slash


def read_model(file: Path) -> keras.Model:
    """The model in a .keras file, uncompiled, read in Keras' safe mode.

    What the file names is looked up here before Keras sees it: layers and functions of Keras that neither bring code
    nor read files, and what is registered (keras.saving.register_keras_serializable), such as a layer of your own.
    The network is put together without memory for its weights first, which must not be more than the file holds.

    Raises:
        InputError: the file is damaged, foreign, or holds what cannot be loaded without running its code.
        MissingInputError: there is no such file.
    """
    from tlkeras.backend import keras, pinned_state

    require_local(file)
    with reading(file), pinned_state():
        config, numbers = _read_archive(file)
        config["compile_config"] = None  # a loss of one's own is not needed, and Keras leaves it out as well
        registered = _refuse_foreign_objects(file, config)
        _refuse_oversized(file, config, registered, numbers)
        return keras.saving.load_model(file, compile=False, safe_mode=True)


@contextlib.contextmanager
def reading(file: Path) -> Iterator[None]:
    """Says of whatever is raised inside that `file` is what cannot be read."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise MissingInputError(f"there is no file {error.filename or file}; give the path of one.") from error
    except Exception as error:  # what a foreign file makes json, zipfile, h5py and Keras raise has no common type
        reason = textwrap.shorten(str(error), 300) or "no reason given"
        raise InputError(
            f"{file} cannot be read ({type(error).__name__}: {reason}). If it is damaged or foreign, copy it again "
            "from where it was saved, or save it again."
        ) from error


def require_local(path: str | os.PathLike) -> None:
    """Says in words of a path that leads nowhere whether it is an address or a link; any other is left to the caller.

    Raises:
        InputError: an address, such as hf:// or https://, which is never followed.
        MissingInputError: a link to what is not there.
    """
    if os.path.exists(path):
        return
    if _ADDRESS.match(os.fspath(path)):
        raise InputError(
            f"{os.fspath(path)} is an address; accepted are files and folders of this machine, and none is fetched. "
            "Fetch it yourself, and give its path."
        )
    if os.path.islink(path):
        raise MissingInputError(
            f"{path} is a link to {os.readlink(path)}, where nothing can be found. Mend the link, or give the path of "
            "what it should lead to."
        )


def _read_archive(file: Path) -> tuple[dict[str, Any], int]:
    """The description of the layers in a .keras archive, and how many numbers its weights are."""
    from tlkeras.models.h5_file import count_numbers

    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        if sorted(names) != sorted(ARCHIVE):
            raise InputError(
                f"{file} holds {textwrap.shorten(', '.join(names), 200) or 'nothing'}; accepted is a .keras archive of "
                f"exactly {', '.join(sorted(ARCHIVE))}. Save the model again with Keras."
            )
        for member in archive.infolist():
            if stat.S_ISLNK(member.external_attr >> 16):
                raise InputError(f"{file}: its {member.filename} is a link; accepted are files. Save the model again.")
            largest = LARGEST_CONFIG
            if member.filename == WEIGHTS:
                largest = max(largest, LARGEST_RATIO * member.compress_size)
            if member.file_size > largest:
                raise InputError(
                    f"{file}: its {member.filename} unpacks to more than {largest:,} bytes, out of "
                    f"{member.compress_size:,}; no network's does. Save the model again with Keras."
                )
        config = json.loads(archive.read("config.json"))
        if not isinstance(config, dict):
            raise ValueError("its config.json describes no model")
        return config, count_numbers(archive.read(WEIGHTS), file)


def _refuse_foreign_objects(file: Path, config: object) -> dict[str, Any]:
    """Refuses what is neither a plain layer or function of Keras nor registered; returns {name: what is registered}."""
    from tlkeras.backend import keras
    from tlkeras.models.hub import is_hub_network, is_of_hub, keras_hub_module

    pending, registered = [config], {}
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        if not isinstance(node, dict):
            continue
        pending += node.values()
        if "class_name" not in node:
            continue
        name, module = node["class_name"], node.get("module")
        if isinstance(name, str) and name in _VALUES and _is_plain(node):
            continue
        is_function = name == "function"
        if is_function:
            name, known_as = node.get("config"), node.get("config")
        else:
            known_as = node.get("registered_name", name)  # what Keras looks up first
        if not isinstance(name, str) or not isinstance(module, str | None):
            raise ValueError(f"it names {textwrap.shorten(repr((module, name)), 100)}, which no layer is called")
        _refuse_known(file, name)
        if isinstance(known_as, str) and known_as.startswith(_HUB):
            keras_hub_module()  # which registers it
        known = keras.saving.get_registered_object(known_as) if isinstance(known_as, str) else None
        if is_of_hub(known) and not is_hub_network(known):
            raise InputError(
                f"{file} holds {known_as:.100}; of keras-hub its networks of tokens are read, and nothing else. Save "
                "the model again without it."
            )
        if known is not None:
            registered[known_as] = known
        elif not (_is_function(module, name) if is_function else _is_class(module, name)):
            known_as = known_as if isinstance(known_as, str) else name
            raise InputError(
                f"{file} holds {known_as:.100} of the module {module!s:.100}, which is no layer of Keras that is read "
                "and is not known here. Import the module that registers it with "
                "keras.saving.register_keras_serializable, then load again."
            )
    return registered


def _refuse_known(file: Path, name: str) -> None:
    if name in _RUN_CODE:
        raise InputError(
            f"{file} holds a {name.strip('_')}, whose code would come out of the file; it is never loaded. "
            "Put layers of Keras in its place (Tuner's `preprocessing` scales pixels), and save again."
        )
    if name in _READ_FILES:
        raise InputError(
            f"{file} holds a {name}, which reads a vocabulary from where the file says; a network that takes images "
            "needs none, and it is never loaded. Save the model again without it."
        )


def _is_plain(node: dict) -> bool:
    """Whether the values of an array, where the node is one, are numbers: text could be padded to any length."""
    if node["class_name"] not in ("__tensor__", "__numpy__"):
        return True
    dtype = node["config"].get("dtype") if isinstance(node.get("config"), dict) else None
    return isinstance(dtype, str) and _NUMERIC.fullmatch(dtype) is not None


def _is_class(module: str | None, name: str) -> bool:
    # Only what Keras itself has imported is looked at: a name in a file imports nothing.
    if module is None or not (module in _PLACES or module.startswith(_OPERATIONS)) or module not in sys.modules:
        return False
    return isinstance(vars(sys.modules[module]).get(name), type)


def _is_function(module: str | None, name: str) -> bool:
    if module is None or module not in _FUNCTIONS or name in ("get", "serialize", "deserialize"):
        return False
    places = [sys.modules.get(place) for place in _FUNCTIONS[module] or (module,)]
    return any(callable(vars(place).get(name)) for place in places if place is not None)


def _refuse_oversized(file: Path, config: dict, registered: Mapping[str, Any], numbers: int) -> None:
    """Refuses a network of more weights than `numbers`, those in its file, or with layers too large to be run."""
    from tlkeras.backend import keras
    from tlkeras.models.output_sizes import output_sizes

    found = {}

    def build():
        try:
            # Weights made in this scope have a shape and no memory.
            with keras.StatelessScope(initialize_variables=False):
                model = keras.saving.deserialize_keras_object(config, custom_objects=dict(registered), safe_mode=True)
                found["weights"] = sum(math.prod(weight.shape) for weight in getattr(model, "weights", ()))
                found["outputs"] = list(output_sizes(model))
        except Exception as error:
            found["error"] = error

    state = random.getstate()  # of which Keras draws the seeds of layers that have none
    # What Keras keeps for later, names and weights to be given memory, it keeps for each thread.
    thread = threading.Thread(target=build)
    thread.start()
    thread.join()
    random.setstate(state)
    error = found.get("error")
    if isinstance(error, InputError):
        raise InputError(f"{file}: {error}.") from error
    if error is not None and not registered:  # a layer of one's own may want memory at once
        raise error
    if found.get("weights", 0) > numbers + UNSAVED:
        raise InputError(
            f"{file} describes a network of {found['weights']:,} weights and holds {numbers:,} numbers. Copy it again "
            "from where it was saved, or save it again."
        )
    for name, size in found.get("outputs", ()):
        if size > LARGEST_OUTPUT:
            raise InputError(
                f"{file}: its layer {name} makes {size:,} numbers of one image; at most {LARGEST_OUTPUT:,} are "
                "accepted, or no machine could run it. Save a network for smaller images."
            )
