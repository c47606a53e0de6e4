"""LiteRT (TensorFlow Lite) with XNNPACK, FP32 and full-integer INT8."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np

from engines.engine import Engine, Images, Predict, Sources
from engines.keras_engine import labels_function

MODEL = "model.tflite"


def engines(*, float32: Path, int8: Path) -> list[Engine]:
    """Return the engines on these files."""
    how = "uint8 in; arg-max of the scores before the soft-max and cast to uint8 in the graph"
    return [
        Engine("litert-fp32", "LiteRT FP32", "float32", how, float32, open_model),
        Engine("litert-int8", "LiteRT full-integer INT8", "int8", how, int8, open_model),
    ]


def open_model(path: Path, threads: int) -> Predict:
    """Open a model; the XNNPACK delegate is LiteRT's default."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    pixels = interpreter.tensor(interpreter.get_input_details()[0]["index"])
    labels = interpreter.tensor(interpreter.get_output_details()[0]["index"])

    def predict(images: Images) -> Images:
        pixels()[:] = images
        interpreter.invoke()
        return np.array(labels())

    return predict


def _convert(sources: Sources, folder: Path, *, quantize: bool) -> None:
    """Convert the network, for one image at a time, to class ids; for INT8 every layer in integers."""
    import keras
    import tensorflow as tf

    scorer, labels = labels_function(sources.network())
    archive = keras.export.ExportArchive()
    archive.track(scorer)
    archive.add_endpoint("serve", labels, input_signature=[tf.TensorSpec([1, *scorer.input.shape[1:]], tf.uint8)])
    archive.write_out(folder / "saved", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
    if quantize:
        images = sources.array("calibration")
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    (folder / MODEL).write_bytes(converter.convert())
    shutil.rmtree(folder / "saved")


convert = partial(_convert, quantize=False)
quantize = partial(_convert, quantize=True)
