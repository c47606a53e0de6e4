"""Which convolutions are computed in INT8, and which values that makes integers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from segtool.export.passes import graph as g

# What integers pass through as they are: one scale and zero point on both sides.
_SAME_SCALE = frozenset({"MaxPool", "Transpose", "Reshape", "Slice", "Concat"})


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
    """Return the head: on every path back from the outputs, all up to and with the layer that scores the classes.

    That is the first one met whose input is not scores already, of a number a class, as that of an upsampling is.
    """
    found: set[ir.Node] = set()
    classes = _classes(graph)
    pending = [value.producer() for value in graph.outputs]
    while pending:
        node = pending.pop()
        if node is not None and node not in found:
            found.add(node)
            if not _scores_classes(node, classes):
                pending.extend(value.producer() for value in node.inputs if value is not None)
    return found


def _classes(graph: ir.Graph) -> int | None:
    """Return the number of classes: the length of the axis that an ArgMax is over, or else of the output's last."""
    best = [node for node in graph if node.op_type == "ArgMax"]
    value, axis = (best[-1].inputs[0], best[-1].attributes.get_int("axis", 0)) if best else (graph.outputs[0], -1)
    size = None if value is None or value.shape is None else value.shape[axis]
    return size if isinstance(size, int) else None


def _scores_classes(node: ir.Node, classes: int | None) -> bool:
    """Say whether a node is a layer that makes something else than scores into scores."""
    if node.op_type == "Conv":
        return True
    # The weights of both hold the input channels first.
    weights = g.array(node.inputs[1]) if node.op_type in ("MatMul", "ConvTranspose") else None
    return weights is not None and classes is not None and weights.shape[0] != classes


def quantizable(graph: ir.Graph) -> tuple[ir.Node, ...]:
    """Return the convolutions that INT8 can compute: 2-D, ungrouped, constant weights, not in the head."""
    ends = head(graph)
    return tuple(
        node
        for node in graph
        if node.op_type == "Conv"
        and not node.domain
        and node not in ends
        and node.attributes.get_int("group", 1) == 1
        and all(g.array(value) is not None for value in node.inputs[1:] if value is not None)
        and _dimensions(node) == 2
    )


def _dimensions(node: ir.Node) -> int:
    """Return over how many axes a convolution with constant weights slides: 2 for images, 3 for volumes."""
    weights = g.array(node.inputs[1])
    return 0 if weights is None else weights.ndim - 2


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
    """Return the value behind a convolution that is quantized: behind the clamp on it, where there is one.

    The clamp is then fused into the convolution, and no level is spent on what it cuts off.
    """
    return g.clamp_on(node).outputs[0]


def _close(graph: ir.Graph, wanted: dict[ir.Value, None]) -> None:
    """Add the values on all sides of what integers pass through, where one side is integer."""
    changed = True
    while changed:
        before = len(wanted)
        for node in graph:
            sides = _sides(node)
            if any(side in wanted for side in sides) and not any(_is_clamped(side) for side in sides):
                wanted.update(dict.fromkeys(sides))
        changed = len(wanted) > before


def _sides(node: ir.Node) -> tuple[ir.Value, ...]:
    """Return the values on all sides of what integers pass through; none for other nodes, and where not all float."""
    if node.op_type not in _SAME_SCALE:
        return ()
    sources = node.inputs if node.op_type == "Concat" else node.inputs[:1]
    sides = tuple(value for value in (*sources, node.outputs[0]) if value is not None)
    return sides if all(_is_float(side) and g.array(side) is None for side in sides) else ()


def _is_float(value: ir.Value) -> bool:
    return value.dtype in (None, ir.DataType.FLOAT)


def _is_clamped(value: ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.op_type == "Conv" and quantized_output(node) is not value


def _groups(graph: ir.Graph, wanted: dict[ir.Value, None]) -> tuple[tuple[ir.Value, ...], ...]:
    """Return the wanted values in groups of one scale, each in the order of the graph."""
    ordered = [value for value in dict.fromkeys(_values(graph)) if value in wanted]
    group = {value: [value] for value in ordered}
    for node in graph:
        sides = [side for side in _sides(node) if side in group]
        for side in sides[1:]:
            _join(group, sides[0], side)
    rank = {value: index for index, value in enumerate(ordered)}
    found = {id(members): sorted(members, key=rank.__getitem__) for members in group.values()}
    return tuple(tuple(members) for members in sorted(found.values(), key=lambda members: rank[members[0]]))


def _values(graph: ir.Graph) -> list[ir.Value]:
    return [value for node in graph for value in (*node.inputs, *node.outputs) if value is not None]


def _join(group: dict[ir.Value, list[ir.Value]], one: ir.Value, other: ir.Value) -> None:
    if group[one] is not group[other]:
        group[one].extend(group[other])
        for value in group[other]:
            group[value] = group[one]


def range_source(group: tuple[ir.Value, ...]) -> tuple[ir.Value, ...]:
    """Return the values of a group whose ranges together are its range."""
    if all(len(value.uses()) == 1 and not value.is_graph_output() for value in group[:-1]):
        return group[-1:]
    return group
