"""Read the nodes and the constants of an ONNX file, without the package onnx, which a device does not need.

Only what a description of the layers needs is read: names, operators, edges, integer attributes, and the shapes and
types of constants. The file is one that `check_model_file` accepted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segtool.errors import ModelFileError
from segtool.runtime.protobuf import Message

UINT8, INT8 = 2, 3
"""Types of constants: numbers of `TensorProto.DataType` in onnx.proto."""

# Field numbers of onnx.proto.
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_CONSTANT = 7, 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 3, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_INTS = 1, 3, 8
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_INT32, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 5, 8, 9

_Part = tuple[int, int]


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
    """A constant: its shape, its type as a number of onnx.proto, whether all its bytes are 0, its largest int8.

    `largest` is the largest absolute value of an int8 constant; 0 for other types.
    """

    shape: tuple[int, ...]
    kind: int
    is_zero: bool
    largest: int = 0


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
        graph = _graph(message)
        nodes = [_node(message, part) for part in graph[_GRAPH_NODE]]
        return Graph(nodes, dict(_constant(message, part) for part in graph[_GRAPH_CONSTANT]))
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}); check its name and permissions.") from error
    except ValueError as error:
        raise ModelFileError(f"{path} is not an ONNX file ({error}); expected a file of `segtool export`.") from error


def _graph(message: Message) -> defaultdict[int, list[_Part]]:
    """Return the fields of the graph."""
    model = _parts(message, (0, len(message.data)))
    if not model[_MODEL_GRAPH]:
        raise ValueError("it has no graph")
    return _parts(message, model[_MODEL_GRAPH][0])


def _parts(message: Message, part: _Part) -> defaultdict[int, list[_Part]]:
    """Return start and stop of each field of a message by its number; for a number, -1 and the number."""
    if part[0] < 0:
        raise ValueError("it has a number in place of a message")
    found: defaultdict[int, list[_Part]] = defaultdict(list)
    for number, start, stop in message.fields(*part):
        found[number].append((start, stop))
    return found


def _node(message: Message, part: _Part) -> Node:
    fields = _parts(message, part)
    inputs, outputs = (tuple(_text(message, one) for one in fields[number]) for number in (_NODE_INPUT, _NODE_OUTPUT))
    name, operator = ("".join(_text(message, one) for one in fields[number]) for number in (_NODE_NAME, _NODE_OPERATOR))
    attributes = dict(_attribute(message, one) for one in fields[_NODE_ATTRIBUTE])
    return Node(name, operator, inputs, outputs, attributes)


def _attribute(message: Message, part: _Part) -> tuple[str, tuple[int, ...]]:
    """Return the name and the integers of an attribute; no integers for one of another type."""
    fields = _parts(message, part)
    values = _integers(message, fields[_ATTRIBUTE_INT] + fields[_ATTRIBUTE_INTS])
    return "".join(_text(message, one) for one in fields[_ATTRIBUTE_NAME]), values


def _constant(message: Message, part: _Part) -> tuple[str, Constant]:
    fields = _parts(message, part)
    contents = fields[_TENSOR_RAW] + fields[_TENSOR_INT32]
    is_zero = not any(any(message.data[start:stop]) if start >= 0 else stop for start, stop in contents)
    kind = next((stop for _, stop in fields[_TENSOR_TYPE]), 0)
    name = "".join(_text(message, one) for one in fields[_TENSOR_NAME])
    raw = [np.frombuffer(message.data[start:stop], np.int8) for start, stop in fields[_TENSOR_RAW] if start >= 0]
    largest = max((int(np.abs(part.astype(np.int16)).max(initial=0)) for part in raw), default=0) if kind == INT8 else 0
    return name, Constant(_integers(message, fields[_TENSOR_SHAPE]), kind, is_zero, largest)


def _integers(message: Message, parts: Iterable[_Part]) -> tuple[int, ...]:
    """Return the integers of some fields, written one a field or packed; none here is negative."""
    values: list[int] = []
    for start, stop in parts:
        if start < 0:
            values.append(stop)
            continue
        value = shift = 0
        for byte in message.data[start:stop]:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                values.append(value)
                value = shift = 0
    return tuple(values)


def _text(message: Message, part: _Part) -> str:
    return message.data[slice(*part)].decode(errors="replace")
