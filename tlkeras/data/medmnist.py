"""MedMNIST: small versions of medical image sets, each one file of arrays (Yang et al. 2023)."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlkeras.errors import InputError, MissingInputError
from tlkeras.machine import available_memory, format_size
from tlkeras.schema import Samples

PARTS = ("train", "val", "test")
SIZES = (28, 64, 128, 224)  # pixels of both sides; the file of 28 has no size in its name
COLLECTION = (
    "Yang J, Shi R, Wei D, et al. MedMNIST v2, a large-scale lightweight benchmark for 2D and 3D biomedical image "
    "classification. Scientific Data 10:41, 2023. doi:10.1038/s41597-022-01721-8"
)
SOURCE = "Zenodo, https://zenodo.org/records/10519652"


@dataclass(frozen=True)
class MedMNIST:
    """A set of the collection that has one label for each image, as the package medmnist 3.0.2 describes it.

    Attributes:
        name: of its files, e.g. "pathmnist".
        title: what it shows.
        class_names: in the order of the labels.
        counts: published images of training, validation and test part.
        cite: whose images they are.
        licence: of the set.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    counts: tuple[int, int, int]
    cite: str
    licence: str = "CC BY 4.0"


_ORGANS = (
    *("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right"),
    *("liver", "lung-left", "lung-right", "pancreas", "spleen"),
)
_KERMANY = "Kermany DS, Goldbaum M, Cai W, et al. Cell 172(5):1122-1131, 2018"
_LITS = "Bilic P, Christ P, et al. LiTS, arXiv:1901.04056, 2019; Xu X, Zhou F, et al. IEEE TMI 38(8):1885-1898, 2019"
SETS = (
    MedMNIST(
        "pathmnist",
        "PathMNIST, tiles of colorectal tissue; the test part is another centre's",
        (
            *("adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa"),
            *("cancer-associated stroma", "colorectal adenocarcinoma epithelium"),
        ),
        (89_996, 10_004, 7_180),
        "Kather JN, Krisam J, et al. PLOS Medicine 16(1):e1002730, 2019",
    ),
    MedMNIST(
        "dermamnist",
        "DermaMNIST, HAM10000's images, split by image: lesions lie on several sides",
        (
            *("actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma"),
            *("benign keratosis-like lesions", "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions"),
        ),
        (7_007, 1_003, 2_005),
        "Tschandl P, Rosendahl C, Kittler H. Scientific Data 5:180161, 2018; Codella N, Rotemberg V, et al. "
        "arXiv:1902.03368, 2019",
        "CC BY-NC 4.0",
    ),
    MedMNIST(
        "octmnist",
        "OCTMNIST, optical coherence tomography of the retina",
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        (97_477, 10_832, 1_000),
        _KERMANY,
    ),
    MedMNIST(
        "pneumoniamnist",
        "PneumoniaMNIST, chest X-rays of children",
        ("normal", "pneumonia"),
        (4_708, 524, 624),
        _KERMANY,
    ),
    MedMNIST(
        "breastmnist",
        "BreastMNIST, ultrasound of the breast",
        ("malignant", "normal, benign"),
        (546, 78, 156),
        "Al-Dhabyani W, Gomaa M, et al. Data in Brief 28:104863, 2020",
    ),
    MedMNIST(
        "bloodmnist",
        "BloodMNIST, single blood cells",
        (
            *("basophil", "eosinophil", "erythroblast"),
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
            *("lymphocyte", "monocyte", "neutrophil", "platelet"),
        ),
        (11_959, 1_712, 3_421),
        "Acevedo A, Merino A, et al. Data in Brief 30:105474, 2020",
    ),
    MedMNIST(
        "tissuemnist",
        "TissueMNIST, cells of the kidney cortex",
        (
            *("Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells"),
            *("Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments"),
            "Thick Ascending Limb",
        ),
        (165_466, 23_640, 47_280),
        "Ljosa V, Sokolnicki KL, Carpenter AE. Nature Methods 9(7):637, 2012",
    ),
    MedMNIST("organamnist", "OrganAMNIST, organs in axial slices of CT", _ORGANS, (34_561, 6_491, 17_778), _LITS),
    MedMNIST("organcmnist", "OrganCMNIST, organs in coronal slices of CT", _ORGANS, (12_975, 2_392, 8_216), _LITS),
    MedMNIST("organsmnist", "OrganSMNIST, organs in sagittal slices of CT", _ORGANS, (13_932, 2_452, 8_827), _LITS),
)


