"""What this installation has and lacks: versions, devices, precision, weights, data, disk. Downloads nothing.

A missing weights file or data set is told, but is no problem: nobody needs all of them.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.command.installed import extra_lines, package_problems, package_rows
from tlkeras.data.datasets import DATASETS, DatasetRow, load_dataset
from tlkeras.errors import InputError
from tlkeras.machine import available_memory, format_size, keras_home, n_cores, processor
from tlkeras.models.backbones import Backbone
from tlkeras.models.weights import look_for_imagenet, searched
from tlkeras.models.zoo import BACKBONES
from tlkeras.terminal import quiet_terminal
from tlkeras.training.feature_store import FeatureStore

if TYPE_CHECKING:
    import pandas as pd

    from tlkeras.models.weights_file import WeightsFile

DATA_VARIABLE = "TLKERAS_DATA"
LEAST_FREE = 10**9  # bytes; below it the feature store keeps nothing more
MISSING = "missing"
_HASH_DIGITS = 16  # shown
_MD5_DIGITS = 32  # Keras publishes whole md5 hashes, for ConvNeXt sha256, PyTorch how its sha256 begin
_HALF_PRECISION_FLAGS = ("avx512_bf16", "amx_bf16", "avx512_fp16", "amx_fp16", "bf16", "fphp")  # as Linux names them


@dataclass(frozen=True, eq=False)
class Section:
    """One part of the examination.

    Attributes:
        title: what it is about.
        table: what was found, one row each, or None.
        lines: what was found, in words.
        problems: what is wrong, and what to do about it.
    """

    title: str
    table: pd.DataFrame | None = None
    lines: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def describe(self) -> str:
        """The part for a terminal."""
        table = [] if self.table is None else _aligned(self.table)
        problems = [f"PROBLEM: {problem}" for problem in self.problems]
        return "\n  ".join([self.title, *table, *self.lines, *problems])


@dataclass(frozen=True, eq=False)
class Examination:
    """What `examine` found: its sections, in the order of the docstring of this module."""

    sections: tuple[Section, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Those of all sections; empty where all is well."""
        return tuple(problem for section in self.sections for problem in section.problems)

    def describe(self) -> str:
        """The sections for a terminal, each with its problems, and at the end how many there are."""
        n = len(self.problems)
        blocks = [section.describe() for section in self.sections]
        return "\n\n".join([*blocks, "no problem found" if n == 0 else f"{n} problem{'s' * (n > 1)} found"])


def examine(data: str | os.PathLike | None = None, weights: str | os.PathLike | None = None) -> Examination:
    """Looks at everything a run needs; some 10 s, half of it TensorFlow's start.

    Args:
        data: the folder of the data sets; None takes the one that TLKERAS_DATA names, else "data".
        weights: the folder searched first for weights files; None takes the one that TLKERAS_WEIGHTS names, if any.
    """
    return Examination(
        (
            examine_versions(),
            examine_devices(),
            examine_precision(),
            examine_weights(weights, missing=False),
            examine_data(data),
            examine_disk(),
        )
    )


def examine_versions() -> Section:
    """Python and the packages: what is installed beside what tlkeras asks for."""
    import pandas as pd

    try:
        table = pd.DataFrame(package_rows(), columns=["package", "installed", "asked for"])
    except importlib.metadata.PackageNotFoundError:
        problem = "tlkeras is not installed, only found on the path. In its folder: pip install -c requirements.txt ."
        return Section("versions", problems=(problem,))
    return Section("versions", table, tuple(extra_lines()), tuple(package_problems()))


