"""A 1x1 convolution moves in front of the upsampling that it reads, also of a part of a concatenation.

Let R be an upsampling, linear or to the nearest pixel. It mixes the pixels of each channel with weights that add up to
1, the same for all channels, and a 1x1 convolution mixes the channels of each pixel, so they may change places, with
the bias too: W R(x) + b = R(W x + b). Behind a concatenation the convolution is the sum over its parts,

    W [x, R(y)] + b = R(W_y y + b) + W_x x,

and each part is multiplied at its own size: 2x2 times smaller maps take a quarter of the products. Parts of one size
are one convolution. The head of SegFormer-B0 at 256 x 256 multiplies four parts of 256 channels at 64 x 64 pixels: 1.07
billion products become 0.36 billion, and few more with `product_into_conv`, which has the times.

The sums are the same in another order: within rounding. Refuses an upsampled map that others read, and a few channels
that become many, whose upsampling would cost more than the products saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.resizes import Part, joined, mixes_alike, parts
from segtool.export.passes.rewrite import Refused, Rewrite

_MANY = 64  # channels from which on their products cost more than an upsampled number


def apply(node: ir.Node) -> str | None:
    """Rewrite a 1x1 convolution that reads an upsampled map, alone or in a concatenation."""
    weights = g.array(node.inputs[1])
    if weights is None or weights.shape[2:] != (1, 1) or not g.is_pointwise(node):
        return None
    found = parts(node.inputs[0], mixes_alike)
    small = [part for part in found if part.resize is not None]
    if not small:
        return None
    if sum(part.end - part.begin for part in small) < min(_MANY, len(weights)):
        raise Refused("more numbers would be upsampled, and few products saved")
    bias, total = g.bias(node), None
    for group in _groups(found):
        matrix = np.concatenate([weights[:, part.begin : part.end] for part in group], axis=1)
        inputs = [joined(node, [part.small for part in group]), g.add_constant(node, matrix, "part")]
        value = g.insert(node, "Conv", inputs if bias is None else [*inputs, bias], kernel_shape=[1, 1])
        if (resize := group[0].resize) is not None:
            value = g.copied(node, resize, value)
        total, bias = value if total is None else g.insert(node, "Add", [total, value]), None
    if total is None:
        return None
    g.bypass(node, total)
    return f"{len(small)} of {len(found)} maps are multiplied before they are upsampled"


def _groups(found: Sequence[Part]) -> Iterator[list[Part]]:
    """Yield the parts of one size together: last those that are not upsampled.

    Upsampled maps come in onnxruntime's blocked layout. Their sums stay in it, and change layout once.
    """
    groups: dict[object, list[Part]] = {}
    for part in sorted(found, key=lambda part: part.resize is None):
        groups.setdefault(_kind(part), []).append(part)
    yield from groups.values()


def _kind(part: Part) -> object:
    if part.resize is None:
        return None
    scales = g.array(part.resize.inputs[2])
    return (*sorted(g.attributes(part.resize).items()), () if scales is None else tuple(scales))


CONV_BEFORE_RESIZE = Rewrite("1x1 convolution before upsampling", frozenset({"Conv"}), apply)
