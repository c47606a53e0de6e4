"""Keras to ONNX with tf2onnx; `conversions` holds what it lacks.

tf2onnx 1.17 gives a clean graph for these networks: convolutions in NCHW with static pads, transposed convolutions
as ConvTranspose with static pads, and a symbolic batch without any shape arithmetic. A test holds it to that.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx

from segtool.errors import ExportError, first_line
from segtool.export.conversions import handlers, store_captures, traced_plainly
from segtool.export.heads import rename
from segtool.export.options import DEFAULT_OPSET
from segtool.models.backend import import_quietly, without_advice

logger = logging.getLogger(__name__)
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


def keras_to_onnx(model: Any, *, opset: int = DEFAULT_OPSET, size: tuple[int, int] | None = None) -> onnx.ModelProto:
    """Convert a trained network, exactly as it is.

    Parameters
    ----------
    model
        keras.Model that `segtool.models.network.check_exportable` accepts.
    opset
        Version of the ONNX operator set, one of `options.TESTED_OPSETS`.
    size
        (height, width) of the input, for a network that takes any; None for its own.

    Returns
    -------
    onnx.ModelProto
        Input ``image`` uint8 (N, H, W, C) with symbolic N; output as the network's, named ``probabilities``.

    Raises
    ------
    ExportError
        The network cannot be converted; the message names the layer.
    MissingExtraError
        TensorFlow or tf2onnx is not installed.
    """
    try:
        return _named(_convert(model, opset, size))
    except _FAILURES as error:
        raise ExportError(_why_not(model, opset, error)) from error


def _convert(model: Any, opset: int, size: tuple[int, int] | None = None) -> onnx.ModelProto:
    """Convert a network with tf2onnx, and check the graph: an operator that it does not know stays in it.

    Raises
    ------
    Exception
        One of `_FAILURES`.
    """
    tf, tf2onnx = import_quietly("tensorflow", extra="export"), import_quietly("tf2onnx", extra="export")
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what it cannot convert is our error, in one sentence
    names = [INPUT] if len(model.inputs) == 1 else [f"{INPUT}_{number}" for number in range(len(model.inputs))]
    signature = [
        tf.TensorSpec([None, *(size or tensor.shape[1:3]), *tensor.shape[3:]], tensor.dtype, name=name)
        for tensor, name in zip(model.inputs, names, strict=True)
    ]
    # autograph rewrites Python control flow; there is none, and it would leave a file among the temporary ones.
    function = tf.function(lambda *images: model(_one_or_all(images), training=False), signature, autograph=False)
    with tf.device("/CPU:0"), _names_for_scopes(model), without_advice(), _told_of_failures():
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
def _told_of_failures() -> Iterator[None]:
    """Warn where an optimizer of tf2onnx fails: it goes on without, and leaves a right but slow graph."""
    found, log = _Failures(), logging.getLogger("tf2onnx.optimizer")
    log.addHandler(found)
    log.setLevel(logging.WARNING)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(found)
        log.setLevel(logging.NOTSET)
        log.propagate = True
    if found.reasons:
        logger.warning(
            "tf2onnx could not simplify the graph (%s): the files are right, but may be slow; please report this "
            "network.",
            found.reasons[0],
        )


class _Failures(logging.Handler):
    """Keeps what is logged with an exception."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reasons: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.reasons.append(f"{record.getMessage()}: {first_line(record.exc_info[1])}")


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
    reason, culprit = first_line(error), _culprit(model, opset)
    if culprit is None:
        return f"The network {model.name} has no exact conversion to ONNX ({reason}); build it of other layers."
    return (
        f"The layer {culprit} has no exact conversion to ONNX ({reason}); "
        "replace it by one that has, such as those of segtool's own networks."
    )


def _culprit(model: Any, opset: int) -> str | None:
    """Return the first layer that cannot be converted alone, with its class and place; None if each one can.

    A layer of a model inside the model has that one's name before its own: "block/conv (Conv2D, layer 5 of 24)".
    """
    import keras

    layers = list(_leaves(model))
    for number, (name, layer) in enumerate(layers, start=1):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        try:
            _convert(_alone(layer), opset)
        except _FAILURES:
            return f"{name} ({type(layer).__name__}, layer {number} of {len(layers)})"
    return None


def _leaves(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    # A functional model holds operations of keras.ops beside its layers.
    for layer in getattr(model, "operations", model.layers):
        if hasattr(layer, "layers"):
            yield from _leaves(layer, f"{prefix}{layer.name}/")
        else:
            yield f"{prefix}{layer.name}", layer


def _alone(layer: Any) -> Any:
    """Return a model of this layer, with the inputs of its first use."""
    import keras

    # `layer.input` is the same for a layer that is used once, and raises for one that is used twice.
    node = layer._inbound_nodes[0]
    inputs = {
        id(tensor): keras.Input(batch_shape=(None, *tensor.shape[1:]), dtype=tensor.dtype)
        for tensor in node.input_tensors
    }
    given = (node.arguments.args, node.arguments.kwargs)
    args, options = keras.tree.map_structure(lambda value: inputs.get(id(value), value), given)
    return keras.Model(list(inputs.values()), layer(*args, **options))


def _named(converted: onnx.ModelProto) -> onnx.ModelProto:
    """Name the output and the batch, state the output's shape, and number the names that tf2onnx made up."""
    graph = converted.graph
    rename(graph, {graph.output[0].name: "probabilities"})
    sides = graph.output[0].type.tensor_type.shape.dim
    shape = [BATCH, *(side.dim_value or None for side in list(sides)[1:])]
    graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, shape))
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = BATCH
    del graph.value_info[:]
    for part in (converted, graph):
        part.ClearField("doc_string")  # it holds a counter of TensorFlow, so the bytes would differ from run to run
    _number_in_order(graph)
    onnx.checker.check_model(converted, full_check=True)
    return converted


def _number_in_order(graph: onnx.GraphProto) -> None:
    """Renumber the names that tf2onnx made up (``Conv__28:0``) in the order of the graph, and put constants in it.

    tf2onnx counts in the order of a set of texts, and a constant that several nodes read has the name of any of them.
    Both differ from run to run, and so would the bytes of the file.
    """
    readers = Counter(name for node in graph.node for name in {*node.input})
    constants = {item.name: item for item in graph.initializer}
    names: dict[str, str] = {}

    def numbered(name: str) -> str:
        if name in constants:
            unclear = readers[name] > 1 or _NUMBERED.search(name)
            return names.setdefault(name, f"constant_{len(names) + 1}" if unclear else name)
        found = _NUMBERED.search(name)
        if not found:
            return name
        return names.setdefault(found[1], f"{found[2]}__{len(names) + 1}") + name[found.end(1) :]

    for node in graph.node:
        node.input[:] = [numbered(name) for name in node.input]
        node.output[:] = [numbered(name) for name in node.output]
        node.name = numbered(node.name)
    ordered = [constants[name] for name in names if name in constants]
    for item in ordered:
        item.name = names[item.name]
    del graph.initializer[:]
    graph.initializer.extend(ordered)
