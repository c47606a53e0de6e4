"""OpenVINO, and NNCF for its INT8.

OpenVINO reads the plain ONNX conversion: on the SavedModel of this network its 2026.4 importer fails (it takes the
transposed convolution of a 2 x 3 map for one to 3 x 5).
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from engines.engine import Engine, Images, Predict, Scaling, Sources

MODEL = "model.xml"
USAGE_STATISTICS_OFF = {"CI": "true", "NNCF_CI": "1"}
"""Without them the import of openvino writes a client's id to ~/intel, and it and NNCF send events to Google Analytics.

`CI` is the one variable that OpenVINO asks before that; NNCF has its own.
"""


def import_openvino() -> Any:
    """Import OpenVINO, which sends nothing then."""
    os.environ.update(USAGE_STATISTICS_OFF)
    import openvino

    return openvino


def engines(*, float32: Path, int8: Path) -> list[Engine]:
    """Return the engines on these files."""
    how = "uint8 in; arg-max (TopK) of the scores before the soft-max and conversion to uint8 in the graph"
    true_float = partial(open_model, hints=(("INFERENCE_PRECISION_HINT", "f32"),))
    return [
        Engine("openvino-fp32", "OpenVINO FP32 (f32 hint)", "float32", how, float32, true_float),
        Engine("openvino-own", "OpenVINO FP32 file, its own precision", "its own choice", how, float32, open_model),
        Engine("openvino-int8", "OpenVINO, NNCF INT8", "int8", how, int8, open_model),
    ]


def open_model(path: Path, threads: int, *, hints: tuple[tuple[str, str], ...] = ()) -> Predict:
    """Open a model for the latency of one image at a time."""
    ov = import_openvino()

    latency = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
    request = ov.Core().compile_model(path, "CPU", {**latency, **dict(hints)}).create_infer_request()
    pixels, labels = request.get_input_tensor().data, request.get_output_tensor().data

    def predict(images: Images) -> Images:
        pixels[:] = images
        request.infer()
        return labels.copy()

    return predict


def open_throughput(path: Path, threads: int) -> Predict:
    """Open a model for many images at a time, one run each, as OpenVINO's throughput mode divides the processors."""
    ov = import_openvino()

    compiled = ov.Core().compile_model(
        path, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads}
    )
    queue = ov.AsyncInferQueue(compiled)

    def predict(images: Images) -> Images:
        labels = np.empty(images.shape[:3], np.uint8)
        queue.set_callback(lambda request, index: labels.__setitem__(index, request.get_output_tensor().data[0]))
        for index in range(len(images)):
            queue.start_async({0: images[index : index + 1]}, index)
        queue.wait_all()
        return labels

    return predict


def convert(sources: Sources, folder: Path) -> None:
    """Convert the network, for one image at a time, to class ids."""
    ov = import_openvino()

    ov.save_model(_labels_model(sources), folder / MODEL, compress_to_fp16=False)


def quantize(sources: Sources, folder: Path, *, mixed: bool = False) -> None:
    """Quantize the network with NNCF's defaults, or with its preset for asymmetric activations."""
    ov = import_openvino()
    import nncf

    images = nncf.Dataset(sources.array("calibration"), lambda image: image[np.newaxis])
    quantized = nncf.quantize(
        _labels_model(sources),
        images,
        subset_size=len(sources.array("calibration")),
        preset=nncf.QuantizationPreset.MIXED if mixed else None,
        model_type=nncf.ModelType.TRANSFORMER if sources.transformer else None,
    )
    ov.save_model(quantized, folder / MODEL)


def _labels_model(sources: Sources) -> Any:
    """Return the plain conversion from raw pixels to the arg-max of what goes into its soft-max, if it has one."""
    ov = import_openvino()
    from openvino import opset13 as ops

    height, width, channels = sources.array("validation").shape[1:]
    model = ov.convert_model(sources.stock_file)
    if sources.scaling is None:
        model.reshape([1, height, width, channels])
        scores, axis = _before_softmax(model.output(0).get_node().input_value(0), axis=-1)
    else:
        model.reshape([1, channels, height, width])
        scores, axis = _before_softmax(model.output(0).get_node().input_value(0), axis=1)
        if list(scores.shape[2:]) != [height, width]:
            sides, axes = (ops.constant(pair, np.int32) for pair in ([height, width], [2, 3]))
            scores = ops.interpolate(scores, sides, "linear_onnx", "sizes", axes=axes).output(0)
    best = ops.topk(scores, ops.constant(1, np.int32), axis, "max", "none", index_element_type="i32")
    labels = ops.convert(ops.squeeze(best.output(1), ops.constant([axis], np.int32)), "u8")
    return _on_raw_pixels(ov.Model([labels], model.get_parameters()), sources.scaling)


def _before_softmax(scores: Any, *, axis: int) -> tuple[Any, int]:
    """Return the scores of the classes, and their axis: the arg-max of a soft-max is that of its input.

    What may come after the soft-max is a transpose or an identity; it is left out with it.
    """
    node = scores.get_node()
    while node.get_type_name() in ("Transpose", "Convert", "Identity"):
        node = node.input_value(0).get_node()
    if node.get_type_name() not in ("Softmax", "SoftMax"):
        return scores, axis
    return node.input_value(0), node.get_attributes()["axis"]


def _on_raw_pixels(model: Any, scaling: Scaling | None) -> Any:
    """Return the model with uint8 (1, H, W, C) for its input, by OpenVINO's own preprocessing steps."""
    ov = import_openvino()
    from openvino.preprocess import PrePostProcessor

    if scaling is None and model.input(0).get_element_type() == ov.Type.u8:
        return model
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NHWC" if scaling is None else "NCHW"))
    pixels = steps.input().preprocess().convert_element_type(ov.Type.f32)
    if scaling is not None:
        pixels.mean(list(scaling.mean)).scale(list(scaling.std))
    return steps.build()
