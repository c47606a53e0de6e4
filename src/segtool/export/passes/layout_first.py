"""The change of layout moves to the front of the graph, where it is a change of a few bytes, or of none.

Let T bring channels to the front, T(x)[n, c, h, w] = x[n, h, w, c], and f be element-wise with a scalar or with a
number a channel, or a Pad. Then T(f(x)) = f'(T(x)), where f' is f with its constant, or its pads, in T's order: only
positions are renamed. Moved to the
input, T handles uint8 instead of float32; with one channel it is a Reshape, that is, no work at all. What is between
T and the first convolution can then be folded into that (`pad_into_conv`).

Exact bit for bit. Refuses where the value in front of T has another user, who needs the old layout.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.array_types import AnyArray
from segtool.export.layout import TO_FIRST, permutes
from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite

_ELEMENT_WISE = frozenset({"Cast", "Mul", "Add", "Sub", "Div"})


def apply(node: ir.Node) -> str | None:
    """Move a change of layout in front of the node before it."""
    before = g.maker(node.inputs[0])
    if before is None or not _is_to_front(node) or not (before.op_type == "Pad" or _is_element_wise(before)):
        return None
    source = next(item for item in before.inputs if item is not None and g.array(item) is None)
    shape = g.static_shape(source)
    g.sole_user(before.outputs[0])
    if before.op_type == "Pad":
        pads, moved_in = _permuted_pads(before), _to_front(node, source, shape)
        inputs = [moved_in, g.add_constant(node, pads, "pads"), *before.inputs[2:3]]
        moved = g.insert(node, "Pad", inputs, mode=before.attributes.get_string("mode", "constant"))
    else:
        moved_in = _to_front(node, source, shape)
        inputs = [moved_in if item is source else _in_front(before, item) for item in before.inputs]
        moved = g.insert(node, before.op_type, inputs, **g.attributes(before))
    g.bypass(node, moved)
    return f"in front of {before.op_type}"


def _is_to_front(node: ir.Node) -> bool:
    if node.op_type == "Transpose":
        return permutes(node, TO_FIRST)
    # A Reshape that moves one channel: (N, H, W, 1) to (N, 1, H, W).
    before, after = (None if value is None else value.shape for value in (node.inputs[0], node.outputs[0]))
    if before is None or after is None or len(before) != 4 or len(after) != 4:
        return False
    return before[3] == 1 and after[1] == 1 and list(before)[1:3] == list(after)[2:4]


def _is_element_wise(node: ir.Node) -> bool:
    """Say whether a node treats each number alone, with at most one constant: a scalar, or a number a channel."""
    if node.op_type not in _ELEMENT_WISE or node.domain:
        return False
    constants = [found for item in node.inputs if (found := g.array(item)) is not None]
    return len(node.inputs) - len(constants) == 1 and all(_is_per_channel(item) for item in constants)


def _is_per_channel(constant: AnyArray) -> bool:
    return constant.ndim <= 4 and (constant.size == 1 or constant.shape[-1] == constant.size)


def _in_front(place: ir.Node, value: ir.Value | None) -> ir.Value | None:
    """Return a constant with its channels in front: (C,) as (1, C, 1, 1); a scalar as it is."""
    constant = g.array(value)
    if constant is None or constant.size == 1:
        return value
    return g.add_constant(place, constant.reshape(1, -1, 1, 1), "channels")


def _permuted_pads(node: ir.Node) -> AnyArray:
    pads = g.array(node.inputs[1])
    if pads is None or len(node.inputs) > 3 or pads.size != 8:
        raise Refused("the padding before it is computed, or of some axes alone")
    order = np.array(TO_FIRST)
    permuted: AnyArray = np.concatenate([pads[:4][order], pads[4:][order]]).astype(np.int64)
    return permuted


def _to_front(place: ir.Node, source: ir.Value, shape: tuple[int, ...]) -> ir.Value:
    height, width, channels = shape
    if channels > 1:
        return g.channels_first(place, source)
    return g.reshaped(place, source, [-1, 1, height, width], "shape")


LAYOUT_FIRST = Rewrite("layout first", frozenset({"Transpose", "Reshape"}), apply)
