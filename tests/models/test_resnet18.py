import keras
import make_resnet18_reference as reference
import numpy as np
import pytest

from tlkeras.models.backbones import backbone_layers
from tlkeras.models.classifier import build_classifier, build_encoder
from tlkeras.models.cut import cut
from tlkeras.models.freezing import set_trainable
from tlkeras.models.head import Head
from tlkeras.models.torch_file import read_torch_file
from tlkeras.models.weights import find_weights, load_weights
from tlkeras.models.zoo import BACKBONES

ROW = BACKBONES["resnet18"]
SEEN_AFTER = {  # torchvision's modules, and the layers whose outputs are theirs
    "maxpool": "maxpool",
    "layer1": "layer1_1_out",
    "layer2": "layer2_1_out",
    "layer3": "layer3_1_out",
    "layer4": "layer4_1_out",
}


@pytest.fixture(scope="module")
def state():
    return reference.draw_state()


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    reference.write_safetensors(path, state)
    return path


def build_stages(file, size):
    """The bare network, without preprocessing, that answers with every stage."""
    images = keras.Input(reference.SIZES[size][1:])
    model = keras.Model(images, ROW.build(images), name="resnet18")
    load_weights(model, find_weights(ROW, file))
    return keras.Model(images, {stage: model.get_layer(name).output for stage, name in SEEN_AFTER.items()})


@pytest.fixture(scope="module", params=reference.SIZES)
def answers(request, file):
    return request.param, {
        stage: np.asarray(output)
        for stage, output in build_stages(file, request.param)(reference.draw_images(request.param)).items()
    }


def test_the_weights_drawn_are_those_the_reference_was_made_with(state):
    assert reference.digest(state) == np.load(reference.REFERENCE)["sha256"]


def test_every_stage_is_torchvisions(answers):
    size, ours = answers
    theirs = np.load(reference.REFERENCE)
    for stage, output in ours.items():
        np.testing.assert_allclose(reference.thinned(output), theirs[f"{size}_{stage}"], rtol=0, atol=1e-4)
    assert ours["layer4"].std() > 0.5
    np.testing.assert_allclose(ours["layer4"], theirs[f"{size}_features"], rtol=0, atol=1e-4)


def test_the_encoder_pools_as_torchvision_does(file):
    encoder = build_encoder("resnet18", image_size=(75, 61), weights=file, preprocessing="none", pooling="avg")
    pooled = np.asarray(encoder(reference.draw_images("odd")))
    np.testing.assert_allclose(pooled, np.load(reference.REFERENCE)["odd_pooled"], rtol=0, atol=1e-4)


def test_it_has_torchvisions_modules_and_11_176_512_parameters():
    model = build_encoder("resnet18", image_size=(32, 32))
    named = {layer.name for layer in backbone_layers(model) if layer.weights}
    assert named == {name.replace(".", "_") for name in reference.module_shapes()}
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 11_176_512
    for layer in backbone_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.epsilon, layer.momentum) == (1e-5, 0.9)


def test_random_kernels_have_the_spread_of_he_normal_by_outputs():
    model = build_encoder("resnet18", image_size=(32, 32), seed=4)
    for name, outputs in (("conv1", 7 * 7 * 64), ("layer2_0_downsample_0", 128), ("layer4_1_conv2", 3 * 3 * 512)):
        kernel = np.asarray(model.get_layer(name).kernel)
        spread = np.sqrt(2 / outputs)
        assert kernel.std() == pytest.approx(spread, rel=0.03)
        assert np.abs(kernel).max() > 3 * spread  # not a truncated normal, which ends at 2.3 deviations


@pytest.mark.slow
def test_a_classifier_follows_its_seed_and_comes_back_from_disk(tmp_path):
    def build(seed):
        return build_classifier("resnet18", n_classes=3, image_size=(32, 32), weights=None, seed=seed)

    model, again, other = build(5), build(5), build(6)
    for one, two in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert np.any(model.get_layer("layer3_1_conv1").kernel != other.get_layer("layer3_1_conv1").kernel)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(model(images), loaded(images))
    earlier = build_classifier("resnet18", n_classes=2, image_size=(32, 48), weights=tmp_path, seed=7)
    for one, two in zip(backbone_layers(model), backbone_layers(earlier), strict=True):
        for weight, taken in zip(one.get_weights(), two.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, taken)


@pytest.mark.parametrize(
    ("stage", "last"),
    [
        ("block1", None),
        ("block2", "maxpool"),  # the pooling opens the stage, and has nothing to train
        ("block3", "layer1_1_out"),
        ("block4", "layer2_1_out"),
        ("block5", "layer3_1_out"),
    ],
)
def test_it_is_cut_at_every_stage(file, stage, last):
    head = Head(hidden=(), dropout=0.0, pooling="avg")
    model = build_classifier("resnet18", n_classes=3, image_size=(32, 48), weights=file, head=head)
    set_trainable(model, ROW, unfreeze_from=stage)
    found = cut(model)
    assert (found and found.layer) == last
    if found:
        images = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3)).astype(np.float32)
        np.testing.assert_array_equal(found.tail(found.trunk(images)), model(images))


@pytest.fixture
def torch_model(state):
    reason = "compares with PyTorch, which tlkeras does not need; pip install torch torchvision to run it"
    pytest.importorskip("torch", reason=reason)
    pytest.importorskip("torchvision", reason=reason)
    return reference.build_torch_model(state)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_files_that_torch_writes_give_what_torch_answers(torch_model, state, tmp_path, form):
    path = tmp_path / "resnet18.pth"
    options = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}[form]
    path.write_bytes(reference.saved_by_torch(torch_model.state_dict(), **options))
    read = read_torch_file(path)
    assert read.keys() == state.keys()
    for name, array in read.items():
        np.testing.assert_array_equal(array, state[name])
    for size in reference.SIZES:
        images = reference.draw_images(size)
        ours, theirs = build_stages(path, size)(images), reference.torch_stages(torch_model, images)
        for stage in reference.STAGES:
            np.testing.assert_allclose(ours[stage], theirs[stage], rtol=0, atol=1e-4)


def test_a_batch_in_training_is_torchs_but_for_the_unbiased_variance(torch_model, file):
    images = reference.draw_images("even")
    model = build_stages(file, "even")
    ours = model(images, training=True)
    theirs = reference.torch_stages(torch_model.train(), images)
    for stage in reference.STAGES:
        np.testing.assert_allclose(ours[stage], theirs[stage], rtol=0, atol=1e-3)
    after, before = torch_model.state_dict(), reference.draw_state()
    n = 2 * 32 * 32  # what bn1 sees of each channel
    mean, variance = (before[f"bn1.running_{name}"] for name in ("mean", "var"))
    layer = model.get_layer("bn1")
    np.testing.assert_allclose(layer.moving_mean, after["bn1.running_mean"], rtol=0, atol=1e-5)
    batch = (np.asarray(layer.moving_variance) - 0.9 * variance) / 0.1
    np.testing.assert_allclose(after["bn1.running_var"], 0.9 * variance + 0.1 * batch * n / (n - 1), rtol=1e-5)
    assert np.any(np.asarray(layer.moving_mean) != mean)
