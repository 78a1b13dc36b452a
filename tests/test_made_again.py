"""One cheap cell of every experiment whose results are committed is trained again, and compared with what is committed.

liang2024_tumor has none: its cells are searched grids, which take minutes.

What is compared are the probabilities, image by image. On a machine of the same kind (processor, vector instructions,
threads, versions of what computes) they are the same numbers. Elsewhere other kernels round otherwise, and training
carries that on. Measured on an Intel Xeon against cells made on an AMD EPYC, and against its own with AVX2 alone, with
one thread and without oneDNN: trees and neighbours the same, frozen networks at most 9e-6 apart, no image in another
class. The tolerance is ten times that. What trains long at a high rate carries rounding much further, and is compared
on machines of the same kind alone.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scripts import EXPERIMENTS, load_script

from tlkeras.machine import environment
from tlkeras.replication.planning import RunOptions
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.running import run_experiment

pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.usefixtures("quick_figures")]

ASSETS = EXPERIMENTS.parent / "assets"
TOLERANCE = 1e-4  # of a probability
DECIDES = ("processor_model", "vector_instructions", "threads")


@pytest.mark.parametrize(
    ("script", "name", "protocol", "key", "image_size"),
    [
        ("burugupalli_chest_xray", None, "corrected", CellKey("frozen", "mobilenetv2_035", 0), None),
        ("patel2019_chest_xray", None, "paper", CellKey("random_forest", "pixels", 0), (64, 64)),
        (
            "habel2023_feature_transfer",
            "habel2023_prostate",
            "stand_in",
            CellKey("knn_imagenet", "mobilenetv2", 0),
            None,
        ),
    ],
)
def test_a_committed_cell_comes_out_again(script, name, protocol, key, image_size, tmp_path, real_data, real_weights):
    experiment = experiment_of(script, name)
    options = options_of(experiment, protocol, key, tmp_path, real_data, real_weights, image_size)
    made = run_experiment(experiment, options)
    committed = RunFolder(ASSETS / experiment.name / protocol)
    for part, before in committed.read_predictions(key).items():
        now = made.read_predictions(key)[part]
        assert list(now.samples.sample_ids) == list(before.samples.sample_ids)
        np.testing.assert_allclose(now.probs, before.probs, atol=TOLERANCE, rtol=0, err_msg=part)


def test_the_first_phase_of_a_committed_cell_of_subnets2022_comes_out_again(tmp_path, real_data, real_weights):
    # The second phase trains the whole network for ten epochs: too long for a test.
    key, committed = CellKey("hidden_128", "mobilenetv2", 0), RunFolder(ASSETS / "subnets2022_ham10000" / "corrected")
    if not same_kind(committed, key):
        pytest.skip(f"{key} was made by an earlier version or on a machine of another kind")
    experiment = experiment_of("subnets2022_ham10000", None)
    declared = experiment.protocols["corrected"]
    recipe = declared.cells[key.method, key.backbone]
    only_the_head = dataclasses.replace(recipe, phases=recipe.phases[:1])
    protocol = dataclasses.replace(declared, cells={(key.method, key.backbone): only_the_head})
    experiment = dataclasses.replace(experiment, protocols={"corrected": protocol})
    made = run_experiment(experiment, options_of(experiment, "corrected", key, tmp_path, real_data, real_weights, None))
    before, now = (pd.read_csv(folder.cell(key) / "history.csv") for folder in (committed, made))
    before = before[before["phase"] == 1]
    assert len(now) == len(before) == recipe.phases[0].epochs
    for column in ("loss", "accuracy", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(now[column], before[column], atol=TOLERANCE, rtol=0, err_msg=column)


def experiment_of(script, name):
    module = load_script(script)
    every = getattr(module, "EXPERIMENTS", None) or (module.EXPERIMENT,)
    return next(each for each in every if name in (None, each.name))


def options_of(experiment, protocol, key, out, data, weights, image_size):
    return RunOptions(
        data=type(out)(data),
        out=out / experiment.name,
        protocol=protocol,
        backbones=(key.backbone,) if key.backbone in experiment.protocols[protocol].backbones else (),
        methods=(key.method,),
        seeds=(key.seed,),
        weights=weights,
        image_size=image_size,
        store=out / "store",
    )


def same_kind(committed, key):
    """Whether this machine computes as the one that made a committed cell."""
    before, now = committed_environment(committed, key), environment()
    return all(before.get(name) and before[name] == now[name] for name in DECIDES) and all(
        before["packages"][name] == now["packages"][name] for name in ("tensorflow", "keras", "numpy", "scikit-learn")
    )


def committed_environment(committed, key):
    from tlkeras.files import read_json

    return read_json(committed.cell(key) / "cell.json")["facts"]["environment"]
