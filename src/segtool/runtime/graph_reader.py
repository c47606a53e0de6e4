"""Read the nodes and the constants of an ONNX file, without the package onnx, which a device does not need.

Only what a description of the layers needs is read: names, operators, edges, integer attributes, and the shapes and
types of constants. The file is one that `check_model_file` accepted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segtool.errors import ModelFileError
from segtool.runtime.protobuf import Message

UINT8, INT8 = 2, 3
"""Types of constants: numbers of `TensorProto.DataType` in onnx.proto."""

# Field numbers of onnx.proto.
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_CONSTANT = 7, 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 3, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_INTS = 1, 3, 8
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_INT32, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 5, 8, 9


@dataclass(frozen=True)
class Node:
    """A node: its name (empty if it has none), operator, values, and attributes that are integers."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Constant:
    """A constant: its shape, its type as a number of onnx.proto, and whether all its bytes are 0."""

    shape: tuple[int, ...]
    kind: int
    is_zero: bool


@dataclass(frozen=True)
class Graph:
    """The nodes of a graph in order, and its constants by name."""

    nodes: Sequence[Node]
    constants: Mapping[str, Constant]


def read_graph(path: str | Path) -> Graph:
    """Read the main graph of an ONNX file.

    Raises
    ------
    ModelFileError
        The file cannot be read, or is not an ONNX file.
    """
    try:
        message = Message(Path(path).read_bytes())
        start, stop = _part(message, 0, len(message.data), _MODEL_GRAPH)
        nodes: list[Node] = []
        constants: dict[str, Constant] = {}
        for number, first, last in message.fields(start, stop):
            if number == _GRAPH_NODE and first >= 0:
                nodes.append(_node(message, first, last))
            elif number == _GRAPH_CONSTANT and first >= 0:
                name, constant = _constant(message, first, last)
                constants[name] = constant
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}); check its name and permissions.") from error
    except ValueError as error:
        raise ModelFileError(f"{path} is not an ONNX file ({error}); expected a file of `segtool export`.") from error
    return Graph(nodes, constants)


def _part(message: Message, start: int, stop: int, wanted: int) -> tuple[int, int]:
    """Return start and stop of a field."""
    for number, first, last in message.fields(start, stop):
        if number == wanted and first >= 0:
            return first, last
    raise ValueError("it has no graph")


def _node(message: Message, start: int, stop: int) -> Node:
    texts: dict[int, list[str]] = {}
    attributes: dict[str, tuple[int, ...]] = {}
    for number, first, last in message.fields(start, stop):
        if number == _NODE_ATTRIBUTE and first >= 0:
            name, values = _attribute(message, first, last)
            attributes[name] = values
        elif first >= 0:
            texts.setdefault(number, []).append(_text(message, first, last))
    name, operator = ("".join(texts.get(number, [])) for number in (_NODE_NAME, _NODE_OPERATOR))
    inputs, outputs = (tuple(texts.get(number, ())) for number in (_NODE_INPUT, _NODE_OUTPUT))
    return Node(name, operator, inputs, outputs, attributes)


def _attribute(message: Message, start: int, stop: int) -> tuple[str, tuple[int, ...]]:
    """Return the name and the integers of an attribute; no integers for one of another type."""
    name = ""
    values: list[int] = []
    for number, first, last in message.fields(start, stop):
        if number == _ATTRIBUTE_NAME and first >= 0:
            name = _text(message, first, last)
        elif number in (_ATTRIBUTE_INT, _ATTRIBUTE_INTS):
            values += _integers(message, first, last)
    return name, tuple(values)


def _constant(message: Message, start: int, stop: int) -> tuple[str, Constant]:
    name, kind, is_zero = "", 0, True
    shape: list[int] = []
    for number, first, last in message.fields(start, stop):
        if number == _TENSOR_NAME and first >= 0:
            name = _text(message, first, last)
        elif number == _TENSOR_TYPE:
            kind = last
        elif number == _TENSOR_SHAPE:
            shape += _integers(message, first, last)
        elif number in (_TENSOR_RAW, _TENSOR_INT32):
            is_zero &= not (any(message.data[first:last]) if first >= 0 else last)
    return name, Constant(tuple(shape), kind, is_zero)


def _integers(message: Message, first: int, last: int) -> Iterator[int]:
    """Yield the integers of a field, written one a field or packed; none here is negative."""
    if first < 0:
        yield last
        return
    value = shift = 0
    for byte in message.data[first:last]:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0


def _text(message: Message, first: int, last: int) -> str:
    return message.data[first:last].decode(errors="replace")
