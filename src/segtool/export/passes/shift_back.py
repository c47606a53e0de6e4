"""A shift directly behind a convolution becomes part of its bias.

(W * x + b) + t = W * x + (b + t), for a transposed convolution too. Together with
`scale_back` a batch normalization directly behind a convolution is gone.

Re-associates sums: within rounding. Refuses a convolution whose output others use too, and a shared bias.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Rewrite


def apply(node: ir.Node) -> str | None:
    """Add the per-channel constant of an Add to the bias of the convolution before it."""
    found = g.per_channel(node)
    conv = None if found is None else found[0].producer()
    if found is None or conv is None or conv.op_type not in ("Conv", "ConvTranspose"):
        return None
    value, shift = found
    g.sole_user(value)
    bias = g.own_bias(conv)
    bias = np.zeros_like(shift) if bias is None else bias
    g.set_constant(conv, 2, (bias.astype(np.float64) + shift).astype(bias.dtype), "bias")
    g.bypass(node, value)
    return f"{len(shift)} shifts in the bias of {conv.name}"


SHIFT_BACK = Rewrite("normalization's shift into convolution", frozenset({"Add"}), apply)
