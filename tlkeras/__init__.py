"""Published transfer-learning experiments on images, replicated, and the two-phase Tuner behind them.

The public names, nothing else. Each is imported when it is first used, so `import tlkeras` loads no TensorFlow.
"""

import importlib

from tlkeras.machine import register_ray
from tlkeras.progress import start_speaking

__version__ = "0.1.0"

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
    "check_images": "data.images",
    "read_pixels": "data.images",
    "Holdout": "data.splits",
    "KFold": "data.splits",
    "Predefined": "data.splits",
    "Selection": "data.selection",
    "audit": "data.leakage",
    "Audit": "data.leakage_findings",
    "fingerprint": "data.fingerprints",
    "Augmentation": "data.augmentation",
    "BACKBONES": "models.zoo",
    "Backbone": "models.backbones",
    "Head": "models.head",
    "build_classifier": "models.classifier",
    "build_encoder": "models.classifier",
    "Phase": "training.tuner",
    "StepDecay": "training.tuner",
    "Tuner": "training.tuner",
    "PixelBaseline": "training.pixel_baseline",
    "BaselineClassifier": "training.pixel_baseline",
    "Extractor": "training.extractor",
    "FeatureClassifier": "training.feature_classifier",
    "Search": "training.search",
    "SearchedClassifier": "training.searched_classifier",
    "TunedClassifier": "training.tuned_classifier",
    "FeatureStore": "training.feature_store",
    "load": "training.saved_classifier",
    "score": "evaluation.metrics",
    "classification_report_table": "evaluation.metrics",
    "confusion_table": "evaluation.metrics",
    "confused_pairs": "evaluation.errors",
    "largest_losses": "evaluation.errors",
    "intervals": "evaluation.statistics",
    "paired": "evaluation.statistics",
    "paired_table": "evaluation.statistics",
    "baseline": "evaluation.statistics",
    "fit_temperature": "evaluation.calibration",
    "at_temperature": "evaluation.calibration",
    "Adjustment": "evaluation.calibration",
    "fit_adjustment": "evaluation.calibration",
    "at_adjustment": "evaluation.calibration",
    "draw_roc": "evaluation.curve_plots",
    "draw_precision_recall": "evaluation.curve_plots",
    "draw_reliability": "evaluation.curve_plots",
    "explain": "explaining.lime",
    "grad_cam": "explaining.heatmap",
    "activations": "explaining.activations",
    "draw_activations": "evaluation.explanation_plots",
    "draw_explanation": "evaluation.explanation_plots",
    "draw_heatmap": "evaluation.explanation_plots",
    "Paper": "replication.experiment",
    "Protocol": "replication.experiment",
    "EarlierRun": "replication.experiment",
    "Experiment": "replication.experiment",
}

__all__ = ["__version__", *_HOME]

register_ray()
start_speaking()


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'tlkeras' has no attribute {name!r}; it has {', '.join(__all__)}")
    home = importlib.import_module(f"tlkeras.{_HOME[name]}")
    globals()[name] = value = getattr(home, name)
    return value


def __dir__():
    return sorted(__all__)
