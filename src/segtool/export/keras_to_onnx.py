"""Keras to ONNX with tf2onnx; `conversions` holds what it lacks.

tf2onnx 1.17 gives a clean graph for these networks: convolutions in NCHW with static pads, transposed convolutions
as ConvTranspose with static pads, and a symbolic batch without any shape arithmetic. A test holds it to that.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx

from segtool.errors import ExportError
from segtool.export.conversions import handlers, store_captures, traced_plainly
from segtool.export.options import DEFAULT_OPSET, TESTED_OPSETS
from segtool.export.unconverted import find_culprit
from segtool.models.backend import import_quietly, without_advice

_NUMBERED = re.compile(r"^((.*)__\d+)(?=:\d+$|$)")
INPUT, BATCH = "image", "N"
# What tf2onnx, and the check of its graph, raise for what they do not know.
_FAILURES = (
    ValueError,
    TypeError,
    RuntimeError,
    KeyError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
)


def keras_to_onnx(model: Any, *, opset: int = DEFAULT_OPSET) -> onnx.ModelProto:
    """Convert a trained network, exactly as it is.

    Parameters
    ----------
    model
        keras.Model on the TensorFlow backend, float32, input uint8 (N, H, W, C), output (N, H, W, K).
    opset
        Version of the ONNX operator set, one of `TESTED_OPSETS`.

    Returns
    -------
    onnx.ModelProto
        Input ``image`` uint8 (N, H, W, C) with symbolic N; output as the network's, named ``probabilities``.

    Raises
    ------
    ExportError
        The network or the opset cannot be converted; the message says why.
    MissingExtraError
        TensorFlow or tf2onnx is not installed.
    """
    check_opset(opset)
    check_network(model)
    try:
        return _named(_convert(model, opset), model)
    except _FAILURES as error:
        raise ExportError(_why_not(model, opset, error)) from error


def _convert(model: Any, opset: int) -> onnx.ModelProto:
    """Convert a network with tf2onnx, and check the graph: an operator that it does not know stays in it.

    Raises
    ------
    Exception
        One of `_FAILURES`.
    """
    tf, tf2onnx = (import_quietly(name, extra="export") for name in ("tensorflow", "tf2onnx"))
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what it cannot convert is our error, in one sentence
    names = [INPUT] if len(model.inputs) == 1 else [f"{INPUT}_{number}" for number in range(len(model.inputs))]
    signature = [
        tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype, name=name)
        for tensor, name in zip(model.inputs, names, strict=True)
    ]
    # autograph rewrites Python control flow; there is none, and it would leave a file among the temporary ones.
    function = tf.function(lambda *images: model(_one_or_all(images), training=False), signature, autograph=False)
    with tf.device("/CPU:0"), _names_for_scopes(model), without_advice():
        with traced_plainly(model):
            traced = function.get_concrete_function(*signature)
        converted, _ = tf2onnx.convert.from_function(
            function, input_signature=signature, opset=opset, custom_op_handlers=handlers()
        )
    store_captures(converted, traced)
    if loop := next((node for node in converted.graph.node if node.op_type in ("Loop", "If", "Scan")), None):
        # The rewrites and INT8 work on one graph, so a graph within a node would be left behind.
        raise ValueError(f"a loop or a branch, ONNX {loop.op_type}")
    onnx.checker.check_model(converted, full_check=True)
    return converted


@contextmanager
def _names_for_scopes(model: Any) -> Iterator[None]:
    """Give the layers names that TensorFlow's scopes take, without blanks and accents, and their own back behind it."""
    layers = list(model._flatten_layers(include_self=True, recursive=True))
    names = [layer.name for layer in layers]
    for layer in layers:
        layer.name = re.sub(r"^(?![A-Za-z0-9])", "layer", re.sub("[^A-Za-z0-9_.-]", "_", layer.name))
    try:
        yield
    finally:
        for layer, name in zip(layers, names, strict=True):
            layer.name = name


