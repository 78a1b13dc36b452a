"""The `tlkeras` command: begin an experiment, look at runs and compare them, predict, evaluate, export, examine."""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from tlkeras import __version__
from tlkeras.errors import InputError
from tlkeras.machine import format_size
from tlkeras.terminal import run_guarded

MODEL = "folder of a saved model: what classifier.save wrote, or a run's .../seed0"


def main(arguments: list[str] | None = None) -> None:
    """Runs `tlkeras ...`; exits with 0, 1 (a problem that doctor or verify found), 2 (unusable input), 130 (Ctrl-C)."""

    def work():
        given = build_parser().parse_args(arguments)  # in here, for --help prints as well
        given.work(given)

    run_guarded(work)


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(prog="tlkeras", description=str(__doc__).splitlines()[0])
    parser.add_argument("--version", action="version", version=f"tlkeras {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, work: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.set_defaults(work=work)
        return command

    new = add("new", _new, "write a script that runs an experiment on your own images, ready to run and to change")
    new.add_argument("name", metavar="NAME", help="of the experiment and its script, NAME.py")
    new.add_argument(
        "--folders",
        type=Path,
        required=True,
        metavar="DIR",
        help="one folder per class, or parts that hold such folders",
    )

    runs = add("runs", _runs, "list the finished cells of the run folders below a folder, with their test scores")
    runs.add_argument("folder", type=Path, nargs="?", default=Path("runs"), metavar="DIR", help="default: %(default)s")

    verify = add("verify", _verify, "compare the files of finished cells with the hashes that were kept of them")
    verify.add_argument("folder", type=Path, metavar="RUN", help="run folder, published or not, or folder of a cell")

    compare = add("compare", _compare, "compare two runs on the same test images: paired differences and tests")
    for name in ("first", "second"):
        compare.add_argument(
            name, type=Path, metavar="RUN", help="folder of a cell (.../seed0), of a method, or of a protocol's run"
        )
    compare.add_argument("--metrics", nargs="+", metavar="NAME", help="figures of tl.score (default: five of them)")

    predict = add("predict", _predict, "predict image files with a saved model")
    predict.add_argument("model", type=Path, metavar="MODEL", help=MODEL)
    predict.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image file, or folder of images")
    predict.add_argument("--explain", action="store_true", help="explain each prediction by LIME, as a picture")
    predict.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="for predictions.csv and pictures (--explain alone: explained)",
    )
    predict.add_argument("--seed", type=int, default=0, metavar="N", help="of the explanations (default: 0)")

    evaluate = add("evaluate", _evaluate, "score a saved model on other labelled images, such as a second centre's")
    evaluate.add_argument("model", type=Path, metavar="MODEL", help=MODEL)
    evaluate.add_argument("data", type=Path, metavar="DATA", help="folder of class folders, or CSV with path and label")
    evaluate.add_argument("--group", metavar="COLUMN", help="of the CSV: whose image it is")
    evaluate.add_argument("--positive", metavar="CLASS", help="of two classes the one looked for (default: the second)")
    evaluate.add_argument(
        "--recalibrate",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="fit probabilities anew to this share of the images, whole groups, and judge by the others",
    )
    evaluate.add_argument("--seed", type=int, default=0, metavar="N", help="draws that share (default: 0)")
    evaluate.add_argument("--out", type=Path, default=Path("evaluated"), metavar="DIR", help="default: %(default)s")

    audit = add("audit", _audit, "say what a split of labelled images lets leak, and which images look alike")
    audit.add_argument("data", type=Path, metavar="DATA", help="folder of class folders or of parts, or CSV")
    audit.add_argument("--group", metavar="COLUMN", help="of the CSV: whose image it is")
    audit.add_argument(
        "--show",
        type=Path,
        nargs="?",
        const=Path("look_alikes"),
        metavar="DIR",
        help="look-alikes by a network's features, as a table and a sheet of pictures (default folder: look_alikes)",
    )
    audit.add_argument("--weights", metavar="DIR", help="folder of weights (default: TLKERAS_WEIGHTS)")

    shift = add("shift", _shift, "compare two sets of labelled images: how well they are told apart, and by what")
    shift.add_argument("first", type=Path, metavar="A", help="folder of class folders, or CSV with path and label")
    shift.add_argument("second", type=Path, metavar="B", help="likewise")
    shift.add_argument("--group", metavar="COLUMN", help="of CSV files: whose image it is")
    shift.add_argument("--weights", metavar="DIR", help="folder of weights (default: TLKERAS_WEIGHTS)")
    shift.add_argument("--out", type=Path, default=Path("shift"), metavar="DIR", help="default: %(default)s")

    doctor = add("doctor", _doctor, "say what this machine has: versions, devices, weights, data, disk")
    doctor.add_argument("--data", type=Path, metavar="DIR", help="folder of data sets (default: TLKERAS_DATA, data)")
    doctor.add_argument("--weights", type=Path, metavar="DIR", help="folder of weights (default: TLKERAS_WEIGHTS)")

    weights = add("weights", _weights, "list ImageNet's files that are here, and where the missing ones are had")
    weights.add_argument("--weights", type=Path, metavar="DIR", help="folder of weights (default: TLKERAS_WEIGHTS)")

    export = add("export", _export, "write a saved model in another format, and check that it answers the same")
    export.add_argument("model", type=Path, metavar="MODEL", help=MODEL)
    export.add_argument("--format", required=True, choices=["savedmodel", "onnx", "tflite"])
    export.add_argument("--out", type=Path, metavar="PATH", help="file or folder to write (default: MODEL/export/...)")
    export.add_argument(
        "--images",
        type=Path,
        nargs="+",
        metavar="IMAGE",
        help="images to compare the answers on (default: photographs that come with scikit-image)",
    )

    store = add("store", _store, "show or clear the feature store: features of frozen layers, kept for later runs")
    store.add_argument(
        "--store", type=Path, metavar="DIR", help="the folder (default: TLKERAS_STORE, then ~/.cache/tlkeras)"
    )
    store.add_argument("--clear", action="store_true", help="remove all that no process is writing")
    return parser


