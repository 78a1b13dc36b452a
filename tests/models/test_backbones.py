import inspect
from dataclasses import replace

import keras
import numpy as np
import pytest
from tiny import TINY

from tlkeras.errors import InputError
from tlkeras.models.backbones import BACKBONES, Backbone, backbone_layers, get_backbone, resolve_stages
from tlkeras.models.classifier import build_classifier
from tlkeras.models.head import Head

ONE_PER_FAMILY = ("vgg16", "resnet18", "resnet50", "inceptionv3", "mobilenetv2_035", "mobilenetv3small")
OWN_PREPROCESSING = {
    "vgg16": keras.applications.vgg16,
    "vgg19": keras.applications.vgg19,
    "resnet18": keras.applications.densenet,  # torchvision's, as DenseNet's is
    "resnet50": keras.applications.resnet50,
    "inceptionv3": keras.applications.inception_v3,
    "xception": keras.applications.xception,
    "densenet201": keras.applications.densenet,
    "mobilenetv2": keras.applications.mobilenet_v2,
    "mobilenetv2_050": keras.applications.mobilenet_v2,
    "mobilenetv2_035": keras.applications.mobilenet_v2,
    "mobilenetv3small": keras.applications.mobilenet_v3,
    "mobilenetv3large": keras.applications.mobilenet_v3,
    "mobilenet_025": keras.applications.mobilenet,
}
# Keras' own names of modules, for the stages that the table gives by number or that are easily put one block off.
LAST_BEFORE = {
    ("inceptionv3", "block4"): "mixed2",
    ("inceptionv3", "block5"): "mixed7",
    ("densenet201", "block2"): "conv1_relu",
    ("densenet201", "block5"): "conv4_block48_concat",
    ("resnet18", "block2"): "relu",
    ("resnet18", "block3"): "layer1_1_out",
    ("resnet18", "block5"): "layer3_1_out",
    ("resnet50", "block2"): "conv1_relu",
    ("resnet50", "block5"): "conv4_block6_out",
    ("vgg16", "block4"): "block3_pool",
    ("mobilenetv2_035", "block5"): "block_12_add",
    ("mobilenetv3small", "block5"): "expanded_conv_7_add",
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=() if name in ONE_PER_FAMILY else (pytest.mark.slow,)) for name in OWN_PREPROCESSING
    ],
)
def model(request):
    """A classifier of three classes on each row, at the smallest height it takes and another width."""
    smallest = BACKBONES[request.param].min_size
    head = Head(hidden=(), dropout=0.0, pooling="avg")
    return build_classifier(request.param, n_classes=3, image_size=(smallest, smallest + 16), head=head, seed=3)


@pytest.fixture
def pixels(model):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (2, *model.input_shape[1:])).astype(np.float32)


def boundary_tensors(model, layer):
    """Names of the operations before `layer`, in Keras' order, whose outputs are used from `layer` on."""
    consumers = {}

    def note_producers(node, consumer):
        if isinstance(node, dict):
            history = node.get("config", {}).get("keras_history") if isinstance(node.get("config"), dict) else None
            if history:
                consumers.setdefault(history[0], []).append(consumer)
            for value in node.values():
                note_producers(value, consumer)
        elif isinstance(node, list | tuple):
            for value in node:
                note_producers(value, consumer)

    order = [operation.name for operation in model.operations]
    for operation in model.get_config()["layers"]:
        note_producers(operation["inbound_nodes"], order.index(operation["name"]))
    first = order.index(layer.name)
    return {name for name in order[:first] if max(consumers[name]) >= first}


def test_the_table_holds_every_row_and_the_tests_go_over_all_of_them():
    assert list(BACKBONES) == list(OWN_PREPROCESSING)
    assert all(row.name == name and row.paper and list(row.stages) for name, row in BACKBONES.items())


def test_preprocessing_is_the_networks_own_and_leaves_arrays_alone(model, pixels):
    expected = OWN_PREPROCESSING[model.name].preprocess_input(pixels.copy())
    seen_by_backbone = keras.Model(model.input, backbone_layers(model)[0].input)
    given = pixels.copy()
    np.testing.assert_allclose(seen_by_backbone(given), expected, rtol=0, atol=1e-4)
    model(given)
    np.testing.assert_array_equal(given, pixels)


