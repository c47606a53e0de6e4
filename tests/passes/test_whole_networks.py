"""All rewrites together, on networks as Keras gives them: the answers stay, and what was to go is gone."""

import numpy as np
import pytest
from comparing import kinds, run
from tiny_nets import build_tiny, tiny_data, trained_tiny

from segtool.export.heads import with_head
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.passes import (
    CPU_REWRITES,
    FLOAT_REWRITES,
    INT8_REWRITES,
    SHARED_REWRITES,
    UPSAMPLING_REWRITES,
    WINOGRAD_REWRITES,
    rewrite,
)

EVERY = [(*SHARED_REWRITES, *FLOAT_REWRITES, *WINOGRAD_REWRITES), (*SHARED_REWRITES, *INT8_REWRITES)]


def check(network, images, rewrites):
    """Compare probabilities and labels before and after; return the operators of the labels graph after."""
    converted = keras_to_onnx(network)
    after, _ = rewrite(converted, rewrites)
    expected, found = run(converted, images), run(after, images)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    labels, outcomes = rewrite(with_head(converted, "labels"), rewrites)
    np.testing.assert_array_equal(run(labels, images), run(with_head(converted, "labels"), images))
    again, more = rewrite(labels, rewrites)
    assert again == labels
    assert not any(outcome.changes for outcome in more)
    assert [item.name for item in outcomes] == [item.name for item in rewrites]
    return kinds(labels)


@pytest.mark.parametrize("rewrites", EVERY, ids=["float", "int8"])
def test_a_trained_network(rewrites):
    found = check(trained_tiny(), tiny_data(8, seed=5)[0], rewrites)
    assert not {"Pad", "Softmax"} & set(found)
    assert found.count("Mul") <= 1  # of the pixels
    # Of the three layout changes of the output one byte a pixel is left.
    assert found.count("ConvTranspose") == 2


@pytest.mark.parametrize("rewrites", EVERY, ids=["float", "int8"])
def test_a_network_in_colour(rewrites):
    check(build_tiny(3), tiny_data(4, channels=3)[0], rewrites)


@pytest.mark.parametrize(("size", "channels", "classes"), [((64, 84), 1, 11), ((40, 70), 3, 4)])
def test_fcn8(size, channels, classes):
    from segtool.train.architectures.fcn8 import build_fcn8

    network = build_fcn8(*size, channels, classes)
    random = np.random.default_rng(0)
    for layer in network.layers:
        if layer.name.startswith("norm"):
            layer.set_weights([np.abs(item) + random.uniform(0.1, 0.5, item.shape) for item in layer.get_weights()])
    found = check(network, random.integers(0, 256, (2, *size, channels), np.uint8), EVERY[0])
    assert found.count("ConvTranspose") == 2
    assert not {"Pad", "Softmax", "DepthToSpace"} & set(found)
    assert found.count("Mul") == 1  # of the pixels


def test_fcn8_lite_decides_its_labels_on_the_small_map_though_it_crops():
    from segtool.train.architectures import build

    size = (60, 100)
    labels = with_head(keras_to_onnx(build("fcn8-lite", size=size, channels=3, num_classes=5)), "labels")
    after, _ = rewrite(labels, (*SHARED_REWRITES, *UPSAMPLING_REWRITES, *FLOAT_REWRITES, *CPU_REWRITES))
    assert "ScatterND" in kinds(after)
    assert "ScatterND" not in kinds(labels)
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    assert (run(after, images) == run(labels, images)).mean() > 0.999
