"""The graph of any network, in the form of segtool's own: raw pixels in, scores of the classes at their size out.

In front of the network: the order of the channels, the scaling, the layout. Behind it: the layout, bilinear resizing
of reduced maps to the size of the image (half-pixel centres, as PyTorch's `interpolate` and TensorFlow's `resize`),
and two classes for a network that scores one.

One score z, with the probability p = sigmoid(z), becomes two classes whose arg-max is p > t, for the threshold t:
q = sigmoid(z - log(t / (1 - t))) = p (1 - t) / (p (1 - t) + (1 - p) t) for the class, 1 - q for the background. For
t = 0.5, q = p. As logits these are -z'/2 and z'/2, with z' = z - log(t / (1 - t)), since their softmax is (1 - q, q).

A sigmoid for each class gives p_k that do not add up to 1. Their arg-max decides, and p_k / sum(p) are the
probabilities: the softmax of log p_k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from segtool.export.heads import MONOTONE, End, cut_sigmoid, drop_unused, end_of, rename
from segtool.export.keras_to_onnx import BATCH, INPUT
from segtool.export.layout import TO_FIRST, TO_LAST
from segtool.export.network.interface import ImageInput, ScoreOutput
from segtool.export.network.scaling import InputScale

OUTPUT = "probabilities"
_RESERVED = frozenset({INPUT, OUTPUT, "labels", "logits", "class_id"})
SMALLEST = 1e-30  # of a share, so that its logarithm is finite


@dataclass(frozen=True)
class Reading:
    """How a network is to be read.

    Attributes
    ----------
    taken, given
        Its input and output.
    size
        (height, width) of the image.
    scale
        Of the pixels; None for a network that takes raw pixels, uint8.
    end
        What its output is: "probabilities" that add up to 1, "logits", or a "sigmoid" for each class.
    threshold
        Of a network that scores one class, 0..1.
    """

    taken: ImageInput
    given: ScoreOutput
    size: tuple[int, int]
    scale: InputScale | None
    end: End
    threshold: float = 0.5

    @property
    def classes(self) -> int:
        """Number of classes K: 2 for a network that scores one."""
        return max(2, self.given.classes)


def uniform(raw: onnx.ModelProto, reading: Reading) -> onnx.ModelProto:
    """Return a copy of a network that takes raw pixels and gives scores at their size.

    Parameters
    ----------
    raw
        One input and one output, as `reading` says.
    reading
        How the network is to be read.

    Returns
    -------
    onnx.ModelProto
        Input ``image`` uint8 (N, H, W, C), output ``probabilities`` float32 (N, H, W, K), which ends in a softmax, or
        in logits where the network does.
    """
    result = laid_out(raw, reading)
    if reading.given.classes == 1:
        _as_two_classes(result, reading)
    elif end_of(result) != "probabilities" and reading.end != "logits":
        chain = _Chain(result.graph, _opened(result.graph), "output/classes")
        _softmax_of_log(chain)
        _close(result.graph, chain, [BATCH, *reading.size, reading.classes])
    drop_unused(result.graph)
    onnx.checker.check_model(result, full_check=True)
    return result


def laid_out(raw: onnx.ModelProto, reading: Reading) -> onnx.ModelProto:
    """Return a copy of a network that takes raw pixels and gives its own scores, float32 (N, H, W, K), at their size.

    `reading.end` is not used: what the result ends in is what the network does.
    """
    result = deepcopy(raw)
    graph = result.graph
    _rename_reserved(graph)
    del graph.value_info[:]
    _lead_in(graph, reading)
    _lead_out(graph, reading)
    return result


class _Chain:
    """Appends nodes to a tensor, one behind the other."""

    def __init__(self, graph: onnx.GraphProto, tensor: str, prefix: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensor, self.prefix, self._graph = tensor, prefix, graph

    def add(self, kind: str, *constants: npt.NDArray[Any], before: Sequence[str] = (), **attributes: Any) -> str:
        """Append an operation on the tensor; `constants` are its further inputs, `before` those in front of it."""
        name = f"{self.prefix}/{kind.lower()}_{len(self.nodes)}"
        extra = []
        for number, values in enumerate(constants):
            extra.append(f"{name}/{number}")
            self._graph.initializer.append(numpy_helper.from_array(values, extra[-1]))
        inputs = [*before, self.tensor, *extra]
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}:0"], name=name, **attributes))
        self.tensor = f"{name}:0"
        return self.tensor


def _lead_in(graph: onnx.GraphProto, reading: Reading) -> None:
    """Put the order of channels, the scaling and the layout in front of the network."""
    old = graph.input[0].name
    chain = _Chain(graph, INPUT, "input")
    is_channels_first = reading.taken.layout == "NCHW"
    if reading.scale is not None and reading.scale.order == "bgr":
        chain.add("Gather", np.array([2, 1, 0], np.int64), axis=3)
    if is_channels_first:
        chain.add("Transpose", perm=TO_FIRST)
    if reading.scale is not None:
        chain.add("Cast", to=TensorProto.FLOAT)
        for kind, values in (("Sub", reading.scale.mean), ("Mul", tuple(1 / item for item in reading.scale.std))):
            if set(values) != ({0.0} if kind == "Sub" else {1.0}):
                shape = [] if len(set(values)) == 1 else [1, -1, 1, 1] if is_channels_first else [-1]
                chain.add(kind, np.array(values if shape else values[:1], np.float32).reshape(shape))
    rename(graph, {old: chain.tensor}, outputs=False)
    nodes = [*chain.nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    sides: list[Any] = [BATCH, *reading.size, reading.taken.channels]
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, sides))


def _lead_out(graph: onnx.GraphProto, reading: Reading) -> None:
    """Put the layout and the size of the image behind the network."""
    given = reading.given
    chain = _Chain(graph, graph.output[0].name, "output")
    height, width = given.size
    last = given.layout == "NHWC"
    if given.form == "pixels":
        target = (-1, height, width, given.classes) if last else (-1, given.classes, height, width)
        chain.add("Reshape", np.array(target, np.int64))
    elif given.form == "plane":
        chain.add("Reshape", np.array((-1, 1, height, width), np.int64))
    if given.size != reading.size:
        if last:
            chain.add("Transpose", perm=TO_FIRST)
        last = False
        _resize(chain, given.size, reading.size)
    if not last:
        chain.add("Transpose", perm=TO_LAST)
    _close(graph, chain, [BATCH, *reading.size, given.classes])


def _resize(chain: _Chain, small: tuple[int, int], size: tuple[int, int]) -> None:
    """Resize maps (N, K, h, w) to the image's size."""
    chain.add(
        "Resize",
        np.array([], np.float32),
        resize_scales((1, 1, *small), (1, 1, *size)),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )


