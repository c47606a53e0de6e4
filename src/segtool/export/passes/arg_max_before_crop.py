"""The arg-max moves in front of a crop: labels are cropped in place of scores.

The arg-max treats each pixel alone, so argmax(crop(y)) = crop(argmax(y)). A label has one byte where K scores have 4 K,
and rewrites that decide the labels of a map find the map itself (`labels_per_cell`, `scores_in_blocks`): a network that
pads its image to a multiple of its stride crops its scores. The arg-max also takes the pixels that the crop leaves out.
Exact bit for bit.

Refuses steps other than 1, crops of other axes, crops that are computed, and cropped scores that others use too.
"""

from __future__ import annotations

import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Rewrite


def apply(node: ir.Node) -> str | None:
    """Rewrite the Cast of the ArgMax of a Slice."""
    crop = g.classified(node)
    if crop is None or crop.op_type != "Slice":
        return None
    begins, sizes = g.crop_of(crop)[0], g.static_shape(crop.outputs[0])[1:]
    g.require_sole_users(node.inputs[0], crop.outputs[0])
    best = g.insert(node, "ArgMax", [crop.inputs[0]], axis=1, keepdims=0)
    labels = g.insert(node, "Cast", [best], to=node.attributes.get_int("to", 0))
    g.bypass(node, g.cropped(node, labels, begins, sizes))
    return f"labels of {sizes[0]}x{sizes[1]} pixels are cropped in place of scores"


ARG_MAX_BEFORE_CROP = Rewrite("arg-max before a crop", frozenset({"Cast"}), apply)
