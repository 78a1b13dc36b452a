"""Published transfer-learning experiments on images, replicated, and the two-phase Tuner behind them.

`from_folders` makes `Samples` of a folder of images, `Holdout` splits them, a `Tuner` is fitted to one part and
predicts another, `score` says how good its `Predictions` are, and `explain` what it looks at. An `Experiment` is a
document with its recipes and figures. The rooms, each above those it imports from: `tlkeras.data`, `tlkeras.models` and
`tlkeras.evaluation` side by side, `tlkeras.training`, `tlkeras.explaining`, `tlkeras.reviewing`, `tlkeras.replication`,
`tlkeras.command`.

The public names, nothing else. Each is imported when it is first used, so `import tlkeras` loads no TensorFlow.
Editors and type checkers read `__init__.pyi`, which lists the same names.
"""

import importlib

from tlkeras.machine import register_ray
from tlkeras.progress import start_speaking

__version__ = "0.2.0"

_HOME = {
    "InputError": "errors",
    "MissingInputError": "errors",
    "UnwritableError": "errors",
    "DivergedError": "errors",
    "Samples": "schema",
    "Splits": "schema",
    "Predictions": "schema",
    "Explanation": "schema",
    "Heatmap": "schema",
    "Activations": "schema",
    "DATASETS": "data.datasets",
    "from_folders": "data.sources",
    "from_csv": "data.sources",
    "from_dataframe": "data.sources",
    "from_arrays": "data.arrays",
    "load_dataset": "data.datasets",
    "check_images": "data.readable",
    "read_pixels": "data.images",
    "Holdout": "data.splits",
    "KFold": "data.splits",
    "Predefined": "data.splits",
    "Selection": "data.selection",
    "audit": "data.leakage",
    "Audit": "data.leakage_findings",
    "fingerprint": "data.fingerprints",
    "Augmentation": "data.augmentation",
    "RandAugment": "data.augmentation",
    "BACKBONES": "models.zoo",
    "Backbone": "models.backbones",
    "Head": "models.head",
    "build_classifier": "models.classifier",
    "build_encoder": "models.classifier",
    "Phase": "training.phase",
    "StepDecay": "training.schedules",
    "LinearProbe": "training.linear_probe",
    "Loss": "training.loss",
    "EMA": "training.averaging",
    "SWA": "training.averaging",
    "Tuner": "training.tuner",
    "recipes": "recipes",
    "PixelBaseline": "training.pixel_baseline",
    "Extractor": "training.extractor",
    "FeatureClassifier": "training.feature_classifier",
    "Search": "training.search",
    "cross_validate": "training.cross_validation",
    "CrossValidated": "training.cross_validation",
    "SearchedClassifier": "training.searched_classifier",
    "TunedClassifier": "training.tuned_classifier",
    "Ensemble": "training.ensemble",
    "with_views": "training.ensemble",
    "FeatureStore": "training.feature_store",
    "load": "training.tuned_classifier",
    "score": "evaluation.metrics",
    "classification_report_table": "evaluation.metrics",
    "confusion_table": "evaluation.metrics",
    "confused_pairs": "evaluation.metrics",
    "largest_losses": "evaluation.metrics",
    "intervals": "evaluation.intervals",
    "paired": "evaluation.paired",
    "paired_table": "evaluation.paired",
    "baseline": "evaluation.metrics",
    "fit_temperature": "evaluation.calibration",
    "at_temperature": "evaluation.calibration",
    "Adjustment": "evaluation.calibration",
    "fit_adjustment": "evaluation.calibration",
    "at_adjustment": "evaluation.calibration",
    "fit_threshold": "evaluation.decisions",
    "decision_curve": "evaluation.decisions",
    "risk_coverage": "evaluation.decisions",
    "pool_groups": "evaluation.group_pooling",
    "prediction_sets": "evaluation.conformal",
    "PredictionSets": "evaluation.conformal",
    "coverage_table": "evaluation.conformal",
    "subgroups": "evaluation.subgroups",
    "subgroup_gaps": "evaluation.subgroups",
    "review_labels": "evaluation.label_review",
    "learning_curve": "reviewing.learning_curve",
    "LearningCurve": "reviewing.learning_curve",
    "look_alikes": "reviewing.look_alikes",
    "LookAlikes": "reviewing.look_alikes",
    "fit_familiarity": "reviewing.familiarity",
    "Familiarity": "reviewing.familiarity",
    "shift": "reviewing.shift",
    "Shift": "reviewing.shift",
    "draw_roc": "evaluation.curve_plots",
    "draw_precision_recall": "evaluation.curve_plots",
    "draw_reliability": "evaluation.curve_plots",
    "draw_decision_curves": "evaluation.answer_plots",
    "draw_risk_coverage": "evaluation.answer_plots",
    "draw_subgroups": "evaluation.answer_plots",
    "draw_learning_curve": "evaluation.answer_plots",
    "explain": "explaining.lime",
    "grad_cam": "explaining.heatmap",
    "activations": "explaining.activations",
    "draw_activations": "evaluation.image_plots",
    "draw_explanation": "evaluation.image_plots",
    "draw_heatmap": "evaluation.image_plots",
    "Paper": "replication.experiment",
    "Protocol": "replication.experiment",
    "EarlierRun": "training.recipe",
    "Experiment": "replication.experiment",
}

__all__ = ["__version__", *_HOME]  # pyright: ignore[reportUnsupportedDunderAll] (computed; it reads __init__.pyi)

register_ray()
start_speaking()


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'tlkeras' has no attribute {name!r}; it has {', '.join(__all__)}")
    home = importlib.import_module(f"tlkeras.{_HOME[name]}")
    globals()[name] = value = home if _HOME[name] == name else getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
