"""A transposed convolution of stride 1 becomes a convolution with the flipped kernel.

With stride 1, d for the dilation and k taps, output row q before the crop of p rows is sum_t W[t] x[q - d t]: a
convolution with the taps in reverse order, padded with d (k - 1) - p zeros. The same holds on each axis and in each
group. The rewrites of convolutions, INT8 and Winograd's form then apply to it.

In float, 3x3 between two 3x3 convolutions, time of all three on one thread of a Xeon (in brackets with AVX2 alone):
64 channels on 32 x 32 pixels 1.11 ms in place of 1.37 (1.98 in place of 2.27), 16 channels on 64 x 64 pixels 0.44 ms
in place of 0.56 (0.71 in place of 0.80). In INT8, 64 channels on 32 x 32: 0.11 ms in place of 0.57 (0.37 in place of
0.86).

The sums are the same in another order: within rounding. Refuses a size given by output_shape, computed or shared
weights, and pads that cut off more than the kernel adds.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.array_types import AnyArray
from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite


def apply(node: ir.Node) -> str | None:
    """Rewrite a transposed convolution of stride 1."""
    weights = g.array(node.inputs[1])
    if weights is None or any(step != 1 for step in g.ints(node, "strides", [1] * (weights.ndim - 2))):
        return None
    if node.attributes.get_ints("output_shape", None) is not None:
        raise Refused("its size is given by output_shape")
    dims = weights.ndim - 2
    dilations, more = g.ints(node, "dilations", [1] * dims), g.ints(node, "output_padding", [0] * dims)
    reach = [step * (size - 1) for step, size in zip(dilations, weights.shape[2:], strict=True)]
    cut = g.explicit_pads(node, dims)
    pads = [side - pad for side, pad in zip([*reach, *map(sum, zip(reach, more, strict=True))], cut, strict=True)]
    if min(pads) < 0:
        raise Refused("its pads cut off more than its kernel adds")
    groups = node.attributes.get_int("group", 1)
    flipped = _flipped(g.own_array(node.inputs[1], "weight"), groups)
    inputs = [node.inputs[0], g.add_constant(node, flipped, "flipped"), *node.inputs[2:]]
    attributes = {"strides": [1] * dims, "dilations": dilations, "pads": pads, "group": groups}
    g.bypass(node, g.insert(node, "Conv", inputs, kernel_shape=list(weights.shape[2:]), **attributes))
    return "{} of stride 1 as a convolution".format("x".join(map(str, weights.shape[2:])))


def _flipped(weights: AnyArray, groups: int) -> AnyArray:
    """Return the weights (K, C / groups, ...) of a convolution from (C, K / groups, ...) of a transposed one."""
    turned = weights[(slice(None), slice(None), *[slice(None, None, -1)] * (weights.ndim - 2))]
    apart = turned.reshape(groups, len(weights) // groups, *weights.shape[1:])
    found: AnyArray = np.moveaxis(apart, 2, 1).reshape(-1, len(weights) // groups, *weights.shape[2:])
    return found


FLIPPED_CONVOLUTION = Rewrite("flipped convolution", frozenset({"ConvTranspose"}), apply)
