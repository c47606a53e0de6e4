"""What a file returns: class ids, logits or probabilities. Appended to, or cut from, the converted graph."""

from __future__ import annotations

import onnx
from onnx import helper

from segtool.contract import Head
from segtool.errors import ExportError


def with_head(model: onnx.ModelProto, head: Head) -> onnx.ModelProto:
    """Return a copy of a converted network that ends in another head.

    Soft-max is monotone, so the arg-max of the logits is the arg-max of the probabilities, and "labels" leaves it
    out. Where the network does not end in a soft-max, "labels" takes the arg-max of what it does end in.

    Parameters
    ----------
    model
        As from `keras_to_onnx`: one output, float32 (N, H, W, K).
    head
        "labels": ``labels`` (N, H, W), uint8, or uint16 above 256 classes; the first of equal scores wins, as in
        NumPy. "logits", "probabilities": float32 (N, H, W, K).

    Raises
    ------
    ExportError
        "logits" of a network that does not end in a soft-max.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if head == "probabilities":
        return result
    graph = result.graph
    shape = [dim.dim_value or dim.dim_param for dim in graph.output[0].type.tensor_type.shape.dim]
    scores, axis, is_logits = _scores(graph)
    if head == "logits" and not is_logits:
        raise ExportError(
            "The network does not end in a soft-max, so it has no logits to return; use --head labels or probabilities."
        )
    del graph.output[:]
    if head == "logits":
        last_axis = "Identity" if axis == 3 else "Transpose"
        attributes = {} if axis == 3 else {"perm": [0, 2, 3, 1]}
        graph.node.append(helper.make_node(last_axis, [scores], ["logits"], name="head/logits", **attributes))
        graph.output.append(helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, shape))
    else:
        dtype = onnx.TensorProto.UINT8 if shape[3] <= 256 else onnx.TensorProto.UINT16
        graph.node.append(helper.make_node("ArgMax", [scores], ["class_id"], name="head/argmax", axis=axis, keepdims=0))
        graph.node.append(helper.make_node("Cast", ["class_id"], ["labels"], name="head/cast", to=dtype))
        graph.output.append(helper.make_tensor_value_info("labels", dtype, shape[:3]))
    _drop_unused(graph)
    onnx.checker.check_model(result, full_check=True)
    return result


def _scores(graph: onnx.GraphProto) -> tuple[str, int, bool]:
    """Return the tensor to take the arg-max of, its class axis, and whether a soft-max followed it."""
    producer = {name: node for node in graph.node for name in node.output}
    tensor, axis, is_logits = graph.output[0].name, 3, False
    while tensor in producer:
        node = producer[tensor]
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        if node.op_type == "Transpose" and axis == 3 and attributes.get("perm") == [0, 2, 3, 1]:
            axis = 1
        elif node.op_type == "Softmax" and not is_logits and attributes.get("axis", -1) % 4 == axis:
            is_logits = True
        elif node.op_type != "Identity":
            break
        tensor = node.input[0]
    return tensor, axis, is_logits


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Drop the nodes and initializers that no output needs any more."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    initializers = [item for item in graph.initializer if item.name in needed]
    del graph.node[:]
    del graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(initializers)