def _one_or_all(images: tuple[Any, ...]) -> Any:
    return images[0] if len(images) == 1 else list(images)


def _why_not(model: Any, opset: int, error: Exception) -> str:
    """Return the sentence on a network that cannot be converted, with its layer, where one alone is the reason."""
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    culprit = find_culprit(model, lambda alone: _convert(alone, opset), errors=_FAILURES)
    if culprit is None:
        return f"The network {model.name} has no exact conversion to ONNX ({reason}); build it of other layers."
    return (
        f"The layer {culprit.name} ({culprit.kind}, {culprit.place}) has no exact conversion to ONNX ({reason}); "
        "replace it by one that has, such as those of segtool's own networks."
    )


def check_opset(opset: int) -> None:
    """Refuse an opset that was not tested."""
    if opset not in TESTED_OPSETS:
        raise ExportError(
            f"Opset {opset} was asked for, segtool converts to {TESTED_OPSETS.start} to {TESTED_OPSETS.stop - 1}; "
            f"leave --opset out for {DEFAULT_OPSET}."
        )


def check_network(model: Any) -> None:
    """Refuse a network that would not be converted exactly, or whose weights are not finite."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"Export needs Keras on TensorFlow, found {keras.backend.backend()}; run it with KERAS_BACKEND=tensorflow."
        )
    if str(model.inputs[0].dtype) != "uint8":
        raise ExportError(
            f"The network's input is {model.inputs[0].dtype}, expected uint8 raw pixels with the scaling inside."
        )
    for layer in model.layers:
        if layer.weights and layer.compute_dtype != "float32":
            raise ExportError(
                f"Layer {layer.name} computes in {layer.compute_dtype}, expected float32; save the model in float32."
            )
    for weight in model.weights:
        if not np.isfinite(np.asarray(weight)).all():
            raise ExportError(
                f"The weight {weight.path} holds NaN or infinite values; the training went wrong, train again."
            )


def _named(converted: onnx.ModelProto, model: Any) -> onnx.ModelProto:
    """Name the output and the batch, state the output's shape, and number the names that tf2onnx made up."""
    graph = converted.graph
    old = graph.output[0].name
    if len(graph.output) != 1 or len(graph.input) != 1:
        raise ExportError(
            f"The network has {len(graph.input)} inputs and {len(graph.output)} outputs, expected one of each."
        )
    for node in graph.node:
        node.output[:] = ["probabilities" if name == old else name for name in node.output]
        node.input[:] = ["probabilities" if name == old else name for name in node.input]
    shape = [BATCH, *model.outputs[0].shape[1:]]
    graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, shape))
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = BATCH
    del graph.value_info[:]
    _number_in_order(graph)
    onnx.checker.check_model(converted, full_check=True)
    return converted


def _number_in_order(graph: onnx.GraphProto) -> None:
    """Renumber the names that tf2onnx made up (``Conv__28:0``) in the order of the graph, and put constants in it.

    tf2onnx counts in the order of a set of texts, which differs from run to run, and so would the bytes of the file.
    """
    numbers: dict[str, str] = {}

    def renumbered(name: str) -> str:
        found = _NUMBERED.search(name)
        if found and found[1] not in numbers:
            numbers[found[1]] = f"{found[2]}__{len(numbers) + 1}"
        return numbers[found[1]] + name[found.end(1) :] if found else name

    order: dict[str, int] = {}
    for node in graph.node:
        node.input[:] = [renumbered(name) for name in node.input]
        node.output[:] = [renumbered(name) for name in node.output]
        node.name = renumbered(node.name)
        for name in node.input:
            order.setdefault(name, len(order))
    for item in graph.initializer:
        item.name = renumbered(item.name)
    constants = sorted(graph.initializer, key=lambda item: order.get(item.name, len(order)))
    del graph.initializer[:]
    graph.initializer.extend(constants)
