"""A mean over all rows and columns becomes a global average pooling.

Pooling has an integer kernel. A map whose layout is changed for the mean alone, as Keras's GlobalAveragePooling2D
leaves it, is pooled as it is:

    mean(T(x)) = T(pool(x)), where T puts the channels last.

One thread of an AMD EPYC, fcn8-lite with the encoder EfficientNetV2-B0 at 256 x 256, which has 16 such means, in INT8:
0.93 of the time.

The sums are the same in another order: within rounding.
"""

from __future__ import annotations

import onnx_ir as ir

from segtool.export.layout import TO_LAST, permutes
from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Rewrite


def apply(node: ir.Node) -> str | None:
    """Rewrite a ReduceMean of a map over its rows and columns, (N, C, H, W) or one with the channels put last."""
    value = node.inputs[0]
    if value is None or value.shape is None or len(value.shape) != 4:
        return None
    before = g.maker(value)
    is_last = before is not None and permutes(before, TO_LAST)
    source = before.inputs[0] if before is not None and is_last else value
    given = g.array(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = list(given.reshape(-1)) if given is not None else g.ints(node, "axes", [])
    if source is None or sorted(int(axis) % 4 for axis in axes) != ([1, 2] if is_last else [2, 3]):
        return None
    pooled = g.insert(node, "GlobalAveragePool", [source])
    if not node.attributes.get_int("keepdims", 1):
        pooled = g.insert(node, "Flatten", [pooled])
    elif is_last:
        pooled = g.channels_last(node, pooled)
    g.bypass(node, pooled)
    return "of a map as it was before its layout changed" if is_last else "as a global average pooling"


MEAN_AS_POOL = Rewrite("mean as pooling", frozenset({"ReduceMean"}), apply)
