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
    model = helper.make_model(_graph(contract), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    if golden is not None:
        helper.set_model_props(model, {METADATA_KEY: contract.to_json(), GOLDEN_KEY: golden.to_json()})
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
