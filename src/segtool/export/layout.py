"""The permutations of a Transpose between the two layouts of a map."""

from __future__ import annotations

import onnx_ir as ir

TO_FIRST = [0, 3, 1, 2]
"""(N, H, W, C) to (N, C, H, W)."""

TO_LAST = [0, 2, 3, 1]
"""(N, C, H, W) to (N, H, W, C)."""


def permutes(node: ir.Node, order: list[int]) -> bool:
    """Say whether a node is a Transpose to this order of axes."""
    return node.op_type == "Transpose" and list(node.attributes.get_ints("perm", [])) == order
