"""Which INT8 convolutions are faster as matrix products, on processors with AMX.

onnxruntime computes a QLinearConv directly where the zero point of its weights is 0, and as a matrix product of its
gathered input otherwise. The direct kernel has VNNI alone, the product has AMX too, and a 32-bit map and a pass over it
of its own. Weights w with zero point 0 and w - 1 with zero point -1 are the same numbers, so the zero point chooses.

The estimate is of one thread of a Xeon with AMX, fitted to (us, direct and product): 96 to 64, 3x3, 96 x 120:
1681, 2073; 128 to 96, 3x3, 48 x 60: 794, 671; 128 to 128, 3x3, 24 x 30: 264, 168; 1152 to 192, 1x1, 12 x 15: 97, 51;
192 to 1152: 112, 103; 480 to 80, 1x1, 24 x 30: 79, 41; 80 to 480: 97, 154; 24 to 144, 1x1, 96 x 120: 260, 832.
"""

from __future__ import annotations

import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused

_DIRECT, _PRODUCT = 0.39, 0.70  # million multiply-accumulates a microsecond
_OUTPUT, _GATHERED = 0.28e-3, 0.09e-3  # microseconds for a number out, and for one gathered
_TILE = 64  # an AMX tile takes so many numbers of the reduction at once


def is_faster_as_product(node: ir.Node) -> bool:
    """Say whether a convolution, with its weights in `node`, is estimated to be faster as a matrix product."""
    weights = g.array(node.inputs[1])
    if weights is None or weights.ndim != 4 or node.attributes.get_int("group", 1) != 1:
        return False
    try:
        channels, height, width = g.static_shape(node.outputs[0])
    except Refused:
        return False
    pixels, reduced = height * width, int(weights[0].size)
    filled = -(-reduced // _TILE) * _TILE
    gathered = 0 if weights.shape[2:] == (1, 1) else pixels * reduced
    product = pixels * channels * filled / (_PRODUCT * 1e6) + pixels * channels * _OUTPUT + gathered * _GATHERED
    return product < pixels * channels * reduced / (_DIRECT * 1e6)
