"""3x3 convolutions in front of a max pooling by Winograd's F(2, 3): two thirds of the multiplications, in float alone.

Two outputs of a row beside each other, y0 = g0 d0 + g1 d1 + g2 d2 and y1 = g0 d1 + g1 d2 + g2 d3, are six products.
Four give them too (S. Winograd, Arithmetic Complexity of Computations, 1980; for convolutions A. Lavin and S. Gray,
Fast Algorithms for Convolutional Neural Networks, 2015):

    m0 = g0 (d0 - d2)    m1 = (g0 + g1 + g2)/2 (d1 + d2)    m2 = (g0 - g1 + g2)/2 (d2 - d1)    m3 = g2 (d1 - d3)
    y0 = m0 + m1 + m2    y1 = m1 - m2 - m3

Each m is a convolution of 3 x 1 taps over a map of half the width, one of the sums in brackets; y0 are the even
columns of the output and y1 the odd ones. They stay apart until the pooling, which takes the larger of the two
anyway, so nothing is ever put together: max(a, b) = b + relu(a - b). Convolutions one behind the other go through
together: the sums are then those of even and odd columns.

Sums and copies are written as depthwise convolutions with weights of 1 and -1, because onnxruntime keeps maps in
blocks of channels from one convolution to the next, adds another map within a convolution, and computes an activation
within one, but not both with a leaky ReLU. The weights of the four are products with constants that onnxruntime
computes when it opens the file: stored, they would be a third more.

On fcn8 (64 x 84, Zen 4, whole file): 0.80 of the time on one thread, 0.88 on two. Sums are added in another order:
within rounding. It takes about as many small steps as it saves products, so it is for processors with blocked
convolutions, and export keeps it only where it was measured to be faster (`float32_file`). A row of six columns (fcn8's
conv5) gains nothing.

Refuses strides, dilation, groups, other padding at the sides, channels that are no multiple of 16 or fewer than 32,
narrow maps, shared weights, and maps that others use too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite

CHANNELS = 16  # of a block, where a processor's vectors are longest
LEAST_CHANNELS = 32
LEAST_WIDTH = 12
# Each column makes the weights of one product from the three taps of a row; the last of them with its sign turned.
WEIGHTS = np.array([[1, 0.5, 0.5, 0], [0, 0.5, -0.5, 0], [0, 0.5, 0.5, -1]], np.float32)


@dataclass(frozen=True)
class _Layer:
    """A convolution, and the activation behind it, if any."""

    conv: ir.Node
    activation: ir.Node | None


def apply(node: ir.Node) -> str | None:
    """Rewrite the convolutions between a 2x2 MaxPool and what is before them that cannot be rewritten."""
    layers = _layers(node)
    if not layers:
        return None
    sums = _sums_of_map(_steps(node, layers[0].conv, 1), layers[0].conv.inputs[0])
    for layer in layers:
        steps = _steps(node, layer.conv, 0)
        columns = _convolved(steps, layer.conv, sums)
        if layer is not layers[-1]:
            sums = _sums_of_columns(steps, *(steps.activated(layer.activation, half) for half in columns))
    g.bypass(node, steps.activated(layers[-1].activation, _larger(steps, *columns)))
    return f"two thirds of the multiplications of {len(layers)} in a row"


def _steps(place: ir.Node, conv: ir.Node, side: int) -> _Steps:
    """Return the steps on maps behind (side 0) or before (1) a convolution."""
    return _Steps(place, g.static_shape(conv.inputs[1], start=0)[side])


def _layers(pool: ir.Node) -> list[_Layer]:
    """Return the convolutions right before a 2x2 pooling that can be rewritten, in their order; none at another."""
    if g.ints(pool, "kernel_shape", []) != [2, 2] or g.ints(pool, "strides", [1, 1]) != [2, 2]:
        return []
    last = _layer(pool.inputs[0])
    if last is None:
        return []
    if len(pool.outputs) != 1 or any(g.explicit_pads(pool)) or g.ints(pool, "dilations", [1, 1]) != [1, 1]:
        raise Refused("the pooling is padded or dilated, or returns the places of its values")
    if last.activation is not None and not g.is_monotone(last.activation):
        raise Refused(f"{last.activation.name} decreases somewhere")
    _check(last)
    found = [last]
    while (before := _layer(found[0].conv.inputs[0])) is not None:
        try:
            _check(before)
        except Refused:
            break
        found.insert(0, before)
    return found


def _layer(value: ir.Value | None) -> _Layer | None:
    """Return the convolution of 3x3 taps that makes a value, by itself or with an activation."""
    node = g.maker(value)
    activation = node if node is not None and (g.is_monotone(node) or node.op_type in ("LeakyRelu", "Elu")) else None
    if activation is not None and activation.inputs[0] is not None:
        node = activation.inputs[0].producer()
    if node is None or node.op_type != "Conv" or node.domain or g.ints(node, "kernel_shape", []) != [3, 3]:
        return None
    return _Layer(node, activation)


def _check(layer: _Layer) -> None:
    conv = layer.conv
    weights = g.own_array(conv.inputs[1], "weight")
    g.require_plain(conv)
    if weights.dtype != np.float32:
        raise Refused("it is not of float32")
    if g.explicit_pads(conv)[1::2] != [1, 1]:
        raise Refused("its padding at the sides is not one column each")
    if min(weights.shape[:2]) < LEAST_CHANNELS or any(count % CHANNELS for count in weights.shape[:2]):
        raise Refused(f"its channels, {weights.shape[1]} in and {weights.shape[0]} out, are few or not in blocks")
    width = g.static_shape(conv.outputs[0])[2]
    if width < LEAST_WIDTH or width % 2:
        raise Refused(f"its width, {width}, is odd or less than {LEAST_WIDTH}")
    g.require_sole_users(conv.outputs[0], *(layer.activation.outputs if layer.activation else ()))


@dataclass(frozen=True)
class _Steps:
    """Makes nodes in front of `place`, on maps of this many channels."""

    place: ir.Node
    channels: int

    def depthwise(
        self, value: ir.Value, taps: Sequence[int], *, stride: int = 1, pads: tuple[int, int] = (0, 0)
    ) -> ir.Value:
        """Return a sum of neighbours in a row, with the same weights for every channel."""
        weights = np.tile(np.array(taps, np.float32), (self.channels, 1, 1, 1))
        return g.insert(
            self.place,
            "Conv",
            [value, g.add_constant(self.place, weights, "columns")],
            group=self.channels,
            kernel_shape=[1, len(taps)],
            strides=[1, stride],
            pads=[0, pads[0], 0, pads[1]],
        )

    def added(self, value: ir.Value, other: ir.Value, *, sign: int = 1) -> ir.Value:
        """Return other + sign * value."""
        return g.insert(self.place, "Add", [self.depthwise(value, [sign]), other])

    def activated(self, activation: ir.Node | None, value: ir.Value) -> ir.Value:
        """Return an activation of a value: within a convolution that copies it, where onnxruntime can do that."""
        if activation is None:
            return value
        return g.copied(self.place, activation, self.depthwise(value, [1]))


def _sums_of_map(steps: _Steps, value: ir.Value | None) -> list[ir.Value]:
    """Return d0 - d2, d1 + d2, d2 - d1 and d1 - d3 of a map's columns, (N, C, H, W/2) each."""
    if value is None:
        raise Refused("it has no input")
    return [
        steps.depthwise(value, [1, 0, -1], stride=2, pads=(1, 0)),
        steps.depthwise(value, [1, 1], stride=2),
        steps.depthwise(value, [-1, 1], stride=2),
        steps.depthwise(value, [1, 0, -1], stride=2, pads=(0, 1)),
    ]


