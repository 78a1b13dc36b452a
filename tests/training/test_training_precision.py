import dataclasses

import numpy as np
import pytest
from tiny import TINY, tiny_tuner

import tlkeras as tl
from tlkeras.schema import Precision
from tlkeras.training.precision import compared_with_float32, faster

PHASES = (tl.Phase(2, 1e-2), tl.Phase(1, 1e-3, unfreeze_from="conv3"))
HEAD = tl.Head(hidden=(8,), dropout=0)  # in half precision Dropout draws other numbers


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 2
    images = np.clip(rng.normal(110 + 40 * labels[:, None, None, None], 40, (60, 32, 32, 3)), 0, 255).astype(np.uint8)
    return (images[:36], labels[:36]), (images[36:], labels[36:])


@pytest.fixture(scope="module")
def fitted(parts):
    """A classifier fitted in a precision; each is trained once."""
    found = {}

    def fit(precision):
        if precision not in found:
            tuner = tiny_tuner(phases=PHASES, precision=precision, head=HEAD)
            found[precision] = tuner.fit(*parts, seed=0)
        return found[precision]

    return fit


def losses(classifier):
    return classifier.history[["loss", "val_loss"]].to_numpy(float)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.slow
def test_half_precision_learns_what_float32_learns(fitted, precision):
    classifier, exact = fitted(precision), fitted("float32")
    assert classifier.model.get_layer("conv3").compute_dtype == precision
    assert {weight.dtype for weight in classifier.model.weights if "seed" not in weight.name} == {"float32"}
    assert np.isfinite(losses(classifier)).all()
    np.testing.assert_allclose(losses(classifier), losses(exact), atol=0.01)  # measured: 6e-4 and 1e-4
    assert (losses(classifier) != losses(exact)).all()
    assert losses(classifier)[-1, 0] < losses(classifier)[0, 0]
    # A network that computes in half precision keeps what it gives in float32 all the same.
    cut, kept = classifier.kept_features
    assert (cut.layer, cut.tail.compute_dtype, kept.dtype) == ("add2", precision, "float32")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.slow
def test_a_fit_in_half_precision_says_what_it_costs_on_the_validation_samples(fitted, precision):
    classifier = fitted(precision)
    found, history = classifier.precision, classifier.history
    assert (found.name, found.milliseconds) == (precision, None)
    assert found.val_accuracy == pytest.approx(history.loc[history["kept"], "val_accuracy"].item())
    assert 0 <= found.val_accuracy_float32 <= 1


def test_the_cost_is_the_accuracy_of_the_same_weights_in_both_precisions(heard):
    def build(precision):
        return tl.build_classifier(TINY, n_classes=2, image_size=(32, 32), head=HEAD, precision=precision, seed=1)

    pixels = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    ours, exact = build("bfloat16"), build("float32")
    probs = exact.predict(pixels.astype(np.float32), verbose=0)
    # The bias that makes half of the images the one class, so that float32 is uncertain of those in the middle.
    exact.get_layer("head_probs").bias.assign([-np.median(np.log(probs[:, 0] / probs[:, 1])), 0])
    ours.set_weights(exact.get_weights())
    ours_says, labels = (
        model.predict(pixels.astype(np.float32), verbose=0).argmax(axis=1) for model in (ours, exact)
    )  # what float32 says is taken for the truth
    accuracy = (ours_says == labels).mean()
    assert 0.8 < accuracy < 1
    classifier = tl.TunedClassifier(
        model=ours, class_names=("0", "1"), image_size=(32, 32), precision=Precision("bfloat16", {"float32": 1.0})
    )
    compared = compared_with_float32(classifier, build, tl.from_arrays(pixels, labels))
    assert compared == Precision("bfloat16", {"float32": 1.0}, pytest.approx(accuracy), 1.0)
    assert f"{accuracy:.4f} in bfloat16, 1.0000 with the same weights in float32" in heard.text()


