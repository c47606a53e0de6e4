"""What `info` counts in a model file, against numbers from the architecture."""

import pytest
from tiny_nets import quantized, tiny_data, trained_tiny

from segtool.export.heads import with_head
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.passes import SHARED_REWRITES, rewrite
from segtool.export.presets import PRESETS
from segtool.export.stamp import census

# The tiny network on 16 x 24: four 3x3 convolutions, a 5x5 one, two 1x1 scores, two 4x4/2 transposed ones.
MACS = (
    16 * 24 * 9 * (1 * 6 + 6 * 6)
    + 8 * 12 * 9 * (6 * 8 + 8 * 8)
    + 4 * 6 * (25 * 8 * 8 + 8 * 3)
    + 4 * 6 * 16 * 3 * 3
    + 8 * 12 * (6 * 3 + 16 * 3 * 3)
)


@pytest.fixture(scope="module")
def converted():
    return with_head(keras_to_onnx(trained_tiny()), "labels")


def test_a_float_network(converted):
    network = trained_tiny()
    found = census(converted)
    norms = sum(layer.count_params() for layer in network.layers if layer.name.startswith("batch"))
    assert found.macs == MACS
    assert found.parameters == network.count_params() - norms
    assert found.nodes["Conv"] == 7
    assert found.int8_share == 0


def test_an_int8_network(converted):
    images, _ = tiny_data(8)
    base, _ = rewrite(converted, SHARED_REWRITES)
    found = census(quantized(base, lambda: iter([images]), preset=PRESETS["vnni"], strengths=[0.0]).model)
    assert 0.8 < found.int8_share < 1
    assert found.to_dict()["int8_share"] == found.int8_share
    assert found.nodes["QuantizeLinear"] > 0