def _sums_of_columns(steps: _Steps, even: ir.Value, odd: ir.Value) -> list[ir.Value]:
    """Return the same of columns that are apart: d0 and d2 are odd ones, d1 and d3 even ones."""
    return [
        steps.depthwise(odd, [1, -1], pads=(1, 0)),
        steps.added(even, odd),
        steps.added(even, odd, sign=-1),
        steps.depthwise(even, [1, -1], pads=(0, 1)),
    ]


def _convolved(steps: _Steps, conv: ir.Node, sums: Sequence[ir.Value]) -> tuple[ir.Value, ir.Value]:
    """Return the even and the odd columns of a convolution, (N, C, H, W/2) each, from the four sums of its input's.

    `steps` are of its output.
    """
    weights, bias = conv.inputs[1], g.bias(conv)
    top, _, bottom, _ = g.explicit_pads(conv)
    products = []
    for index, (value, taps) in enumerate(zip(sums, WEIGHTS.T, strict=True)):
        column = g.add_constant(conv, taps.reshape(3, 1), "winograd")
        inputs = [value, g.insert(steps.place, "MatMul", [weights, column])]
        if bias is not None and index in (0, 3):
            inputs.append(bias)
        products.append(g.insert(steps.place, "Conv", inputs, kernel_shape=[3, 1], pads=[top, 0, bottom, 0]))
    first, second, third, last = products
    even, odd = steps.added(third, second), steps.added(third, second, sign=-1)
    return g.insert(steps.place, "Add", [first, even]), g.insert(steps.place, "Add", [last, odd])


def _larger(steps: _Steps, *columns: ir.Value) -> ir.Value:
    """Return the 2x2 pooling of a map: of its rows first, then the larger of even and odd columns."""
    even, odd = (g.insert(steps.place, "MaxPool", [half], kernel_shape=[2, 1], strides=[2, 1]) for half in columns)
    more = g.insert(steps.place, "Relu", [steps.added(odd, even, sign=-1)])
    return steps.added(more, odd)


WINOGRAD = Rewrite("Winograd", frozenset({"MaxPool"}), apply)
