"""Queries of a graph and small changes to it, for all rewrites. A query without a result refuses the rewrite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from segtool.array_types import AnyArray
from segtool.export.layout import TO_FIRST, TO_LAST
from segtool.export.passes.rewrite import Refused

# f(a) <= f(b) for a <= b, whatever the attributes (LeakyRelu and Elu: see `is_monotone`).
_MONOTONE = frozenset({"Relu", "Sigmoid", "Tanh", "HardSigmoid", "Softsign", "Softplus", "Clip"})
ACTIVATIONS = _MONOTONE | {"LeakyRelu", "Elu"}
"""Operators that treat each number alone."""

HOMOGENEOUS = frozenset({"Relu", "LeakyRelu", "MaxPool"})
"""Operators with f(s x) = s f(x) for every s > 0, whatever their attributes."""


def array(value: ir.Value | None) -> AnyArray | None:
    """Return the values of a constant, None of anything else."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    found: AnyArray = value.const_value.numpy()
    return found


def own_array(value: ir.Value | None, what: str) -> AnyArray:
    """Return the values of a constant that only one node uses."""
    found = array(value)
    if value is None or found is None:
        raise Refused(f"its {what} is computed, not a constant")
    if len(value.uses()) > 1 or value.is_graph_output():
        raise Refused(f"its {what} is shared with another node")
    return found


def maker(value: ir.Value | None) -> ir.Node | None:
    """Return the node that makes a value; None of an input or constant of the graph, and where there is no value."""
    return None if value is None else value.producer()


def sole_user(value: ir.Value) -> ir.Node:
    """Return the only node that uses a value."""
    if value.is_graph_output():
        raise Refused(f"{value.name} is an output of the graph")
    users = value.uses()
    if len(users) != 1:
        raise Refused(f"{value.name} has {len(users)} users")
    return next(iter(users))[0]


def require_sole_users(*values: ir.Value | None) -> None:
    """Refuse values that several nodes use, or that the graph returns."""
    for value in values:
        if value is not None:
            sole_user(value)


def clamp_on(node: ir.Node) -> ir.Node:
    """Return the only user of a node where that is a ReLU, or a Clip between two numbers (ReLU6), else the node."""
    users = [user for user, _ in node.outputs[0].uses()]
    alone = len(users) == 1 and not node.outputs[0].is_graph_output() and is_clamp(users[0])
    return users[0] if alone else node


def is_clamp(node: ir.Node) -> bool:
    """Say whether a node is a ReLU, or a Clip between two numbers."""
    if node.op_type == "Relu":
        return True
    return node.op_type == "Clip" and all(value is None or array(value) is not None for value in node.inputs[1:])


def reaches(node: ir.Node, found: Callable[[ir.Node], bool]) -> bool:
    """Say whether what a node makes goes into a node that is `found`, maybe through other steps."""
    pending = [user for user, _ in node.outputs[0].uses()]
    seen: set[ir.Node] = set()
    while pending:
        user = pending.pop()
        if user in seen:
            continue
        seen.add(user)
        if found(user):
            return True
        pending.extend(item for value in user.outputs for item, _ in value.uses())
    return False


def static_shape(value: ir.Value | None, *, start: int = 1) -> tuple[int, ...]:
    """Return the dimensions from `start` on, which must all be numbers."""
    shape = None if value is None else value.shape
    dims = () if shape is None else tuple(shape)[start:]
    if value is None or shape is None or not all(isinstance(dim, int) for dim in dims):
        raise Refused(f"the size of {'an input' if value is None else value.name} is not static")
    return tuple(int(dim) for dim in dims if isinstance(dim, int))


def ints(node: ir.Node, name: str, default: Sequence[int]) -> list[int]:
    """Return an attribute of integers, or what the operator takes where it is not given."""
    return list(node.attributes.get_ints(name, default))


def attributes(node: ir.Node) -> dict[str, Any]:
    """Return the values of all attributes of a node, for `insert`."""
    return {key: item.value for key, item in node.attributes.items()}


def explicit_pads(node: ir.Node, dims: int = 2) -> list[int]:
    """Return the pads of a convolution or pooling, begins before ends; they must be given as numbers."""
    if node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        raise Refused("its padding is automatic")
    return ints(node, "pads", [0] * (2 * dims))


def is_pointwise(node: ir.Node) -> bool:
    """Say whether a convolution of a 1x1 kernel mixes the channels of each pixel alone, in one group."""
    is_single = ints(node, "strides", [1, 1]) == [1, 1] and node.attributes.get_int("group", 1) == 1
    return is_single and not any(explicit_pads(node))


