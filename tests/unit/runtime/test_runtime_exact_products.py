"""Products of uint8 and int8 are exact on each processor, for the largest weights too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from segtool.export.running import open_graph
from segtool.machine.machine import VNNI, instruction_sets
from segtool.runtime import session_options
from segtool.runtime.session import open_session

# Each sum of PRODUCTS products of 255 and a weight is the weight in steps of PRODUCTS x 255.
PRODUCTS = 72


def graph(kind: str, weight: int) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """Return a layer and its input's shape: a 3x3 convolution, a 1x1 one, or a dense layer."""
    if kind == "MatMul":
        shape, weights = (1, 4, PRODUCTS), np.full((PRODUCTS, 16), weight, np.int8)
    elif kind == "Conv 1x1":
        shape, weights = (1, PRODUCTS, 4, 4), np.full((16, PRODUCTS, 1, 1), weight, np.int8)
    else:
        shape, weights = (1, 8, 3, 3), np.full((16, 8, 3, 3), weight, np.int8)
    constants = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "step": np.float32(PRODUCTS * 255),
        "middle": np.uint8(128),
        "weights": weights,
        "weight_zero": np.int8(0),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "one", "zero"], ["pixels"]),
        helper.make_node("DequantizeLinear", ["weights", "one", "weight_zero"], ["kernel"]),
        helper.make_node(kind.split(maxsplit=1)[0], ["pixels", "kernel"], ["sum"]),
        helper.make_node("QuantizeLinear", ["sum", "step", "middle"], ["y"]),
    ]
    made = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), shape


def by_runtime(model: onnx.ModelProto, folder: Path) -> Any:
    onnx.save(model, folder / "model.onnx")
    return open_session(folder / "model.onnx", provider="cpu").session


def by_export(model: onnx.ModelProto, folder: Path) -> Any:
    return open_graph(model)


@pytest.mark.parametrize("opened", [by_runtime, by_export])
@pytest.mark.parametrize("kind", ["Conv 3x3", "Conv 1x1", "MatMul"])
@pytest.mark.parametrize("weight", [64, 65, 127, -128])
def test_sums_are_those_of_whole_numbers(
    kind: str, weight: int, opened: Callable[[onnx.ModelProto, Path], Any], tmp_path: Path
) -> None:
    model, shape = graph(kind, weight)
    (found,) = opened(model, tmp_path).run(None, {"x": np.full(shape, 255, np.uint8)})
    assert set(np.unique(found)) == {128 + weight}


@pytest.mark.parametrize("opened", [by_runtime, by_export])
@pytest.mark.parametrize(
    "sets", [["avx2"], [], ["avx2", "avx_vnni"], ["avx2", "avx512f", "avx512_vnni"], ["avx512_vnni", "amx_int8"]]
)
def test_uint8_weights_are_for_processors_that_overflow_alone(
    sets: list[str], opened: Callable[[onnx.ModelProto, Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With VNNI, they took 2.3 times as long as int8 weights."""
    monkeypatch.setattr(session_options, "instruction_sets", lambda: sets)
    session_options.may_overflow.cache_clear()
    try:
        options = opened(graph("Conv 3x3", 64)[0], tmp_path).get_session_options()
    finally:
        session_options.may_overflow.cache_clear()
    key, value = session_options.EXACT_PRODUCTS
    assert _entry(options, key) == (None if VNNI.intersection(sets) else value)


def test_this_processor_is_asked_for_its_instructions() -> None:
    assert session_options.may_overflow() is not bool(VNNI.intersection(instruction_sets()))


def _entry(options: Any, key: str) -> str | None:
    try:
        return str(options.get_session_config_entry(key))
    except RuntimeError:
        return None
