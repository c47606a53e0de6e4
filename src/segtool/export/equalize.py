"""Giving the channels between two convolutions one range, so that eight bits serve each of them.

An integer tensor has one scale for all of its channels: a channel whose values are a tenth of the largest one's is left
with a tenth of the steps. For a convolution A, operators f with f(s x) = s f(x) for s > 0 (ReLU, leaky ReLU, maximum
pooling) and behind them B, a convolution or the product with a number for each channel (a batch normalization's),

    B(f(A(x))) = (B / s)(f((s A)(x)))

where s A multiplies A's output channels (weights and bias) and B / s divides B's input channels: Nagel, van Baalen,
Blankevoort, Welling: Data-Free Quantization Through Weight Equalization and Bias Correction (ICCV 2019), equation 7.
Here s brings the largest value of each channel, measured on calibration images, to that of the largest channel. Only
powers of two are taken, so that the rewritten graph gives bit for bit what it gave before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from segtool.export.keras_to_onnx import INPUT

_HOMOGENEOUS = frozenset({"Relu", "LeakyRelu", "MaxPool"})
_LARGEST = 2.0**10  # a channel that is nearly always zero is not blown up without end
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Pair:
    """A convolution and what takes its output through homogeneous operators: a convolution or a product (B)."""

    first: onnx.NodeProto
    second: onnx.NodeProto


def equalize(model: onnx.ModelProto, batches: Iterable[npt.NDArray[np.uint8]]) -> onnx.ModelProto:
    """Return the model with equalized channels; it gives the same outputs, bit for bit.

    Parameters
    ----------
    model
        Float model with input ``image``.
    batches
        Calibration images, uint8 (n, H, W, C) each; only the largest value of each channel is kept.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    pairs = _pairs(result.graph)
    if pairs:
        weights = {item.name: item for item in result.graph.initializer}
        for pair, largest in zip(pairs, _largest_values(result, pairs, batches), strict=True):
            _scale(pair, _powers_of_two(largest), weights)
    return result


def _pairs(graph: onnx.GraphProto) -> list[_Pair]:
    """Find the pairs whose weights and tensors nothing else uses, and that have an activation between them."""
    uses = _Uses(graph)
    found = []
    for first in graph.node:
        second = uses.only_user(first)
        activated = False
        while second is not None and second.op_type in _HOMOGENEOUS:
            activated = activated or second.op_type != "MaxPool"
            second = uses.only_user(second)
        if activated and uses.is_convolution(first) and second is not None and uses.is_scalable(second):
            found.append(_Pair(first, second))
    return found


class _Uses:
    """Who uses which tensor of a graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.users: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.kept = {item.name for item in graph.output}
        self.constants = {item.name: list(item.dims) for item in graph.initializer}

    def only_user(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """Return the one node that uses a node's output, None where there are others or the graph returns it."""
        after = self.users.get(node.output[0], [])
        return after[0] if len(after) == 1 and node.output[0] not in self.kept else None

    def is_convolution(self, node: onnx.NodeProto) -> bool:
        """Tell whether a node is a convolution of one group, with weights that are its own."""
        groups = next((item.i for item in node.attribute if item.name == "group"), 1)
        return node.op_type == "Conv" and groups == 1 and self._owns(node.input[1:])

    def is_scalable(self, node: onnx.NodeProto) -> bool:
        """Tell whether a node can take the inverse scales: a convolution, or a product with (1, C, 1, 1)."""
        if node.op_type != "Mul":
            return self.is_convolution(node)
        shape = self.constants.get(node.input[1], [])
        return self._owns(node.input[1:]) and len(shape) == 4 and shape[0] == shape[2] == shape[3] == 1

    def _owns(self, names: Iterable[str]) -> bool:
        return all(name in self.constants and len(self.users[name]) == 1 for name in names)


def _largest_values(
    model: onnx.ModelProto, pairs: list[_Pair], batches: Iterable[npt.NDArray[np.uint8]]
) -> list[FloatArray]:
    """Return the largest magnitude of each channel (C,) of each pair's first convolution, over all images."""
    import onnxruntime as ort

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    names = [pair.first.output[0] for pair in pairs]
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    largest: list[Any] = [0.0] * len(pairs)
    for batch in batches:
        outputs = session.run(names, {INPUT: batch})
        largest = [np.maximum(old, np.abs(new).max((0, 2, 3))) for old, new in zip(largest, outputs, strict=True)]
    return largest


def _powers_of_two(largest: FloatArray) -> FloatArray:
    """Return the power of two for each channel that brings it nearest to the largest channel."""
    scales = np.ones_like(largest)
    alive = largest > 0
    if alive.any():
        ratio = np.minimum(largest.max() / largest[alive], _LARGEST)
        scales[alive] = np.exp2(np.floor(np.log2(ratio)))
    return scales


def _scale(pair: _Pair, scales: FloatArray, weights: dict[str, onnx.TensorProto]) -> None:
    """Multiply the first convolution's output channels by `scales` and divide the second's input channels."""
    for name in pair.first.input[1:]:
        value = numpy_helper.to_array(weights[name])
        column = scales.reshape(-1, *[1] * (value.ndim - 1)).astype(value.dtype)
        weights[name].CopyFrom(numpy_helper.from_array(value * column, name))
    name = pair.second.input[1]
    value = numpy_helper.to_array(weights[name])
    row = scales.reshape(1, -1, *[1] * (value.ndim - 2)).astype(value.dtype)
    weights[name].CopyFrom(numpy_helper.from_array(value / row, name))
