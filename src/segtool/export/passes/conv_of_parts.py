"""A convolution in float of two concatenated maps is a sum of two convolutions.

conv(concat(a, b), [A, B]) = conv(a, A) + conv(b, B): a convolution sums over its input channels. onnxruntime computes
float convolutions in blocks of channels, and adds what is there already in the second of two convolutions. What a
transposed convolution or an instance normalization makes is not in blocks: such parts are concatenated first, and the
whole of them changes its layout, which takes longer than twice the half. The skip is in blocks already, for the next
layer of the encoder. A block has up to 16 channels (AVX-512), and is filled up with zeros: 24 channels and 24 are four
blocks in two pieces and three in one, so that a convolution takes 1.19 to 1.25 of the time. So one of the two maps must
have a multiple of 16.

One thread of an AMD EPYC, 256 x 256, FP32, time of the whole file: 0.97 and 0.98 for the U-Nets of nnU-Net, plain and
residual.

The sums are the same in another order: within rounding. Leaves alone concatenations without such a map. Refuses other
numbers of channels, groups, shared weights, and a concatenation that others read.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite

_PLAIN = frozenset({"ConvTranspose", "InstanceNormalization"})  # in no blocks
_ELEMENTWISE = frozenset({"Relu", "LeakyRelu", "Clip", "Elu", "Sigmoid"})
_BLOCK = 16  # channels


def apply(node: ir.Node) -> str | None:
    """Rewrite a convolution of two maps whose channels are concatenated."""
    joined = g.maker(node.inputs[0])
    if joined is None or joined.op_type != "Concat" or joined.attributes.get_int("axis", 0) not in (1, -3):
        return None
    shape, parts = joined.outputs[0].shape, joined.inputs
    if shape is None or len(shape) != 4:
        return None
    if len(parts) != 2 or not any(_is_plain(part) for part in parts):
        return None
    g.require_sole_users(joined.outputs[0])
    if node.attributes.get_int("group", 1) != 1:
        raise Refused("it has groups")
    weights, count = g.own_array(node.inputs[1], "kernel"), g.static_shape(parts[0])[0]
    if count % _BLOCK and (weights.shape[1] - count) % _BLOCK:
        raise Refused(f"neither {count} nor {weights.shape[1] - count} channels are whole blocks")
    first, second = (g.add_constant(node, half, "part") for half in np.split(weights, [count], axis=1))
    sums = ([parts[0], first, *node.inputs[2:]], [parts[1], second])
    g.bypass(node, g.insert(node, "Add", [g.insert(node, "Conv", inputs, **g.attributes(node)) for inputs in sums]))
    return f"{count} and {weights.shape[1] - count} channels"


def _is_plain(value: ir.Value | None) -> bool:
    """Say whether onnxruntime makes a map with the channels first, and not in blocks of them."""
    maker = g.maker(value)
    while maker is not None and maker.op_type in _ELEMENTWISE:
        maker = g.maker(maker.inputs[0])
    return maker is not None and maker.op_type in _PLAIN


CONV_OF_PARTS = Rewrite("sum of convolutions", frozenset({"Conv"}), apply)
