"""`tlkeras new`: a script that runs an experiment on images of one's own, written to be changed."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from tlkeras.data.sources import from_folders
from tlkeras.errors import InputError
from tlkeras.files import write_text
from tlkeras.schema import Samples
from tlkeras.user_text import in_terminal

TEMPLATE = '''\
"""{title}.

Data
    {n} images: {counts}.
Commands
    python {file} --data {data} --weights WEIGHTS --smoke    (a handful of images: does everything run?)
    python {file} --data {data} --weights WEIGHTS --seeds 0 1 2
    WEIGHTS is a folder of weights files; without the option Keras' own copy is taken, or downloaded.
Result
    runs/{name}/plain: report.html (open it in a browser), table.md, scores.csv, predictions, a model card.
"""

import tlkeras as tl
from tlkeras.replication.script import main


def read(folder):
    """The images in the folder that --data names."""
    # Do several images show one patient? Then say what of a file's name tells the patient, so that none is both in
    # training and in test: tl.from_folders(folder, group_of=lambda name: name.split("_")[0])
    return tl.from_folders(folder)


EXPERIMENT = tl.Experiment(
    name={name!r},
    data=read,
    about_data="",  # where the images come from and under which terms: stands on pages and model cards
    question="",  # what you want to know: stands at the head of the report
    protocols={{
        "plain": tl.Protocol(
            split={split},
            cells={{
                ("frozen", "mobilenetv2"): tl.Tuner("mobilenetv2", phases=tl.Phase(10, 1e-3)),
                ("two_phases", "mobilenetv2"): tl.Tuner("mobilenetv2"),
            }},
        )
    }},
)

if __name__ == "__main__":
    main(EXPERIMENT)
'''


def write_script(name: str, folders: str | os.PathLike) -> tuple[Path, Samples]:
    """Writes <name>.py into the working directory; the file, and the images that were found.

    Args:
        name: letters, digits and underscores, of the experiment, its script and its run folder.
        folders: images in one folder per class, or in parts that hold such folders; see `from_folders`.

    Raises:
        InputError: another kind of name, a file that is there already, or what `from_folders` refuses.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(
            f"NAME: received {name!r}; accepted are small letters, digits and underscores, a letter first, such as "
            "'lung_tiles'."
        )
    file = Path(f"{name}.py")
    if file.exists():
        raise InputError(f"{file} is there already, and is not written over. Choose another name, or remove it.")
    samples = from_folders(folders)
    script = TEMPLATE.format(
        title=name.replace("_", " ").capitalize(),
        name=name,
        file=file,
        data=_in_docstring(shlex.quote(os.fspath(folders))),
        n=f"{len(samples):,}",
        counts=", ".join(f"{n:,} {_in_docstring(of_class)}" for of_class, n in samples.class_counts().items()),
        split=_split(set() if samples.parts is None else set(samples.parts)),
    )
    return write_text(file, script), samples


def _in_docstring(text: str) -> str:
    """So that it ends no docstring and is read as it is written."""
    return in_terminal(text).replace("\\", "\\\\").replace('"', '\\"')


def _split(parts: set[str]) -> str:
    """What splits images that lie in these parts, with validation images in any case."""
    if "train" not in parts:
        return "tl.Holdout(val=0.2, test=0.2)"
    if parts == {"train", "val"}:
        return 'tl.Predefined(val=0.2, test="val")'
    return "tl.Predefined()" if "val" in parts else "tl.Predefined(val=0.2)"
