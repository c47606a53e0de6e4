"""Between a map and the tokens of an attention, rows and columns are joined where channels are last.

A token is a pixel: tokens[n, i W + j, c] = map[n, c, i, j]. Networks join rows and columns first, as (N, C, H W), and
swap the two axes then. Here the channels go last first, and the Reshape, (N, H, W, C) to (N, H W, C), moves nothing;
and the other way round on the way back. onnxruntime computes convolutions of both precisions with channels last or in
blocks of them, so that the change of layout falls to its own, or out.

Exact bit for bit. Refuses where others use what is between the two steps.
"""

from __future__ import annotations

import onnx_ir as ir

from segtool.export.layout import permutes
from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Rewrite

_SWAP = [0, 2, 1]


def apply(node: ir.Node) -> str | None:
    """Rewrite the swap behind a Reshape, or the Reshape behind a swap."""
    before = g.maker(node.inputs[0])
    if before is None:
        return None
    if permutes(node, _SWAP) and before.op_type == "Reshape" and _joins(before.inputs[0], before.outputs[0]):
        channels, height, width = g.static_shape(before.inputs[0])
        g.sole_user(before.outputs[0])
        last = g.channels_last(node, before.inputs[0])
        g.bypass(node, g.reshaped(node, last, [-1, height * width, channels], "tokens"))
        return f"{height} x {width} pixels to tokens"
    if node.op_type == "Reshape" and permutes(before, _SWAP) and _joins(node.outputs[0], node.inputs[0]):
        channels, height, width = g.static_shape(node.outputs[0])
        g.sole_user(before.outputs[0])
        last = g.reshaped(node, before.inputs[0], [-1, height, width, channels], "pixels")
        g.bypass(node, g.channels_first(node, last))
        return f"tokens to {height} x {width} pixels"
    return None


def _joins(image: ir.Value | None, rows: ir.Value | None) -> bool:
    """Say whether (N, C, H, W) is (N, C, H W) with the rows one behind the other."""
    if image is None or rows is None or image.shape is None or rows.shape is None:
        return False
    if (len(image.shape), len(rows.shape)) != (4, 3):
        return False
    (channels, height, width), joined = g.static_shape(image), g.static_shape(rows)
    return joined == (channels, height * width)


TOKENS = Rewrite("tokens", frozenset({"Transpose", "Reshape"}), apply)
