"""Which convolutions are computed in INT8, and which values that makes integers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from segtool.export.passes import graph as g

# Fused into an INT8 convolution: its output is quantized only behind them.
_CLAMPS = frozenset({"Relu"})
# What integers pass through as they are: one scale and zero point on both sides.
_SAME_SCALE = frozenset({"MaxPool", "Transpose", "Reshape"})


@dataclass(frozen=True)
class Points:
    """The quantized values of a graph.

    Attributes
    ----------
    convolutions
        Those in INT8.
    groups
        Values that share a scale, in the order of the graph; the range of a group is that of its last value, where
        the others reach it through a pooling alone: what a pooling drops needs no integers.
    """

    convolutions: tuple[ir.Node, ...]
    groups: tuple[tuple[ir.Value, ...], ...]


def head(graph: ir.Graph) -> set[ir.Node]:
    """Return the head: on every path back from the outputs, all up to and with the first convolution met."""
    found: set[ir.Node] = set()
    pending = [value.producer() for value in graph.outputs]
    while pending:
        node = pending.pop()
        if node is not None and node not in found:
            found.add(node)
            if node.op_type != "Conv":
                pending.extend(value.producer() for value in node.inputs if value is not None)
    return found


def quantizable(graph: ir.Graph) -> tuple[ir.Node, ...]:
    """Return the convolutions that INT8 can compute: ungrouped, constant weights, not in the head."""
    ends = head(graph)
    return tuple(
        node
        for node in graph
        if node.op_type == "Conv"
        and not node.domain
        and node not in ends
        and node.attributes.get_int("group", 1) == 1
        and all(g.array(value) is not None for value in node.inputs[1:] if value is not None)
    )


def points(graph: ir.Graph, *, keep_float: Collection[str] = ()) -> Points:
    """Return what becomes integer when every convolution that can, but those named, is in INT8."""
    convolutions = tuple(node for node in quantizable(graph) if node.name not in keep_float)
    wanted: dict[ir.Value, None] = {}
    for node in convolutions:
        for value in (node.inputs[0], quantized_output(node)):
            if value is not None:
                wanted[value] = None
    _close(graph, wanted)
    return Points(convolutions, _groups(graph, wanted))


def quantized_output(node: ir.Node) -> ir.Value:
    """Return the value behind a convolution that is quantized: behind the clamp on it, where there is one."""
    output = node.outputs[0]
    users = [user for user, _ in output.uses()]
    if len(users) == 1 and users[0].op_type in _CLAMPS and not output.is_graph_output():
        return users[0].outputs[0]
    return output


def _close(graph: ir.Graph, wanted: dict[ir.Value, None]) -> None:
    """Add the values on both sides of what integers pass through, where one side is integer."""
    changed = True
    while changed:
        before = len(wanted)
        for node in graph:
            if node.op_type in _SAME_SCALE and node.inputs[0] is not None and _is_float(node.inputs[0]):
                sides = (node.inputs[0], node.outputs[0])
                if any(side in wanted for side in sides) and not any(_is_clamped(side) for side in sides):
                    wanted.update(dict.fromkeys(sides))
        changed = len(wanted) > before


def _is_float(value: ir.Value) -> bool:
    return value.dtype in (None, ir.DataType.FLOAT)


def _is_clamped(value: ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.op_type == "Conv" and quantized_output(node) is not value


def _groups(graph: ir.Graph, wanted: dict[ir.Value, None]) -> tuple[tuple[ir.Value, ...], ...]:
    found: dict[ir.Value, list[ir.Value]] = {}
    for node in graph:
        for value in (*node.inputs[:1], *node.outputs):
            if value is None or value not in wanted or value in found:
                continue
            maker = value.producer()
            source = maker.inputs[0] if maker is not None and maker.op_type in _SAME_SCALE else None
            group = found.get(source, []) if source is not None else []
            group.append(value)
            found[value] = group
    return tuple(tuple(group) for group in {id(group): group for group in found.values()}.values())


def range_source(group: tuple[ir.Value, ...]) -> tuple[ir.Value, ...]:
    """Return the values of a group whose ranges together are its range."""
    if all(len(value.uses()) == 1 and not value.is_graph_output() for value in group[:-1]):
        return group[-1:]
    return group
