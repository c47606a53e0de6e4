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
    begins, ends = g.crop_of(node)
    g.sole_user(value)
    if before.attributes.get_ints("output_shape", None) is not None:
        raise Refused("its size is given by output_shape")
    pads = [old + new for old, new in zip(g.explicit_pads(before), [*begins, *ends], strict=True)]
    attributes = {key: value for key, value in g.attributes(before).items() if key != "auto_pad"}
    g.bypass(node, g.insert(node, "ConvTranspose", before.inputs, **{**attributes, "pads": pads}))
    return f"{begins + ends} of the rows and columns are never computed"


CROP_INTO_TRANSPOSED = Rewrite("crop into transposed convolution", frozenset({"Slice"}), apply)
