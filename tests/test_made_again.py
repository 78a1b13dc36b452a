"""One cheap cell of every experiment whose results are committed is trained again, and compared with what is committed.

liang2024_tumor and subnets2022_ham10000 have none: a searched grid, or ten epochs of a whole network, take minutes.

What is compared are the probabilities, image by image. On a machine of the same kind (processor, vector instructions,
threads, versions of what computes) they are the same numbers. Elsewhere other kernels round otherwise, and training
carries that on. Measured on an Intel Xeon against cells made on an AMD EPYC, and against its own with AVX2 alone, with
one thread and without oneDNN: trees and neighbours the same, frozen networks at most 9e-6 apart, no image in another
class. The tolerance is ten times that. What trains long at a high rate carries rounding much further.
"""

import numpy as np
import pytest
from scripts import EXPERIMENTS, load_script

from tlkeras.replication.planning import RunOptions
from tlkeras.replication.run_folder import CellKey, RunFolder
from tlkeras.replication.running import run_experiment

pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.usefixtures("quick_figures")]

ASSETS = EXPERIMENTS.parent / "assets"
TOLERANCE = 1e-4  # of a probability


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
