"""Exact conversions of Keras layers and TensorFlow operators that tf2onnx lacks or converts poorly.

Three ways, each the simplest for its case:

- Layers that compute in a form that ONNX lacks are called in an equal form while the network is traced
  (`traced_plainly`): UpSampling2D (nearest) as a resize instead of repeats, Dense on maps as a 1x1 convolution. Grouped
  convolutions, which Keras hides in a compiled function, are traced inline and become an ONNX Conv with groups.
- Operators are converted by handlers of our own (`handlers`): Erfc (the exact gelu) as 1 - Erf(x), Expm1 (celu) as
  Exp(x) - 1, and resizes. A resize at a fixed size is linear and separable. So any of them (bicubic, lanczos, area,
  antialiased) equals two matrix products, with the matrices that TensorFlow's own operator gives for unit vectors.
- Tensors that a layer keeps as constants (the mean of Normalization) become constants of the graph (`store_captures`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from segtool.array_types import FloatArray
from segtool.export.layout import TO_FIRST, TO_LAST
from segtool.models.backend import import_quietly

# Enlargements at which the weights of ONNX's cubic Resize are those of TensorFlow, which takes them from a table.
_EXACT_CUBIC = (1, 2, 4, 8, 16)


@contextmanager
def traced_plainly(model: Any) -> Iterator[None]:
    """Trace a network in forms that ONNX has: layers in equal forms, compiled functions inline."""
    import keras
    import tensorflow as tf

    forms: dict[type, Callable[[Any], Callable[..., Any] | None]] = {
        keras.layers.Dense: _dense,
        keras.layers.Resizing: _by_aspect,
        keras.layers.UpSampling2D: _nearest,
    }
    eager = tf.config.functions_run_eagerly()
    with ExitStack() as stack:
        for layer in model._flatten_layers(include_self=False, recursive=True):
            call = forms[type(layer)](layer) if type(layer) in forms else None
            if call is not None:
                vars(layer)["call"] = call  # hides the method of the class
                stack.callback(vars(layer).pop, "call", None)  # a shared layer comes twice
        # A compiled function within the network is then called as a Python function, into the graph of the network.
        tf.config.run_functions_eagerly(True)
        stack.callback(tf.config.run_functions_eagerly, eager)
        yield


def _dense(layer: Any) -> Callable[..., Any]:
    """Return a call of Dense on maps (N, H, W, C) as a 1x1 convolution; other inputs as before."""
    import tensorflow as tf

    original = type(layer).call

    def call(inputs: Any, **options: Any) -> Any:
        if len(inputs.shape) != 4 or getattr(layer, "lora_enabled", False):
            return original(layer, inputs, **options)
        x = tf.nn.conv2d(inputs, tf.convert_to_tensor(layer.kernel)[None, None], 1, "VALID")
        x = x if layer.bias is None else tf.nn.bias_add(x, tf.convert_to_tensor(layer.bias))
        return x if layer.activation is None else layer.activation(x)

    return call


def _nearest(layer: Any) -> Callable[..., Any] | None:
    """Return a call of UpSampling2D (nearest) as one resize; None for other interpolations, which are one already."""
    import tensorflow as tf

    if layer.interpolation != "nearest" or layer.data_format != "channels_last":
        return None

    def call(inputs: Any) -> Any:
        if None in inputs.shape[1:3]:
            return type(layer).call(layer, inputs)
        height, width = (int(length) * factor for length, factor in zip(inputs.shape[1:3], layer.size, strict=True))
        return tf.compat.v1.image.resize_nearest_neighbor(inputs, (height, width))

    return call


def _by_aspect(layer: Any) -> Callable[..., Any] | None:
    """Return a call of Resizing that crops or pads to the aspect ratio by fixed numbers; None if it does neither."""
    import keras
    import tensorflow as tf

    if not (layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio) or layer.data_format != "channels_last":
        return None
    plain = keras.layers.Resizing(layer.height, layer.width, interpolation=layer.interpolation, dtype="float32")

    def call(inputs: Any, **options: Any) -> Any:
        if len(inputs.shape) != 4 or None in inputs.shape[1:3]:
            return type(layer).call(layer, inputs, **options)
        height, width = inputs.shape[1:3]
        # Keras computes these in float32 and rounds down.
        fitting = (
            int(np.float32(width * layer.height) / np.float32(layer.width)),
            int(np.float32(height * layer.width) / np.float32(layer.height)),
        )
        if layer.pad_to_aspect_ratio:
            rows, columns = (max(0, fit - own) // 2 for fit, own in zip(fitting, (height, width), strict=True))
            pads = [(0, 0), (rows, rows), (columns, columns), (0, 0)]
            return plain(tf.pad(inputs, pads, constant_values=layer.fill_value))
        rows, columns = (max(1, min(fit, own)) for fit, own in zip(fitting, (height, width), strict=True))
        top, left = (height - rows) // 2, (width - columns) // 2
        return plain(inputs[:, top : top + rows, left : left + columns])

    return call


def handlers() -> dict[str, tuple[Callable[..., None], list[Any]]]:
    """Return the handlers of TensorFlow operators, for tf2onnx's argument `custom_op_handlers`."""
    resizes = ("ResizeNearestNeighbor", "ResizeBilinear", "ResizeBicubic", "ResizeArea", "ScaleAndTranslate")
    own = {
        **dict.fromkeys(("Erfc", "Expm1"), _from_one),
        **dict.fromkeys(resizes, _resize),
        **dict.fromkeys(("Add", "AddV2"), _add),
    }
    return {name: (handler, []) for name, handler in own.items()}


