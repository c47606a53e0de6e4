"""Queries of Resize nodes, for the rewrites of upsampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused


def mode_of(node: ir.Node | None) -> str | None:
    """Return "nearest", "linear" or "cubic" of a Resize; None of another node."""
    return None if node is None or node.op_type != "Resize" else node.attributes.get_string("mode", "nearest")


def is_centred(node: ir.Node) -> bool:
    """Say whether a Resize aligns the centres of pixels."""
    return _coordinates(node) in ("half_pixel", "pytorch_half_pixel")


def _coordinates(node: ir.Node) -> str:
    return str(node.attributes.get_string("coordinate_transformation_mode", "half_pixel"))


def factors(node: ir.Node) -> tuple[int, int]:
    """Return the rows and columns that a Resize makes of each; refuse numbers that are not whole."""
    channels, height, width = g.static_shape(node.inputs[0])
    more, high, wide = g.static_shape(node.outputs[0])
    rows, columns = high // height, wide // width
    if more != channels or (rows * height, columns * width) != (high, wide) or not rows * columns:
        raise Refused(f"it makes {high} x {wide} of {height} x {width}")
    return rows, columns


def mixes_alike(node: ir.Node) -> bool:
    """Say whether a Resize mixes the pixels of all channels alike, with weights that add up to 1.

    That is linear or to the nearest pixel, by constant scales.
    """
    scales = g.array(node.inputs[2]) if mode_of(node) in ("nearest", "linear") and len(node.inputs) == 3 else None
    return scales is not None and scales.size == 4 and _coordinates(node) != "tf_crop_and_resize"


def copies(node: ir.Node) -> tuple[int, int] | None:
    """Return how often a Resize to the nearest pixel writes each row and column; None of another node.

    Raises
    ------
    Refused
        It writes some more often than others, or changes no size.
    """
    if mode_of(node) != "nearest":
        return None
    counts, rounding = factors(node), node.attributes.get_string("nearest_mode", "round_prefer_floor")
    if counts == (1, 1):
        raise Refused("it changes no size")
    is_nearest = is_centred(node) and rounding.startswith("round")
    if not is_nearest and (_coordinates(node), rounding) != ("asymmetric", "floor"):
        raise Refused(f"its coordinates are {_coordinates(node)}, rounded by {rounding}")
    return counts


@dataclass(frozen=True)
class Part:
    """A part of what a convolution reads.

    Attributes
    ----------
    value
        Map (N, C, H, W).
    begin, end
        Its first channel there, and the one behind its last.
    resize
        The upsampling that makes it, if that is to be moved.
    """

    value: ir.Value
    begin: int
    end: int
    resize: ir.Node | None

    @property
    def small(self) -> ir.Value:
        """The map in front of the upsampling; without one, the map."""
        return self.value if self.resize is None or self.resize.inputs[0] is None else self.resize.inputs[0]


def parts(value: ir.Value | None, is_wanted: Callable[[ir.Node], bool]) -> list[Part]:
    """Return what is concatenated in a value, or the value alone, with the upsamplings among it that are wanted.

    Raises
    ------
    Refused
        Others read such an upsampling, or the concatenation of it.
    """
    maker = g.maker(value)
    is_joined = maker is not None and maker.op_type == "Concat" and maker.attributes.get_int("axis", 0) in (1, -3)
    found, begin = list[Part](), 0
    for source in maker.inputs if maker is not None and is_joined else (value,):
        if source is None:
            continue
        end = begin + g.static_shape(source)[0]
        resize = source.producer()
        if resize is None or not _enlarges(resize) or not is_wanted(resize):
            resize = None
        for shared in (source, value) if resize is not None else ():
            if shared is not None:
                g.sole_user(shared)
        found.append(Part(source, begin, end, resize))
        begin = end
    return found


def _enlarges(node: ir.Node) -> bool:
    if node.op_type != "Resize":
        return False
    before, after = g.static_shape(node.inputs[0]), g.static_shape(node.outputs[0])
    return before[0] == after[0] and all(low <= high for low, high in zip(before, after, strict=True))


def joined(place: ir.Node, values: Sequence[ir.Value]) -> ir.Value:
    """Return maps as one, their channels behind each other."""
    return values[0] if len(values) == 1 else g.insert(place, "Concat", values, axis=1)
