"""Fake quantization: a Keras network that rounds in float what the INT8 file computes in integers.

Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference (CVPR 2018).
Rounding has no gradient, so that of the identity is taken (straight-through estimator). The scales of activations are
trained with the gradient that then follows: round(x / s) - x / s inside of the range, its end outside (Esser et al.,
Learned Step Size Quantization, ICLR 2020). The zero points stay. A kernel's scales follow from its largest weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from segtool.errors import TrainingError
from segtool.models.quantization import LEVELS, Activation, Quantization

Call = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.Conv2DTranspose)


def rewired(model: keras.Model, call: Call) -> keras.Model:
    """Rebuild a functional network with one input and one output; models inside of it are inlined.

    Parameters
    ----------
    model
        The network, left as it is.
    call
        Called with each layer or operation and its arguments, in order; returns its output in the new network.
    """

    def visit(operation: Any) -> Callable[..., Any]:
        if isinstance(operation, keras.Model):
            return lambda inputs, **_: operation._run_through_graph(inputs, operation_fn=visit)
        return lambda *args, **kwargs: call(operation, args, kwargs)

    old = model.inputs[0]
    image = keras.Input(batch_shape=old.shape, dtype=old.dtype, name=old.name)
    return keras.Model(image, model._run_through_graph([image], operation_fn=visit), name=model.name)


class Copies:
    """Copies of layers with their weights, under names that differ within the new network."""

    def __init__(self) -> None:
        self._copies: dict[int, Any] = {}
        self._names: set[str] = set()

    def __call__(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what a copy of the layer, or an operation itself, makes of the arguments."""
        if not isinstance(layer, layers.Layer):
            return layer(*args, **kwargs)
        if id(layer) not in self._copies:
            copy = type(layer).from_config({**layer.get_config(), "name": self.name(layer.name)})
            outputs = copy(*args, **kwargs)
            copy.set_weights(layer.get_weights())
            self._copies[id(layer)] = copy
            return outputs
        return self._copies[id(layer)](*args, **kwargs)

    def name(self, wanted: str) -> str:
        """Return a name that was not given yet."""
        name, number = wanted, 2
        while name in self._names:
            name, number = f"{wanted}_{number}", number + 1
        self._names.add(name)
        return name


def rounded(value: Any) -> Any:
    """Return the nearest integers, the even one of two, with the gradient of the identity."""
    return value + ops.stop_gradient(ops.round(value) - value)


