"""A minimum and a maximum with two numbers become a Clip.

min(max(x, a), b) = max(min(x, b), a) = clip(x, a, b) for a <= b. That is how tf2onnx converts `keras.ops.clip` and
`tf.clip_by_value`. A Clip is one pass in place of two, joins the convolution in front of it, and ends the range that
INT8 spends its levels on; `hard_sigmoid` takes it from there.

Exact bit for bit. Refuses an inner step that others use too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Rewrite

_OTHER = {"Min": "Max", "Max": "Min"}


def apply(node: ir.Node) -> str | None:
    """Rewrite the outer one of the two."""
    outer = _limit(node)
    inner_node = None if outer is None else g.maker(outer[0])
    if outer is None or inner_node is None or inner_node.op_type != _OTHER[node.op_type]:
        return None
    inner = _limit(inner_node)
    if inner is None:
        return None
    low, high = (inner[1], outer[1]) if node.op_type == "Min" else (outer[1], inner[1])
    if not low <= high:
        return None
    g.sole_user(outer[0])
    ends = [g.add_constant(node, np.array(end, np.float32), name) for end, name in ((low, "low"), (high, "high"))]
    g.bypass(node, g.insert(node, "Clip", [inner[0], *ends]))
    return f"{low:g} to {high:g}"


def _limit(node: ir.Node) -> tuple[ir.Value, float] | None:
    """Return the other side and the number of a Min or Max of float32 with one number."""
    found = g.with_constant(node) if len(node.inputs) == 2 else None
    if found is None or found[1].size != 1 or found[1].dtype != np.float32:
        return None
    return found[0], float(found[1].item())


MIN_MAX_AS_CLIP = Rewrite("minimum and maximum as a clip", frozenset({"Min", "Max"}), apply)
