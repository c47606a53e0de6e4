"""onnxruntime: segtool's own files, and what tf2onnx and `quantize_static` give by themselves."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import version_converter

from engines.engine import Engine, Images, Predict, Scaling, Sources

MODEL = "model.onnx"
_CHANNELS_OPSET = 13
PRUNED = "0.1"
"""Percent of the labels that pruning may change."""


def engines(*, ours: Path, ours_int8: Path, pruned: Path, stock: Path, stock_int8: Path) -> list[Engine]:
    """Return the engines on these files."""
    own = "segtool.load(file, threads=N).predict_batch: uint8 in, arg-max and cast to uint8 in the graph"
    plain = "uint8 in; arg-max of the probabilities in numpy"
    return [
        Engine("ours-fp32", "segtool FP32", "float32", own, ours, open_ours),
        Engine("ours-int8", "segtool INT8", "int8", own, ours_int8, open_ours),
        Engine("ours-int8-pruned", f"segtool INT8, --prune {PRUNED}", "int8", own, pruned, open_ours),
        Engine("stock-fp32", "tf2onnx + onnxruntime FP32", "float32", plain, stock, open_stock),
        Engine("stock-int8", "tf2onnx + quantize_static INT8", "int8", plain, stock_int8, open_stock),
    ]


def open_ours(path: Path, threads: int) -> Predict:
    """Open a file that segtool exported, as its users do."""
    import segtool

    return segtool.load(path, provider="cpu", threads=threads).predict_batch


def open_stock(path: Path, threads: int, *, scaling: Scaling | None = None) -> Predict:
    """Open a plain conversion, with onnxruntime's defaults but for the threads.

    With a scaling, the scores have their channels first, and may be smaller than the image: they are resized.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def predict(images: Images) -> Images:
        scores = session.run(None, {name: _input(session, images, scaling)})[0]
        if scaling is None:
            return scores.argmax(-1).astype(np.uint8)
        return _resized(scores, images.shape[1:3]).argmax(1).astype(np.uint8)

    return predict


def _input(session: Any, images: Images, scaling: Scaling | None) -> Any:
    if scaling is not None:
        return scaling.apply(images)
    return images.astype(np.float32) if session.get_inputs()[0].type == "tensor(float)" else images


def _resized(scores: npt.NDArray[np.float32], size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Resize scores (N, K, h, w) bilinearly to `size`, as torch.nn.functional.interpolate does by default."""
    if scores.shape[2:] == size:
        return scores
    rows, columns = (_weights(*sides) for sides in zip(scores.shape[2:], size, strict=True))
    return np.matmul(np.matmul(rows, scores), columns.T)


@lru_cache
def _weights(source: int, target: int) -> npt.NDArray[np.float32]:
    """Return the matrix (target, source) of a bilinear resize: centres of pixels meet, edges are repeated."""
    place = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(place.astype(int), max(source - 2, 0))
    weights = np.zeros((target, source), np.float32)
    weights[np.arange(target), low] += 1 - (place - low)
    weights[np.arange(target), np.minimum(low + 1, source - 1)] += place - low
    return weights


def convert_stock(sources: Sources, folder: Path) -> None:
    """Convert the network with tf2onnx's defaults."""
    import tensorflow as tf
    import tf2onnx

    network = sources.network()
    signature = [tf.TensorSpec([None, *network.input.shape[1:]], network.input.dtype, name="image")]
    tf2onnx.convert.from_keras(network, input_signature=signature, output_path=str(folder / MODEL))


def quantize_stock(sources: Sources, folder: Path, *, for_vnni: bool = False) -> None:
    """Quantize the plain conversion with `quantize_static`, after the preparation that it asks for.

    With its defaults, or as its documentation advises for VNNI: uint8 activations, int8 weights for each channel.
    """
    import onnxruntime as ort
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, session: Any, images: Images) -> None:
            name = session.get_inputs()[0].name
            self._inputs: Iterator[dict[str, Any]] = (
                {name: _input(session, image[np.newaxis], sources.scaling)} for image in images
            )

        def get_next(self) -> dict[str, Any] | None:
            return next(self._inputs, None)

    source, prepared = sources.stock_file.resolve(), folder.resolve() / "prepared.onnx"
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):  # a failure leaves a model there
        try:
            quant_pre_process(source, prepared)
        except Exception:  # noqa: BLE001 (it raises no narrower one: "Incomplete symbolic shape inference")
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
    _raise_opset(prepared)
    session = ort.InferenceSession(prepared, providers=["CPUExecutionProvider"])
    vnni = {"per_channel": True, "activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    reader = Reader(session, sources.array("calibration"))
    quantize_static(prepared, folder / MODEL, reader, **(vnni if for_vnni else {}))
    prepared.unlink()


def _raise_opset(path: Path) -> None:
    """Convert an older graph to the first operator set that has scales for each channel."""
    model = onnx.load(path)
    if next(item.version for item in model.opset_import if not item.domain) < _CHANNELS_OPSET:
        onnx.save(version_converter.convert_version(model, _CHANNELS_OPSET), path)