def test_the_rate_of_the_phase_reaches_the_optimizer_behind_the_loss_scale(parts, fitted):
    """In float16 Keras wraps the optimizer."""
    phase = tl.Phase(2, 1e-2, schedule=tl.StepDecay(every=1, factor=1e-9), keep="last")
    two, one = (
        tiny_tuner(phases=(each,), precision="float16", head=tl.Head(hidden=(), dropout=0))
        .fit(*parts, seed=0)
        .model.get_weights()
        for each in (phase, tl.Phase(1, 1e-2, keep="last"))
    )
    for a, b in zip(two, one, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(
    ("bfloat16", "taken"), [(0.5, "bfloat16"), (0.89, "bfloat16"), (0.91, "float32"), (2, "float32")]
)
def test_near_a_tie_float32_stays(bfloat16, taken):
    assert faster({"float32": 1.0, "bfloat16": bfloat16}) == taken


def test_auto_takes_the_faster_of_two_and_says_how_fast_each_was(parts, heard):
    classifier = tiny_tuner(phases=(tl.Phase(1, 1e-2),), precision="auto").fit(*parts, seed=0)
    milliseconds = classifier.precision.milliseconds
    assert milliseconds.keys() == {"float32", "bfloat16"}
    assert min(milliseconds.values()) > 0
    name = faster(milliseconds)
    assert classifier.precision.name == name
    assert classifier.model.get_layer("conv3").compute_dtype == name
    said = heard.text()
    assert f"precision: {name} (forward pass per image: float32 {milliseconds['float32']:.2f} ms, bfloat16" in said
    assert (classifier.precision.val_accuracy is None) == (name == "float32")


@pytest.mark.slow
def test_without_validation_samples_and_in_float32_nothing_is_compared(parts, fitted):
    alone = tiny_tuner(phases=(tl.Phase(1, 1e-2),), precision="bfloat16").fit(parts[0], seed=0)
    for classifier in (alone, fitted("float32")):
        assert (classifier.precision.val_accuracy, classifier.precision.val_accuracy_float32) == (None, None)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"precision": "half"}, "Tuner.precision: received 'half'; accepted: 'float32', 'bfloat16', 'float16', 'auto'"),
        ({"feature_dtype": "bfloat16"}, "Tuner.feature_dtype: received 'bfloat16'; accepted: 'float32', 'float16'"),
    ],
)
def test_other_precisions_are_refused(field, said):
    with pytest.raises(tl.InputError, match=said):
        tiny_tuner(**field)


def test_xla_stays_off_on_a_cpu(fitted):
    import keras

    if keras.distribution.list_devices("gpu"):
        pytest.skip("there is a GPU")
    classifier = fitted("float32")
    cut, _ = classifier.kept_features
    assert [model.jit_compile for model in (classifier.model, cut.trunk, cut.tail)] == [False] * 3


@pytest.mark.slow
def test_a_loaded_classifier_knows_its_precision(toy_pixels, tmp_path):
    images, labels = toy_pixels
    tuner = tiny_tuner(phases=(tl.Phase(1, 1e-2),), precision="bfloat16")
    classifier = tuner.fit((images[:28], labels[:28]), (images[28:], labels[28:]), seed=0, store=False)
    loaded = tl.load(classifier.save(tmp_path))
    assert loaded.precision == classifier.precision
    assert loaded.precision.name == "bfloat16"


def test_a_replaced_model_is_the_one_that_predicts(toy_pixels, tmp_path):
    train = toy_pixels
    fit = tiny_tuner(phases=(tl.Phase(1, 1e-2),)).fit
    first, other = (fit(train, seed=seed, store=str(tmp_path)) for seed in (0, 1))
    samples = tl.from_arrays(*toy_pixels)
    swapped = dataclasses.replace(first, model=other.model)
    np.testing.assert_allclose(swapped.predict(samples).probs, other.predict(samples).probs, atol=1e-6)
