import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scripts import load_script

import tlkeras as tl
from tlkeras.evaluation import embedding
from tlkeras.replication.run_folder import CellKey
from tlkeras.replication.script import main

pytestmark = pytest.mark.usefixtures("quick_figures")

# Figure 8, precision, recall and F1, and the support of the classes.
KNN = {"Gland": (0.88, 0.97, 0.92), "Nongland": (0.98, 0.93, 0.95), "Tumor": (0.99, 0.94, 0.97)}
SVM = {"Gland": (0.97, 0.97, 0.97), "Nongland": (0.97, 0.98, 0.98), "Tumor": (1.00, 0.98, 0.99)}
SUPPORT = {"Gland": 597, "Nongland": 604, "Tumor": 599}
# Classes of each protocol's data set.
CLASSES = {
    "habel2023_colorectal": ("MUS", "NORM", "STR"),
    "habel2023_prostate": ("Gland", "Nongland", "Tumor"),
    "habel2023_animals": ("cat", "dog", "wild"),
}


@pytest.fixture(scope="module")
def script():
    return load_script("habel2023_feature_transfer")


@pytest.fixture(scope="module")
def experiments(script):
    """{data set: experiment}, the part of their names behind the document's."""
    return {each.name.removeprefix("habel2023_"): each for each in script.EXPERIMENTS}


def test_the_training_comes_first_and_all_three_are_of_one_script(script, experiments):
    assert list(experiments) == ["colorectal", "prostate", "animals"]
    assert {each.script for each in script.EXPERIMENTS} == {"habel2023_feature_transfer"}
    assert len({tuple(each.protocols) for each in script.EXPERIMENTS}) == 1


def test_what_the_document_prints_of_the_training(experiments):
    cell = ("trained", "resnet18")
    assert experiments["colorectal"].reported == {
        (cell, "test", "accuracy"): 98.33,
        (cell, "test", "log_loss"): 0.0532,
        (cell, "test", "macro_precision"): 0.9834,
        (cell, "test", "macro_recall"): 0.9833,
        (cell, "test", "macro_f1"): 0.9833,
    }
    assert experiments["animals"].reported == {}


def test_what_the_document_prints_of_the_prostate(experiments):
    reported = {}
    for method, accuracy, of_classes in (("knn_imagenet", 0.95, KNN), ("svm_imagenet", 0.98, SVM)):
        cell = (method, "resnet18")
        reported[cell, "test", "accuracy"] = pytest.approx(100 * accuracy)
        for i, metric in enumerate(("precision", "recall", "f1")):
            reported[cell, "test", f"macro_{metric}"] = pytest.approx(accuracy)
            reported |= {(cell, "test", f"{metric}_{name}"): row[i] for name, row in of_classes.items()}
    knn, svm = ("knn_imagenet", "resnet18"), ("svm_imagenet", "resnet18")
    reported[knn, "test", "confused_Tumor_as_Gland"] = 37
    reported[knn, "test", "confused_Nongland_as_Gland"] = 44
    reported[knn, "test", "confused_others_as_Gland"] = 37 + 44
    reported[svm, "test", "confused_others_as_Gland"] = 20
    assert experiments["prostate"].reported == reported


@pytest.mark.parametrize(("of_classes", "others_as_gland"), [(KNN, 81), (SVM, 20)], ids=["knn", "svm"])
def test_the_confusions_fit_the_documents_precision(of_classes, others_as_gland):
    # To what two printed digits allow: right ones are recall x support, precision is their share of all called Gland.
    precision, recall, _ = of_classes["Gland"]
    low, high = ((recall + half) * SUPPORT["Gland"] for half in (-0.005, 0.005))
    assert low / (low + others_as_gland) - 0.005 <= precision <= high / (high + others_as_gland) + 0.005
    # Figure 8's accuracy is the mean recall, weighted by the support.
    accuracy = sum(of_classes[name][1] * n for name, n in SUPPORT.items()) / sum(SUPPORT.values())
    assert accuracy == pytest.approx(0.95 if of_classes is KNN else 0.98, abs=0.01)


def test_the_training_is_that_of_the_document(experiments):
    for name, keep in (("paper", "last"), ("corrected", "best"), ("stand_in", "best")):
        ((cell, tuner),) = experiments["colorectal"].protocols[name].cells.items()
        (phase,) = tuner.phases
        assert cell == ("trained", "resnet18")
        assert (tuner.weights, tuner.batch_size, tuner.image_size) == (None, 32, (224, 224))
        assert (tuner.head.hidden, tuner.head.pooling) == ((), "avg")
        assert (phase.epochs, phase.learning_rate, phase.optimizer) == (10, 1e-2, "sgd")
        assert (phase.unfreeze, phase.batch_norm, phase.keep) == ("all", "train", keep)
        assert isinstance(phase.schedule, tl.StepDecay)
    # ImageNet's mean and deviation are what ResNet-18 itself is given.
    assert tuner.preprocessing == "backbone"
    assert tl.BACKBONES["resnet18"].preprocessing == "imagenet"


@pytest.mark.parametrize("name", ["prostate", "animals"])
@pytest.mark.parametrize("protocol", ["paper", "corrected", "stand_in"])
def test_both_classifiers_are_on_the_features_of_both_networks(experiments, name, protocol):
    cells = experiments[name].protocols[protocol].cells
    imagenet = "mobilenetv2" if protocol == "stand_in" else "resnet18"
    assert set(cells) == {
        (f"{classifier}_{source}", backbone)
        for classifier in ("knn", "svm")
        for source, backbone in (("custom", "resnet18"), ("imagenet", imagenet))
    }
    for (method, _), recipe in cells.items():
        classifier, source = method.split("_")
        assert recipe.classifier == classifier
        assert recipe.weights == (
            tl.EarlierRun("habel2023_colorectal", "trained") if source == "custom" else "imagenet"
        )
        assert (recipe.layer, recipe.pooling, recipe.arguments) == (None, "avg", {})  # k = 3 and RBF are the defaults
        assert recipe.scaling == ("none" if protocol == "paper" else "standard")
    assert experiments[name].protocols[protocol].carries_on


