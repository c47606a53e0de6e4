"""Fake quantization gives the numbers of onnxruntime's integers, and its gradients train weights and scales."""

import keras
import numpy as np
import onnx
import pytest
from onnx import helper

from segtool.errors import ModelFileError, TrainingError
from segtool.export.int8.qdq import parameters, quantized_weights
from segtool.export.running import open_graph
from segtool.models.fake_quantization import FakeQuant, FakeQuantizedKernel, fake_quantized
from segtool.models.quantization import Activation, Quantization, read_quantization

ACTIVATION = Activation(("a",), (), 0.125, 40)  # a power of 2: halves are exact


def _by_onnxruntime(values, activation):
    """QuantizeLinear and DequantizeLinear of uint8."""
    constants = [
        onnx.numpy_helper.from_array(np.array(activation.scale, np.float32), "scale"),
        onnx.numpy_helper.from_array(np.array(activation.zero_point, np.uint8), "point"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "point"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "point"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in "xy"]
    graph = helper.make_graph(nodes, "grid", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return open_graph(model).run(["y"], {"x": values})[0]


def test_values_are_those_of_quantize_and_dequantize_linear():
    halves = np.arange(-600, 600, dtype=np.float32) / 2 * 0.125  # every second one is between two integers
    values = np.concatenate([halves, np.float32([-1e6, 1e6, 0])])
    found = np.asarray(FakeQuant(ACTIVATION)(values))
    np.testing.assert_array_equal(found, _by_onnxruntime(values, ACTIVATION))
    assert found.min() == -40 * 0.125
    assert found.max() == (255 - 40) * 0.125


def test_kernels_are_those_of_the_exporter():
    layer = keras.layers.Conv2D(4, 3, use_bias=False)
    outer = FakeQuantizedKernel(layer, 127)
    outer.build((None, 8, 8, 2))
    weights = np.asarray(layer.kernel.numpy()).transpose(3, 2, 0, 1)
    whole, scales, _ = quantized_weights(weights, np.zeros(4, np.float32), 1.0, 127)
    expected = whole * scales[:, None, None, None]
    np.testing.assert_allclose(np.asarray(outer._rounded_kernel()).transpose(3, 2, 0, 1), expected, rtol=1e-6)


def test_scale_and_zero_point_of_a_range_are_those_of_the_exporter():
    scale, point = parameters(-0.7, 3.1, signed=False)
    found = Activation.of_range(("a",), (), -0.7, 3.1)
    assert (np.float32(found.scale), found.zero_point) == (scale, point)
    again, same = parameters(*found.range, signed=False)
    assert (again, same) == (scale, point)


def test_rounding_passes_gradients_within_the_range_and_trains_the_scale():
    import tensorflow as tf

    layer = FakeQuant(ACTIVATION)
    values = tf.constant([-100.0, 0.3, 100.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(layer(values))
    by_value, by_scale = tape.gradient(total, [values, layer.log_factor.value])
    np.testing.assert_array_equal(by_value, [0, 1, 0])
    assert float(by_scale) == pytest.approx(0.125 * (-40 + 215 + round(0.3 / 0.125) - 0.3 / 0.125), rel=1e-5)


def test_a_kernel_of_an_unknown_kind_is_refused_by_name():
    image = keras.Input((8, 8, 1), dtype="uint8")
    outputs = keras.layers.SeparableConv2D(3, 3, name="apart")(keras.layers.Rescaling(1 / 255)(image))
    with pytest.raises(TrainingError, match=r"apart \(SeparableConv2D\)"):
        fake_quantized(keras.Model(image, outputs), Quantization("vnni", 127, ("apart",), ()))


def test_scales_are_read_as_they_were_written(tmp_path):
    written = Quantization("x86", 64, ("a", "b"), (ACTIVATION,))
    written.write(tmp_path)
    assert read_quantization(tmp_path) == written
    (tmp_path / "quantization.json").write_text("{}")
    with pytest.raises(ModelFileError, match=r"quantization\.json"):
        read_quantization(tmp_path)
