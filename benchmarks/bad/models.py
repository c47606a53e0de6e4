"""Model files that are broken or made to hurt their reader."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from bad.arrays import npz_of
from bad.images import flipped
from segtool.runtime.model_file import sealed

GOLDEN_MODEL = Path(__file__).resolve().parents[2] / "tests" / "golden" / "tiny_v1.onnx"


def model(change: Callable[[onnx.ModelProto], object] = lambda _: None) -> bytes:
    """Return the golden model, changed."""
    proto = onnx.load(GOLDEN_MODEL)
    change(proto)
    return bytes(proto.SerializeToString())


def contract(**changes: Any) -> Callable[[onnx.ModelProto], None]:
    """Return a change of the model's contract; None takes a field out."""

    def change(proto: onnx.ModelProto) -> None:
        entry = next(item for item in proto.metadata_props if item.key == "segtool")
        values = {**json.loads(entry.value), **changes}
        entry.value = json.dumps({key: value for key, value in values.items() if value is not None})

    return change


def metadata(key: str, value: str | None) -> Callable[[onnx.ModelProto], None]:
    """Return a change that replaces the metadata `key`, or takes it out."""

    def change(proto: onnx.ModelProto) -> None:
        kept = [(item.key, item.value) for item in proto.metadata_props if item.key != key]
        del proto.metadata_props[:]
        for name, text in [*kept, *([] if value is None else [(key, value)])]:
            proto.metadata_props.add(key=name, value=text)

    return change


def golden(**changes: Any) -> Callable[[onnx.ModelProto], None]:
    """Return a change of the golden pair's labels."""

    def change(proto: onnx.ModelProto) -> None:
        entry = next(item for item in proto.metadata_props if item.key == "segtool.golden")
        values = json.loads(entry.value)
        values["labels"] |= changes
        entry.value = json.dumps(values)

    return change


def wrong_labels(proto: onnx.ModelProto) -> None:
    entry = next(item for item in proto.metadata_props if item.key == "segtool.golden")
    shape = json.loads(entry.value)["labels"]["shape"]
    packed = base64.b64encode(zlib.compress(bytes([2]) * int(np.prod(shape)))).decode()
    golden(zlib_base64=packed)(proto)


def external(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def custom_operator(proto: onnx.ModelProto) -> None:
    proto.opset_import.append(helper.make_opsetid("evil.lib", 1))
    proto.graph.node[0].domain = "evil.lib"


def damaged_sealed_model() -> bytes:
    return flipped(sealed(model()))


def keras_zip(config: bytes, **members: bytes) -> bytes:
    parts = {"metadata.json": b"{}", "model.weights.h5": b"", **members, "config.json": config}
    return npz_of(parts)


def keras_lambda() -> bytes:
    layer: dict[str, Any] = {"module": "keras.layers", "class_name": "Lambda", "config": {}, "registered_name": None}
    model = {"module": "keras", "class_name": "Functional", "config": {"layers": [layer]}, "registered_name": None}
    return keras_zip(json.dumps(model).encode())
