"""ONNX models of a few nodes, made on the spot, that answer what can be computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segtool.contract import GOLDEN_KEY, METADATA_KEY, GoldenPair, ModelContract, default_palette

STEP = 25.0


def expected_labels(image: np.ndarray, classes: int = 11) -> np.ndarray:
    """The class nearest to pixel value / 25, ties to the lower: (..., H, W, C) -> (..., H, W)."""
    scaled = image.astype(np.float64).mean(axis=-1) / STEP
    return np.clip(np.ceil(scaled - 0.5), 0, classes - 1).astype(np.uint8 if classes <= 256 else np.uint16)


def tiny_contract(**changes: object) -> ModelContract:
    """A contract for `write_model`: 64 x 84 grey, classes 0..9 and background, unless `changes` says otherwise."""
    names = tuple(changes.pop("class_names", (*map(str, range(10)), "background")))
    values = {
        "height": 64,
        "width": 84,
        "channels": 1,
        "class_names": names,
        "palette": default_palette(len(names), background_id=len(names) - 1),
        "background_id": len(names) - 1,
    }
    return ModelContract(**{**values, **changes})


def write_model(path: Path, contract: ModelContract | None = None, *, golden: GoldenPair | None = None) -> Path:
    """Write a model whose score for class k is -(value / 25 - k)^2, with the contract's head."""
    contract = contract or tiny_contract()
    metadata = {METADATA_KEY: contract.to_json()}
    if golden is not None:
        metadata[GOLDEN_KEY] = golden.to_json()
    return _save(path, _graph(contract), metadata)


def write_proven(path: Path, contract: ModelContract | None = None, *, images: int = 2) -> Path:
    """Write the model of `write_model` with a golden pair of random images."""
    contract = contract or tiny_contract()
    shape = (images, contract.height, contract.width, contract.channels)
    given = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    return write_model(path, contract, golden=GoldenPair(given, expected_labels(given, contract.num_classes)))


def write_convolutions(path: Path, contract: ModelContract, *, kernels: tuple[int, ...] = (5, 3)) -> Path:
    """Write a fully convolutional model; a pixel's scores depend on those within sum(kernel // 2) of it.

    All weights are small whole numbers, the same for every input size, so that the logits are exact in float32
    however they are summed.
    """
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["x0"], perm=[0, 3, 1, 2]),
    ]
    weights, channels = [], contract.channels
    for index, kernel in enumerate(kernels):
        last = index == len(kernels) - 1
        filters = contract.num_classes if last else 4
        values = rng.integers(-2, 3, (filters, channels, kernel, kernel)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{index}"))
        nodes.append(helper.make_node("Conv", [f"x{index}", f"w{index}"], [f"y{index}"], pads=[kernel // 2] * 4))
        nodes.append(helper.make_node("Identity" if last else "Relu", [f"y{index}"], [f"x{index + 1}"]))
        channels = filters
    nodes.append(helper.make_node("Transpose", [f"x{len(kernels)}"], ["logits"], perm=[0, 2, 3, 1]))
    graph = _graph(contract)
    names = [node.op_type for node in graph.node]
    nodes += graph.node[names.index("Neg") + 1 :]  # the head of the other model
    for field, values in ((graph.node, nodes), (graph.initializer, weights)):
        del field[:]
        field.extend(values)
    return _save(path, graph, {METADATA_KEY: contract.to_json()})


def _save(path: Path, graph: onnx.GraphProto, metadata: dict[str, str]) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _graph(contract: ModelContract) -> onnx.GraphProto:
    size = ["N", contract.height, contract.width]
    label_type = TensorProto.UINT8 if contract.num_classes <= 256 else TensorProto.UINT16
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["value"], axes=[3], keepdims=1),
        helper.make_node("Div", ["value", "step"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "centres"], ["distance"]),
        helper.make_node("Mul", ["distance", "distance"], ["squared"]),
        helper.make_node("Neg", ["squared"], ["logits"]),
    ]
    if contract.head == "probabilities":
        nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=3))
    if contract.head == "labels":
        nodes.append(helper.make_node("ArgMax", ["logits"], ["best"], axis=3, keepdims=0))
        nodes.append(helper.make_node("Cast", ["best"], ["labels"], to=label_type))
    shape = size if contract.head == "labels" else [*size, contract.num_classes]
    kind = label_type if contract.head == "labels" else TensorProto.FLOAT
    return helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [*size, contract.channels])],
        [helper.make_tensor_value_info(contract.head, kind, shape)],
        [
            numpy_helper.from_array(np.array(STEP, np.float32), "step"),
            numpy_helper.from_array(np.arange(contract.num_classes, dtype=np.float32), "centres"),
        ],
    )
