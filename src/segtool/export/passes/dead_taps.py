"""Kernel taps that only ever meet zero padding are cut, and the padding with them.

Along one axis of n inputs, output y reads with tap t the input i = y stride - begin + t dilation. Where i is outside
0..n-1 for every y, tap t multiplies padding alone and adds 0. The taps left are a range; cutting a taps in front and
b behind shrinks the pads by a dilation and b dilation. On a 2 x 3 map a 7x7 kernel is a 3x5 one: of fcn8's weights
70 % are gone, and half of that layer's time.

Drops zeros from sums: within rounding. Refuses automatic padding, shared weights, and maps of unknown size.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite


def apply(node: ir.Node) -> str | None:
    """Cut the dead taps of a convolution."""
    weights = g.array(node.inputs[1])
    if weights is None or weights.ndim != 4 or not any(g.explicit_pads(node)):
        return None
    pads, strides, dilations = g.explicit_pads(node), *(g.ints(node, it, [1, 1]) for it in ("strides", "dilations"))
    sizes, counts = g.static_shape(node.inputs[0], start=2), g.static_shape(node.outputs[0], start=2)
    kept = [
        live_taps(weights.shape[2 + axis], sizes[axis], counts[axis], pads[axis], strides[axis], dilations[axis])
        for axis in range(2)
    ]
    if all(len(taps) == size for taps, size in zip(kept, weights.shape[2:], strict=True)):
        return None
    cut = [int(d) for axis in range(2) for d in (kept[axis][0], weights.shape[2 + axis] - 1 - kept[axis][-1])]
    new_pads = [pad - cut[2 * (i % 2) + i // 2] * dilations[i % 2] for i, pad in enumerate(pads)]
    if min(new_pads) < 0:
        raise Refused("what is left would read from inside the map")
    own = g.own_array(node.inputs[1], "weight")
    rows, columns = (slice(taps[0], taps[-1] + 1) for taps in kept)
    g.set_constant(node, 1, own[:, :, rows, columns], "weight")
    node.attributes["pads"] = ir.AttrInt64s("pads", new_pads)
    node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", [len(taps) for taps in kept])
    return "kernel {}x{} is {}x{}".format(*weights.shape[2:], *(len(taps) for taps in kept))


def live_taps(taps: int, size: int, outputs: int, begin: int, stride: int, dilation: int) -> range:
    """Return the range of taps, at least one, between the first and the last that ever meets the map.

    Parameters
    ----------
    taps, size, outputs
        Of the kernel, the input and the output along one axis.
    begin, stride, dilation
        Padding in front, and steps, along it.
    """
    starts = np.arange(outputs) * stride - begin
    live = [tap for tap in range(taps) if ((starts + tap * dilation >= 0) & (starts + tap * dilation < size)).any()]
    return range(live[0], live[-1] + 1) if live else range(1)


DEAD_TAPS = Rewrite("dead kernel taps cut", frozenset({"Conv"}), apply)
