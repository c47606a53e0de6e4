"""The first convolution reads raw pixels, four of them side by side as channels, for INT8 alone.

In channels-last memory (N, H, W, C) is (N, H, W/4, 4 C), byte for byte. A convolution with a kernel of k columns that
moves by s = 1, 2 or 4 pixels is then one over blocks of four pixels that moves by one: 4 C channels in, 4 K / s out
(output pixel j of the block and channel o at j K + o), and taps only as many blocks as the columns can touch. Tap t,
input pixel i and output pixel j of their blocks are 4 t + i - s j columns apart; where that is outside the kernel the
weight is 0. Its output (N, h, W/4, 4 K / s) is, byte for byte, (N, h, W / s, K).

Scaling the pixels, a x + b a channel, goes into the weights. Where one whole number of 0..255 becomes 0 in all
channels, as 127 does in (x - 127) / 128, it is the zero point of the pixels: they are quantized already. Else four
channels of the number 255 are added to the blocks, and b is a weight of theirs: outside the image they are 0 as all
others are, so that b is added where there are pixels, and nowhere else.

It pays because onnxruntime's fast INT8 convolution needs a multiple of four input channels; with one or three
it first copies every pixel k k times. More multiplications, on a layer that has hardly any.
On fcn8 (64 x 84, one thread, Zen 5): 38 us in place of 142 in INT8, and 129 as a float convolution that is then
quantized and reordered. 3 to 32 channels, 3x3 with stride 2 on 384 x 480 (one thread, Xeon with AMX): 0.56 ms in place
of 1.69, and 0.53 less for scaling and quantizing the pixels.

A ReLU or ReLU6 behind it changes single numbers, so it goes in front of the change of places, where INT8 does it for
nothing.

The sums are the same with zeros among them: within rounding, and in integers bit for bit. Refuses other strides,
dilation, groups, widths that do not fill the blocks, and shared weights.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.array_types import AnyArray
from segtool.export.passes import graph as g
from segtool.export.passes.pixel_scaling import scaled_pixels
from segtool.export.passes.rewrite import Refused, Rewrite

BLOCK = 4
_ONES = 255  # the largest pixel: with it the weights are smallest


def apply(node: ir.Node) -> str | None:
    """Rewrite a convolution of one or three channels of uint8 pixels."""
    pixels = scaled_pixels(node.inputs[0])
    image = None if pixels is None else _image(pixels.source)
    if pixels is None or image is None:
        return None
    channels, height, width = g.static_shape(node.inputs[0])
    if channels % BLOCK == 0:
        return None
    weights = g.own_array(node.inputs[1], "weight")
    high, wide = g.static_shape(node.outputs[0])[1:]
    stride = _stride(node)
    outputs = BLOCK // stride
    if width % BLOCK or wide * stride % BLOCK:
        raise Refused(f"its width, {width} in and {wide} out, does not fill blocks of {BLOCK} pixels")
    top, left, bottom, _ = g.explicit_pads(node)
    blocks, shift = block_weights(weights * pixels.factor.reshape(1, -1, 1, 1), left, stride=stride)
    total, point = width // BLOCK, pixels.zero_point
    read = g.reshaped(node, image, [-1, height, total, BLOCK * channels], "blocks")  # nothing moves
    if point is None:
        constant, _ = block_weights(weights * pixels.shift.reshape(1, -1, 1, 1), left, stride=stride)
        blocks = np.concatenate([blocks, _weights_of_ones(constant)], axis=1)
        read = _with_ones(node, image, read, (height, total))
    pads = [top, shift, bottom, wide // outputs - total + blocks.shape[3] - 1 - shift]
    if blocks.shape[2:] == (1, 1) and any(pads):
        # OpenVINO (2026.4) loses the padding of an INT8 convolution of one tap; a second one of zeros takes no time.
        blocks, pads[3] = np.pad(blocks, ((0, 0), (0, 0), (0, 0), (0, 1))), pads[3] + 1
    floats = g.insert(node, "Cast", [g.channels_first(node, read)], to=pixels.cast)
    if point:
        floats = g.insert(node, "Sub", [floats, g.add_constant(node, np.array(point, np.float32), "zero_point")])
    inputs: list[ir.Value | None] = [floats, g.add_constant(node, blocks.astype(weights.dtype), "weight")]
    if (bias := g.own_bias(node)) is not None:
        inputs.append(g.add_constant(node, np.tile(bias, outputs), "bias"))
    conv = g.insert(
        node,
        "Conv",
        inputs,
        kernel_shape=list(blocks.shape[2:]),
        pads=pads,
        strides=[stride, 1],
        dilations=[1, 1],
        group=1,
    )
    end, name = g.clamp_on(node), node.name
    conv.producer().name = name
    answer = conv if end is node else g.copied(end, end, conv)
    # In channels-last memory nothing moves here either.
    unblocked = g.reshaped(end, g.channels_last(end, answer), [-1, high, wide, len(weights)], "pixels")
    g.bypass(end, g.channels_first(end, unblocked))
    return f"{channels} channels in, {len(weights)} out are {blocks.shape[1]} in, {len(blocks)} out"


def block_weights(weights: AnyArray, begin: int, *, stride: int = 1) -> tuple[AnyArray, int]:
    """Return the weights over blocks (4 K / stride, 4 C, h, taps), and how many blocks of padding are in front.

    Parameters
    ----------
    weights
        (K, C, h, k).
    begin
        Columns of padding in front.
    stride
        In columns: 1, 2 or 4.
    """
    count, channels, rows, columns = weights.shape
    outputs = BLOCK // stride
    first, last = -begin // BLOCK, (stride * (outputs - 1) - begin + columns - 1) // BLOCK
    blocks = np.zeros((outputs, count, BLOCK, channels, rows, last - first + 1), weights.dtype)
    for out in range(outputs):
        for column in range(columns):
            tap, pixel = divmod(stride * out - begin + column, BLOCK)
            blocks[out, :, pixel, :, :, tap - first] = weights[:, :, :, column]
    return blocks.reshape(outputs * count, BLOCK * channels, rows, -1), -first


def _weights_of_ones(constant: AnyArray) -> AnyArray:
    """Return the weights (K, 4, h, taps) of the added channels, from those (K, 4 C, h, taps) that pixels of 1 have."""
    total = constant.sum(1, keepdims=True) / (BLOCK * _ONES)
    found: AnyArray = np.repeat(total, BLOCK, axis=1)
    return found


def _stride(node: ir.Node) -> int:
    rows, columns = g.ints(node, "strides", [1, 1])
    if rows != columns or columns not in (1, 2, BLOCK):
        raise Refused(f"it has strides of {rows} and {columns}")
    if g.ints(node, "dilations", [1, 1]) != [1, 1]:
        raise Refused("it has dilation")
    if node.attributes.get_int("group", 1) != 1:
        raise Refused("it has groups")
    return columns


def _image(pixels: ir.Value) -> ir.Value | None:
    """Return the image (N, H, W, C) that pixels (N, C, H, W) are of; None where its layout was not changed alone."""
    layout = pixels.producer()
    image = layout.inputs[0] if layout is not None and layout.op_type in ("Reshape", "Transpose") else None
    if image is None or image.shape is None or pixels.shape is None or len(image.shape) != 4:
        return None
    return image if image.shape[3] == pixels.shape[1] else None


def _with_ones(place: ir.Node, image: ir.Value, blocks: ir.Value, sizes: tuple[int, int]) -> ir.Value:
    """Return (N, H, W/4, 4 C + 4): blocks of pixels with four channels of 255 behind them."""
    count = g.insert(place, "Shape", [image], start=0, end=1)
    rest = g.add_constant(place, np.array([*sizes, BLOCK], np.int64), "ones_shape")
    shape = g.insert(place, "Concat", [count, rest], axis=0)
    ones = g.insert(place, "Expand", [g.add_constant(place, np.full((1, 1, 1, 1), _ONES, np.uint8), "ones"), shape])
    return g.insert(place, "Concat", [blocks, ones], axis=3)


PIXELS_AS_CHANNELS = Rewrite("pixels as channels", frozenset({"Conv"}), apply)
