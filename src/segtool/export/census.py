"""What a model file is made of: operators, parameters, multiply-accumulates, and how much of them is INT8."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segtool.models.backend import import_quietly

if TYPE_CHECKING:
    import onnx

_MULTIPLIES = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})


@dataclass(frozen=True)
class Census:
    """What a graph is made of.

    Attributes
    ----------
    nodes
        Number of nodes of each operator, the most frequent first.
    parameters
        Weights and biases of the layers that multiply.
    macs
        Multiply-accumulates for one image.
    int8_macs
        Those with integer weights.
    """

    nodes: dict[str, int]
    parameters: int
    macs: int
    int8_macs: int

    @property
    def int8_share(self) -> float:
        """Share of the multiply-accumulates in INT8, 0..1."""
        return self.int8_macs / self.macs if self.macs else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {**asdict(self), "int8_share": self.int8_share}


def census(model: onnx.ModelProto) -> Census:
    """Count a graph; the batch counts as one image.

    Raises
    ------
    MissingExtraError
        The onnx package is not installed.
    """
    onnx = import_quietly("onnx", extra="export")
    graph = onnx.shape_inference.infer_shapes(model).graph
    sizes = _sizes(graph)
    integers = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    weights = _constants(graph)
    macs = int8 = 0
    used: dict[str, int] = {}
    for node in graph.node:
        if node.op_type not in _MULTIPLIES or node.output[0] in weights:
            continue
        count = _macs(node, sizes)
        macs += count
        int8 += count if node.input[1] in integers else 0
        for name in node.input[1:]:
            constant = weights.get(name, name)
            used[constant] = int(np.prod(sizes.get(constant, (0,))))
    operators = Counter(node.op_type for node in graph.node)
    return Census(dict(operators.most_common()), sum(used.values()), macs, int8)


def _constants(graph: Any) -> dict[str, str]:
    """Return the stored constant behind every value that is computed from constants alone, when a file is opened.

    Weights that are dequantized, or multiplied by small constants (`passes.winograd`), come from their largest one.
    """
    stored = {item.name: (item.name, int(np.prod(item.dims))) for item in graph.initializer}
    found = dict(stored)
    for node in graph.node:
        if all(name in found for name in node.input if name) and any(node.input):
            largest = max((found[name] for name in node.input if name), key=lambda item: item[1])
            found.update(dict.fromkeys(node.output, largest))
    return {name: constant for name, (constant, _) in found.items() if name not in stored}


def _sizes(graph: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of every constant and value; an unknown dimension, the batch, counts as 1."""
    sizes = {item.name: tuple(item.dims) for item in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        sizes[value.name] = tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
    return sizes


def _macs(node: Any, sizes: dict[str, tuple[int, ...]]) -> int:
    """Return the multiply-accumulates of a node, those with padding among them."""
    weight = sizes.get(node.input[1], ())
    # Each number of the output (of the input, for a transposed convolution) meets this many weights.
    value = sizes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0], ())
    if not weight or not value:
        return 0
    each = weight[-2] if node.op_type == "MatMul" else int(np.prod(weight[1:]))
    if node.op_type == "Gemm":
        each = int(np.prod(weight)) // value[-1]
    return int(np.prod(value)) * each
