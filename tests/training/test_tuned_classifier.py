import json

import numpy as np
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl


@pytest.fixture(scope="module")
def classifier():
    model = tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), seed=5)
    return tl.TunedClassifier(model=model, class_names=["dark", "bright"], image_size=[32, 32])


def test_predictions_keep_every_sample_in_order(classifier, toy_pixels):
    images, labels = np.tile(toy_pixels[0], (2, 1, 1, 1)), np.tile(toy_pixels[1], 2)  # 80: not a multiple of the batch
    samples = tl.from_arrays(images, labels, class_names=["dark", "bright"])
    predictions = classifier.predict(samples)
    assert predictions.probs.shape == (80, 2)
    np.testing.assert_allclose(predictions.probs.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(predictions.probs[:40], predictions.probs[40:], atol=1e-6)
    np.testing.assert_allclose(classifier.predict_pixels(images), predictions.probs, atol=1e-6)


def test_files_and_arrays_of_other_sizes_are_resized_as_read_pixels_does(classifier, tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    for name in ("dark", "bright"):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "a.png")
    samples = tl.from_folders(tmp_path)
    samples = tl.Samples(samples.images, None, ("dark", "bright"))
    probs = classifier.predict(samples).probs
    read = tl.read_pixels(samples.images[0], (32, 32))
    np.testing.assert_array_equal(classifier.predict_pixels(np.stack([read, read])), probs)


def test_a_file_that_cannot_be_read_is_named(classifier, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(tl.InputError, match=r"broken\.png"):
        classifier.predict(tl.Samples((str(tmp_path / "broken.png"),), None, ("dark", "bright")))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((2, 16, 16, 3), np.uint8), r"accepted is \(n, 32, 32, 3\)"),
        (np.zeros((32, 32, 3), np.uint8), r"received shape \(32, 32, 3\)"),
        (np.full((1, 32, 32, 3), 0.5), "Multiply by 255"),
    ],
)
def test_pixels_that_do_not_fit_are_refused(classifier, images, said):
    with pytest.raises(tl.InputError, match=said):
        classifier.predict_pixels(images)


def test_samples_of_other_classes_are_refused(classifier, toy_pixels):
    with pytest.raises(tl.InputError, match="are not those trained on"):
        classifier.predict(tl.from_arrays(*toy_pixels))


def test_samples_without_labels_take_the_classifiers_class_names(classifier, toy_pixels):
    assert classifier.predict(tl.from_arrays(toy_pixels[0], None)).samples.class_names == ("dark", "bright")
    turned = tl.Samples(toy_pixels[0], None, ("bright", "dark"))  # would swap every name
    with pytest.raises(tl.InputError, match="are not those trained on"):
        classifier.predict(turned)


def test_save_and_load_give_the_same_bits(toy_pixels, tmp_path):
    fitted = tiny_tuner(phases=(tl.Phase(1, 1e-2),)).fit(toy_pixels, seed=0, progress=False)
    fitted.save(tmp_path)
    loaded = tl.load(tmp_path)
    assert loaded.class_names == ("0", "1")
    assert loaded.image_size == (32, 32)
    assert loaded.epochs == fitted.epochs
    np.testing.assert_array_equal(loaded.predict_pixels(toy_pixels[0]), fitted.predict_pixels(toy_pixels[0]))


def test_a_model_that_is_not_the_saved_one_is_refused(classifier, tmp_path):
    classifier.save(tmp_path)
    content = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "model.keras").write_bytes(content[:-1])
    with pytest.raises(tl.InputError, match="sha256 differs"):
        tl.load(tmp_path)
    with pytest.raises(tl.InputError, match=r"holds no model\.keras"):
        tl.load(tmp_path / "elsewhere")


def test_a_model_that_answers_otherwise_is_said(classifier, tmp_path):
    classifier.save(tmp_path)
    card = json.loads((tmp_path / "classifier.json").read_text())
    card["fingerprint"] = card["fingerprint"][::-1]
    (tmp_path / "classifier.json").write_text(json.dumps(card))
    with pytest.warns(UserWarning, match="differ by"):
        tl.load(tmp_path)