def _new(given: argparse.Namespace) -> None:
    from tlkeras.command.new_script import write_script

    file, samples = write_script(given.name, given.folders)
    print(f"{len(samples):,} images found in {len(samples.class_names)} classes")
    print(f"written to {file}; now: python {file} --data {shlex.quote(str(given.folders))} --smoke")


def _runs(given: argparse.Namespace) -> None:
    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.replication.run_list import runs_table

    print(to_markdown(runs_table(given.folder)), end="")


def _verify(given: argparse.Namespace) -> None:
    from tlkeras.replication.verifying import verify_run

    found = verify_run(given.folder)
    print(found.describe())
    if not found.is_whole:
        sys.exit(1)


def _compare(given: argparse.Namespace) -> None:
    from tlkeras.evaluation.blocks import to_markdown
    from tlkeras.evaluation.comparison_tables import format_paired_table
    from tlkeras.replication.run_list import COMPARED, compare_runs

    table = compare_runs(given.first, given.second, given.metrics or COMPARED)
    print(f"first: {given.first}\nsecond: {given.second}\n\n{to_markdown(format_paired_table(table))}")
    print("difference: second minus first, with its 95 % interval; p: permutation of whole patients or lesions,")
    print("then corrected by Holm's method over the rows")


def _predict(given: argparse.Namespace) -> None:
    from tlkeras.command.predicting import format_predictions, format_skipped, predict_files
    from tlkeras.files import write_csv

    out = given.out or (Path("explained") if given.explain else None)
    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out: {out} is a file; name a folder.")
    if out is not None and (out / "cell.json").exists():
        raise InputError(f"--out: {out} is a run's cell, whose predictions.csv it would replace; name another folder.")
    table = predict_files(given.model, given.images, out if given.explain else None, given.seed)
    written = None if out is None else write_csv(table, out / "predictions.csv")
    print(format_predictions(table))
    if written is not None:
        print(f"written to {written}")
    if skipped := format_skipped(given.images):
        print(skipped, file=sys.stderr)


def _evaluate(given: argparse.Namespace) -> None:
    from tlkeras.command.evaluating import evaluate_model
    from tlkeras.evaluation.blocks import to_markdown

    if given.out.exists() and not given.out.is_dir():
        raise InputError(f"--out: {given.out} is a file; name a folder.")
    if (given.out / "cell.json").exists():
        raise InputError(f"--out: {given.out} is a run's cell, whose files it would replace; name another folder.")
    found = evaluate_model(
        given.model,
        given.data,
        given.out,
        group=given.group,
        positive_class=given.positive,
        recalibrate=given.recalibrate,
        seed=given.seed,
    )
    print(to_markdown(found.figures()))
    print(f"report.html, table.md, scores.csv and predictions.csv are in {given.out}")


def _audit(given: argparse.Namespace) -> None:
    from tlkeras.command.looking import audit_data

    found = audit_data(given.data, group=given.group, show=given.show, weights_folder=given.weights)
    print(found.describe())
    if given.show is not None:
        print(f"look_alikes.csv and look_alikes.png are in {given.show}")


def _shift(given: argparse.Namespace) -> None:
    from tlkeras.command.looking import compare_data

    print(compare_data(given.first, given.second, given.out, group=given.group, weights_folder=given.weights))


def _doctor(given: argparse.Namespace) -> None:
    from tlkeras.command.doctor import examine

    found = examine(data=given.data, weights=given.weights)
    print(found.describe())
    if found.problems:
        sys.exit(1)


def _weights(given: argparse.Namespace) -> None:
    from tlkeras.command.doctor import examine_weights
    from tlkeras.terminal import start_keras

    start_keras()
    found = examine_weights(given.weights)
    print(found.describe())
    if found.problems:
        sys.exit(1)


def _export(given: argparse.Namespace) -> None:
    from tlkeras.command.export import export_classifier
    from tlkeras.command.predicting import format_skipped

    print(export_classifier(given.model, given.out, given.format, given.images).describe())
    if skipped := format_skipped(given.images or ()):
        print(skipped, file=sys.stderr)


def _store(given: argparse.Namespace) -> None:
    from tlkeras.training.feature_store import FeatureStore

    store = FeatureStore(given.store)
    entries = store.entries()
    if given.clear:
        removed, busy = store.clear()
        freed = format_size(sum(entry["bytes"] for entry in entries) - sum(e["bytes"] for e in store.entries()))
        print(f"{store.folder}: {removed} tables removed, {freed} free again")
        if busy:
            print(f"{busy} are being written by other processes and stay")
        return
    print(f"{store.folder}: {len(entries)} tables, {format_size(sum(e['bytes'] for e in entries))} of at most ", end="")
    print(format_size(store.limit))
    for entry in entries:
        if "damaged" in entry:
            print(f"  {format_size(entry['bytes']):>8}  not used any more: {entry['damaged']}")
            continue
        used = datetime.datetime.fromtimestamp(entry["used"]).strftime("%Y-%m-%d %H:%M")
        size, shape = ("x".join(map(str, entry[name])) for name in ("image_size", "row_shape"))
        print(
            f"  {format_size(entry['bytes']):>8}  last used {used}  {entry['model']} up to {entry['layer']}: "
            f"{entry['rows']:,} images at {size}, {shape} {entry['dtype']} each"
        )


if __name__ == "__main__":
    main()
