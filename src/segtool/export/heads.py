"""What a file returns: class ids, logits or probabilities. Appended to, or cut from, the converted graph.

What each means does not depend on what the network itself ends in, which is read from its last operations: a softmax
over the classes (probabilities), a sigmoid for each class, or neither (logits).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import onnx
from onnx import helper, numpy_helper

from segtool.contract_check import Head
from segtool.errors import ExportError
from segtool.export.layout import TO_LAST

End = Literal["probabilities", "logits", "sigmoid"]
# What only moves numbers: a softmax behind it is the softmax before it. Their class axis is not followed.
_MOVES = frozenset({"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze"})

MONOTONE = "output/monotone"
"""First part of the names of nodes that change no arg-max."""

_TO_THE_LAST = 2**31 - 1  # what converters write where a slice has no end


@dataclass(frozen=True)
class _Last:
    """The last softmax or sigmoid of a graph, None where there is none, and whether pixels are mixed behind it."""

    node: onnx.NodeProto | None
    is_mixed: bool


def end_of(model: onnx.ModelProto) -> End:
    """Return what a converted network, as from `keras_to_onnx`, ends in."""
    last = _last(model.graph).node
    if last is None:
        return "logits"
    return "probabilities" if last.op_type == "Softmax" else "sigmoid"


def with_head(model: onnx.ModelProto, head: Head) -> onnx.ModelProto:
    """Return a copy of a converted network that ends in another head.

    Parameters
    ----------
    model
        As from `keras_to_onnx`: one output, float32 (N, H, W, K).
    head
        "labels": ``labels`` (N, H, W), uint8, or uint16 above 256 classes; the first of equal scores wins, as in
        NumPy. A softmax is monotone, so it is left out. "logits": float32 (N, H, W, K), what the network's softmax
        takes, or what it ends in without one. "probabilities": float32 (N, H, W, K), which add up to 1 over K.

    Raises
    ------
    ExportError
        The network does not have that head: one whose probabilities are resized has no logits, and one with a sigmoid
        for each class has neither logits nor probabilities.
    """
    result = deepcopy(model)
    graph, end = result.graph, end_of(model)
    if head == "labels":
        _end_in_labels(graph)
    elif end == "sigmoid":
        raise ExportError(
            f"The network ends in a sigmoid for each class, whose outputs do not add up to 1: it has no {head} head; "
            "export it with --head labels."
        )
    elif head == "logits":
        _end_in_logits(graph)
    elif end == "logits":
        _append_softmax(graph)
    drop_unused(graph)
    onnx.checker.check_model(result, full_check=True)
    return result


def _end_in_labels(graph: onnx.GraphProto) -> None:
    scores, axis = _scores(graph)
    shape = _shape(graph)
    dtype = onnx.TensorProto.UINT8 if shape[3] <= 256 else onnx.TensorProto.UINT16
    graph.node.append(helper.make_node("ArgMax", [scores], ["class_id"], name="head/argmax", axis=axis, keepdims=0))
    graph.node.append(helper.make_node("Cast", ["class_id"], ["labels"], name="head/cast", to=dtype))
    graph.output[0].CopyFrom(helper.make_tensor_value_info("labels", dtype, shape[:3]))


def _end_in_logits(graph: onnx.GraphProto) -> None:
    last, end = _last(graph), graph.output[0].name
    if last.is_mixed:
        raise ExportError(
            "The network resizes its probabilities behind the softmax, so it has no logits at the size of its output; "
            "export it with --head labels or probabilities."
        )
    if last.node is not None:
        probabilities, logits = last.node.output[0], last.node.input[0]
        rename(graph, {probabilities: logits}, outputs=False)
        end = logits if end == probabilities else end
    graph.node.append(helper.make_node("Identity", [end], ["logits"], name="head/logits"))
    graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, _shape(graph)))


def _append_softmax(graph: onnx.GraphProto) -> None:
    """Append a softmax, whose output takes the name that what the network ends in had."""
    name, scores = graph.output[0].name, "head/scores"
    rename(graph, {name: scores})
    graph.node.append(helper.make_node("Softmax", [scores], [name], name="head/softmax", axis=3))


def cut_sigmoid(graph: onnx.GraphProto) -> bool:
    """Cut the sigmoid that a graph ends in, so that it ends in what that takes; return whether there was one to cut.

    Without one, or where its values are resized behind it, the graph is left as it is.
    """
    last = _last(graph)
    if last.node is None or last.node.op_type != "Sigmoid" or last.is_mixed:
        return False
    share, score = last.node.output[0], last.node.input[0]
    rename(graph, {share: score}, outputs=False)
    if graph.output[0].name == share:
        last.node.CopyFrom(helper.make_node("Identity", [score], [share], name=last.node.name))
    return True


def _shape(graph: onnx.GraphProto) -> list[Any]:
    return [dim.dim_value or dim.dim_param for dim in graph.output[0].type.tensor_type.shape.dim]


def _last(graph: onnx.GraphProto) -> _Last:
    """Look for the softmax or sigmoid that the output comes from, through what moves numbers or resizes maps."""
    producer = {name: node for node in graph.node for name in node.output}
    constants = {item.name: item for item in graph.initializer}
    tensor, is_mixed = graph.output[0].name, False
    axis: int | None = 3  # of the classes
    while (node := producer.get(tensor)) is not None:
        attributes = _attributes(node)
        if node.op_type == "Sigmoid":
            return _Last(node, is_mixed)
        if node.op_type == "Softmax" and (axis is None or attributes.get("axis", -1) % 4 == axis):
            return _Last(node, is_mixed)
        if node.op_type == "Transpose":
            axis = None if axis is None else attributes["perm"][axis]
        elif node.op_type in _MOVES:
            axis = axis if node.op_type in ("Identity", "Cast") else None
        elif node.op_type == "Resize" and attributes.get("mode", b"nearest") in (b"nearest", b"linear"):
            is_mixed = True
        elif node.op_type != "Slice" or not _keeps_classes(node, axis, constants):
            break
        tensor = node.input[0]
    return _Last(None, is_mixed=False)


def _keeps_classes(node: onnx.NodeProto, axis: int | None, constants: dict[str, onnx.TensorProto]) -> bool:
    """Say whether a Slice cuts pixels alone: along the classes it may only say "from the first to the last"."""
    given = [constants.get(name) for name in node.input[1:4]]
    if axis is None or len(given) < 3 or any(item is None for item in given):
        return False
    starts, ends, axes = (numpy_helper.to_array(item).tolist() for item in given if item is not None)
    return all(
        at % 4 != axis or (start == 0 and end >= _TO_THE_LAST)
        for start, end, at in zip(starts, ends, axes, strict=True)
    )


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def _scores(graph: onnx.GraphProto) -> tuple[str, int]:
    """Return the tensor to take the arg-max of, and its class axis: before a softmax and a change of layout."""
    producer = {name: node for node in graph.node for name in node.output}
    tensor, axis, is_logits = graph.output[0].name, 3, False
    while tensor in producer:
        node = producer[tensor]
        attributes = _attributes(node)
        if node.op_type == "Transpose" and axis == 3 and attributes.get("perm") == TO_LAST:
            axis = 1
        elif node.op_type == "Softmax" and not is_logits and attributes.get("axis", -1) % 4 == axis:
            is_logits = True
        elif node.op_type != "Identity" and not (is_logits and node.name.startswith(f"{MONOTONE}/")):
            break
        tensor = node.input[0]
    return tensor, axis


def rename(graph: onnx.GraphProto, names: Mapping[str, str], *, outputs: bool = True) -> None:
    """Let nodes read tensors of other names, and, with `outputs`, make them too."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        if outputs:
            node.output[:] = [names.get(name, name) for name in node.output]


def drop_unused(graph: onnx.GraphProto) -> None:
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