def resize_scales(before: Sequence[int], after: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return the scales of a Resize, float32, whose product with each length, rounded down, is the new one."""
    scales = np.array(after, np.float32) / np.array(before, np.float32)
    for axis, (old, new) in enumerate(zip(before, after, strict=True)):
        while int(old * float(scales[axis])) < new:
            scales[axis] = np.nextafter(scales[axis], np.float32(np.inf))
    return np.asarray(scales, np.float32)


def _as_two_classes(model: onnx.ModelProto, reading: Reading) -> None:
    """Turn one score into those of a background and a class, which a softmax ends."""
    graph, threshold = model.graph, reading.threshold
    is_score = reading.end == "logits" or cut_sigmoid(graph)
    score = _opened(graph)
    chain = _Chain(graph, score, "output/two")
    if is_score:
        if threshold != 0.5:
            chain.add("Sub", np.array(math.log(threshold / (1 - threshold)), np.float32))
        above = chain.add("Mul", np.array(0.5, np.float32))
        below = chain.add("Neg")
    else:
        above = chain.add("Mul", np.array(1 - threshold, np.float32))
        chain.tensor = score
        chain.add("Mul", np.array(-threshold, np.float32))
        below = chain.add("Add", np.array(threshold, np.float32))
    chain.tensor = above
    chain.add("Concat", before=[below], axis=3)
    if is_score:
        chain.add("Softmax", axis=3)
    else:
        _softmax_of_log(chain)
    _close(graph, chain, [BATCH, *reading.size, 2])


def _softmax_of_log(chain: _Chain) -> None:
    """End positive shares in probabilities that add up to 1."""
    chain.prefix = MONOTONE
    chain.add("Max", np.array(SMALLEST, np.float32))
    chain.add("Log")
    chain.add("Softmax", axis=3)


def _opened(graph: onnx.GraphProto) -> str:
    """Free the output's name for what will be appended, and return the name of what it was."""
    inner = "output/scores"
    rename(graph, {OUTPUT: inner})
    return inner


def _close(graph: onnx.GraphProto, chain: _Chain, shape: list[Any]) -> None:
    """Append a chain of nodes, whose end is the output."""
    graph.node.extend(chain.nodes)
    rename(graph, {chain.tensor: OUTPUT})
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape))


def _rename_reserved(graph: onnx.GraphProto) -> None:
    """Rename tensors of the network that have the names that the export gives."""
    names = {name: f"network/{name}" for name in _RESERVED}
    rename(graph, names)
    for item in (*graph.initializer, *graph.input, *graph.output):
        item.name = names.get(item.name, item.name)
