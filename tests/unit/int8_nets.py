"""Networks of convolutions one behind the other, as an FP32 file and as a QDQ INT8 file, made on the spot."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segtool.contract import METADATA_KEY, ModelContract, default_palette

HEIGHT, WIDTH, CHANNELS = 24, 32, 3


@dataclass(frozen=True)
class Layer:
    """A convolution with a ReLU behind it.

    `zero` is the zero point of its weights, which are from -`largest` to `largest` - 1.
    """

    name: str
    outputs: int
    kernel: int = 3
    groups: int = 1
    zero: int = 0
    largest: int = 63


def write_pair(folder: Path, layers: Sequence[Layer], *, signed: bool = False) -> tuple[Path, Path]:
    """Write model.int8.onnx and model.onnx, which it says it was made from; return their paths."""
    int8, float32 = folder / "model.int8.onnx", folder / "model.onnx"
    contract = _contract(layers[-1].outputs)
    _save(float32, _graph(layers, integers=None), contract)
    digest = hashlib.sha256(float32.read_bytes()).hexdigest()
    made = replace(contract, precision="int8", quantization={"float32_sha256": digest})
    _save(int8, _graph(layers, integers=np.dtype(np.int8 if signed else np.uint8)), made)
    return int8, float32


def _contract(classes: int) -> ModelContract:
    names = tuple(map(str, range(classes)))
    size = {"height": HEIGHT, "width": WIDTH, "channels": CHANNELS}
    return ModelContract(**size, class_names=names, palette=default_palette(classes), background_id=0)


def _graph(layers: Sequence[Layer], *, integers: np.dtype | None) -> onnx.GraphProto:
    random, channels = np.random.default_rng(0), CHANNELS
    nodes, stored = [], []

    def add(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def store(name, value):
        stored.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def quantized(value, scale):
        if integers is None:
            return value
        facts = [store(f"{value}/scale", np.float32(scale)), store(f"{value}/zero", np.zeros((), integers))]
        return add("DequantizeLinear", [add("QuantizeLinear", [value, *facts], f"{value}/q"), *facts], f"{value}/dq")

    pixels = add("Transpose", [add("Cast", ["image"], "floats", to=TensorProto.FLOAT)], "pixels", perm=[0, 3, 1, 2])
    value = quantized(pixels, 2.0)
    for layer in layers:
        shape = (layer.outputs, channels // layer.groups, layer.kernel, layer.kernel)
        whole = random.integers(-layer.largest, layer.largest, shape).astype(np.int8)
        if integers is None:
            weights = store(f"{layer.name}/w", (whole.astype(np.float32) - layer.zero) / 100)
        else:
            zero = np.full(layer.outputs, layer.zero, np.int8)
            facts = [store(f"{layer.name}/s", np.full(layer.outputs, 0.01, np.float32)), store(f"{layer.name}/z", zero)]
            weights = store(f"{layer.name}/w", whole)
            weights = add("DequantizeLinear", [weights, *facts], f"{layer.name}/w/dq", axis=0)
        pads = [layer.kernel // 2] * 4
        conv = add("Conv", [value, weights], layer.name, group=layer.groups, pads=pads)
        value, channels = quantized(add("Relu", [conv], f"{layer.name}/relu"), 4.0), layer.outputs
    add("Cast", [add("ArgMax", [value], "best", axis=1, keepdims=0)], "labels", to=TensorProto.UINT8)
    size = ["N", HEIGHT, WIDTH]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [*size, CHANNELS])
    return helper.make_graph(
        nodes, "net", [image], [helper.make_tensor_value_info("labels", TensorProto.UINT8, size)], stored
    )


def _save(path: Path, graph: onnx.GraphProto, contract: ModelContract) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