def named(name: str, size: int) -> str:
    """A set's name at a size, e.g. "pathmnist_64"; at 28 pixels its own."""
    return name if size == SIZES[0] else f"{name}_{size}"


def load_medmnist(folder: str, described: MedMNIST, size: int) -> Samples:
    """The images of a set with the parts that were published; whose image it is no file tells.

    Args:
        folder: that holds the file.
        described: the set.
        size: of both sides, one of `SIZES`.

    Raises:
        InputError: a file that is damaged or holds something else, or that is larger than the memory that is free.
        MissingInputError: there is no such file.
    """
    file, class_names = _file(folder, described, size), described.class_names
    arrays = _read(file)
    images, labels = [], []
    for part in PARTS:
        pixels, numbers = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        fits = pixels.dtype == np.uint8 and pixels.shape[1:] in ((size, size), (size, size, 3))
        if not (fits and numbers.shape == (len(pixels), 1) and np.issubdtype(numbers.dtype, np.integer)):
            raise InputError(
                f"{file}: {part}_images are {pixels.dtype} {pixels.shape}, {part}_labels {numbers.dtype} "
                f"{numbers.shape}; accepted are uint8 (n, {size}, {size}) or (n, {size}, {size}, 3), and integers "
                "(n, 1): one label for each image."
            )
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < len(class_names)):
            raise InputError(
                f"{file}: {part}_labels lie in {numbers.min()}..{numbers.max()}; {described.name} has the labels 0.."
                f"{len(class_names) - 1}."
            )
        images.append(pixels if pixels.ndim == 4 else np.repeat(pixels[..., np.newaxis], 3, axis=3))
        labels.append(numbers[:, 0].astype(np.int64))
    counts = [len(part) for part in labels]
    return Samples(
        np.concatenate(images),
        np.concatenate(labels),
        tuple(class_names),
        parts=np.repeat(np.array(PARTS, dtype=object), counts),
        sample_ids=np.array(
            [f"{part}/{row:06d}" for part, n in zip(PARTS, counts, strict=True) for row in range(n)], dtype=object
        ),
        root=folder,
    )


def count_medmnist(folder: str, described: MedMNIST, size: int) -> dict[str, int]:
    """{part: images} of a file, from the heads of its arrays; empty where there is none that can be read.

    Args:
        folder: that holds the file.
        described: the set.
        size: of both sides.
    """
    try:
        shapes = _shapes(_file(folder, described, size))
    except InputError:
        return {}
    return {part: shapes[f"{part}_labels"][0] for part in PARTS}


def _file(folder: str, described: MedMNIST, size: int) -> Path:
    return Path(folder) / f"{named(described.name, size)}.npz"


def _read(file: Path) -> Mapping[str, np.ndarray]:
    shapes = _shapes(file)
    needed = 2 * sum(3 * int(np.prod(shape[:3])) for name, shape in shapes.items() if name.endswith("_images"))
    if needed > available_memory():
        raise InputError(
            f"{file}: as RGB its images take {format_size(needed)} of memory while they are read, and "
            f"{format_size(available_memory())} are free. Take a smaller size, e.g. {SIZES[0]} pixels."
        )
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in shapes}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{file} cannot be read ({error}): damaged, or not all of it. Get it again.") from error


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """{array: its shape}, of the six that a file has; nothing else is read."""
    if not file.is_file():
        raise MissingInputError(f"there is no file {file}.")
    names = [f"{part}_{kind}" for part in PARTS for kind in ("images", "labels")]
    try:
        with zipfile.ZipFile(file) as archive:
            held = [Path(entry).stem for entry in archive.namelist()]
            if absent := [name for name in names if name not in held]:
                raise InputError(
                    f"{file} holds no {', '.join(absent)}; it holds {', '.join(held) or 'nothing'}, and is no file of "
                    "MedMNIST."
                )
            return {name: _shape(archive, f"{name}.npy") for name in names}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} cannot be read ({error}): damaged, or not all of it. Get it again.") from error


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with archive.open(name) as array:
        version = np.lib.format.read_magic(array)
        head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return head(array)[0]
