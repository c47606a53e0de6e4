"""Channels of one map are given like ranges before one scale for all of them is chosen; exact in float.

One scale a map is what fast integer kernels take, so a channel whose numbers are small gets few of the 256 levels.
For positive factors s a channel, leaky(s x) = s leaky(x) and max(s x) = s max(x), so with W, b of the convolution
that makes the map, the shifts t added on the way and V of every convolution that reads it,

    V * (pool(act(W * x + b)) + t)  =  (V / s) * (pool(act((s W) * x + s b)) + s t).

It costs nothing at run time. With r the 99.9th percentile of |x| of a channel (the
mean over batches, each by its images), s = (max r / r)^strength: 0 changes
nothing, 1 makes all ranges equal and leaves all of the differences to the weights V, which have one scale an output
channel. Nagel et al., Data-Free Quantization (ICCV 2019), section 4.1; here from activations, and in part.

Measured on fcn8 (M2NIST, min-max, pixels with FP32's label, without and with bias correction): strength 0:
99.63 %, 99.68 %; 0.3: 99.74 % to 99.85 %, 99.91 %; 0.5: 99.84 %, 99.92 %; 1: 98.8 %. No value is the best for every
network, so a few are tried (`quantize`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from segtool.array_types import AnyArray, UInt8Array
from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, to_ir
from segtool.export.running import run_batches

_PERCENTILE = 99.9
_MOST = 1000.0  # a channel that is (nearly) always 0 is not blown up further


@dataclass(frozen=True)
class Chain:
    """A map from the convolution that makes it over the shifts added on the way to those that read it."""

    maker: ir.Node
    shifts: tuple[ir.Node, ...]
    value: ir.Value
    readers: tuple[ir.Node, ...]


def channel_ranges(model: onnx.ModelProto, batches: Iterator[UInt8Array]) -> dict[str, AnyArray]:
    """Return, by the name of its maker, the range (C,) of each channel of each map that can be equalized."""
    graph = to_ir(model).graph
    found = {str(chain.value.name): str(chain.maker.name) for chain in chains(graph)}
    sums: dict[str, AnyArray] = {}
    images = 0
    for values in run_batches(model, list(found), batches) if found else ():
        images += len(next(iter(values.values())))
        for name, value in values.items():
            channels = np.abs(value).transpose(1, 0, 2, 3).reshape(value.shape[1], -1)
            ranges = np.percentile(channels, _PERCENTILE, axis=1) * len(value)
            sums[name] = sums[name] + ranges if name in sums else ranges
    return {maker: sums[value] / images for value, maker in found.items() if value in sums}


def equalize(model: onnx.ModelProto, ranges: dict[str, AnyArray], *, strength: float) -> onnx.ModelProto:
    """Return the same function with like channel ranges.

    Parameters
    ----------
    model
        Float model, not changed.
    ranges
        As from `channel_ranges`.
    strength
        0..1; see the module.
    """
    if not strength:
        return model
    work = to_ir(model)
    for chain in chains(work.graph):
        ranged = ranges.get(str(chain.maker.name))
        if ranged is not None and ranged.max() > 0:
            _scale(chain, factors(ranged, strength))
    return ir.to_proto(work)


def factors(ranges: AnyArray, strength: float) -> AnyArray:
    """Return the factor, 1 or more, of each channel: float64 (C,)."""
    largest = ranges.max()
    found: AnyArray = (largest / np.maximum(ranges, largest / _MOST)) ** strength
    return found


def chains(graph: ir.Graph) -> tuple[Chain, ...]:
    """Return the maps that only convolutions read, through nothing but positively homogeneous steps and shifts."""
    found = (_chain(node) for node in graph if node.op_type == "Conv")
    return tuple(chain for chain in found if chain is not None)


def _chain(maker: ir.Node) -> Chain | None:
    value = maker.outputs[0]
    shifts: list[ir.Node] = []
    try:
        g.own_array(maker.inputs[1], "weight")
        g.own_bias(maker)
        while True:
            readers = tuple(user for user, _ in value.uses())
            if readers and not value.is_graph_output() and all(_reads(user, value) for user in readers):
                for reader in readers:
                    g.own_array(reader.inputs[1], "weight")
                return Chain(maker, tuple(shifts), value, readers)
            step = g.sole_user(value)
            if step.op_type == "Add" and g.per_channel(step) is not None:
                g.own_array(step.inputs[_constant(step)], "shift")
                shifts.append(step)
            elif step.op_type not in g.HOMOGENEOUS:
                return None
            value = step.outputs[0]
    except Refused:
        return None


def _constant(shift: ir.Node) -> int:
    return 1 if g.array(shift.inputs[0]) is None else 0


def _reads(node: ir.Node, value: ir.Value) -> bool:
    return node.op_type == "Conv" and node.inputs[0] is value and node.attributes.get_int("group", 1) == 1


def _scale(chain: Chain, factor: AnyArray) -> None:
    column = factor[:, None, None, None]
    _replace(chain.maker, 1, column, "weight")
    if g.own_bias(chain.maker) is not None:
        _replace(chain.maker, 2, factor, "bias")
    for shift in chain.shifts:
        _replace(shift, _constant(shift), factor[:, None, None], "shift")
    for reader in chain.readers:
        _replace(reader, 1, 1 / factor[None, :, None, None], "weight")


def _replace(node: ir.Node, index: int, factor: AnyArray, role: str) -> None:
    old = g.own_array(node.inputs[index], role)
    g.set_constant(node, index, (old * factor).astype(old.dtype), role)