def require_plain(node: ir.Node) -> None:
    """Refuse a convolution of maps with strides, dilation or groups."""
    steps = [ints(node, name, [1, 1]) for name in ("strides", "dilations")]
    if steps != [[1, 1]] * 2 or node.attributes.get_int("group", 1) != 1:
        raise Refused("it has strides, dilation or groups")


def transposed_weights(node: ir.Node) -> AnyArray:
    """Return the weights (C, K, h, w) of a plain transposed convolution of maps; refuse groups and dilation."""
    weights = own_array(node.inputs[1], "weight")
    if weights.ndim != 4:
        raise Refused("it is not of maps")
    if node.attributes.get_int("group", 1) != 1 or ints(node, "dilations", [1, 1]) != [1, 1]:
        raise Refused("it has groups or dilation")
    if node.attributes.get_ints("output_shape", None) is not None:
        raise Refused("its size is given by output_shape")
    return weights


def output_channels(node: ir.Node, weights: AnyArray) -> tuple[Any, ...]:
    """Return the index that lays a number a channel along the output channels of a convolution's weights.

    Those of a Conv are (K, C, h, w), of a ConvTranspose (C, K, h, w).

    Raises
    ------
    Refused
        A transposed convolution in groups, whose weights hold the channels of one group alone.
    """
    if node.op_type == "Conv":
        return (slice(None), None, None, None)
    if node.attributes.get_int("group", 1) != 1 or weights.ndim != 4:
        raise Refused("it is a transposed convolution in groups, or not of maps")
    return (None, slice(None), None, None)


def is_monotone(node: ir.Node) -> bool:
    """Say whether a node is an element-wise function that never decreases."""
    if node.domain or len([item for item in node.inputs if item is not None and array(item) is None]) != 1:
        return False
    if node.op_type in ("LeakyRelu", "Elu"):
        return bool(node.attributes.get_float("alpha", 0.01 if node.op_type == "LeakyRelu" else 1.0) >= 0)
    return node.op_type in _MONOTONE


def classified(cast: ir.Node) -> ir.Node | None:
    """Return the node whose scores (N, K, H, W) a Cast gives the labels of, from an ArgMax; None of another Cast.

    Of equal scores the ArgMax takes the first.
    """
    best = maker(cast.inputs[0])
    if best is None or best.op_type != "ArgMax" or best.attributes.get_int("select_last_index", 0):
        return None
    is_of_classes = best.attributes.get_int("axis", 0) in (1, -3) and not best.attributes.get_int("keepdims", 1)
    return maker(best.inputs[0]) if is_of_classes else None


def bias(node: ir.Node) -> ir.Value | None:
    """Return the bias of a convolution or product; None where it has none."""
    return node.inputs[2] if len(node.inputs) > 2 else None


def constant_bias(node: ir.Node) -> AnyArray | None:
    """Return the bias of a convolution, a constant that others may use too; None where it has none."""
    found = array(bias(node))
    if found is None and bias(node) is not None:
        raise Refused("its bias is computed, not a constant")
    return found


def own_bias(node: ir.Node) -> AnyArray | None:
    """Return the bias of a convolution, a constant that only this node uses; None where it has none."""
    return None if bias(node) is None else own_array(bias(node), "bias")


def with_constant(node: ir.Node) -> tuple[ir.Value, AnyArray, int] | None:
    """Return the value, the constant, and the index of the constant of an operation of the two; None of another."""
    for side in (1, 0):
        constant, value = array(node.inputs[side]), node.inputs[1 - side]
        if constant is not None and value is not None and array(value) is None:
            return value, constant, side
    return None


def per_channel(node: ir.Node) -> tuple[ir.Value, AnyArray] | None:
    """Return the (N, C, H, W) input and the constant (C,) of a Mul or Add of one number a channel; None otherwise."""
    found = with_constant(node)
    if found is None or found[0].shape is None or len(found[0].shape) != 4:
        return None
    value, numbers, _ = found
    is_single = numbers.ndim == 4 and found[0].shape[1] == numbers.size == 1
    is_each = numbers.ndim in (3, 4) and numbers.size == numbers.shape[-3] > 1
    return (value, numbers.reshape(-1)) if is_single or is_each else None


def add_constant(node: ir.Node, values: AnyArray, role: str) -> ir.Value:
    """Add a constant to the graph of `node`, named after the node and its role there."""
    graph = graph_of(node)
    stem = f"{node.name or node.outputs[0].name}/{role}"
    name = next(name for name in _names(stem) if name not in graph.initializers)
    # Not ascontiguousarray: it makes one dimension of none, where ONNX asks for a scalar.
    value = ir.Value(name=name, const_value=ir.tensor(np.asarray(values, order="C"), name=name))
    value.shape, value.dtype = ir.Shape(values.shape), ir.DataType.from_numpy(values.dtype)
    graph.register_initializer(value)
    return value