def _from_one(graph: Any, node: Any, _name: str, _args: Any) -> None:
    """erfc(x) = 1 - erf(x), and expm1(x) = exp(x) - 1; in absolute terms as exact as probabilities need."""
    one = _constant(graph, "one", np.ones((), np.float32))
    inner = graph.make_node("Erf" if node.type == "Erfc" else "Exp", [node.input[0]]).output[0]
    _replace(graph, node, "Sub", [one, inner] if node.type == "Erfc" else [inner, one])


def _add(graph: Any, node: Any, _name: str, _args: Any) -> None:
    """Convert a sum; in one of maps, a constant of no axis gets one.

    Behind a convolution, tf2onnx 1.17 fails on a constant without axes, as that of a hard swish is, and then silently
    leaves all layout transposes in the graph.
    """
    inputs = list(node.input)
    for index, source in enumerate(node.inputs if graph.get_shape(node.output[0]) else ()):
        if source.is_const() and (value := source.get_tensor_value(as_list=False)).ndim == 0:
            inputs[index] = _constant(graph, "term", value.reshape(1))
    _replace(graph, node, "Add", inputs)


def _resize(graph: Any, node: Any, _name: str, _args: Any) -> None:
    """Convert a resize of fixed size as one Resize where that is exact, else by indices or matrices."""
    from tf2onnx.onnx_opset.nn import Resize

    source, target = graph.get_shape(node.input[0])[1:3], graph.get_shape(node.output[0])[1:3]
    if -1 in (*source, *target) or _is_exact(node.type, source, target):
        Resize.version_11(graph, node)
        return
    rows, columns = _matrices(node, source, target)
    image = graph.make_node("Transpose", [node.input[0]], {"perm": TO_FIRST}).output[0]
    if node.type == "ResizeNearestNeighbor":
        picked = _constant(graph, "rows", rows.argmax(1).astype(np.int64))
        image = graph.make_node("Gather", [image, picked], {"axis": 2}).output[0]
        picked = _constant(graph, "columns", columns.argmax(1).astype(np.int64))
        image = graph.make_node("Gather", [image, picked], {"axis": 3}).output[0]
    else:
        image = graph.make_node("MatMul", [image, _constant(graph, "columns", columns.T)]).output[0]
        image = graph.make_node("MatMul", [_constant(graph, "rows", rows), image]).output[0]
    _replace(graph, node, "Transpose", [image], {"perm": TO_LAST})


