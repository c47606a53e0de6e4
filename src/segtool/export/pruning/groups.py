"""Which channels of a graph can go: who makes them, what they pass through, and who reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from segtool.array_types import FloatingArray
from segtool.export.passes import Refused, to_ir, to_onnx
from segtool.export.passes import graph as g

# They treat each channel alone, as activations do.
_POOLINGS = frozenset({"MaxPool", "AveragePool"})


@dataclass(frozen=True)
class Window:
    """Where a convolution of a (N, C, H, W) map looks.

    Attributes
    ----------
    kernel, strides, dilations
        (rows, columns).
    pads
        (top, left, bottom, right), zeros.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass(frozen=True)
class Reader:
    """A convolution that reads the channels of a group.

    Attributes
    ----------
    name, output
        Of the node and of what it makes.
    window
        Where it looks.
    weights, bias
        (K, C, rows, columns) and (K,); zeros where it has no bias.
    """

    name: str
    output: str
    window: Window
    weights: FloatingArray
    bias: FloatingArray


@dataclass(frozen=True)
class Group:
    """Channels that only convolutions read.

    Attributes
    ----------
    maker
        Name of the convolution that makes them.
    channels
        How many there are.
    source
        Name of the value (N, C, H, W) that all readers read.
    readers
        The convolutions that read it.
    macs
        Multiply-accumulates of an image for each channel: to make it, and to read it.
    """

    maker: str
    channels: int
    source: str
    readers: tuple[Reader, ...]
    macs: int


def find_groups(model: onnx.ModelProto) -> tuple[Group, ...]:
    """Return the groups of a graph, in its order.

    What reaches anything else than a convolution without groups (an addition of maps, a concatenation, a transposed
    convolution, an output) is no group, nor is what shares its weights.
    """
    work = to_ir(model)
    found = []
    for node in work.graph:
        try:
            group = _group(node)
        except Refused:
            continue
        if group is not None:
            found.append(group)
    return tuple(found)


def without_channels(
    model: onnx.ModelProto,
    group: Group,
    kept: npt.NDArray[np.intp],
    fitted: Mapping[str, tuple[FloatingArray, FloatingArray]],
) -> onnx.ModelProto:
    """Return a graph that makes only some channels of a group.

    Parameters
    ----------
    model
        Not changed.
    group
        One of its groups.
    kept
        The channels that stay, in their order.
    fitted
        For each reader by name its weights (K, len(kept), rows, columns) and bias (K,).
    """
    work = to_ir(model)
    nodes = {str(node.name): node for node in work.graph}
    maker = nodes[group.maker]
    for index, role in enumerate(("weight", "bias"), start=1):
        if len(maker.inputs) > index and maker.inputs[index] is not None:
            g.set_constant(maker, index, g.own_array(maker.inputs[index], role)[kept], role)
    for node in _way(maker)[0]:
        for index, value in enumerate(node.inputs):
            constant = g.array(value)
            if node.op_type in ("Add", "Mul") and constant is not None and constant.size == group.channels:
                g.set_constant(node, index, np.take(constant, kept, axis=constant.ndim - 3), "kept")
    for reader in group.readers:
        for index, array in enumerate(fitted[reader.name], start=1):
            g.set_constant(nodes[reader.name], index, array.astype(np.float32), ("weight", "bias")[index - 1])
    return to_onnx(work)


def _group(node: ir.Node) -> Group | None:
    if not _is_plain(node):
        return None
    steps, source = _way(node)
    users = [user for user, _ in source.uses()]
    if source.is_graph_output() or not users or not all(_is_plain(user) and user.inputs[0] is source for user in users):
        return None
    weights = g.own_array(node.inputs[1], "weight")
    if any(not _fits(step, len(weights)) for step in steps):
        return None
    readers = tuple(_reader(user) for user in users)
    read = sum(reader.weights[:, 0].size * _pixels(user) for reader, user in zip(readers, users, strict=True))
    return Group(str(node.name), len(weights), str(source.name), readers, weights[0].size * _pixels(node) + read)


def _is_plain(node: ir.Node) -> bool:
    """Say whether a node is a convolution of maps without groups, with weights and bias of its own."""
    if node.op_type != "Conv" or node.domain or not node.name or node.attributes.get_int("group", 1) != 1:
        return False
    arrays = [g.own_array(value, "weight") for value in node.inputs[1:] if value is not None]
    return arrays[0].ndim == 4 and arrays[0].dtype == np.float32


def _way(maker: ir.Node) -> tuple[list[ir.Node], ir.Value]:
    """Return the nodes that treat each channel alone behind a convolution, and the value behind them."""
    steps: list[ir.Node] = []
    value = maker.outputs[0]
    while len(value.uses()) == 1 and not value.is_graph_output():
        node = g.sole_user(value)
        alone = node.op_type in g.ACTIVATIONS | _POOLINGS or (node.op_type in ("Add", "Mul") and g.per_channel(node))
        if node.domain or not alone or len(node.outputs) != 1:
            break
        steps.append(node)
        value = node.outputs[0]
    return steps, value


def _fits(step: ir.Node, channels: int) -> bool:
    """Say whether a shift or scale on the way has one number, or one a channel."""
    found = g.per_channel(step) if step.op_type in ("Add", "Mul") else None
    return found is None or len(found[1]) in (1, channels)


def _reader(node: ir.Node) -> Reader:
    weights = g.own_array(node.inputs[1], "weight")
    bias = g.own_bias(node)
    rows, columns = weights.shape[2:]
    top, left, bottom, right = g.explicit_pads(node)
    (down, along), (apart, aside) = g.ints(node, "strides", [1, 1]), g.ints(node, "dilations", [1, 1])
    window = Window((rows, columns), (down, along), (apart, aside), (top, left, bottom, right))
    return Reader(
        str(node.name),
        str(node.outputs[0].name),
        window,
        weights,
        np.zeros(len(weights), np.float32) if bias is None else bias,
    )


def _pixels(node: ir.Node) -> int:
    _, height, width = g.static_shape(node.outputs[0])
    return height * width
