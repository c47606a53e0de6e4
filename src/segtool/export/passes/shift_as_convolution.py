"""A shift between convolutions becomes a depthwise 1x1 convolution with unit weights, in float alone.

x + t = 1 * x + t. onnxruntime keeps float maps in blocks of channels from one convolution to the next; a plain
addition of a number a channel is not known there, so the map is put back into rows and into blocks again around
it. As a convolution it stays. Exact bit for bit: 1 x + t is x + t (a fused multiply-add rounds once too).

On fcn8 (one thread, AMD EPYC), whose five normalizations are behind poolings: 0.95 of the time in Winograd's form,
where the shift is beside its sums, and 1.01 without that form.

Refuses a map of unknown channels, and a shift whose input no convolution or pooling makes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Rewrite

_BLOCKED = frozenset({"Conv", "MaxPool", "AveragePool", "LeakyRelu", "Relu"})


def apply(node: ir.Node) -> str | None:
    """Replace the Add of a number a channel between convolutions."""
    found = g.per_channel(node)
    if found is None:
        return None
    value, shift = found
    before, after = value.producer(), [user.op_type for user, _ in node.outputs[0].uses()]
    if before is None or before.op_type not in _BLOCKED or "Conv" not in after or len(shift) % 16:
        return None
    ones = g.add_constant(node, np.ones((len(shift), 1, 1, 1), shift.dtype), "ones")
    inputs = [value, ones, g.add_constant(node, shift, "shift")]
    g.bypass(node, g.insert(node, "Conv", inputs, group=len(shift), kernel_shape=[1, 1], pads=[0, 0, 0, 0]))
    return f"{len(shift)} shifts as a depthwise convolution"


SHIFT_AS_CONVOLUTION = Rewrite("shift as depthwise convolution", frozenset({"Add"}), apply)
