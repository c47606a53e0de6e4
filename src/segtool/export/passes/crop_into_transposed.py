"""A crop behind a transposed convolution becomes part of its pads.

The pads of a transposed convolution say how much of its output is not returned, so cropping a rows in front and b
behind is pads + (a, b). What would be thrown away is never computed. Exact bit for bit.

Refuses steps other than 1, crops of other axes, crops that are computed, an output_shape attribute, and a
full-size map that others use too.
"""

from __future__ import annotations

import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite


def apply(node: ir.Node) -> str | None:
    """Fold a Slice into the transposed convolution before it."""
    value = node.inputs[0]
    before = g.maker(value)
    if value is None or before is None or before.op_type != "ConvTranspose":
        return None
    begins, ends = crop_of(node)
    g.sole_user(value)
    if before.attributes.get_ints("output_shape", None) is not None:
        raise Refused("its size is given by output_shape")
    pads = [old + new for old, new in zip(g.explicit_pads(before), [*begins, *ends], strict=True)]
    attributes = {key: value for key, value in g.attributes(before).items() if key != "auto_pad"}
    g.bypass(node, g.insert(node, "ConvTranspose", before.inputs, **{**attributes, "pads": pads}))
    return f"{begins + ends} of the rows and columns are never computed"


def crop_of(node: ir.Node) -> tuple[list[int], list[int]]:
    """Return how much a Slice takes off (height, width) in front and behind."""
    constants = [g.array(item) for item in node.inputs[1:]]
    if any(item is None for item in constants) or len(constants) < 3:
        raise Refused("its bounds are computed")
    starts, stops, axes = (item.tolist() for item in constants[:3] if item is not None)
    steps = constants[3].tolist() if len(constants) > 3 and constants[3] is not None else [1] * len(axes)
    before, after = (g.static_shape(item) for item in (node.inputs[0], node.outputs[0]))
    begins, ends = [0, 0], [0, 0]
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        if step != 1:
            raise Refused("it takes every n-th row or column")
        if axis % 4 < 2:
            if (start == 0 and stop >= 2**31 - 1) or (axis % 4 == 1 and before[0] == after[0]):
                continue
            raise Refused("it crops other axes than height and width")
        size, index = before[axis % 4 - 1], axis % 4 - 2
        begins[index] = min(start if start >= 0 else max(size + start, 0), size)
        ends[index] = size - begins[index] - after[axis % 4 - 1]
    return begins, ends


CROP_INTO_TRANSPOSED = Rewrite("crop into transposed convolution", frozenset({"Slice"}), apply)