def examine_devices() -> Section:
    """Processor, memory, and the GPUs that TensorFlow sees. Starts TensorFlow."""
    lines = [
        f"{processor() or 'processor unknown'}: {n_cores()} cores for this process, {os.cpu_count()} in the machine"
    ]
    lines.append(f"memory: {format_size(available_memory())} free for this process")
    problems = []
    try:
        with quiet_terminal():
            from tlkeras.backend import device_name

            device = device_name()
    except InputError as error:  # another backend
        return Section("devices", lines=tuple(lines), problems=(str(error),))
    except Exception as error:  # a broken installation raises anything
        problem = (
            f"TensorFlow does not start ({type(error).__name__}: {str(error)[:300]}). Install it again: see README."
        )
        return Section("devices", lines=tuple(lines), problems=(problem,))
    lines.append(f"networks run on: {device}")
    cards = _nvidia_cards()
    lines += [f"card: {card}" for card in cards]
    if cards and device == "CPU":
        problems.append(
            "there is an NVIDIA card that TensorFlow does not see. Install CUDA's libraries with it (pip install "
            "'tlkeras[gpu]'), and look at CUDA_VISIBLE_DEVICES."
        )
    return Section("devices", lines=tuple(lines), problems=tuple(problems))


def examine_precision() -> Section:
    """Which half precisions the processor has instructions for; nothing is timed, for that is a network's matter."""
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.is_file() else set()
    found = [flag for flag in _HALF_PRECISION_FLAGS if flag in flags]
    if not flags:
        told = "the system does not tell what the processor can do in half precision"
    elif found:
        told = f"the processor computes in half precision ({', '.join(found)})"
    else:
        told = "the processor has no instructions for half precision, which is then unlikely to save time"
    advice = (
        'which is faster depends on the network: --precision auto (Tuner: precision="auto") times float32 and bfloat16'
    )
    return Section("precision", lines=(told, advice))


def examine_weights(folder: str | os.PathLike | None = None, *, missing: bool = True) -> Section:
    """The ImageNet file of every backbone: where it lies and whether it is the published one; none is downloaded.

    Args:
        folder: searched first; None takes the one that TLKERAS_WEIGHTS names, if any.
        missing: a row for each network without a file, too, with the address where it is had.
    """
    import pandas as pd

    problems, rows = [], []
    try:
        places = searched(folder)
    except InputError as error:
        problems.append(str(error))
        places = {"cache": keras_home() / "models"}
    for backbone in BACKBONES.values():
        try:
            # Without a folder it would ask the variable, whose folder may be the one that is not there.
            found, others = look_for_imagenet(backbone, folder=next(iter(places.values())))
            rows.append(_weights_row(backbone, found))
            rows += [(backbone.name, "own", "", "other values", str(path)) for path in others]
        except (InputError, OSError) as error:  # which say what is wrong
            problems.append(str(error))
            rows.append((backbone.name, "damaged", "", "", ""))
    absent = sum(size == MISSING for _, size, *_ in rows)
    lines = [f"searched: {', '.join(map(str, places.values()))}; a missing file is downloaded when it is needed"]
    if not missing:
        rows = [row for row in rows if row[1] != MISSING]
        lines += [f"{absent} networks have no file here; tlkeras weights says where each is had"] * (absent > 0)
    columns = ["backbone", "size", "sha256", "published hash", "file"]
    table = pd.DataFrame(rows, columns=columns) if rows else None
    return Section("weights", table, tuple(lines), tuple(problems))


def examine_data(root: str | os.PathLike | None = None) -> Section:
    """The data sets of the table: found and complete, found and not complete, or missing."""
    import pandas as pd

    given = root or os.environ.get(DATA_VARIABLE) or None
    root = Path(given or "data").expanduser()
    if not root.is_dir():
        problem = f"there is no data folder {root}. Name another one with --data or {DATA_VARIABLE}."
        return Section(
            "data", lines=() if given else (f"no data folder ({problem})",), problems=(problem,) * bool(given)
        )
    rows, problems = [], []
    for row in DATASETS.values():
        if row.is_one_file and not any((root / row.folder / entry).exists() for entry in row.entries):
            continue
        state, found, problem = _dataset_state(row, root / row.folder)
        published = "" if row.n_images is None else f"{row.n_images:,}"
        rows.append((row.name, state, found, published, row.source or "images of one's own"))
        problems += problem
    columns = ["data set", "state", "images", "published", "source"]
    return Section("data", pd.DataFrame(rows, columns=columns), (f"searched: {root}",), tuple(problems))


