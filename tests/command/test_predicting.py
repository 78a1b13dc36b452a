import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import TINY

import tlkeras as tl
from tlkeras.command.predicting import NOTICE, format_predictions, format_skipped, image_files, predict_files
from tlkeras.explaining.lime import read_explanation
from tlkeras.training import tuned_classifier
from tlkeras.training.tuned_classifier import TunedClassifier

NAMES = ("cat", "dog", "fox")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A tiny network that has learnt nothing, and the folder it is saved in."""
    model = tl.build_classifier(TINY, n_classes=3, image_size=(32, 32), head=tl.Head(hidden=(), dropout=0.0), seed=8)
    classifier = TunedClassifier(model=model, class_names=NAMES, image_size=(32, 32))
    return classifier, classifier.save(tmp_path_factory.mktemp("classifier"))


@pytest.fixture
def loaded(classifier, monkeypatch):
    """The folder, without the time that loading takes."""
    monkeypatch.setattr(tuned_classifier, "load", lambda folder: classifier[0])
    return classifier[1]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of three images of noise, and a text file."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number, suffix in enumerate(("png", "png", "bmp")):
        pixels = rng.integers(0, 256, (40, 36, 3)) // (number + 1)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"image{number}.{suffix}")
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_text("not an image")
    return folder


def test_every_image_gets_the_probabilities_of_its_pixels(classifier, images):
    classifier, folder = classifier
    files = [str(images / "image2.bmp"), str(images / "image0.png")]
    table = predict_files(folder, files)
    probs = classifier.predict_pixels(np.stack([tl.read_pixels(file, (32, 32)) for file in files]))
    assert list(table.columns) == ["path", "predicted", "probability", "prob_cat", "prob_dog", "prob_fox"]
    assert list(table["path"]) == files
    np.testing.assert_allclose(table[["prob_cat", "prob_dog", "prob_fox"]], probs, atol=1e-6)
    assert list(table["predicted"]) == [NAMES[label] for label in probs.argmax(axis=1)]
    np.testing.assert_allclose(table["probability"], probs.max(axis=1), atol=1e-6)


def test_a_folder_stands_for_the_images_in_it(images):
    inside = [str(images / name) for name in ("image0.png", "image1.png", "image2.bmp")]
    assert image_files([images]) == inside
    assert image_files([inside[2], images]) == [inside[2], *inside]
    assert image_files(images / "image1.png") == inside[1:2]


def test_what_is_skipped_in_a_folder_is_named(images, tmp_path):
    assert format_skipped([images / "image0.png"]) == ""
    said = format_skipped([images, images / "image0.png"])
    assert said.splitlines()[1:] == [f"  {str(images / 'notes.txt')!r}"]
    assert said.startswith("skipped 1, named as no image (.jpg, ")
    for number in range(25):
        (tmp_path / f"{number:02d}.dcm").touch()
    lines = format_skipped([tmp_path]).splitlines()
    assert (len(lines), lines[0][:11], lines[-1]) == (22, "skipped 25,", "  and 5 more")


def test_folders_that_leave_it_open_which_images_are_meant_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(tl.InputError, match="holds folders: empty"):
        image_files([tmp_path])
    with pytest.raises(tl.InputError, match="holds no image"):
        image_files([tmp_path / "empty"])
    with pytest.raises(tl.InputError, match="received none"):
        image_files([])


def test_missing_files_are_all_named_before_anything_is_loaded(images, tmp_path, monkeypatch):
    monkeypatch.setattr(tuned_classifier, "load", None)
    paths = [str(tmp_path / f"gone{number}.png") for number in range(25)]
    with pytest.raises(FileNotFoundError, match="25 of 26 are not there") as error:
        predict_files(tmp_path, [*paths, images / "image0.png"])
    assert all(path in str(error.value) for path in paths)


def test_unreadable_files_are_all_named_with_the_reason(loaded, images, tmp_path):
    bad = [tmp_path / f"bad{number}.jpg" for number in range(25)]
    for file in bad:
        file.write_bytes(b"")
    with pytest.raises(tl.InputError, match="25 of 26 image files cannot be read") as error:
        predict_files(loaded, [images / "image0.png", *bad])
    assert all(f"{str(file)!r}: empty file" in str(error.value) for file in bad)


def test_a_folder_without_classifier_is_refused(images, tmp_path):
    with pytest.raises(tl.InputError, match=r"holds no model\.keras"):
        predict_files(tmp_path, [images])


def test_explanations_are_of_the_predicted_class_and_independent_of_other_images(loaded, images, tmp_path):
    counts = {"seed": 3, "n_samples": 30, "n_repeats": 2}
    both = predict_files(loaded, [images / "image0.png", images / "image1.png"], tmp_path / "both", **counts)
    alone = predict_files(loaded, [images / "image1.png"], tmp_path / "alone", **counts)
    assert list(both.columns[-3:]) == ["r2", "stability", "explanation"]
    assert list(both["explanation"]) == [str(tmp_path / f"both/explanation_000{n}_image{n}.png") for n in (0, 1)]
    with Image.open(both["explanation"][0]) as figure:
        assert figure.format == "PNG"
    kept = [
        read_explanation(tmp_path / name)
        for name in ("both/explanation_0001_image1.npz", "alone/explanation_0000_image1.npz")
    ]
    assert kept[0].class_name == both["predicted"][1] != NAMES[0]
    np.testing.assert_array_equal(kept[0].weights, kept[1].weights)
    assert kept[0].r2 == both["r2"][1] == alone["r2"][0]
    assert kept[0].stability == pytest.approx(alone["stability"][0], abs=1e-12)


def test_an_explanation_that_fails_does_not_cost_the_predictions(loaded, images, tmp_path, monkeypatch):
    monkeypatch.setattr("tlkeras.command.predicting._explain", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict_files(loaded, [images], tmp_path / "out")
    table = predict_files(loaded, [images])
    assert pd.read_csv(tmp_path / "out" / "predictions.csv")["predicted"].tolist() == table["predicted"].tolist()


def test_the_terminal_shows_a_line_for_each_image_and_that_it_is_no_diagnosis(loaded, images):
    table = predict_files(loaded, [images])
    lines = format_predictions(table).splitlines()
    assert len(lines) == 1 + 3 + 1
    assert lines[0].split() == list(table.columns)
    assert f"{table['prob_dog'][1]:.3f}" in lines[2]
    assert lines[-1] == NOTICE == "Not for diagnosis."


def test_of_many_classes_only_the_predicted_one_is_shown():
    table = pd.DataFrame({"path": ["a.png"], "predicted": ["3"], "probability": [0.5]})
    table = table.assign(**{f"prob_{number}": 0.1 for number in range(9)})
    assert format_predictions(table).splitlines()[0].split() == ["path", "predicted", "probability"]