def test_a_saved_model_comes_back_equal(model, pixels, tmp_path):
    def answers(of):
        features = backbone_layers(of)[-1].output
        return [np.asarray(answer) for answer in keras.Model(of.input, [features, of.output])(pixels)]

    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):  # or a layer left as it was built would go unnoticed
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert answers(model)[0].std() > 0
    for before, after in zip(answers(model) + model.get_weights(), answers(again) + again.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)
    names = [[layer.name for layer in backbone_layers(each)] for each in (model, again)]
    assert names[0] == names[1]
    row = BACKBONES[model.name]
    assert resolve_stages(row, backbone_layers(again)) == resolve_stages(row, backbone_layers(model))


def test_stages_hold_every_layer_once_halve_the_image_and_begin_at_a_single_tensor(model):
    layers = backbone_layers(model)
    stages = resolve_stages(BACKBONES[model.name], layers)
    assert list(stages) == ["block1", "block2", "block3", "block4", "block5"]
    assert [index for indices in stages.values() for index in indices] == list(range(len(layers)))
    height = model.input_shape[1]
    for stage, indices in stages.items():
        (boundary,) = boundary_tensors(model, layers[indices.start])
        assert boundary == LAST_BEFORE.get((model.name, stage), boundary)
        # Convolutions without padding take a few pixels more than half.
        assert height / 2 - 3 <= layers[indices[-1]].output.shape[1] <= (height + 1) / 2
        height = layers[indices[-1]].output.shape[1]


@pytest.mark.parametrize("name", [name for name in OWN_PREPROCESSING if name != "resnet18"])
def test_weight_files_and_hashes_are_those_of_the_installed_keras(name):
    row = BACKBONES[name]
    with open(inspect.getsourcefile(getattr(keras.applications, row.constructor))) as file:
        source = file.read()
    official = row.weights[0]
    assert official.url.endswith("/" + official.file)
    assert (official.md5 is None) == ("file_hash" not in source)
    assert official.md5 is None or official.md5 in source
    folder = official.url.split("/keras-applications/")[1].split("/")[0]
    assert f"{folder}/" in source


def test_the_file_of_pytorch_bears_its_hash_in_its_name():
    assert [name for name, row in BACKBONES.items() if row.torch_names] == ["resnet18"]
    (official,) = BACKBONES["resnet18"].weights
    assert official.file == f"resnet18-{official.sha256_prefix}.pth" == "resnet18-f37072fd.pth"
    assert official.url == f"https://download.pytorch.org/models/{official.file}"


def test_a_name_that_is_not_in_the_table_is_answered_with_near_ones():
    with pytest.raises(InputError, match=r"received 'mobilnetv2'.*Near: mobilenetv2"):
        get_backbone("mobilnetv2")
    assert get_backbone(TINY) is TINY


def test_a_backbone_of_ones_own_is_checked():
    with pytest.raises(
        InputError, match=r"Backbone\.preprocessing of tiny: received 'tf'; accepted: 'unit', 'symmetric'"
    ):
        replace(TINY, preprocessing="tf")
    with pytest.raises(InputError, match="there are none"):
        replace(TINY, stages={})
    with pytest.raises(InputError, match=r"the name of a function in keras\.applications"):
        replace(TINY, constructor="VGG15").build(keras.Input((32, 32, 3)))
    with pytest.raises(InputError, match="'conv9'"):
        resolve_stages(replace(TINY, stages={"block1": "conv9"}), tiny_layers())
    with pytest.raises(InputError, match=r"begin at layers \[3\]"):
        resolve_stages(replace(TINY, stages={"block1": "conv2"}), tiny_layers())
    with pytest.raises(InputError, match="each after the one before"):
        resolve_stages(replace(TINY, stages={"block1": "conv1", "block2": "conv3", "block3": "conv2"}), tiny_layers())


def test_any_network_of_keras_applications_can_be_a_row_of_ones_own():
    row = Backbone(
        name="resnet50v2", constructor="ResNet50V2", preprocessing="symmetric", native_size=224, stages={"all": 0}
    )
    model = build_classifier(row, n_classes=2, image_size=(32, 32), head=Head(hidden=(), pooling="avg"))
    assert resolve_stages(row, backbone_layers(model)) == {"all": range(len(backbone_layers(model)))}


def tiny_layers():
    return backbone_layers(build_classifier(TINY, n_classes=2, image_size=(16, 16)))
