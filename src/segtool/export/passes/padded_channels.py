"""Channels of zeros fill the maps of depthwise convolutions up to a multiple of 16, for INT8 on x86 alone.

All that makes or reads the channels of a map takes part: with W the weights of a convolution that makes them, zeros
are appended to its output channels; with V those of one that reads them, zeros to its input channels; a depthwise
convolution between the two gets kernels of zeros. Steps between them treat each channel alone. Whatever they make of
the new channels, V does not read it.

onnxruntime's fast depthwise kernel takes 16 channels at a time, and maps of other numbers of channels not at all.
MobileNetV3's layers of 72 and 120 channels (3x3 on 64 x 64, 5x5 on 32 x 32; one thread, Xeon with AMX): 282 and 253
us; with 80 and 128 channels 134 and 107. The whole file of its LR-ASPP takes 0.92 of the time.

Exact: the sums have zeros among them. Refuses channels that are concatenated, reshaped, returned or added to a number
a channel, shared weights, and more than half as many channels again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite

_MULTIPLE, _MOST = 16, 1.5
# They treat each channel alone; only their first input is a map.
_CHANNELWISE = g.ACTIVATIONS | {"HardSwish", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize", "Tile"}
_TOGETHER = frozenset({"Add", "Sub", "Mul"})


@dataclass
class _Space:
    """The values that have the same channels, and the convolutions that make, keep or read these."""

    channels: int
    values: dict[ir.Value, None] = field(default_factory=dict)
    makers: dict[ir.Node, None] = field(default_factory=dict)
    depthwise: dict[ir.Node, None] = field(default_factory=dict)
    readers: dict[ir.Node, None] = field(default_factory=dict)


def apply(node: ir.Node) -> str | None:
    """Pad the channels of a depthwise convolution, and of all that has the same ones."""
    count = _depthwise_channels(node)
    if count is None or count % _MULTIPLE == 0:
        return None
    wanted = -(-count // _MULTIPLE) * _MULTIPLE
    if wanted > _MOST * count:
        raise Refused(f"{wanted} channels are more than {_MOST:g} times its {count}")
    space = _space_of(node.outputs[0], count)
    if set(space.makers) & set(space.readers):
        raise Refused("a convolution makes the channels that it reads")
    places = _places(space)
    arrays = [g.own_array(place.inputs[index], role) for place, index, role, _ in places]  # before any is changed
    for (place, index, role, axis), array in zip(places, arrays, strict=True):
        widths = [(0, wanted - count if item == axis else 0) for item in range(array.ndim)]
        g.set_constant(place, index, np.pad(array, widths), role)
    for item in space.depthwise:
        item.attributes["group"] = ir.AttrInt64("group", wanted)
    for value in space.values:
        value.shape = None
    return f"{count} channels as {wanted} in {len(space.depthwise)} depthwise convolutions"


def _depthwise_channels(node: ir.Node) -> int | None:
    if node.op_type != "Conv":
        return None
    weights, groups = g.array(node.inputs[1]), node.attributes.get_int("group", 1)
    is_depthwise = groups > 1 and weights is not None and weights.ndim == 4 and weights.shape[:2] == (groups, 1)
    return groups if is_depthwise else None


def _places(space: _Space) -> list[tuple[ir.Node, int, str, int]]:
    """Return each constant to pad: its node, the index of the input, its role, and the axis of the channels."""
    weights = [
        *((node, 0) for node in (*space.makers, *space.depthwise)),
        *((node, 1) for node in space.readers),
    ]
    biased = [node for node in (*space.makers, *space.depthwise) if g.bias(node) is not None]
    return [*((node, 1, "weight", axis) for node, axis in weights), *((node, 2, "bias", 0) for node in biased)]


def _space_of(value: ir.Value, channels: int) -> _Space:
    """Return all that has the channels of a value."""
    space, pending = _Space(channels), [value]
    while pending:
        item = pending.pop()
        if item in space.values:
            continue
        if item.is_graph_output() or item.shape is None or len(item.shape) != 4 or item.shape[1] != channels:
            raise Refused(f"{item.name} does not have its {channels} channels alone, or is an output of the graph")
        space.values[item] = None
        pending.extend(_before(item, space))
        for user, index in item.uses():
            pending.extend(_behind(user, index, space))
    return space


def _before(value: ir.Value, space: _Space) -> list[ir.Value]:
    """Return the values in front of a value that have its channels."""
    maker = value.producer()
    if maker is None or maker.domain:
        raise Refused(f"{value.name} is not made by a convolution")
    if maker.op_type == "Conv" and maker.attributes.get_int("group", 1) == 1:
        space.makers[maker] = None
        return []
    return _sources(maker, space)


def _behind(user: ir.Node, index: int, space: _Space) -> list[ir.Value]:
    """Return the values behind a node that have the channels of one of its inputs."""
    if user.op_type == "Conv" and index == 0 and user.attributes.get_int("group", 1) == 1:
        space.readers[user] = None
        return []
    _sources(user, space)
    return list(user.outputs)


def _sources(node: ir.Node, space: _Space) -> list[ir.Value]:
    """Return the inputs of a node that keeps the channels apart."""
    if _depthwise_channels(node) == space.channels:
        space.depthwise[node] = None
        sources = list(node.inputs[:1])
    elif node.op_type in _CHANNELWISE:
        sources = list(node.inputs[:1])
    elif node.op_type in _TOGETHER and all(_is_map_or_number(item) for item in node.inputs):
        sources = [item for item in node.inputs if g.array(item) is None]
    else:
        raise Refused(f"{node.op_type} has the channels of others too")
    return [item for item in sources if item is not None]


def _is_map_or_number(value: ir.Value | None) -> bool:
    constant = g.array(value)
    return constant is None or constant.size == 1


PADDED_CHANNELS = Rewrite("padded channels", frozenset({"Conv"}), apply)
