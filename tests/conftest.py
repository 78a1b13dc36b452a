"""Fixtures that several test files share: toy images on disk, and what `real` tests need."""

import os
from pathlib import Path

# Read when TensorFlow is first imported: its start-up notices are not ours to test.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlkeras.files import atomic_write
from tlkeras.schema import Samples


@pytest.fixture(scope="session", autouse=True)
def _own_store(tmp_path_factory):
    """Tests neither fill the user's feature store nor find features in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLKERAS_STORE", str(tmp_path_factory.mktemp("store")))
        yield


_PAGES = ("answer_sections", "cell_pages", "common_page", "part_sections", "review_sections", "search_report")
DRAWING = ("evaluation.plots", "command.evaluating", *(f"replication.{name}" for name in _PAGES))


@pytest.fixture(scope="module")
def quick_figures():
    """Reports and runs write figures of one pixel: drawing takes most of a toy run's time, and tests/evaluation draws.

    For modules that ask what is there, not what it looks like: `pytestmark = pytest.mark.usefixtures("quick_figures")`.
    """

    def save(figure, path):
        with atomic_write(path) as temporary:
            Image.new("RGB", (1, 1)).save(temporary)
        figure.clear()
        return Path(path)

    with pytest.MonkeyPatch.context() as patch:
        for module in DRAWING:
            patch.setattr(f"tlkeras.{module}.save_figure", save)
        yield


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets; tests that need it are skipped where it is not named."""
    return _folder("TLKERAS_DATA")


@pytest.fixture(scope="session")
def real_weights():
    """The folder of real ImageNet weights; tests that need it are skipped where it is not named."""
    return _folder("TLKERAS_WEIGHTS")


def _folder(variable):
    if not os.environ.get(variable):
        pytest.skip(f"{variable} is not set")
    return os.environ[variable]


def write_chest_xray(root, patients=(8, 3, 4)):
    """A toy set in the layout of chest_xray: NORMAL tiles dark, PNEUMONIA tiles bright, two images of each patient."""
    rng = np.random.default_rng(0)
    number = 0
    for part, count in zip(("train", "val", "test"), patients, strict=True):
        for class_name, level in (("NORMAL", 60), ("PNEUMONIA", 180)):
            folder = root / "chest_xray" / part / class_name
            folder.mkdir(parents=True)
            for _ in range(count):
                number += 1
                for image in (1, 2):
                    pixels = np.clip(rng.normal(level, 25, (40, 44)), 0, 255).astype(np.uint8)
                    name = f"IM-{number:04d}-{image:04d}" if class_name == "NORMAL" else f"person{number}_virus_{image}"
                    Image.fromarray(pixels).save(folder / f"{name}.jpeg")
    return root


@pytest.fixture(scope="session")
def toy_chest_xray(tmp_path_factory):
    """The root folder of a toy chest_xray set."""
    return write_chest_xray(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def toy_pixels():
    """40 images of 32x32, uint8, two classes told apart by brightness, and their labels; nobody may write to them."""
    rng = np.random.default_rng(1)
    labels = np.arange(40) % 2
    images = np.clip(rng.normal(70 + 110 * labels[:, None, None, None], 30, (40, 32, 32, 3)), 0, 255).astype(np.uint8)
    images.flags.writeable = labels.flags.writeable = False
    return images, labels


@pytest.fixture(scope="session")
def toy_lesions():
    """Six images of five lesions, every image of one colour; one age is not recorded."""
    metadata = pd.DataFrame(
        {
            "image_id": [f"ISIC_{i}" for i in range(6)],
            "dx_type": ["histo", "histo", "follow_up", "follow_up", "consensus", "confocal"],
            "age": [40, 40, 45, None, 50, 80],
            "sex": ["male", "male", "female", "female", "unknown", "male"],
            "localization": ["back", "back", "face", "back", "unknown", "face"],
        }
    )
    return Samples(
        images=tuple(f"/data/ISIC_{i}.jpg" for i in range(6)),
        labels=np.array([2, 2, 2, 1, 0, 0]),
        class_names=("bkl", "mel", "nv"),
        groups=np.array(["L1", "L1", "L2", "L3", "L4", "L5"]),
        metadata=metadata,
        root="/data",
    )


class Heard:
    """What long work has said since it was last asked."""

    def __init__(self, caplog):
        self._caplog = caplog

    def lines(self):
        said = [record.getMessage() for record in self._caplog.records if record.name == "tlkeras"]
        self._caplog.clear()
        return "\n".join(said).splitlines()

    def text(self):
        return "".join(f"{line}\n" for line in self.lines())


@pytest.fixture
def heard(caplog):
    """The lines of the logger `tlkeras`."""
    return Heard(caplog)


@pytest.fixture
def computed(monkeypatch):
    """How many images each call of a feature store's networks is given from now on."""
    from tlkeras.training.feature_store import FeatureStore

    counts, run = [], FeatureStore._run

    def counting(self, networks, trunks, batch):
        counts.append(len(batch))
        return run(self, networks, trunks, batch)

    monkeypatch.setattr(FeatureStore, "_run", counting)
    return counts
