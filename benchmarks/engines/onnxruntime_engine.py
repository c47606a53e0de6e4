"""onnxruntime: segtool's own files, and what tf2onnx and `quantize_static` give by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engines.engine import Engine, Images, Predict, Sources

MODEL = "model.onnx"
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


def open_stock(path: Path, threads: int) -> Predict:
    """Open a plain conversion, with onnxruntime's defaults but for the threads."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def predict(images: Images) -> Images:
        return session.run(None, {name: images})[0].argmax(-1).astype(np.uint8)

    return predict


def convert_stock(sources: Sources, folder: Path) -> None:
    """Convert the network with tf2onnx's defaults."""
    import tensorflow as tf
    import tf2onnx

    network = sources.network()
    signature = [tf.TensorSpec([None, *network.input.shape[1:]], tf.uint8, name="image")]
    tf2onnx.convert.from_keras(network, input_signature=signature, output_path=str(folder / MODEL))


def quantize_stock(sources: Sources, folder: Path) -> None:
    """Quantize the plain conversion with `quantize_static`'s defaults, after the preparation that it asks for."""
    import onnxruntime as ort
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str, images: Images) -> None:
            self._inputs: Iterator[dict[str, Images]] = ({name: image[np.newaxis]} for image in images)

        def get_next(self) -> dict[str, Images] | None:
            return next(self._inputs, None)

    prepared = folder / "prepared.onnx"
    quant_pre_process(sources.stock_file, prepared)
    name = ort.InferenceSession(prepared, providers=["CPUExecutionProvider"]).get_inputs()[0].name
    quantize_static(prepared, folder / MODEL, Reader(name, sources.array("calibration")))
    prepared.unlink()