class FakeQuant(layers.Layer):  # type: ignore[misc]  # keras carries no types
    """Rounds a value to the integers of its scale and zero point, as QuantizeLinear and DequantizeLinear of uint8 do.

    Parameters
    ----------
    activation
        The scale to begin with, and the zero point.
    """

    def __init__(self, activation: Activation, **options: Any) -> None:
        super().__init__(dtype="float32", **options)
        self.activation = activation

    def build(self, _shape: Any) -> None:
        """Make the trained variable: the logarithm of the scale over the scale to begin with."""
        self.log_factor = self.add_weight(name="log_factor", shape=(), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        """Return the rounded value."""
        scale = ops.exp(self.log_factor) * self.activation.scale
        point = self.activation.zero_point
        return rounded(ops.clip(inputs / scale, -point, LEVELS - 1 - point)) * scale

    def trained(self) -> Activation:
        """Return the activation with the trained scale."""
        factor = np.exp(np.asarray(ops.convert_to_numpy(self.log_factor)))
        return replace(self.activation, scale=float(factor * np.float32(self.activation.scale)))


class FakeQuantizedKernel(layers.Layer):  # type: ignore[misc]  # keras carries no types
    """A convolution whose kernel is rounded to integers of one scale an output channel.

    Parameters
    ----------
    convolution
        A layer of `CONVOLUTIONS` without an activation.
    largest
        Absolute value of the largest integer.
    """

    def __init__(self, convolution: Any, largest: int, **options: Any) -> None:
        super().__init__(**options)
        self.convolution, self.largest = convolution, largest

    def build(self, shape: Any) -> None:
        """Build the convolution."""
        self.convolution.build(shape)

    def call(self, inputs: Any) -> Any:
        """Return the convolution with the rounded kernel."""
        layer = self.convolution
        options = {"strides": layer.strides, "padding": layer.padding, "data_format": layer.data_format}
        options["dilation_rate"] = layer.dilation_rate
        kernel = self._rounded_kernel()
        if isinstance(layer, layers.DepthwiseConv2D):
            outputs = ops.depthwise_conv(inputs, kernel, **options)
        elif isinstance(layer, layers.Conv2DTranspose):
            outputs = ops.conv_transpose(inputs, kernel, output_padding=layer.output_padding, **options)
        else:
            outputs = ops.conv(inputs, kernel, **options)
        return outputs + layer.bias if layer.use_bias else outputs

    def _rounded_kernel(self) -> Any:
        kernel = self.convolution.kernel
        reach = ops.max(ops.abs(kernel), axis=scaled_over(self.convolution), keepdims=True)
        scale = ops.stop_gradient(ops.maximum(reach / self.largest, float(np.finfo(np.float32).tiny)))
        return ops.clip(rounded(kernel / scale), -self.largest, self.largest) * scale


def scaled_over(layer: Any) -> tuple[int, ...]:
    """Return the axes of a kernel that have one scale.

    A transposed convolution whose kernel is as large as its stride is an ordinary one with a channel for each tap.
    """
    if isinstance(layer, layers.Conv2DTranspose):
        return (3,)
    return (0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (0, 1, 2)


def refuse_unknown_kernels(model: keras.Model, kernels: tuple[str, ...]) -> None:
    """Refuse a network with INT8 layers whose kernels cannot be rounded as the exporter rounds them.

    Raises
    ------
    TrainingError
        A layer is of another kind; the message names it.
    """
    for name in kernels:
        layer = model.get_layer(name)
        whole = not isinstance(layer, layers.Conv2DTranspose) or tuple(layer.kernel_size) == tuple(layer.strides)
        if not isinstance(layer, CONVOLUTIONS) or layer.data_format != "channels_last" or not whole:
            raise TrainingError(
                f"The layer {name} ({type(layer).__name__}) is computed in INT8, and quantization-aware training knows "
                "Conv2D, DepthwiseConv2D, and Conv2DTranspose with a kernel as large as its stride, all channels last; "
                "use `segtool export --quantize` without it."
            )


class FakeQuantizedModel(keras.Model):  # type: ignore[misc]  # keras carries no types
    """A network with rounded kernels and activations, and the integers that it began with."""

    def set_integers(self, quantization: Quantization) -> None:
        """Set the integers that it began with."""
        self._integers = quantization

    def trained_quantization(self) -> Quantization:
        """Return its integers, with the trained scales."""
        count = len(self._integers.activations)
        trained = tuple(self.get_layer(_quantizer_name(number)).trained() for number in range(count))
        return replace(self._integers, activations=trained)


def _quantizer_name(number: int) -> str:
    """Return the name of the layer that rounds the activation `number` of a quantization."""
    return f"fake_quant_{number}"


def fake_quantized(model: keras.Model, quantization: Quantization) -> FakeQuantizedModel:
    """Return a copy of a network with rounded kernels and activations.

    Parameters
    ----------
    model
        The folded network, from uint8 (N, H, W, C) to scores (N, H, W, K). Its layers are those that `quantization`
        names.
    quantization
        The integers.

    Raises
    ------
    TrainingError
        A layer whose kernel is rounded is of an unknown kind.
    """
    refuse_unknown_kernels(model, quantization.kernels)
    copies = Copies()
    quantizers: dict[str, FakeQuant] = {}
    for number, activation in enumerate(quantization.activations):
        layer = FakeQuant(activation, name=_quantizer_name(number))
        quantizers.update(dict.fromkeys(activation.layers, layer))
    exact = {name for activation in quantization.activations for name in activation.exact}
    before: dict[int, Any] = {}  # the value before rounding, by the rounded one

    def call(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if operation.name in exact:
            args = keras.tree.map_structure(lambda value: before.get(id(value), value), args)
        if operation.name in quantization.kernels:
            outputs = _with_rounded_kernel(operation, args[0], quantization.largest_weight)
        else:
            outputs = copies(operation, *args, **kwargs)
        if operation.name in quantizers:
            value, outputs = outputs, quantizers[operation.name](outputs)
            before[id(outputs)] = value
        return outputs

    network = rewired(model, call)
    result = FakeQuantizedModel(network.inputs, network.outputs[0], name=network.name)
    result.set_integers(quantization)
    return result


def _with_rounded_kernel(layer: Any, inputs: Any, largest: int) -> Any:
    inner = type(layer).from_config(layer.get_config())
    outer = FakeQuantizedKernel(inner, largest, name=layer.name, dtype="float32")
    outputs = outer(inputs)
    inner.set_weights(layer.get_weights())
    return outputs


def copy_weights(model: keras.Model, plain: keras.Model) -> None:
    """Give the folded network `plain` the weights of its fake-quantized copy `model`."""
    for layer in plain.layers:
        source = model.get_layer(layer.name)
        layer.set_weights(source.convolution.get_weights() if hasattr(source, "convolution") else source.get_weights())
