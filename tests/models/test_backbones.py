from dataclasses import replace

import keras
import pytest
from tiny import TINY

from tlkeras.errors import InputError
from tlkeras.models.backbones import Backbone, backbone_layers, resolve_stages
from tlkeras.models.classifier import build_classifier
from tlkeras.models.head import Head


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
