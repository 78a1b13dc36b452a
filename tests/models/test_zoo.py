import inspect

import keras
import numpy as np
import pytest
from tiny import TINY

from tlkeras.errors import InputError
from tlkeras.models.backbones import backbone_layers, resolve_stages
from tlkeras.models.classifier import build_classifier
from tlkeras.models.head import Head
from tlkeras.models.zoo import BACKBONES, get_backbone

FAST = ("vgg16", "resnet18", "mobilenetv2_035", "mobilenetv3small")  # the others are built in the slow tests
FAMILIES = {  # of keras.applications, whose module has the networks' own preprocessing
    "vgg16": ["vgg16"],
    "vgg19": ["vgg19"],
    "densenet": ["resnet18", "densenet121", "densenet169", "densenet201"],  # torchvision's is DenseNet's
    "resnet": ["resnet50", "resnet101", "resnet152"],
    "resnet_v2": ["resnet50v2", "resnet101v2", "resnet152v2"],
    "inception_v3": ["inceptionv3"],
    "inception_resnet_v2": ["inceptionresnetv2"],
    "xception": ["xception"],
    "mobilenet": ["mobilenet", "mobilenet_075", "mobilenet_050", "mobilenet_025"],
    "mobilenet_v2": ["mobilenetv2", *(f"mobilenetv2_{width}" for width in ("075", "050", "035", "130", "140"))],
    "mobilenet_v3": ["mobilenetv3small", "mobilenetv3large"],
    "efficientnet": [f"efficientnetb{number}" for number in range(8)],
    "efficientnet_v2": [f"efficientnetv2{variant}" for variant in ("b0", "b1", "b2", "b3", "s", "m", "l")],
    "convnext": [f"convnext{size}" for size in ("tiny", "small", "base", "large", "xlarge")],
    "nasnet": ["nasnetmobile", "nasnetlarge"],
}
# Built of the same layers as the rest of their family, which would take minutes to save and read.
SAVED = {names[0] for names in FAMILIES.values()} | {"densenet121", "mobilenetv2_035"}
OWN_PREPROCESSING = {name: getattr(keras.applications, family) for family, names in FAMILIES.items() for name in names}
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
    ("resnet50v2", "block3"): "conv2_block2_out",
    ("inceptionresnetv2", "block4"): "block35_10_ac",
    ("inceptionresnetv2", "block5"): "block17_20_ac",
    ("efficientnetb0", "block5"): "block5c_add",
    ("efficientnetv2s", "block2"): "block1b_add",
    ("convnexttiny", "block2"): "convnext_tiny_stem",
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in FAST else (pytest.mark.slow,)) for name in OWN_PREPROCESSING],
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
    assert set(BACKBONES) == set(OWN_PREPROCESSING)
    constructors = {row.arguments.get("variant", row.constructor) for row in BACKBONES.values()}
    offered = {name for name in dir(keras.applications) if name[0].isupper()}
    assert offered == constructors - {BACKBONES["resnet18"].constructor}
    assert all(row.name == name and row.paper and list(row.stages) for name, row in BACKBONES.items())


def test_preprocessing_is_the_networks_own_and_leaves_arrays_alone(model, pixels):
    expected = OWN_PREPROCESSING[model.name].preprocess_input(pixels.copy())
    seen_by_backbone = keras.Model(model.input, backbone_layers(model)[0].input)
    given = pixels.copy()
    np.testing.assert_allclose(seen_by_backbone(given), expected, rtol=0, atol=1e-4)
    model(given)
    np.testing.assert_array_equal(given, pixels)


def test_a_saved_model_comes_back_equal(model, pixels, tmp_path):
    if model.name not in SAVED:
        pytest.skip("another network of its family is saved and read")

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
        crossing = boundary_tensors(model, layers[indices.start])
        if not model.name.startswith("nasnet"):  # its cells look back two cells
            assert crossing == {LAST_BEFORE.get((model.name, stage), *crossing)}
        halvings = 1
        if model.name.startswith("convnext") and stage in ("block1", "block2"):
            halvings = {"block1": 2, "block2": 0}[stage]
        # Convolutions without padding take a few pixels more than half.
        below = layers[indices[-1]].output.shape[1]
        assert height / 2**halvings - 3 <= below <= (height + 1) / 2**halvings
        height = below


@pytest.mark.parametrize("name", [name for name in OWN_PREPROCESSING if name != "resnet18"])
def test_weight_files_and_hashes_are_those_of_the_installed_keras(name):
    row = BACKBONES[name]
    constructor = getattr(keras.applications, row.arguments.get("variant", row.constructor))
    with open(inspect.getsourcefile(constructor)) as file:
        source = file.read()
    if name.endswith("v2") and name.startswith("resnet"):  # their hashes lie with the first version's
        source += inspect.getsource(inspect.getmodule(keras.applications.ResNet50))
    official = row.weights[0]
    assert official.url.endswith("/" + official.file)
    published = official.md5 or official.sha256_prefix
    assert (published is None) == ("file_hash" not in source)
    assert published is None or published in source
    assert official.url.removesuffix(official.file) in source.replace('"\n    "', "")


def test_the_file_of_pytorch_bears_its_hash_in_its_name():
    assert [name for name, row in BACKBONES.items() if row.torch_names] == ["resnet18"]
    (official,) = BACKBONES["resnet18"].weights
    assert official.file == f"resnet18-{official.sha256_prefix}.pth" == "resnet18-f37072fd.pth"
    assert official.url == f"https://download.pytorch.org/models/{official.file}"


def test_a_name_that_is_not_in_the_table_is_answered_with_near_ones():
    with pytest.raises(InputError, match=r"received 'mobilnetv2'.*Near: mobilenetv2"):
        get_backbone("mobilnetv2")
    assert get_backbone(TINY) is TINY
