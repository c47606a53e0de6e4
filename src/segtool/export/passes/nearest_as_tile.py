"""A nearest-neighbour upsampling by whole numbers becomes a Tile of pixels, for INT8 alone.

Every pixel is written a x b times: in channels-last memory (N, H, 1, W, 1, C) is repeated to (N, H, a, W, b, C),
which is (N, H a, W b, C) byte for byte.

onnxruntime's Resize of integers wants channels in front, and INT8 convolutions want them last. 64 channels, 48 x 60,
2x2 (one thread, Xeon with AMX): 52 us, in place of 620 with the two changes of layout, or 613 for its Resize of
channels-last memory. In float it does not pay.

Exact bit for bit. Refuses factors that are not whole numbers, and coordinates that are aligned at the corners.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite


def apply(node: ir.Node) -> str | None:
    """Rewrite a nearest-neighbour Resize that a convolution reads, maybe through other steps."""
    if node.attributes.get_string("mode", "nearest") != "nearest" or not g.reaches(node, _is_convolution):
        return None
    channels, height, width = g.static_shape(node.inputs[0])
    more, high, wide = g.static_shape(node.outputs[0])
    rows, columns = high // height, wide // width
    if more != channels or (rows * height, columns * width) != (high, wide) or not rows * columns > 1:
        raise Refused(f"it makes {high} x {wide} of {height} x {width}")
    coordinates = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    rounding = node.attributes.get_string("nearest_mode", "round_prefer_floor")
    centred = coordinates in ("half_pixel", "pytorch_half_pixel") and rounding.startswith("round")
    if not centred and (coordinates, rounding) != ("asymmetric", "floor"):
        raise Refused(f"its coordinates are {coordinates}, rounded by {rounding}")
    apart = g.reshaped(node, g.channels_last(node, node.inputs[0]), [-1, height, 1, width, 1, channels], "apart")
    counts = np.array([1, 1, rows, 1, columns, 1], np.int64)
    tiled = g.insert(node, "Tile", [apart, g.add_constant(node, counts, "counts")])
    g.bypass(node, g.channels_first(node, g.reshaped(node, tiled, [-1, high, wide, channels], "together")))
    return f"{rows} x {columns} copies of every pixel"


def _is_convolution(node: ir.Node) -> bool:
    return node.op_type in ("Conv", "ConvTranspose")


NEAREST_AS_TILE = Rewrite("nearest neighbours as tiles", frozenset({"Resize"}), apply)