def examine_disk() -> Section:
    """Room where run folders, features and downloaded weights go."""
    import pandas as pd

    problems, kept = [], ""
    places = {"run folders (here)": Path.cwd(), "weights that Keras downloads": keras_home() / "models"}
    try:
        store = FeatureStore()
        places["feature store"] = store.folder
        kept = f"{format_size(sum(entry['bytes'] for entry in store.entries()))} of at most {format_size(store.limit)}"
    except InputError as error:  # TLKERAS_STORE_LIMIT, no home folder
        problems.append(str(error))
    rows = []
    for what, folder in places.items():
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
        free = shutil.disk_usage(there).free
        rows.append((what, str(folder), format_size(free), kept if what == "feature store" else ""))
        if free < LEAST_FREE:
            problems.append(
                f"{folder}: {format_size(free)} free, too little for {what}. Free some room there; tlkeras store "
                "--clear removes kept features."
            )
        if not os.access(there, os.W_OK):
            problems.append(f"{there} cannot be written to, where {what} go. Name another folder, or mend its rights.")
    return Section("disk", pd.DataFrame(rows, columns=["for", "folder", "free", "kept"]), problems=tuple(problems))


def _aligned(table: pd.DataFrame) -> list[str]:
    """The table in lines, its columns to the left."""
    rows = [list(table.columns), *table.astype(str).to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _nvidia_cards() -> list[str]:
    """The cards that NVIDIA's driver knows, with memory and driver version; none where there is no driver."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def _weights_row(backbone: Backbone, found: WeightsFile | None) -> tuple[str, ...]:
    if found is None:
        official = backbone.weights[0]
        known = _published_hash(official.md5 or official.sha256_prefix)
        return backbone.name, MISSING, "", known, official.url or official.file
    known = _published_hash(found.published_hash) + " matches" * bool(found.published_hash)
    if found.values_equal:
        known = "its values are the published ones"
    folded = ", BatchNorm folded" * found.batch_norm_folded
    size = format_size(found.path.stat().st_size)
    return backbone.name, size, found.sha256[:_HASH_DIGITS], known + folded, str(found.path)


def _published_hash(digits: str | None) -> str:
    if digits is None:
        return "none is published"
    return f"md5 {digits}" if len(digits) == _MD5_DIGITS else f"sha256 {digits[:_HASH_DIGITS]}..."


def _dataset_state(row: DatasetRow, folder: Path) -> tuple[str, str, list[str]]:
    """The state in a word, how many images there are, and the problem where there is one."""
    if not folder.is_dir():
        return "missing", "", []
    if row.is_one_file and row.count is not None and row.count(str(folder)) == row.counts:
        return "complete", f"{row.n_images:,}", []  # told by the head of the file, which may be large
    try:
        samples = load_dataset(row.name, folder)
    except InputError as error:
        found = row.count(str(folder)) if row.count is not None else {}
        told = ", ".join(
            f"{key} {found.get(key, 0):,} of {n:,}" for key, n in row.counts.items() if found.get(key, 0) != n
        )
        told = told if found and told else str(error).splitlines()[0]
        count = f"{sum(found.values()):,}" if found else ""
        remedy = f"Unpack it again: {row.source}" if row.source else f"Its layout: tl.DATASETS[{row.name!r}].layout"
        return "incomplete", count, [f"{row.title} in {folder} is not complete: {told}. {remedy}"]
    except OSError as error:
        return "unreadable", "", [f"{row.title} in {folder} cannot be read: {error}. Mend its rights."]
    return "complete" if row.counts else "found", f"{len(samples):,}", []