def set_constant(node: ir.Node, index: int, values: AnyArray, role: str) -> None:
    """Give a node a new constant input, as `set_input` does."""
    set_input(node, index, add_constant(node, values, role))


def set_input(node: ir.Node, index: int, new: ir.Value) -> None:
    """Give a node a new input; a constant in its place goes when nothing uses it any more."""
    old = node.inputs[index] if index < len(node.inputs) else None
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, new)
    if old is not None and old.is_initializer() and not old.uses() and not old.is_graph_output():
        graph_of(node).initializers.pop(str(old.name))


def insert(place: ir.Node, op: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
    """Put a new node in front of `place` and return its output."""
    node = ir.node(op, inputs, attributes=attributes)
    graph = graph_of(place)
    graph.insert_before(place, node)
    node.name = f"{place.name or place.outputs[0].name}/{op}_{graph.num_nodes()}_{len(graph.initializers)}"
    node.outputs[0].name = f"{node.name}:0"
    return node.outputs[0]


def copied(place: ir.Node, node: ir.Node, value: ir.Value | None) -> ir.Value:
    """Put a copy of a node, on another value, in front of `place`, and return its output."""
    return insert(place, node.op_type, [value, *node.inputs[1:]], **attributes(node))


def channels_last(place: ir.Node, value: ir.Value | None) -> ir.Value:
    """Return (N, H, W, C) of a map (N, C, H, W)."""
    return insert(place, "Transpose", [value], perm=TO_LAST)


def channels_first(place: ir.Node, value: ir.Value | None) -> ir.Value:
    """Return (N, C, H, W) of a map (N, H, W, C)."""
    return insert(place, "Transpose", [value], perm=TO_FIRST)


def reshaped(place: ir.Node, value: ir.Value | None, shape: Sequence[int], role: str) -> ir.Value:
    """Return a value in another shape, whose constant is named after its role."""
    return insert(place, "Reshape", [value, add_constant(place, np.array(shape, np.int64), role)])


def in_place(place: ir.Node, labels: ir.Value, sizes: tuple[int, int, int, int]) -> ir.Value:
    """Return the image (N, h a, w b) of blocks of pixels (N, h, w, a b); `sizes` is (h, w, a, b)."""
    height, width, rows, columns = sizes
    apart = reshaped(place, labels, [-1, height, width, rows, columns], "apart")
    ordered = insert(place, "Transpose", [apart], perm=[0, 1, 3, 2, 4])
    return reshaped(place, ordered, [-1, height * rows, width * columns], "together")


def crop_of(node: ir.Node) -> tuple[list[int], list[int]]:
    """Return how much a Slice takes off (height, width) in front and behind."""
    constants = [array(item) for item in node.inputs[1:]]
    if any(item is None for item in constants) or len(constants) < 3:
        raise Refused("its bounds are computed")
    starts, stops, axes = (item.tolist() for item in constants[:3] if item is not None)
    steps = constants[3].tolist() if len(constants) > 3 and constants[3] is not None else [1] * len(axes)
    before, after = (static_shape(item) for item in (node.inputs[0], node.outputs[0]))
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


def cropped(place: ir.Node, value: ir.Value, begins: Sequence[int], sizes: Sequence[int]) -> ir.Value:
    """Return a part of (N, H, W) or (N, H, W, C): `sizes` rows and columns from `begins` on."""
    starts = np.array(begins, np.int64)
    bounds = {"starts": starts, "ends": starts + np.array(sizes, np.int64), "axes": np.array([1, 2])}
    return insert(place, "Slice", [value, *(add_constant(place, item, key) for key, item in bounds.items())])


def bypass(node: ir.Node, value: ir.Value) -> None:
    """Let everything that used a node's output use `value`, and remove the node."""
    replace_output(node, value)
    graph_of(node).remove(node, safe=True)


def replace_output(node: ir.Node, value: ir.Value) -> None:
    """Let everything that used a node's output use `value`; an output of the graph keeps its name and shape."""
    old = node.outputs[0]
    if not old.is_graph_output():
        old.replace_all_uses_with(value)
        return
    if value.is_graph_output() or value.is_graph_input() or value.producer() is None:
        raise Refused(f"{old.name} is an output of the graph")
    value.shape, value.dtype, name = old.shape, old.dtype, old.name
    old.replace_all_uses_with(value, replace_graph_outputs=True)
    old.name, value.name = f"{name}/before", name


def graph_of(node: ir.Node) -> ir.Graph:
    """Return the graph that a node is in, which must be the main one."""
    graph = node.graph
    if not isinstance(graph, ir.Graph):
        raise Refused("it is not in the main graph")
    return graph


def _names(stem: str) -> Iterator[str]:
    yield stem
    count = 2
    while True:
        yield f"{stem}_{count}"
        count += 1
