"""Which layer of a file a step of onnxruntime computes, and what the step takes: its products and its shape.

onnxruntime names a step after a node of the file with a suffix, or, for the blocked convolutions of FP32, after the
value that the step gives, which is that of the activation behind the convolution.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from segtool.benchmark.kernels import Convolution
from segtool.benchmark.profiler import Step
from segtool.runtime.graph_reader import INT8, Constant, Graph, Node

INTEGER_PRODUCTS = frozenset(
    {"QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm"}
)
FLOAT_PRODUCTS = frozenset({"Conv", "FusedConv", "ConvTranspose", "MatMul", "FusedMatMul", "Gemm", "FusedGemm"})

_CONVOLUTIONS = frozenset({"Conv", "FusedConv", "QLinearConv", "ConvTranspose"})
_PRODUCTS = INTEGER_PRODUCTS | FLOAT_PRODUCTS | _CONVOLUTIONS
_MULTIPLIES = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})  # in a file
# Operators that change the layout or the type of values.
_CONVERSIONS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "Cast", "Transpose", "Reshape", "ReorderInput", "ReorderOutput"}
)
_SUFFIX = re.compile(r"(_token_\d+|_nchwc|_dq|/duplicated)+$")
_FUSED = "fused "
_BLOCKED = "_nchwc"
_FARTHEST = 8  # nodes between a convolution and the value that its step is named after


@dataclass(frozen=True)
class LayerStep:
    """A step, and the layer of the file that it computes.

    Attributes
    ----------
    step
        As onnxruntime runs it.
    node
        The node of the file; None for a conversion, or what onnxruntime added.
    weights, zero_point
        The constant weights of the node and their zero point, if any.
    """

    step: Step
    node: Node | None = None
    weights: Constant | None = None
    zero_point: Constant | None = None

    @property
    def name(self) -> str:
        """The name of the layer in the file, or of the step where the file has none."""
        return self.node.name if self.node is not None and self.node.name else self.step.name

    @property
    def convolution(self) -> Convolution | None:
        """What decides on the kernel of an INT8 convolution; None for other steps, or weights that are computed."""
        if self.step.operator != "QLinearConv" or self.weights is None:
            return None
        outputs, inputs, *taps = self.weights.shape
        (groups,) = self._attribute("group")
        is_symmetric = self.weights.kind == INT8 and (self.zero_point is None or self.zero_point.is_zero)
        return Convolution(inputs, outputs // groups, groups, math.prod(taps), is_symmetric, self.weights.largest)

    @property
    def macs(self) -> int:
        """The multiply-accumulates of the step for one image, those with padding among them."""
        step, shape = self.step, self._weight_shape
        if step.operator not in _PRODUCTS or not step.inputs or not step.outputs:
            return 0
        if step.operator not in _CONVOLUTIONS:
            return math.prod(step.outputs[0].shape) * step.inputs[0].shape[-1]
        if not shape:
            return 0
        # Each position of the output (of the input, for a transposed convolution) meets every weight once.
        values = step.inputs[0].shape if step.operator == "ConvTranspose" else step.outputs[0].shape
        channels = values[1] if step.name.endswith(_BLOCKED) else shape[0]
        return math.prod(values) // channels * math.prod(shape)

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of a convolution's output; onnxruntime moves the channels of INT8 ones to the end."""
        step, shape = self.step, self.step.outputs[0].shape
        is_moved = step.operator == "QLinearConv" and _SUFFIX.search(step.name) is not None
        return shape[1:-1] if is_moved and shape[-1:] == self._weight_shape[:1] else shape[2:]

    @property
    def shape_text(self) -> str:
        """The size of the step as text, such as "3x3 /2, 32 -> 96 channels, 48x60" for a convolution."""
        step, shape = self.step, self._weight_shape
        if step.operator not in _CONVOLUTIONS or self.node is None or not shape:
            values = step.outputs[:1] if step.operator not in _PRODUCTS else (*step.inputs[:1], *step.outputs[:1])
            return " -> ".join("x".join(map(str, value.shape)) for value in values)
        groups, strides = self._attribute("group"), self._attribute("strides")
        inputs, outputs = shape[1] * groups[0], shape[0]
        if step.operator == "ConvTranspose":
            inputs, outputs = shape[0], shape[1] * groups[0]
        step_text = f" /{max(strides)}" if max(strides) > 1 else ""
        group_text = f", {groups[0]} groups" if groups[0] > 1 else ""
        size, kernel = ("x".join(map(str, values)) for values in (self.size, shape[2:]))
        return f"{kernel}{step_text}, {inputs} -> {outputs} channels{group_text}, {size}"

    @property
    def _weight_shape(self) -> tuple[int, ...]:
        """The shape of the weights: in the file, or of the step where the file computes them; else empty."""
        if self.weights is not None:
            return self.weights.shape
        own = self.step.inputs[1].shape if len(self.step.inputs) > 1 else ()
        return own if len(own) > 2 else ()

    def _attribute(self, name: str) -> tuple[int, ...]:
        return (1,) if self.node is None else self.node.attributes.get(name, (1,))


def assign(steps: Sequence[Step], graph: Graph) -> list[LayerStep]:
    """Assign the steps of a run to the nodes of a file, each convolution and product to at most one step."""
    names = _Names(graph)
    found = [None if step.operator in _CONVERSIONS else names.node(step.name) for step in steps]
    taken = {id(node) for node in found if node is not None and node.operator in _MULTIPLIES}
    result = []
    for step, node in zip(steps, found, strict=True):
        layer = node
        if node is not None and step.operator in _PRODUCTS and node.operator not in _MULTIPLIES:
            layer = names.product_before(node, taken)
            taken.add(id(layer))
        result.append(LayerStep(step) if layer is None else LayerStep(step, layer, *names.weights(layer)))
    return result


class _Names:
    """The nodes of a file by their names, and by those of their values."""

    def __init__(self, graph: Graph) -> None:
        self._constants = graph.constants
        self._named = {node.name: node for node in graph.nodes if node.name}
        self._makers = {value: node for node in graph.nodes for value in node.outputs}

    def node(self, name: str) -> Node | None:
        """Return the node that a step is named after."""
        whole = name.removeprefix(_FUSED)
        for known in (whole, _SUFFIX.sub("", whole)):
            if known in self._named or known in self._makers:
                return self._named.get(known) or self._makers[known]
        # A fusion appends its own name: layer/MatMul/MatMulScaleFusion/
        parts = whole.split("/")
        heads = ("/".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
        return next((self._named[head] for head in heads if head in self._named), None)

    def product_before(self, node: Node, taken: set[int]) -> Node | None:
        """Return the nearest convolution or product in front of a node that no other step computes."""
        waiting = [node]
        for _ in range(_FARTHEST):
            waiting = [self._makers[value] for node in waiting for value in node.inputs if value in self._makers]
            for maker in waiting:
                if maker.operator in _MULTIPLIES and id(maker) not in taken:
                    return maker
        return None

    def weights(self, node: Node) -> tuple[Constant | None, Constant | None]:
        """Return the constant weights of a node and their zero point, from behind a DequantizeLinear too."""
        name = node.inputs[1] if len(node.inputs) > 1 else ""
        maker = self._makers.get(name)
        if maker is None or maker.operator != "DequantizeLinear":
            return self._constants.get(name), None
        weights, _, *zero_point = maker.inputs
        return self._constants.get(weights), self._constants.get(zero_point[0]) if zero_point else None
