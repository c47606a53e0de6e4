"""Counting the multiply-accumulates of an ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx


def multiply_accumulates(path: Path) -> int:
    """Return the multiply-accumulates of one image, those with the zeros of the padding among them.

    A convolution has the product of its output's size and of a filter's (C_in / groups, kernel); a transposed one
    that of its input's size and of a filter's (C_out / groups, kernel); a matrix product M x K x N.

    Raises
    ------
    ValueError
        A layer whose shapes cannot be told from the graph.
    """
    model = onnx.load(path)
    for tensor in model.graph.input:
        tensor.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    for tensor in model.graph.output:
        tensor.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {item.name: tuple(item.dims) for item in graph.initializer}
    for item in (*graph.input, *graph.value_info, *graph.output):
        shapes[item.name] = tuple(dim.dim_value for dim in item.type.tensor_type.shape.dim)
    return sum(_of_node(node, shapes) for node in graph.node)


def _of_node(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
        return 0
    first, second, output = (shapes.get(name, ()) for name in (*node.input[:2], node.output[0]))
    if not (first and second and output) or 0 in (*first, *second, *output):
        raise ValueError(f"The shapes of {node.op_type} {node.name} are {first}, {second} and {output}.")
    if node.op_type == "Conv":
        return int(np.prod(output) * np.prod(second[1:]))
    if node.op_type == "ConvTranspose":
        return int(np.prod(first) * np.prod(second[1:]))
    transposed = any(item.name == "transA" and item.i for item in node.attribute)
    return int(np.prod(output) * first[0 if transposed else -1])
