"""A concatenation with a map whose channels are last already joins channels-last maps, for INT8 alone.

Let T bring channels to the front. concat(T(x), y, axis of channels) = T(concat(x, T'(y), last axis)), with T' the
inverse of T: only positions are renamed. Behind it is a convolution, which wants channels last anyway. In the first
form x changes its layout twice. onnxruntime does the same where all maps come from INT8 convolutions; it does not where
one of them is float, as behind an instance normalization.

Exact bit for bit. Refuses where others read the map in front of the concatenation in its layout.
"""

from __future__ import annotations

import onnx_ir as ir

from segtool.export.layout import TO_FIRST, permutes
from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Rewrite


def apply(node: ir.Node) -> str | None:
    """Rewrite a Concat of channels with a map that was brought to the front."""
    last = [_channels_last(value) for value in node.inputs]
    shape = node.outputs[0].shape
    if shape is None or len(shape) != 4 or node.attributes.get_int("axis", 0) not in (1, -3) or not any(last):
        return None
    if any(user.op_type != "Conv" for user, _ in node.outputs[0].uses()):
        return None
    g.require_sole_users(*(value for value, found in zip(node.inputs, last, strict=True) if found))
    parts = [found or g.channels_last(node, value) for value, found in zip(node.inputs, last, strict=True)]
    g.bypass(node, g.channels_first(node, g.insert(node, "Concat", parts, axis=3)))
    return f"{len(parts)} maps"


def _channels_last(value: ir.Value | None) -> ir.Value | None:
    maker = g.maker(value)
    return maker.inputs[0] if maker is not None and permutes(maker, TO_FIRST) else None


CONCAT_LAST = Rewrite("concatenation with channels last", frozenset({"Concat"}), apply)
