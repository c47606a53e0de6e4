"""A padding with zeros in front of a convolution becomes part of the convolution's own padding.

A convolution with pads p reads zeros outside its input, so conv_p(pad_q(x)) = conv_{p+q}(x). The padded copy of the
image is never made. Exact bit for bit.

Refuses another padding value, padded channels, negative pads, and a padded map that others use too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite


def apply(node: ir.Node) -> str | None:
    """Fold a Pad into the convolution that reads it."""
    user = g.sole_user(node.outputs[0])
    if user.op_type != "Conv" or node.inputs[0] is None:
        return None
    amounts = g.array(node.inputs[1])
    if amounts is None:
        raise Refused("its pads are computed")
    if not _is_zero(node):
        raise Refused("it does not pad with zeros")
    begins, ends = np.split(amounts, 2)
    if begins[:2].any() or ends[:2].any() or min(*begins, *ends) < 0:
        raise Refused("it pads other axes than height and width, or cuts")
    own = g.explicit_pads(user, len(begins) - 2)
    total = np.array(own) + np.concatenate([begins[2:], ends[2:]])
    user.attributes["pads"] = ir.AttrInt64s("pads", [int(item) for item in total])
    g.bypass(node, node.inputs[0])
    return f"{total.tolist()} are the pads of {user.name}"


def _is_zero(node: ir.Node) -> bool:
    """Say whether a Pad pads every axis with the constant 0."""
    if node.attributes.get_string("mode", "constant") != "constant" or len(node.inputs) > 3:
        return False
    value = node.inputs[2] if len(node.inputs) == 3 else None
    number = g.array(value)
    return value is None or (number is not None and bool(np.all(number == 0)))


PAD_INTO_CONV = Rewrite("padding into convolution", frozenset({"Pad"}), apply)
