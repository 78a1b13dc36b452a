"""The command line every experiment script shares. Answers `--help` without loading TensorFlow."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from tlkeras.checks import check_image_size
from tlkeras.errors import InputError
from tlkeras.machine import parse_size
from tlkeras.replication.checklist_items import CHECKLISTS
from tlkeras.replication.experiment import Experiment, Plan, choose
from tlkeras.replication.planning import RunOptions
from tlkeras.replication.publishing import publish
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.running import run_experiment
from tlkeras.schema import PRECISIONS, Samples
from tlkeras.terminal import run_guarded, start_keras

FIRST_CONVOLUTION = ""  # what --activations means without a name


def main(experiment: Experiment | Sequence[Experiment], arguments: list[str] | None = None) -> None:
    """Runs an experiment script; exits with 0, 2 on unusable input, or 130 on Ctrl-C.

    Args:
        experiment: the declaration; or several of one document, each on a data set of its own, which run in this order
            under the same options. Their protocols have the same names.
        arguments: of the command line; None takes those the script was called with.
    """
    experiments = (experiment,) if isinstance(experiment, Experiment) else tuple(experiment)
    run_guarded(
        lambda: _run_all(experiments, build_parser(experiments).parse_args(arguments)),
        interrupted="what is finished is kept, and the same command goes on from there",
    )


def build_parser(experiments: Sequence[Experiment]) -> argparse.ArgumentParser:
    """The options of an experiment script."""
    experiment, protocols = experiments[0], list(experiments[0].protocols)
    declared = [protocol for each in experiments for protocol in each.protocols.values()]
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter, description=_description(experiment)
    )
    data = Path(os.environ.get("TLKERAS_DATA", "data"))
    add = parser.add_argument
    if any(each.reads_folder for each in experiments):
        add("--data", type=Path, default=data, help="folder that holds the data (TLKERAS_DATA; now: %(default)s)")
    else:
        parser.set_defaults(data=data)
    add(
        "--weights",
        default=None,
        help="folder searched first for weight files (default: TLKERAS_WEIGHTS, then Keras' cache)",
    )
    add(
        "--out",
        type=Path,
        help=f"run folder (default: runs/{experiment.name}, with --smoke runs/{experiment.name}-smoke)"
        if len(experiments) == 1
        else "folder of the run folders, one for each experiment (default: runs, with --smoke runs/smoke)",
    )
    if len(experiments) > 1:
        names = [each.name for each in experiments]
        add("--only", nargs="+", metavar="NAME", help=f"some of the experiments: {' '.join(names)} (default: all)")
    add("--protocol", choices=protocols, default=protocols[0], help="default: %(default)s")
    add("--backbones", nargs="+", metavar="NAME", help=f"default: {' '.join(experiment.default_backbones)}")
    add("--methods", nargs="+", metavar="NAME", help="default: all of the protocol")
    add("--seeds", nargs="+", type=int, default=[0], metavar="N", help="one run of every cell for each (default: 0)")
    add("--skip-unreadable", action="store_true", help="leave unreadable images out and list them, instead of stopping")
    add(
        "--verify",
        action="store_true",
        help="hash the contents of all images again (default: of those whose size or time changed)",
    )
    small = parser.add_mutually_exclusive_group()
    small.add_argument(
        "--smoke", action="store_true", help="a handful of images, one epoch, random weights: does everything run?"
    )
    small.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="height and width of the images of all chosen cells (default: what the recipes say)",
    )
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
    if any(recipe.searches for protocol in declared for recipe in protocol.cells.values()):
        add("--jobs", type=int, default=1, metavar="N", help="cells of a grid that run at a time (default: 1)")
        add("--backend", choices=["loky", "ray"], default="loky", help="where they run, see joblib (default: loky)")
    if any(protocol.carries_on for protocol in declared):
        add(
            "--earlier",
            type=Path,
            metavar="DIR",
            help="run folder of the experiment whose networks are carried on (default: beside --out)",
        )
    if any(each.explore is not None for each in experiments):
        add("--eda", action="store_true", help="explore the data set: figures and their numbers, no training")
    add(
        "--explain",
        action="store_true",
        help="then LIME and Grad-CAM of one test image of each class, for every chosen cell",
    )
    add(
        "--review",
        action="store_true",
        help="then ask the images: would more of them help, which labels and copies to look at, how unlike is the test "
        "part; by the first chosen network's features, look-alikes by MobileNetV2's",
    )
    if any(each.compared for each in experiments):
        add(
            "--activations",
            nargs="?",
            const=FIRST_CONVOLUTION,
            metavar="LAYER",
            help=f"then what a layer (default: the first convolution) makes of one test image: "
            f"{' beside '.join(next(each.compared for each in experiments if each.compared))}",
        )
    add(
        "--report-only",
        action="store_true",
        help="tables and figures again, of all the run folder holds of the protocol",
    )
    add(
        "--checklist",
        nargs="+",
        choices=list(CHECKLISTS),
        default=[],
        help="then the checklist of a reporting guideline, answered where the run knows; what you write in it is kept",
    )
    add(
        "--publish", type=Path, metavar="DIR", help="then copy the run folder there without models, fit to be committed"
    )
    return parser


def _description(experiment: Experiment) -> str:
    if experiment.paper is None:
        return "\n".join(textwrap.wrap(experiment.question or experiment.name, width=100))
    return textwrap.dedent(f"""\
        {experiment.paper.title}
        {experiment.paper.authors}, {experiment.paper.venue}
        The docstring of experiments/{experiment.script or experiment.name}.py says what is replicated, what differs.\
        """)


def _run_all(experiments: Sequence[Experiment], given: argparse.Namespace) -> None:
    if len(experiments) == 1:
        experiment = experiments[0]
        out = given.out or Path("runs") / (f"{experiment.name}-smoke" if given.smoke else experiment.name)
        _run(experiment.under(given.protocol), given, out)
        return
    names = [experiment.name for experiment in experiments]
    only = choose("--only", given.only, names, names)
    chosen = [experiment for experiment in experiments if experiment.name in only]
    if getattr(given, "eda", False):
        chosen = [experiment for experiment in chosen if experiment.explore is not None]
    protocols = [experiment.protocols[given.protocol] for experiment in chosen]
    wanted = {option: getattr(given, option) for option in ("methods", "backbones")}
    for option, values in wanted.items():
        choose(f"--{option}", values, list(dict.fromkeys(x for p in protocols for x in getattr(p, option))), ())
    out = given.out or Path("runs", *["smoke"] * given.smoke)
    todo = []
    for experiment, protocol in zip(chosen, protocols, strict=True):
        # Each takes those of the named methods and networks that it has.
        own = {
            option: values and [value for value in values if value in getattr(protocol, option)]
            for option, values in wanted.items()
        }
        if any(values == [] for values in own.values()):
            print(f"{experiment.name} has none of the named methods or networks")
        elif given.report_only and not RunFolder(out / experiment.name / given.protocol).finished():
            print(f"{experiment.name} has not been run under --protocol {given.protocol} in {out / experiment.name}")
        else:
            todo.append((experiment, own))
    if not todo:
        raise InputError(f"there is nothing to do for {', '.join(only)}. Name other methods or networks.")
    if not given.report_only:
        start_keras()
    for experiment, _ in () if given.report_only else todo:  # a set that is missing is known before anything is trained
        try:
            experiment.under(given.protocol).load(given.data, check_counts=not given.smoke)
        except InputError as error:
            raise type(error)(f"{experiment.name} (--only names those that can be run): {error}") from error
    for experiment, own in todo:
        print(f"\n== {experiment.name} ==", flush=True)
        publish_to = None if given.publish is None else given.publish / experiment.name
        its_own = argparse.Namespace(**{**vars(given), **own, "publish": publish_to})
        _run(experiment.under(given.protocol), its_own, out / experiment.name)


def _run(plan: Plan, given: argparse.Namespace, out: Path) -> None:
    experiment, protocol = plan.experiment, plan.protocol
    default = experiment.smoke_backbones if given.smoke else experiment.default_backbones
    if plan.stands_in or not set(default) & set(protocol.backbones):
        default = protocol.backbones
    if experiment.explore is not None and given.eda:
        if given.checklist:
            raise InputError("--checklist: is answered from a run, and --eda runs nothing; leave one of the two out.")
        _explore(plan, experiment.explore, given, out / "eda")
        return
    folder = RunFolder(out / plan.name)
    if given.backbones and not protocol.backbones:
        raise InputError(f"--backbones: protocol {given.protocol} has no networks; leave the option out.")
    backbones = choose("--backbones", given.backbones, protocol.backbones, default)
    methods = choose("--methods", given.methods, protocol.methods, protocol.methods)
    if not protocol.chosen(methods, backbones):
        raise InputError(
            f"--methods {' '.join(methods)} and --backbones {' '.join(backbones)}: protocol {given.protocol} has no "
            f"recipe for any of these pairs; it has {', '.join('/'.join(cell[::-1]) for cell in protocol.cells)}."
        )
    if given.explain and not any(protocol.cells[cell].keeps_model for cell in protocol.chosen(methods, backbones)):
        raise InputError(
            "--explain: none of the chosen methods trains a network, and classifiers of scikit-learn are not kept. "
            "tl.explain explains one that was fitted in the same process."
        )
    pairs = _compared(plan, given, backbones) if getattr(given, "activations", None) is not None else []
    needed = [key for pair in pairs for key in pair if given.report_only or key.method not in methods]
    missing = [str(key) for key in needed if folder.settings_or_none(key) is None]
    if missing:
        raise InputError(
            f"--activations: {folder.root} holds no finished {', '.join(missing)}. Run both "
            f"{' and '.join(experiment.compared)}, or choose other --backbones or --seeds."
        )
    if given.review and (given.smoke or given.report_only):
        option = "--smoke" if given.smoke else "--report-only"
        raise InputError(f"--review: looks at all images, and {option} at none or a handful; leave one of the two out.")
    if given.checklist:  # what cannot be read is known before anything is trained
        from tlkeras.replication.checklists import read_yours

        for name in given.checklist:
            read_yours(folder.root, name)
    if given.image_size is not None:
        check_image_size((given.image_size, given.image_size))
    if given.memory_budget is not None:
        parse_size("--memory-budget", given.memory_budget)
    options = None
    if not given.report_only:
        options = RunOptions(
            data=given.data,
            out=out,
            weights=given.weights,
            protocol=given.protocol,
            backbones=backbones,
            methods=methods,
            seeds=tuple(dict.fromkeys(given.seeds)),
            smoke=given.smoke,
            skip_unreadable=given.skip_unreadable,
            image_size=None if given.image_size is None else (given.image_size, given.image_size),
            precision=given.precision,
            earlier=getattr(given, "earlier", None),
            store=False if given.no_store else given.store or True,
            memory_budget=given.memory_budget,
            script=_script(experiment),
            verify=given.verify,
        )
        start_keras()
        with _spread(given):
            folder = run_experiment(experiment, options)
    from tlkeras.replication.checklists import fill_checklist
    from tlkeras.replication.comparison import compare_protocols
    from tlkeras.replication.results import report_experiment

    try:
        if given.review and options is not None:
            from tlkeras.replication.reviewing import review_run

            review_run(plan, options, folder)
        if given.explain or getattr(given, "activations", None) is not None:
            _look_into(plan, folder, given, backbones, methods, pairs)
    finally:  # the report shows explanations, and a failed one must not cost it
        run = report_experiment(plan, folder)
        compare_protocols(experiment, out)
        print(f"\n{(folder.root / 'table.md').read_text(encoding='utf-8')}")
        print(f"report.html, table.md, scores and figures are in {folder.root}")
    for name in given.checklist:
        filled = fill_checklist(run, name)
        print(f"{filled.file}: {filled.from_run} of {filled.items} items answered from the run, {filled.open} open")
    if given.publish is not None:
        print(f"published to {publish(folder.root, given.publish / given.protocol)}")
        compare_protocols(experiment, given.publish)


def _script(experiment: Experiment) -> str | None:
    """The file that was run, from the working directory where it lies below it; None where another module declares the
    experiment, as in a test, or nothing lies in a file, as in a notebook."""
    run = vars(sys.modules["__main__"])
    named = (each for value in run.values() for each in (value if isinstance(value, tuple | list) else (value,)))
    if "__file__" not in run or not any(each is experiment for each in named):
        return None
    script = Path(run["__file__"]).resolve()
    return script.relative_to(Path.cwd()).as_posix() if script.is_relative_to(Path.cwd()) else script.name


def _spread(given: argparse.Namespace) -> contextlib.AbstractContextManager:
    """Where the cells of a grid run."""
    if not hasattr(given, "jobs"):
        return contextlib.nullcontext()
    if given.jobs < 1:
        raise InputError(f"--jobs: received {given.jobs}; accepted is 1 or more.")
    import joblib

    if given.backend == "loky" and given.jobs == 1:
        return contextlib.nullcontext()
    return joblib.parallel_config(backend=given.backend, n_jobs=given.jobs)


def _compared(plan: Plan, given: argparse.Namespace, backbones: tuple[str, ...]) -> list[list[CellKey]]:
    """The pairs of cells whose activations are asked for."""
    compared = plan.experiment.compared
    if not set(compared) <= set(plan.protocol.methods):
        raise InputError(f"--activations: protocol {plan.name} has no networks of {' and '.join(compared)}.")
    return [
        [CellKey(method, backbone, seed) for method in compared]
        for backbone in backbones
        for seed in dict.fromkeys(given.seeds)
    ]


def _look_into(
    plan: Plan,
    folder: RunFolder,
    given: argparse.Namespace,
    backbones: tuple[str, ...],
    methods: tuple[str, ...],
    pairs: list[list[CellKey]],
) -> None:
    """What --explain and --activations ask for, of the chosen networks; classifiers of scikit-learn are not kept."""
    from tlkeras.models.saved import MODEL
    from tlkeras.replication.explanations import compare_activations, explain_cells

    source = {"samples": plan.load(given.data, check_counts=not given.smoke), "credit": plan.credit}
    if given.explain:
        kept = [key for key in folder.finished() if (folder.cell(key) / MODEL).is_file()]
        networks = [key for key in kept if key.backbone in backbones and key.seed in given.seeds]
        explain_cells(folder, [key for key in networks if key.method in methods], **source)
    for pair in pairs:
        smoke = " (smoke run: random)" if given.smoke else ""
        labelled = {key: label + smoke for key, label in zip(pair, plan.experiment.compared.values(), strict=True)}
        layer = None if given.activations == FIRST_CONVOLUTION else given.activations
        print(f"activations are in {compare_activations(folder, labelled, layer=layer, **source)}")


def _explore(plan: Plan, explore: Callable[[Samples, Path], object], given: argparse.Namespace, folder: Path) -> None:
    explore(plan.load(given.data, check_counts=not given.smoke), folder)
    print(f"figures and numbers are in {folder}")
    if given.publish is not None:
        print(f"published to {publish(folder, given.publish / folder.name)}")
