"""A shift of one number a channel is stored for a whole row of the map, for INT8 alone.

(N, C, H, W) + (C, 1, 1) = (N, C, H, W) + (1, C, 1, W), the same number W times. Exact bit for bit.

Between INT8 convolutions maps are channels-last, where the first form adds C numbers at a time and the second W C at
a time. On fcn8's first normalization (one thread, Zen 5): 8 us in place of 19; the constants grow to 27 kB.

Leaves rows of more than 64 kB of constants alone.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Rewrite

_MOST_NUMBERS = 2**14


def apply(node: ir.Node) -> str | None:
    """Widen the constant of an Add of one number a channel to a row."""
    found, sides = g.per_channel(node), g.with_constant(node)
    if found is None or sides is None or len(found[1]) == 1:
        return None
    value, shift = found
    _, height, width = g.static_shape(value)
    if height == 1 or width == 1 or width * len(shift) > _MOST_NUMBERS:
        return None
    row = np.tile(shift.reshape(1, -1, 1, 1), (1, 1, 1, width))
    g.set_constant(node, sides[2], row, "row")
    return f"{len(shift)} shifts for rows of {width}"


SHIFT_BY_ROWS = Rewrite("shift by rows", frozenset({"Add"}), apply)
