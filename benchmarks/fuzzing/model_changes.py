"""Models that are whole as files and wrong inside: they pass every check of bytes and reach onnxruntime."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

Rng = np.random.Generator
_NUMBERS = (0, 1, -1, 2, 7, 2**15, 2**31 - 1, -(2**31), 2**40, 2**63 - 1, -(2**63))
_OPERATORS = (
    "Add", "Reshape", "Transpose", "Concat", "Gather", "Slice", "Conv", "ConvTranspose", "MaxPool", "ArgMax", "Cast",
    "Pad", "Resize", "Split", "Loop", "If", "DepthToSpace", "QuantizeLinear", "QLinearConv", "MatMul", "Unknown",
)  # fmt: skip


def rewired(seed: int, number: int, files: Sequence[bytes]) -> bytes:
    """Return case `number`: one of the valid models after one to three changes of what is in it."""
    rng = np.random.default_rng([seed, zlib.crc32(b"rewired"), number])
    model = onnx.load_model_from_string(files[number % len(files)])
    for _ in range(int(rng.choice((1, 1, 2, 3)))):
        _CHANGES[int(rng.integers(len(_CHANGES)))](model, rng)
    return bytes(model.SerializeToString())


def _pick(rng: Rng, items: Sequence[Any]) -> Any:
    return items[int(rng.integers(len(items)))]


def _change_attribute(model: onnx.ModelProto, rng: Rng) -> None:
    attributes = [item for node in model.graph.node for item in node.attribute]
    chosen = _pick(rng, attributes)
    if chosen.ints:
        chosen.ints[int(rng.integers(len(chosen.ints)))] = _pick(rng, _NUMBERS)
    else:
        chosen.i = _pick(rng, _NUMBERS)


def _change_list(model: onnx.ModelProto, rng: Rng) -> None:
    chosen = _pick(rng, [item for node in model.graph.node for item in node.attribute if item.ints])
    if rng.random() < 0.5:
        chosen.ints.append(_pick(rng, _NUMBERS))
    else:
        del chosen.ints[-1]


def _change_shape(model: onnx.ModelProto, rng: Rng) -> None:
    tensor = _pick(rng, [item for item in model.graph.initializer if item.dims])
    tensor.dims[int(rng.integers(len(tensor.dims)))] = _pick(rng, _NUMBERS)


def _change_values(model: onnx.ModelProto, rng: Rng) -> None:
    """Write noise into a tensor: shapes, axes and pads are tensors too."""
    tensor = _pick(rng, model.graph.initializer)
    tensor.raw_data = rng.bytes(len(tensor.raw_data))


def _change_type(model: onnx.ModelProto, rng: Rng) -> None:
    _pick(rng, model.graph.initializer).data_type = int(rng.integers(0, 25))


def _cut_values(model: onnx.ModelProto, rng: Rng) -> None:
    tensor = _pick(rng, model.graph.initializer)
    tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data) + 1))]


def _change_operator(model: onnx.ModelProto, rng: Rng) -> None:
    _pick(rng, model.graph.node).op_type = _pick(rng, _OPERATORS)


def _rewire(model: onnx.ModelProto, rng: Rng) -> None:
    """Connect an input of a node to any value, its own output among them."""
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    node = _pick(rng, [item for item in model.graph.node if item.input])
    node.input[int(rng.integers(len(node.input)))] = _pick(rng, [*names, "", "nothing"])


def _drop_or_repeat(model: onnx.ModelProto, rng: Rng) -> None:
    if rng.random() < 0.5:
        del model.graph.node[int(rng.integers(len(model.graph.node)))]
    else:
        model.graph.node.append(_pick(rng, model.graph.node))


def _drop_input(model: onnx.ModelProto, rng: Rng) -> None:
    node = _pick(rng, [item for item in model.graph.node if item.input])
    del node.input[int(rng.integers(len(node.input)))]


def _change_ends(model: onnx.ModelProto, rng: Rng) -> None:
    kind = _pick(rng, [*model.graph.input, *model.graph.output]).type.tensor_type
    if rng.random() < 0.3:
        kind.elem_type = int(rng.integers(0, 25))
    else:
        _pick(rng, kind.shape.dim).dim_value = _pick(rng, _NUMBERS)


def _change_version(model: onnx.ModelProto, rng: Rng) -> None:
    model.opset_import[0].version = int(_pick(rng, (0, 1, 7, 12, 99, 2**40)))


def _change_contract(model: onnx.ModelProto, rng: Rng) -> None:
    """Replace a field of the contract or of the golden pair by something else."""
    entry = _pick(rng, model.metadata_props)
    values = json.loads(entry.value)
    others: tuple[Any, ...] = (None, 0, -1, 1e300, float("nan"), "x", [], [[]], {}, [1, "a", None], True, 2**70)
    values[_pick(rng, sorted(values))] = _pick(rng, others)
    entry.value = json.dumps(values)


_CHANGES: tuple[Callable[[onnx.ModelProto, Rng], None], ...] = (
    _change_attribute, _change_attribute, _change_list, _change_shape, _change_values, _change_type, _cut_values,
    _change_operator, _rewire, _drop_or_repeat, _drop_input, _change_ends, _change_version, _change_contract,
    _change_contract,
)  # fmt: skip