def _is_exact(kind: str, source: list[int], target: list[int]) -> bool:
    """Return whether ONNX's Resize equals TensorFlow's: the same size, pixels and weights."""
    if kind in ("ResizeArea", "ScaleAndTranslate"):
        return False
    factors = [after / before for before, after in zip(source, target, strict=True)]
    if kind == "ResizeBicubic":
        return all(factor in _EXACT_CUBIC for factor in factors)
    if kind == "ResizeNearestNeighbor":  # a pixel at the border of two would be rounded differently
        return all(factor.is_integer() for factor in factors)
    # Resize gets factors, rounded to float32. The product with the length, not rounded itself, is rounded down.
    return [int(n * float(np.float32(f))) for n, f in zip(source, factors, strict=True)] == list(target)


def _matrices(node: Any, source: list[int], target: list[int]) -> tuple[FloatArray, FloatArray]:
    """Return what a resize does to rows (new H, H) and to columns (new W, W): its outputs for unit vectors."""
    rows = _run(node, np.eye(source[0], dtype=np.float32)[None, :, None], (target[0], 1))
    columns = _run(node, np.eye(source[1], dtype=np.float32)[None, None], (1, target[1]))
    return rows[0, :, 0], columns[0, 0]


def _run(node: Any, image: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Run TensorFlow's operator, with the attributes of the node, on an image (1, h, w, C)."""
    import tensorflow as tf

    options: dict[str, Any] = {"images": image, "size": np.array(size, np.int32)}
    if node.type == "ScaleAndTranslate":
        factors = [after / before for before, after in zip(image.shape[1:3], size, strict=True)]
        options |= {"scale": np.array(factors, np.float32), "translation": np.zeros(2, np.float32)}
        options |= {
            "kernel_type": node.get_attr_value("kernel_type"),
            "antialias": bool(node.get_attr_value("antialias")),
        }
        if isinstance(options["kernel_type"], bytes):
            options["kernel_type"] = options["kernel_type"].decode()
    else:
        options["align_corners"] = bool(node.get_attr_value("align_corners", 0))
        if node.type != "ResizeArea":
            options["half_pixel_centers"] = bool(node.get_attr_value("half_pixel_centers", 0))
    # tf2onnx converts within a graph of TensorFlow, where nothing is computed.
    with tf.Graph().as_default() as alone, tf.device("/CPU:0"), tf.compat.v1.Session(graph=alone) as session:
        found: FloatArray = session.run(getattr(tf.raw_ops, node.type)(**options)).astype(np.float32)
    return found


def _constant(graph: Any, name: str, value: npt.NDArray[Any]) -> str:
    from tf2onnx import utils

    made: str = graph.make_const(utils.make_name(name), np.ascontiguousarray(value)).output[0]
    return made


def _replace(graph: Any, node: Any, kind: str, inputs: list[str], attributes: dict[str, Any] | None = None) -> None:
    """Replace a node by one of another kind with the same outputs."""
    shapes, types, outputs = node.output_shapes, node.output_dtypes, node.output
    graph.remove_node(node.name)
    graph.make_node(kind, inputs, attributes, name=node.name, outputs=outputs, shapes=shapes, dtypes=types)


def store_captures(converted: onnx.ModelProto, function: Any) -> None:
    """Turn the inputs of a graph that stand for a tensor outside of the traced function into constants."""
    tf = import_quietly("tensorflow", extra="export")
    values = {
        inner.name: outer.numpy()
        for outer, inner in function.graph.captures
        if outer.dtype != tf.resource and hasattr(outer, "numpy")
    }
    graph = converted.graph
    for item in [item for item in graph.input if item.name in values]:
        graph.input.remove(item)
        graph.initializer.append(onnx.numpy_helper.from_array(values[item.name], item.name))
