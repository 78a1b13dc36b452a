import gc
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import tiny_tuner

import tlkeras as tl
from tlkeras.training.optimizers import build_optimizer


@pytest.mark.parametrize(
    ("phase", "keras_own"),
    [
        (tl.Phase(1, 1e-2), keras.optimizers.Adam(1e-2)),
        (tl.Phase(1, 1e-2, optimizer="sgd", momentum=0.5), keras.optimizers.SGD(1e-2, momentum=0.5)),
    ],
)
def test_a_step_is_kerass_own(phase, keras_own):
    start, gradient = np.array([1.0, -2.0, 0.5], np.float32), np.array([0.3, -0.1, 4.0], np.float32)
    ends = []
    for optimizer in (build_optimizer(phase), keras_own):
        variable = keras.Variable(start)
        for _ in range(3):
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        ends.append(variable.numpy())
    np.testing.assert_array_equal(*ends)
    ours, theirs = (each.get_config() | {"name": ""} for each in (build_optimizer(phase), keras_own))
    assert ours == theirs


def graphs():
    gc.collect()
    return sum(type(each).__name__.endswith("FuncGraph") for each in gc.get_objects())


@pytest.mark.slow
def test_no_graph_of_a_step_outlives_its_classifier(toy_pixels, tmp_path):
    def fit():
        classifier = tiny_tuner(phases=tl.Phase(1, 1e-2, unfreeze=("block3",))).fit(
            toy_pixels, toy_pixels, seed=0, store=str(tmp_path)
        )
        classifier.predict(tl.from_arrays(*toy_pixels))

    fit()
    before = graphs()
    fit()
    assert graphs() <= before


@pytest.mark.slow
def test_a_search_in_one_process_does_not_grow():
    code = """
import gc, sys
import numpy as np, tlkeras as tl
from tiny import tiny_tuner
from tlkeras.machine import anonymous_memory_mb
images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8), np.arange(24) % 2
for _ in range(4):
    recipe = tiny_tuner(phases=tl.Phase(1, 1e-3, unfreeze="all", keep="last"))
    tl.Search(recipe, {"batch_size": (4, 6, 8)}, tl.KFold(2)).fit(images, seed=0, store=False)
    gc.collect()
    print(anonymous_memory_mb())
"""
    paths = os.pathsep.join([str(Path(tl.__file__).parents[1]), str(Path(__file__).parents[1])])
    said = subprocess.check_output([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, text=True)
    first, *_, last = map(int, said.split())
    assert last - first < 15  # of 21 trainings; 6 MB stayed of each
