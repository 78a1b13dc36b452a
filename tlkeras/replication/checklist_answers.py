"""What a finished run has to say to the questions of reporting guidelines, topic by topic, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlkeras.evaluation.blocks import Text
from tlkeras.evaluation.metrics import confused_pairs
from tlkeras.evaluation.score_tables import metrics_table
from tlkeras.evaluation.tables import DECISIONS, PROBABILITIES
from tlkeras.models.zoo import BACKBONES
from tlkeras.replication.answer_sections import best_of
from tlkeras.replication.experiment import PIXELS
from tlkeras.replication.part_sections import counted, few_groups
from tlkeras.replication.provenance import (
    made_by_commands,
    pixel_sizes,
    seeded,
    split_words,
    weights_notes,
    with_shares,
)
from tlkeras.replication.reviewed import Reviewed
from tlkeras.replication.settings import recipe_of, settings_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tlkeras.replication.finished_run import FinishedRun

MOST_CELLS = 6  # whose figures are told one by one
N_PAIRS = 3  # confusions told
_OF_IMAGES = (
    *("image size", "resizing", "preprocessing", "image size of the phase"),
    *("image size, trees", "pixels, trees"),
)
_OF_AUGMENTATION = ("augmentation", "augmentation of validation images")
_OF_START = ("weights",)
_OF_CLASSES = ("unequal classes", "loss")
_OF_HEAD = (
    *("hidden layers", "hidden activation", "pooling"),
    *("dropout before the hidden layers", "dropout after each", "BatchNorm after each"),
)
_OF_CHOICE = ("weights kept", "early stop")
_TOLD = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss", "ece")


def known_answers(run: FinishedRun) -> dict[str, tuple[str, ...]]:
    """{topic: sentences}; a topic that the run knows nothing of is missing."""
    told = {name: tuple(answer(run)) for name, answer in _TOPICS.items()}
    return {name: sentences for name, sentences in told.items() if sentences}


def _method(run: FinishedRun) -> Iterable[str]:
    weights: dict[str, set[bool]] = {}
    for key, cell in run.cells.items():
        if key.backbone != PIXELS:
            weights.setdefault(key.backbone, set()).add(cell["facts"].get("weights") is not None)
    started = {"from networks trained before": True, "from random weights": False}
    for words, known in started.items():
        if names := [name for name, found in weights.items() if known in found]:
            yield f"Deep learning, {words}: {', '.join(names)}."
    if any(key.backbone == PIXELS for key in run.cells):
        yield "Classifiers on pixels, without a network."


def _question(run: FinishedRun) -> Iterable[str]:
    if run.plan.experiment.question:
        yield run.plan.experiment.question


def _source(run: FinishedRun) -> Iterable[str]:
    yield run.plan.credit
    if run.plan.replaced is not None:
        yield f"They stand in for {run.plan.replaced.title}."


def _classes(run: FinishedRun) -> Iterable[str]:
    yield f"For every image one of {len(run.class_names)} classes: {', '.join(run.class_names)}."
    if run.plan.positive_class is not None:
        yield f"{run.plan.positive_class} is what is looked for."


def _inputs(run: FinishedRun) -> Iterable[str]:
    yield "The image alone; no column of the metadata goes into the network."


def _selection(run: FinishedRun) -> Iterable[str]:
    n = sum(sum(counts.values()) for counts in run.images.values())
    yield f"{n:,} images in all parts together."
    if run.plan.protocol.select is not None:
        yield "What is taken of the data set is said in the script, as the protocol's `select`."


def _unreadable(run: FinishedRun) -> Iterable[str]:
    skipped = run.settings["skip_unreadable"]
    yield f"An unreadable image {'was left out and listed' if skipped else 'would have stopped the run'}."


def _preprocessing(run: FinishedRun) -> Iterable[str]:
    yield from _settings(run, _OF_IMAGES)
    _, parts = pixel_sizes(run)
    yield from (f"{part}: images on the disk are {sizes.words()} (width x height)." for part, sizes in parts.items())


def _partition(run: FinishedRun) -> Iterable[str]:
    yield split_words(run)[0]
    seeds = sorted({key.seed for key in run.cells})
    yield f"Seeds {', '.join(map(str, seeds))}; {seeded(run.settings['split'])}."


def _disjoint(run: FinishedRun) -> Iterable[str]:
    if run.audits:
        yield from split_words(run)[1:]


def _counts(run: FinishedRun) -> Iterable[str]:
    for part, counts in run.images.items():
        shares = ", ".join(f"{name} {words}" for name, words in with_shares(counts).items())
        yield f"{part}: {sum(counts.values()):,} images: {shares}."
    yield from _test_counts(run)


def _test_counts(run: FinishedRun) -> Iterable[str]:
    yield from (f"{part}: {counted(run, part)}." for part in run.parts)


def _characteristics(run: FinishedRun) -> Iterable[str]:
    if names := ", ".join(run.subgroup_columns):
        files = ", ".join(run.file("subgroups.csv", part).name for part in run.parts)
        yield f"Subgroups by {names}; images and groups of each: {files}."


def _model(run: FinishedRun) -> Iterable[str]:
    if not run.trained:
        return
    parameters: dict[str, dict[str, None]] = {}
    for key in run.trained:
        parameters.setdefault(key.backbone, {})[f"{run.cells[key]['facts']['parameters']:,}"] = None
    for name, counts in parameters.items():
        source = f" ({BACKBONES[name].paper})" if name in BACKBONES else ""
        yield f"{name}{source}: {' or '.join(counts)} parameters with the new head."
    yield from _settings(run, _OF_HEAD)


def _output(run: FinishedRun) -> Iterable[str]:
    yield f"A probability for each of {', '.join(run.class_names)}; the most probable class is the answer."
    if any("val" in parts for parts in run.predicted.values()):
        yield "Beside it, fitted to validation images: another line between classes, a temperature, sets of classes."


def _software(run: FinishedRun) -> Iterable[str]:
    for made in {str(made): made for made in (cell["facts"]["environment"] for cell in run.cells.values())}.values():
        packages = ", ".join(f"{name} {version}" for name, version in made["packages"].items())
        commit = f", commit {made['commit']}" if made.get("commit") else ""
        machine = "".join(f"; {made[name]}" for name in ("platform", "processor") if made.get(name))
        yield f"tlkeras {made['tlkeras']}{commit}; Python {made['python']}; {packages}{machine}."


def _start(run: FinishedRun) -> Iterable[str]:
    yield from _settings(run, _OF_START)
    yield from weights_notes(run.cells)


def _training(run: FinishedRun) -> Iterable[str]:
    told_elsewhere = {*_OF_IMAGES, *_OF_HEAD, *_OF_CHOICE, *_OF_START, *_OF_CLASSES, *_OF_AUGMENTATION}
    yield from _settings(run, [name for name in _all_settings(run) if name not in told_elsewhere])


def _choice(run: FinishedRun) -> Iterable[str]:
    yield from _settings(run, _OF_CHOICE)
    yield from (f"{key}: one of {len(table)} settings, by cross-validation." for key, table in run.rankings.items())


def _ensembling(run: FinishedRun) -> Iterable[str]:
    if run.trained:
        yield "None: over several seeds it is figures that are averaged, not answers."


def _augmentation(run: FinishedRun) -> Iterable[str]:
    yield from _settings(run, _OF_AUGMENTATION)


def _imbalance(run: FinishedRun) -> Iterable[str]:
    yield from _settings(run, _OF_CLASSES)


def _metrics(run: FinishedRun) -> Iterable[str]:
    for part in run.parts:
        tables = [metrics_table(run.scores, part=part, metrics=metrics) for metrics in (DECISIONS, PROBABILITIES)]
        titles = [title.removesuffix(", %") for table in tables for title in table.columns[1:]]
        yield f"{part}: {', '.join(titles)}."


def _uncertainty(run: FinishedRun) -> Iterable[str]:
    yield (
        "95 % intervals over groups (patients or lesions; an image without one counts by itself), Student's t on the "
        "logit from leaving out each group; over several seeds they hold both groups and seeds."
    )
    if any(run.file("paired.csv", part).exists() for part in run.parts):
        yield (
            "Differences between methods on the same images: exchanging the answers of whole groups (9,999 "
            "permutations), corrected by Holm's method."
        )


def _robustness(run: FinishedRun) -> Iterable[str]:
    seeds = {key.seed for key in run.cells}
    if len(seeds) > 1:
        yield f"{len(seeds)} seeds: {seeded(run.settings['split'])}."
    if told := _reviewed(run):
        yield f"By the features of a frozen network: {', '.join(told)}: What the images tell."


def _shift(run: FinishedRun) -> Iterable[str]:
    if _reviewed(run).get("familiarity", {}).get("measured"):
        yield "How well test images are told from validation's by their features: What the images tell."


def _reviewed(run: FinishedRun) -> dict[str, dict]:
    """What --review found, of the questions that it could answer."""
    reviewed = Reviewed.of(run.folder)
    found = {} if reviewed is None else reviewed.about["found"]
    return {question: answer for question, answer in found.items() if "refused" not in answer}


def _fairness(run: FinishedRun) -> Iterable[str]:
    if names := ", ".join(run.subgroup_columns):
        yield f"Figures of every subgroup by {names} with intervals, the largest gap tested: Whom it fails."


def _explained(run: FinishedRun) -> Iterable[str]:
    if any(any(run.folder.cell(key).glob("explained_*.csv")) for key in run.cells):
        yield "LIME and Grad-CAM of one test image of each class: report.html, Every cell."


def _internal(run: FinishedRun) -> Iterable[str]:
    yield from (f"{part} comes from the same data set or table as the training images." for part in run.parts)


def _performance(run: FinishedRun) -> Iterable[str]:
    for part in run.parts:
        table = metrics_table(run.scores, part=part, metrics=_TOLD).drop(columns="seeds")
        shown = table.head(MOST_CELLS)
        for (_, *cell), row in zip(shown.index, shown.to_dict("records"), strict=True):
            yield f"{part}, {', '.join(cell)}: {'; '.join(_figure(str(title), row[title]) for title in row)}."
        if len(table) > MOST_CELLS:
            yield f"{part}: {len(table) - MOST_CELLS} more in table.md."


def _figure(title: str, value: str) -> str:
    name = title.removesuffix(", %")
    return f"{name} {value}" + " %" * (name != title)


def _curves(run: FinishedRun) -> Iterable[str]:
    yield "ROC, precision-recall and reliability curves: report.html, Every cell."
    if any(run.file("decisions.png", part).exists() for part in run.parts):
        yield "Net benefit (of two classes), errors over the share of images answered: Decisions."


def _recalibrated(run: FinishedRun) -> Iterable[str]:
    if any("val" in parts for parts in run.predicted.values()):
        yield (
            "Figures are those of the network as it is; beside them stand those with a temperature and with class "
            "shares fitted to validation images."
        )


def _few_groups(run: FinishedRun) -> Iterable[str]:
    for part in run.parts:
        yield from (block.text.strip("*") for block in few_groups(run, part) if isinstance(block, Text))


def _failures(run: FinishedRun) -> Iterable[str]:
    for part in run.parts:
        key = best_of(run, part)
        for row in confused_pairs(run.predicted[key][part], n=N_PAIRS).itertuples():
            yield (
                f"{part}, {key}: {row.images:,} of {row.actual} ({row.share:.0%} of them) taken for {row.predicted}."
            )
    yield "Every other cell, and the images with the largest loss: report.html, Every cell."


def _deviations(run: FinishedRun) -> Iterable[str]:
    yield from run.plan.protocol.deviations
    yield from (f"Assumed: {words}" for words in (*run.plan.experiment.assumed, *run.plan.protocol.assumed))


def _code(run: FinishedRun) -> Iterable[str]:
    yield from (f"`{command}`" for command in made_by_commands(run.plan, run.cells))


def _availability(run: FinishedRun) -> Iterable[str]:
    yield f"Data: {run.plan.credit}"
    yield "Predictions for every validation and test image, with the hashes of data, weights and files: this folder."


def _all_settings(run: FinishedRun) -> dict[str, str]:
    return dict(settings_table(map(recipe_of, run.cells.values()), {})["ours"])


def _settings(run: FinishedRun, names: Iterable[str]) -> Iterable[str]:
    """Those of the settings that are notable, as one sentence."""
    settings = _all_settings(run)
    told = [f"{name}: {settings[name]}" for name in names if name in settings]
    if told:
        yield f"{'; '.join(told)}."


_TOPICS: dict[str, Callable[[FinishedRun], Iterable[str]]] = {
    "method": _method,
    "classes": _classes,
    "inputs": _inputs,
    "question": _question,
    "source": _source,
    "selection": _selection,
    "unreadable": _unreadable,
    "preprocessing": _preprocessing,
    "partition": _partition,
    "disjoint": _disjoint,
    "counts": _counts,
    "test_counts": _test_counts,
    "characteristics": _characteristics,
    "model": _model,
    "output": _output,
    "software": _software,
    "start": _start,
    "training": _training,
    "choice": _choice,
    "ensembling": _ensembling,
    "augmentation": _augmentation,
    "imbalance": _imbalance,
    "metrics": _metrics,
    "uncertainty": _uncertainty,
    "robustness": _robustness,
    "fairness": _fairness,
    "shift": _shift,
    "explained": _explained,
    "internal": _internal,
    "performance": _performance,
    "curves": _curves,
    "recalibrated": _recalibrated,
    "few_groups": _few_groups,
    "failures": _failures,
    "deviations": _deviations,
    "code": _code,
    "availability": _availability,
}
TOPICS = tuple(_TOPICS)
