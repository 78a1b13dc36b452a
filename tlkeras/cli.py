"""The command line every experiment script shares. Answers `--help` without loading TensorFlow."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from tlkeras.experiment import Experiment, RunOptions, choose, run_experiment
from tlkeras.models.precision import PRECISIONS
from tlkeras.runs import RunFolder, publish
from tlkeras.schema import InputError
from tlkeras.sizes import parse_size


def main(experiment: Experiment, arguments: list[str] | None = None) -> None:
    """Runs an experiment script; exits with 0, 2 on unusable input, or 130 on Ctrl-C."""
    parser = build_parser(experiment)
    given = parser.parse_args(arguments)
    run_guarded(
        lambda: _run(experiment, given),
        interrupted="finished cells are kept, the same command goes on from there",
    )


def run_guarded(work: Callable[[], None], *, interrupted: str = "nothing is kept") -> None:
    """Calls `work`, turns the errors a user can mend into one message, and leaves with the right exit code."""
    # TensorFlow reads this when it is first imported: its start-up notices would bury ours.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # It warns of retracing whenever one process trains several models, as every experiment does.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        work()
    except InputError as error:
        sys.exit(_exit_message(2, f"error: {error}"))
    except KeyboardInterrupt:
        sys.exit(_exit_message(130, f"\nstopped; {interrupted}"))


def build_parser(experiment: Experiment) -> argparse.ArgumentParser:
    """The options of every experiment script."""
    protocols = list(experiment.protocols)
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=textwrap.dedent(f"""\
            {experiment.paper.title}
            {experiment.paper.authors}, {experiment.paper.venue}
            The docstring of experiments/{experiment.name}.py says what is replicated and what differs."""),
    )
    data = os.environ.get("TLKERAS_DATA", "data")
    add = parser.add_argument
    add(
        "--data", type=Path, default=Path(data), help="folder that holds the data sets (TLKERAS_DATA; now: %(default)s)"
    )
    add(
        "--weights",
        default=None,
        help="folder searched first for weight files (default: TLKERAS_WEIGHTS, then Keras' cache)",
    )
    add(
        "--out",
        type=Path,
        help=f"run folder (default: runs/{experiment.name}, with --smoke runs/{experiment.name}-smoke)",
    )
    add("--protocol", choices=protocols, default=protocols[0], help="default: %(default)s")
    add("--backbones", nargs="+", metavar="NAME", help=f"default: {' '.join(experiment.default_backbones)}")
    add("--methods", nargs="+", metavar="NAME", help="default: all of the protocol")
    add("--seeds", nargs="+", type=int, default=[0], metavar="N", help="one run of every cell for each (default: 0)")
    add("--skip-unreadable", action="store_true", help="leave unreadable images out and list them, instead of stopping")
    add("--smoke", action="store_true", help="a handful of images, one epoch, random weights: does everything run?")
    add(
        "--precision",
        choices=[*PRECISIONS, "auto"],
        help="what networks compute in, auto times float32 and bfloat16 (default: what the recipes say, float32)",
    )
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="folder for the features of frozen layers (default: TLKERAS_STORE, then ~/.cache/tlkeras)",
    )
    kept.add_argument("--no-store", action="store_true", help="keep no features: frozen layers run in every epoch")
    add(
        "--memory-budget",
        metavar="SIZE",
        help='what decoded images may take in memory, e.g. "4GB"; more goes to disk (default: half of what is free)',
    )
    if experiment.explore is not None:
        add("--eda", action="store_true", help="explore the data set: figures and their numbers, no training")
    add(
        "--explain",
        action="store_true",
        help="then LIME and Grad-CAM of one test image of each class, for every chosen cell",
    )
    add("--report-only", action="store_true", help="tables and figures again, of all that is in the run folder")
    add(
        "--publish", type=Path, metavar="DIR", help="then copy the run folder there without models, fit to be committed"
    )
    return parser


def _run(experiment: Experiment, given: argparse.Namespace) -> None:
    protocol = experiment.protocols[given.protocol]
    default = experiment.smoke_backbones if given.smoke else experiment.default_backbones
    out = given.out or Path("runs") / (f"{experiment.name}-smoke" if given.smoke else experiment.name)
    if experiment.explore is not None and given.eda:
        _explore(experiment, given, out / "eda")
        return
    folder = RunFolder(out / given.protocol)
    backbones = choose("--backbones", given.backbones, protocol.backbones, default)
    methods = choose("--methods", given.methods, protocol.methods, protocol.methods)
    if given.memory_budget is not None:
        parse_size("--memory-budget", given.memory_budget)
    if not given.report_only:
        folder = run_experiment(
            experiment,
            RunOptions(
                data=given.data,
                out=out,
                weights=given.weights,
                protocol=given.protocol,
                backbones=backbones,
                methods=methods,
                seeds=tuple(dict.fromkeys(given.seeds)),
                smoke=given.smoke,
                skip_unreadable=given.skip_unreadable,
                precision=given.precision,
                store=False if given.no_store else given.store or True,
                memory_budget=given.memory_budget,
            ),
        )
    from tlkeras.results import compare_protocols, report_experiment

    report_experiment(experiment, folder, given.protocol)
    compare_protocols(experiment, out)
    print(f"\n{(folder.root / 'table.md').read_text(encoding='utf-8')}")
    print(f"table, scores and figures are in {folder.root}")
    if given.explain:
        from tlkeras.explanations import explain_cells

        chosen = [
            k for k in folder.finished() if k.backbone in backbones and k.method in methods and k.seed in given.seeds
        ]
        explain_cells(folder, chosen, dataset=experiment.dataset, data=given.data, smoke=given.smoke)
    if given.publish is not None:
        print(f"published to {publish(folder.root, given.publish / given.protocol)}")
        compare_protocols(experiment, given.publish)


def _explore(experiment: Experiment, given: argparse.Namespace, folder: Path) -> None:
    from tlkeras.data.datasets import load_dataset

    experiment.explore(load_dataset(experiment.dataset, given.data, check_counts=not given.smoke), folder)
    print(f"figures and numbers are in {folder}")
    if given.publish is not None:
        print(f"published to {publish(folder, given.publish / folder.name)}")


def _exit_message(code: int, message: str) -> int:
    print(message, file=sys.stderr)
    return code
