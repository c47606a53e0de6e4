"""Which layers are computed in INT8, and which values that makes integers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from segtool.export.int8.weighted_layers import dense
from segtool.export.passes import graph as g

# What integers pass through as they are: one scale and zero point on both sides.
_SAME_SCALE = frozenset({"MaxPool", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Tile"})
# What is computed from integers to integers, with a scale and a zero point on each side. onnxruntime has integer
# kernels for all but a linear Resize and HardSigmoid (`qdq`).
_OWN_SCALE = frozenset(
    {"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "Sigmoid", "HardSigmoid", "LeakyRelu", "Resize"}
)
_FEW_CLASSES = 8  # whose scores in 8 bits are rarely equal


@dataclass(frozen=True)
class Points:
    """The quantized values of a graph.

    Attributes
    ----------
    layers
        Convolutions and matrix products in INT8.
    groups
        Values that share a scale, in the order of the graph; the range of a group is that of its last value, where
        the others reach it through a pooling alone: what a pooling drops needs no integers.
    """

    layers: tuple[ir.Node, ...]
    groups: tuple[tuple[ir.Value, ...], ...]


def head(graph: ir.Graph) -> set[ir.Node]:
    """Return the head, which is computed in float: on every path back from the outputs, all up to the scores.

    The layer that makes them is the first one met whose input is not scores already, of a number a class, as that of an
    upsampling is. It belongs to the head, but for a convolution of several taps that scores up to 8 classes for labels:
    in float it would read its map in another layout, and take long. With 4 classes at 256 x 256 a U-Net with
    MobileNetV2 takes 0.93 of the time with it in INT8, one with ResNet18 0.95, one of a tutorial of Keras 0.91 (one
    thread of an AMD EPYC with VNNI), and 0.01, 0.01 and 0.07 % of the pixels change their label. The more classes, the
    more scores of a pixel are equal in 8 bits: with 21 it is 0.5 %, with 100 2.8 % (random weights).
    """
    found: set[ir.Node] = set()
    classes = _classes(graph)
    decides = classes is not None and classes <= _FEW_CLASSES and not any(map(_is_float, graph.outputs))
    pending = [value.producer() for value in graph.outputs]
    while pending:
        node = pending.pop()
        if node is None or node in found:
            continue
        scores = _scores_classes(node, classes)
        if not (scores and decides and _has_taps(node)):
            found.add(node)
        if not scores:
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


def _has_taps(node: ir.Node) -> bool:
    """Say whether a node is a convolution of more than one tap a channel."""
    weights = g.array(node.inputs[1]) if _is_convolution(node) else None
    return weights is not None and max(weights.shape[2:]) > 1


def quantizable(graph: ir.Graph) -> tuple[ir.Node, ...]:
    """Return the layers that INT8 can compute: convolutions of maps, and dense layers, outside of the head.

    A convolution of one number a channel, as those of a gate are, costs nothing in float and loses accuracy in INT8.
    Nor does a 1x1 convolution of tokens that is upsampled linearly next: both sides of it are float, and between floats
    onnxruntime's blocked layout is faster. One thread of an AMD EPYC, SegFormer-B0 in INT8: 1.19 of the time with these
    convolutions in INT8. Where a convolution comes before it, it is 0.97 (EfficientNet-Lite0 with an FCN decoder) and
    0.98 (DDRNet).
    """
    ends = head(graph)
    return tuple(
        node
        for node in graph
        if not node.domain
        and node not in ends
        and ((_is_convolution(node) and not _is_gate(node.outputs[0]) and not _is_between_floats(node)) or dense(node))
    )


def _is_convolution(node: ir.Node) -> bool:
    """Say whether a node is a convolution over two axes with constant weights."""
    if node.op_type != "Conv":
        return False
    arrays = [g.array(value) for value in node.inputs[1:] if value is not None]
    return all(item is not None for item in arrays) and arrays[0] is not None and arrays[0].ndim == 4


def _is_between_floats(node: ir.Node) -> bool:
    """Say whether a 1x1 convolution reads tokens, and is read by linear upsampling alone."""
    weights, users = g.array(node.inputs[1]), [user for user, _ in node.outputs[0].uses()]
    maker = g.maker(node.inputs[0])
    return (
        maker is not None
        and maker.op_type == "Transpose"
        and weights is not None
        and weights.shape[2:] == (1, 1)
        and bool(users)
        and all(user.op_type == "Resize" and user.attributes.get_string("mode", "") == "linear" for user in users)
    )


def points(graph: ir.Graph, *, keep_float: Collection[str] = ()) -> Points:
    """Return what becomes integer when every layer that can, but those named, is in INT8.

    What a dense layer makes is float: what is behind it mostly is.
    """
    layers = tuple(node for node in quantizable(graph) if node.name not in keep_float)
    wanted: dict[ir.Value, None] = {}
    for node in layers:
        for value in (node.inputs[0], quantized_output(node) if node.op_type == "Conv" else None):
            if value is not None:
                wanted[value] = None
    _close(graph, wanted, layers)
    return Points(layers, _groups(graph, wanted))


def quantized_output(node: ir.Node) -> ir.Value:
    """Return the value behind a convolution that is quantized: behind the clamp on it, where there is one.

    The clamp is then fused into the convolution, and no level is spent on what it cuts off.
    """
    return g.clamp_on(node).outputs[0]


def _close(graph: ir.Graph, wanted: dict[ir.Value, None], layers: Collection[ir.Node]) -> None:
    """Add what integers pass through, and what is computed from integers for integers; the head stays in float."""
    changed, ends = True, head(graph)
    read = _read_by_integers(graph, ends, layers)
    while changed:
        before = len(wanted)
        for node in graph:
            sides = _sides(node)
            if any(side in wanted for side in sides) and not any(_is_clamped(side) for side in sides):
                wanted.update(dict.fromkeys(sides))
            if node in read and node not in ends and _is_integer(node, wanted):
                wanted.update(dict.fromkeys((*_gates(node), quantized_output(node))))
        changed = len(wanted) > before


def _is_integer(node: ir.Node, wanted: Collection[ir.Value]) -> bool:
    """Say whether a node has a scale on each side, and all that it computes with is integer."""
    if not _has_own_scales(node) or (_is_gate(node.outputs[0]) and node.op_type != "GlobalAveragePool"):
        return False
    gates = _gates(node)
    return all(value in wanted or value in gates for value in _sources(node))


def _gates(node: ir.Node) -> tuple[ir.Value, ...]:
    """Return the sources of a product, one number a channel each, that are float and made integers for it."""
    sources = _sources(node) if node.op_type == "Mul" else ()
    return tuple(value for value in sources if value is not None and _is_gate(value))


def _is_gate(value: ir.Value) -> bool:
    return value.shape is not None and len(value.shape) == 4 and tuple(value.shape)[2:] == (1, 1)


def _has_own_scales(node: ir.Node) -> bool:
    own = node.op_type in _OWN_SCALE and not node.domain
    return own and all(value is not None and g.array(value) is None for value in _sources(node))


def _sources(node: ir.Node) -> tuple[ir.Value | None, ...]:
    return tuple(node.inputs[:1] if node.op_type == "Resize" else node.inputs)


def _read_by_integers(graph: ir.Graph, ends: Collection[ir.Node], layers: Collection[ir.Node]) -> set[ir.Node]:
    """Return the nodes whose output something takes as integers, behind the clamp on it; a mean over a map pays anyway.

    What has scales of its own takes integers only if its own output is read so: else it is computed in float.
    """
    found: set[ir.Node] = set()
    for node in reversed(graph):
        users = [user for user, _ in quantized_output(node).uses()]
        if node.op_type == "GlobalAveragePool" or any(
            user in layers or _sides(user) or (user in found and user not in ends and _has_own_scales(user))
            for user in users
        ):
            found.add(node)
    return found


def _sides(node: ir.Node) -> tuple[ir.Value, ...]:
    """Return the values on both sides of what integers pass through; none for other nodes, and where not all float."""
    if node.op_type not in _SAME_SCALE or node.domain:
        return ()
    sides = tuple(value for value in (node.inputs[0], node.outputs[0]) if value is not None)
    return sides if all(_is_float(side) and g.array(side) is None for side in sides) else ()


def _is_float(value: ir.Value) -> bool:
    return value.dtype in (None, ir.DataType.FLOAT)


def _is_clamped(value: ir.Value) -> bool:
    node = value.producer()
    computed = node is not None and node.op_type in ("Conv", *_OWN_SCALE)
    return computed and quantized_output(node) is not value


def _groups(graph: ir.Graph, wanted: dict[ir.Value, None]) -> tuple[tuple[ir.Value, ...], ...]:
    """Return the wanted values in groups of one scale, each in the order of the graph."""
    values = (value for node in graph for value in (*node.inputs, *node.outputs) if value in wanted)
    ordered = [value for value in dict.fromkeys(values) if value is not None]
    group = {value: [value] for value in ordered}
    for node in graph:
        joined = _joined(node) if node.outputs[0] in group else ()
        sides = [side for side in (joined or _sides(node)) if side in group]
        for side in sides[1:]:
            _join(group, sides[0], side)
    rank = {value: index for index, value in enumerate(ordered)}
    found = {id(members): sorted(members, key=rank.__getitem__) for members in group.values()}
    return tuple(tuple(members) for members in sorted(found.values(), key=lambda members: rank[members[0]]))


def _joined(node: ir.Node) -> tuple[ir.Value, ...]:
    """Return the sides of a concatenation that are given one scale, with which nothing is computed in it.

    Not those of maps that end at 0 and of others: a ReLU is only part of a convolution whose integers begin at 0.
    """
    sources = [value for value in node.inputs if value is not None] if node.op_type == "Concat" else []
    return (*sources, node.outputs[0]) if len({_begins_at_zero(value) for value in sources}) == 1 else ()


def _begins_at_zero(value: ir.Value | None) -> bool:
    """Say whether a map holds no number below 0."""
    node = g.maker(value)
    while node is not None and (node.op_type in _SAME_SCALE or _is_mean(node)) and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node is not None and (node.op_type in ("Sigmoid", "HardSigmoid") or g.is_clamp(node))


def _is_mean(node: ir.Node) -> bool:
    """Say whether each number that a node makes is a mean of some: a cubic Resize has weights below 0."""
    if node.op_type == "Resize":
        return bool(node.attributes.get_string("mode", "nearest") != "cubic")
    return node.op_type in ("AveragePool", "GlobalAveragePool")


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
