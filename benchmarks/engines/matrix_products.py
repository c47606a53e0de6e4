"""The most multiply-accumulates a second that one core gives: the best of several libraries' matrix products."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.openvino_engine import import_openvino

SHAPES = ((256, 1152, 256), (512, 1024, 512), (1024, 1024, 1024))
"""(M, K, N) of the products: A (M, K) changes from run to run in principle, B (K, N) is a constant."""
_SEED = 0
_RUNS = 3
_OPSET, _IR_VERSION = 18, 9
Run = Callable[[], Any]


class PeakSubject:
    """Matrix products that take turns with the engines, on one thread."""

    def __init__(self) -> None:
        self._runs = {
            (precision, library, shape): open_product(*shape)
            for (precision, library), open_product in _LIBRARIES.items()
            for shape in SHAPES
        }

    def names(self) -> list[tuple[str, str, tuple[int, int, int]]]:
        """Return precision, library and shape of each product."""
        return list(self._runs)

    def turn(self, number: int) -> list[float]:
        """Return the seconds of each product: the median of a few runs, after as many that are not timed."""
        del number  # the same products every time
        return [_timed(run) for run in self._runs.values()]


def _timed(run: Run) -> float:
    seconds = []
    for _ in range(2 * _RUNS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[_RUNS:]))


def _integer_in_onnxruntime(m: int, k: int, n: int) -> Run:
    a, b = _bytes(m, k, n)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [m, k])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [m, n])],
        [numpy_helper.from_array(b, "b")],
    )
    return _in_onnxruntime(graph, a)


def _qdq_in_onnxruntime(m: int, k: int, n: int) -> Run:
    a, b = _bytes(m, k, n)
    return _in_onnxruntime(_qdq_graph(a, b), a)


def _qdq_in_openvino(m: int, k: int, n: int) -> Run:
    a, b = _bytes(m, k, n)
    return _in_openvino(_qdq_graph(a, b), a)


def _float_in_onnxruntime(m: int, k: int, n: int) -> Run:
    a, b = _floats(m, k, n)
    return _in_onnxruntime(_float_graph(a, b), a)


def _float_in_openvino(m: int, k: int, n: int) -> Run:
    a, b = _floats(m, k, n)
    return _in_openvino(_float_graph(a, b), a)


def _float_in_numpy(m: int, k: int, n: int) -> Run:
    a, b = _floats(m, k, n)
    return lambda: a @ b


_LIBRARIES = {
    ("int8", "onnxruntime MatMulInteger"): _integer_in_onnxruntime,
    ("int8", "onnxruntime QLinearMatMul"): _qdq_in_onnxruntime,
    ("int8", "OpenVINO (oneDNN)"): _qdq_in_openvino,
    ("float32", "onnxruntime MatMul"): _float_in_onnxruntime,
    ("float32", "OpenVINO (oneDNN), f32 hint"): _float_in_openvino,
    ("float32", "numpy"): _float_in_numpy,
}


def _bytes(m: int, k: int, n: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(_SEED)
    return rng.integers(0, 256, (m, k), np.uint8), rng.integers(-127, 128, (k, n), np.int8)


def _floats(m: int, k: int, n: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(_SEED)
    return rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)


def _float_graph(a: Any, b: Any) -> Any:
    return helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["y"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, a.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [a.shape[0], b.shape[1]])],
        [numpy_helper.from_array(b, "b")],
    )


def _qdq_graph(a: Any, b: Any) -> Any:
    """Return uint8 x int8 to uint8 in QDQ form, which either library turns into one integer product."""
    constants = {"b": b, "scale": np.float32(0.01), "zero": np.uint8(0), "zero_b": np.int8(0), "scale_y": np.float32(1)}
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "scale", "zero"], ["a_float"]),
        helper.make_node("DequantizeLinear", ["b", "scale", "zero_b"], ["b_float"]),
        helper.make_node("MatMul", ["a_float", "b_float"], ["y_float"]),
        helper.make_node("QuantizeLinear", ["y_float", "scale_y", "zero"], ["y"]),
    ]
    return helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, a.shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [a.shape[0], b.shape[1]])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )


def _serialized(graph: Any) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _in_onnxruntime(graph: Any, a: Any) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(_serialized(graph), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"a": a})


def _in_openvino(graph: Any, a: Any) -> Run:
    ov = import_openvino()

    core = ov.Core()
    hints = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(_serialized(graph)), "CPU", hints).create_infer_request()
    request.get_input_tensor().data[:] = a
    return request.infer
