"""A trained network without its normalizations: they are folded into the convolutions, as the exporter folds them.

With W and b of a convolution, and s > 0 and t a channel of a normalization behind it,

    s * pool(act(W * x + b)) + t  =  pool(act((s W) * x + s b)) + t,

for ReLU, leaky ReLU and max pooling between the two; directly behind the convolution s may have any sign, and t goes
into the bias. What cannot be folded stays, and is not trained. Two more things are done as the exporter does them, so
that its values are those of the layers: an activation moves behind a max pooling, and taps of a kernel that only ever
meet padding become 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from segtool.array_types import BoolArray, FloatingArray
from segtool.models.fake_quantization import CONVOLUTIONS, Copies, rewired


def folded(model: keras.Model) -> keras.Model:
    """Return the same function as a new network, in which each layer does one thing; weights are copied.

    Parameters
    ----------
    model
        A functional network with one input and one output, float32.
    """
    apart = rewired(model, _Apart())
    return rewired(apart, _Folding(apart))


class _Apart:
    """Copies a network; a convolution's activation becomes a layer of its own."""

    def __init__(self) -> None:
        self._copies = Copies()

    def __call__(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        outputs = self._copies(operation, *args, **kwargs)
        copy = outputs._keras_history.operation if keras.backend.is_keras_tensor(outputs) else None
        if not isinstance(copy, CONVOLUTIONS) or copy.activation is keras.activations.linear:
            return outputs
        activation, copy.activation = copy.activation, keras.activations.linear
        name = self._copies.name(f"{copy.name}_activation")
        return layers.Activation(activation, name=name)(outputs)


@dataclass(frozen=True)
class _Affine:
    """x -> scale * x + shift, a number a channel each."""

    scale: FloatingArray
    shift: FloatingArray


class _Folding:
    """Copies a network of layers that are used once, with its normalizations folded."""

    def __init__(self, model: keras.Model) -> None:
        self._copies = Copies()
        self._users: dict[int, list[Any]] = {}
        for operation in model.operations:
            for node in operation._inbound_nodes:
                for tensor in node.input_tensors:
                    self._users.setdefault(id(tensor), []).append(operation)
        self._into: dict[int, _Affine] = {}  # by the convolution
        self._left: dict[int, FloatingArray | None] = {}  # the shift that stays of a normalization, by it
        self._deferred: dict[int, Any] = {}  # an activation, by the pooling that it moves behind
        for operation in model.operations:
            if isinstance(operation, layers.BatchNormalization):
                self._fold(operation)
        for operation in model.operations:
            before = self._source(operation) if isinstance(operation, layers.MaxPooling2D) else None
            if before is not None and _is_homogeneous(before) and not isinstance(before, layers.MaxPooling2D):
                self._deferred[id(operation)] = before
        self._moved = {id(layer) for layer in self._deferred.values()}

    def __call__(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if id(operation) in self._moved:
            return args[0]
        if id(operation) in self._left:
            shift = self._left[id(operation)]
            return args[0] if shift is None else self._shifted(operation, shift, args[0])
        if isinstance(operation, CONVOLUTIONS):
            return self._convolution(operation, args[0])
        outputs = self._copies(operation, *args, **kwargs)
        if isinstance(operation, layers.BatchNormalization):
            outputs._keras_history.operation.trainable = False
        if id(operation) in self._deferred:
            return self._copies(self._deferred[id(operation)], outputs)
        return outputs

    def _source(self, operation: Any) -> Any:
        """Return the layer in front of a layer, if that is all it is used for, and is used once."""
        if len(operation._inbound_nodes) != 1:
            return None
        tensor = operation._inbound_nodes[0].input_tensors[0]
        before = tensor._keras_history.operation
        alone = len(self._users[id(tensor)]) == 1 and len(before._inbound_nodes) == 1
        return before if alone else None

    def _fold(self, norm: Any) -> None:
        way, before = [], self._source(norm)
        while before is not None and _is_homogeneous(before):
            way.append(before)
            before = self._source(before)
        if not isinstance(before, CONVOLUTIONS) or id(before) in self._into or norm.axis not in (-1, 3):
            return
        affine = _affine(norm)
        if way and not (affine.scale > 0).all():
            return
        self._left[id(norm)] = affine.shift if way else None
        self._into[id(before)] = _Affine(affine.scale, np.zeros_like(affine.shift)) if way else affine

    def _convolution(self, layer: Any, inputs: Any) -> Any:
        affine = self._into.get(id(layer))
        config = {"use_bias": layer.use_bias or affine is not None, "name": self._copies.name(layer.name)}
        copy = type(layer).from_config({**layer.get_config(), **config})
        outputs = copy(inputs)
        kernel, *bias = layer.get_weights()
        if affine is not None:
            kernel = kernel * _along_outputs(layer, affine.scale)
            bias = [(bias[0] if bias else np.zeros_like(affine.scale)) * affine.scale + affine.shift]
        alive = _alive(copy, inputs.shape, outputs.shape)
        copy.set_weights([kernel.astype(np.float32) * alive, *bias])
        return outputs

    def _shifted(self, norm: Any, shift: FloatingArray, inputs: Any) -> Any:
        """Add a number a channel: a normalization of mean 0 and deviation 1, which every exporter knows."""
        layer = layers.BatchNormalization(
            scale=False, epsilon=norm.epsilon, trainable=False, name=self._copies.name(norm.name)
        )
        outputs = layer(inputs)
        layer.set_weights([shift, np.zeros_like(shift), np.full_like(shift, 1 - norm.epsilon)])
        return outputs


def _is_homogeneous(layer: Any) -> bool:
    """Say whether f(s x) = s f(x) for s > 0, and f never decreases."""
    if isinstance(layer, layers.ReLU):
        return layer.max_value is None and not layer.threshold and 0 <= layer.negative_slope <= 1
    if isinstance(layer, layers.LeakyReLU):
        return 0 <= float(layer.negative_slope) <= 1
    relu = isinstance(layer, layers.Activation) and layer.activation is keras.activations.relu
    return relu or isinstance(layer, layers.MaxPooling2D)


def _affine(norm: Any) -> _Affine:
    mean, variance = (np.asarray(item.numpy(), np.float64) for item in (norm.moving_mean, norm.moving_variance))
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * np.asarray(norm.gamma.numpy(), np.float64)
    beta = np.asarray(norm.beta.numpy(), np.float64) if norm.center else np.zeros_like(mean)
    return _Affine(scale, beta - mean * scale)


def _along_outputs(layer: Any, scale: FloatingArray) -> FloatingArray:
    """Return a number a channel in the shape of a kernel."""
    if isinstance(layer, layers.DepthwiseConv2D):
        return scale.reshape(1, 1, -1, layer.depth_multiplier)
    return scale.reshape(1, 1, -1, 1) if isinstance(layer, layers.Conv2DTranspose) else scale


def _alive(layer: Any, inputs: Any, outputs: Any) -> FloatingArray:
    """Return 1 for the taps of a kernel that meet the map somewhere, 0 for the others: (h, w, 1, 1)."""
    if isinstance(layer, layers.Conv2DTranspose) or layer.padding != "same" or None in inputs[1:3]:
        return np.ones((1, 1, 1, 1))
    sides = zip(inputs[1:3], outputs[1:3], layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    rows, columns = (_alive_taps(*side) for side in sides)
    alive: FloatingArray = np.outer(rows, columns)[..., None, None].astype(np.float32)
    return alive


def _alive_taps(length: int, made: int, taps: int, stride: int, dilation: int) -> BoolArray:
    padding = max((made - 1) * stride + (taps - 1) * dilation + 1 - length, 0) // 2
    positions = np.arange(made)[:, None] * stride + np.arange(taps) * dilation - padding
    return np.asarray(((positions >= 0) & (positions < length)).any(0))
