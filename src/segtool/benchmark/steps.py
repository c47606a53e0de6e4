"""Which layer of a file a step of onnxruntime computes, and what the step takes: its products and its shape.

onnxruntime names a step after a node of the file with a suffix, or, for the blocked convolutions of FP32, after the
value that the step gives, which is that of the activation behind the convolution.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
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
_MULTIPLIES = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "QLinearConv", "QLinearMatMul"})
# Operators that change the layout or the type of values.
_CONVERSIONS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "Cast", "Transpose", "Reshape", "ReorderInput", "ReorderOutput"}
)
_SUFFIX = re.compile(r"(_token_\d+|_nchwc|_dq|/duplicated)+$")
_FUSED = "fused "
_BLOCKED = "_nchwc"
_FARTHEST = 8  # nodes between a convolution and the value that its step is named after


@dataclass(frozen=True)
class Assigned:
    """A step, and the node of the file that it computes; None for a conversion, or what onnxruntime added."""

    step: Step
    node: Node | None


def assign(steps: Sequence[Step], graph: Graph) -> list[Assigned]:
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
        result.append(Assigned(step, layer))
    return result


class _Names:
    """The nodes of a file by their names, and by those of their values."""

    def __init__(self, graph: Graph) -> None:
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


def convolution_of(found: Assigned, graph: Graph) -> Convolution | None:
    """Return what decides on the kernel of an INT8 convolution; None for other steps, or weights that are computed."""
    if found.node is None or found.step.operator != "QLinearConv":
        return None
    weights = next(_weights(found.node, graph), None)
    if weights is None:
        return None
    constant, zero = weights
    groups = found.node.attributes.get("group", (1,))[0]
    return Convolution(
        constant.shape[1],
        constant.shape[0] // groups,
        groups,
        math.prod(constant.shape[2:]),
        signed_activations=found.step.inputs[0].kind == "int8",
        symmetric_weights=constant.kind == INT8 and (zero is None or zero.is_zero),
    )


def reads_signed(found: Assigned, graph: Graph) -> bool:
    """Return whether a convolution of the file reads int8 activations: onnxruntime for x86 computes those in float."""
    if found.node is None or not found.node.inputs:
        return False
    makers = (node for node in graph.nodes if found.node.inputs[0] in node.outputs and len(node.inputs) > 2)
    zeros = (graph.constants.get(node.inputs[2]) for node in makers if node.operator == "DequantizeLinear")
    return any(zero is not None and zero.kind == INT8 for zero in zeros)


def macs_of(found: Assigned, graph: Graph) -> int:
    """Return the multiply-accumulates of a step for one image, those with padding among them."""
    step = found.step
    if step.operator not in _PRODUCTS or not step.inputs or not step.outputs:
        return 0
    if step.operator not in _CONVOLUTIONS:
        return math.prod(step.outputs[0].shape) * step.inputs[0].shape[-1]
    shape = _weight_shape(found, graph)
    if not shape:
        return 0
    # Each position of the output (of the input, for a transposed convolution) meets every weight once.
    values = step.inputs[0].shape if step.operator == "ConvTranspose" else step.outputs[0].shape
    channels = values[1] if step.name.endswith(_BLOCKED) else shape[0]
    return math.prod(values) // channels * math.prod(shape)


def shape_text(found: Assigned, graph: Graph) -> str:
    """Return the size of a step as text, such as "3x3 /2, 32 -> 96 channels, 48x60" for a convolution."""
    step, shape = found.step, _weight_shape(found, graph)
    if step.operator not in _CONVOLUTIONS or found.node is None or not shape:
        values = step.outputs[:1] if step.operator not in _PRODUCTS else (*step.inputs[:1], *step.outputs[:1])
        return " -> ".join("x".join(map(str, value.shape)) for value in values)
    groups, strides = (found.node.attributes.get(name, (1,)) for name in ("group", "strides"))
    inputs, outputs = shape[1] * groups[0], shape[0]
    if step.operator == "ConvTranspose":
        inputs, outputs = shape[0], shape[1] * groups[0]
    step_text = f" /{max(strides)}" if max(strides) > 1 else ""
    group_text = f", {groups[0]} groups" if groups[0] > 1 else ""
    size, kernel = ("x".join(map(str, values)) for values in (size_of(found, graph), shape[2:]))
    return f"{kernel}{step_text}, {inputs} -> {outputs} channels{group_text}, {size}"


def size_of(found: Assigned, graph: Graph) -> tuple[int, ...]:
    """Return height and width of a convolution's output; onnxruntime moves the channels of INT8 ones to the end."""
    step, shape = found.step, found.step.outputs[0].shape
    is_moved = step.operator == "QLinearConv" and _SUFFIX.search(step.name) is not None
    return shape[1:-1] if is_moved and shape[-1:] == _weight_shape(found, graph)[:1] else shape[2:]


def _weight_shape(found: Assigned, graph: Graph) -> tuple[int, ...]:
    """Return the shape of the weights: in the file, or of the step where the file computes them; else empty."""
    if found.node is not None:
        for constant, _ in _weights(found.node, graph):
            return constant.shape
    own = found.step.inputs[1].shape if len(found.step.inputs) > 1 else ()
    return own if len(own) > 2 else ()


def _weights(node: Node, graph: Graph) -> Iterator[tuple[Constant, Constant | None]]:
    """Yield the constant weights of a node and their zero point, from behind a DequantizeLinear too."""
    at, zero_at = (3, 5) if node.operator.startswith("QLinear") else (1, None)
    if len(node.inputs) <= at:
        return
    constants, zero = graph.constants, None if zero_at is None else graph.constants.get(node.inputs[zero_at])
    name = node.inputs[at]
    if name in constants:
        yield constants[name], zero
        return
    for maker in graph.nodes:
        if name in maker.outputs and maker.operator == "DequantizeLinear" and maker.inputs[0] in constants:
            zeros = constants.get(maker.inputs[2]) if len(maker.inputs) > 2 else None
            yield constants[maker.inputs[0]], zeros