def test_the_protocols_split_as_they_say(script):
    for each in script.EXPERIMENTS:
        val = 0.15 if each.name == "habel2023_colorectal" else 0.0
        assert each.protocols["paper"].split == tl.Holdout(val=0.0, test=0.3, respect_groups=False)
        for name in ("corrected", "stand_in"):
            assert each.protocols[name].split == tl.Holdout(val=val, test=0.3)
        assert each.protocols["paper"].select.per_class == 2000
        for name, protocol in each.protocols.items():
            assert (protocol.dataset is not None) == (name == "stand_in")


def test_the_stand_ins_share_no_class(experiments):
    """The network must not have seen the classes that its features are tried on."""
    trained, animals = (experiments[name].protocols["stand_in"] for name in ("colorectal", "animals"))
    assert trained.dataset == animals.dataset == "ham10000"
    assert not set(trained.select.class_names) & set(animals.select.class_names)
    assert experiments["prostate"].protocols["stand_in"].dataset == "chest_xray"


def test_too_few_images_are_not_placed_by_t_sne_and_other_methods_never(script, tmp_path, capsys, heard):
    samples = tl.from_arrays(np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 0, 1])
    splits = tl.Splits(samples, None, {"test2": samples})
    script.embed_features(CellKey("knn_custom", "resnet18", 0), None, splits, tmp_path)
    assert "t-SNE needs 5 images; test2 has 4, and is left out" in heard.text()
    script.embed_features(CellKey("svm_custom", "resnet18", 0), None, splits, tmp_path)
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def toy_sets(tmp_path_factory):
    """The root folder of toy copies of the three sets, each class of its own grey level."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    homes = {"habel2023_colorectal": "nct_crc_he_100k", "habel2023_prostate": "prostate_tiles"}
    for name, classes in CLASSES.items():
        for part in ("train", "val") if name == "habel2023_animals" else ("",):
            for number, class_name in enumerate(classes):
                folder = root / homes.get(name, "afhq") / part / class_name
                folder.mkdir(parents=True)
                for image in range(8):
                    pixels = np.clip(rng.normal(50 + 70 * number, 20, (40, 40, 3)), 0, 255).astype(np.uint8)
                    Image.fromarray(pixels).save(folder / f"{class_name}-{image}.png")
    return root


def test_the_samples_are_those_of_the_three_classes(script, toy_sets):
    for each in script.EXPERIMENTS:
        for protocol in ("paper", "corrected"):
            samples = each.under(protocol).load(toy_sets, check_counts=False)
            assert samples.class_names == CLASSES[each.name]
            assert samples.parts is None  # AFHQ's own parts are pooled
            assert len(samples) == (48 if each.name == "habel2023_animals" else 24)


def test_the_documents_figure_1_is_drawn_and_not_published(script, toy_sets, tmp_path):
    given = ["--data", str(toy_sets), "--smoke", "--eda", "--only", "habel2023_prostate"]
    main(script.EXPERIMENTS, [*given, "--out", str(tmp_path / "runs"), "--publish", str(tmp_path / "assets")])
    (figure,) = (tmp_path / "runs").rglob("*.png")
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert not list((tmp_path / "assets").rglob("*.png"))  # it shows images of the set


@pytest.mark.slow
def test_a_smoke_run_makes_all_three_folders(script, toy_sets, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "embed", lambda features, *, seed: features[:, :2])  # t-SNE has tests of its own
    given = ["--smoke", "--data", str(toy_sets), "--out", str(tmp_path / "runs")]
    main(script.EXPERIMENTS, [*given, "--protocol", "paper", "--publish", str(tmp_path / "assets")])
    for each in script.EXPERIMENTS:
        folder = tmp_path / "assets" / each.name / "paper"
        page = (folder / "table.md").read_text()
        table = pd.read_csv(folder / "accuracy.csv").set_index("backbone")
        ours = [f"{method} ours" for method in each.protocols["paper"].methods]
        assert table.loc["resnet18", ours].notna().all()
        assert "## The data" in page
        assert ("## Every figure of the document" in page) == bool(each.reported)
        assert (folder / "embedding_test.png").is_file()
    assert "Tumor called Gland, images" in (tmp_path / "assets/habel2023_prostate/paper/table.md").read_text()


@pytest.mark.real
def test_the_stand_ins_of_ham10000_share_no_lesion(experiments, real_data):
    trained, animals = (experiments[name].under("stand_in").load(real_data) for name in ("colorectal", "animals"))
    assert trained.class_counts() == {"bkl": 1000, "mel": 1000, "nv": 1000}
    assert animals.class_counts() == {"akiec": 327, "bcc": 514, "df": 115, "vasc": 142}
    assert not set(trained.groups) & set(animals.groups)


@pytest.mark.real
def test_the_stand_in_of_the_prostate_keeps_patients_on_one_side(experiments, real_data):
    protocol = experiments["prostate"].protocols["stand_in"]
    samples = experiments["prostate"].under("stand_in").load(real_data)
    assert samples.class_counts() == {"NORMAL": 1500, "PNEUMONIA": 1500}
    parts = protocol.split.split(samples, seed=0).parts()
    assert set(parts) == {"train", "test"}
    assert not set(parts["train"].groups) & set(parts["test"].groups)
