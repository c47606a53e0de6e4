"""Layers that compute what Keras's own compute, in fewer passes: TensorFlow on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

_FEW_CHANNELS = 12  # of a tone curve of three colours; more fill vector registers by themselves


class FusedBatchNormalization(layers.BatchNormalization):  # type: ignore[misc]  # keras carries no types
    """Batch normalization whose training step is one operation (oneDNN's) forward and one backward.

    Ioffe, Szegedy: Batch Normalization (ICML 2015). The moving variance takes the batch's biased variance, as Keras's
    own does; the operation returns the unbiased one.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return the normalized map; in training, move the averages."""
        if not training or not self.trainable:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=self.gamma, offset=self.beta, mean=[], variance=[], epsilon=self.epsilon, is_training=True
        )
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        # One value has no unbiased variance: the operation divides by 1 there.
        biased = variance * tf.maximum(count - 1.0, 1.0) / count
        for average, value in ((self.moving_mean, mean), (self.moving_variance, biased)):
            average.assign(average * self.momentum + tf.stop_gradient(value) * (1.0 - self.momentum))
        return outputs


class TrimmedConv2D(layers.Conv2D):  # type: ignore[misc]  # keras carries no types
    """A convolution that leaves out the taps which only ever meet padding.

    On a map of h rows, a tap more than h - 1 rows away from the middle sees nothing but zeros: its product is 0 and so
    is its gradient. fcn8's 7 x 7 kernel on its 2 x 3 map keeps 3 x 5 taps.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Return the convolution without bias."""
        margins = _margins(self.kernel_size, inputs.shape[1:3])
        return super().convolution_op(inputs, _cut(tf.convert_to_tensor(kernel), [*margins, (0, 0), (0, 0)]))


class BlockConv2D(layers.Conv2D):  # type: ignore[misc]  # keras carries no types
    """A convolution with strides and few channels, as one without strides on blocks of pixels.

    A kernel of twice the stride s takes 2 x 2 blocks of s x s pixels, whose channels stand side by side: the same
    products, but vector registers are full, which halves the time of the gradient of the input.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Return the convolution without bias."""
        (rows, columns), channels = self.strides, inputs.shape[-1]
        height, width = (size // s + 1 for size, s in zip(inputs.shape[1:3], self.strides, strict=True))
        margins = [(0, 0), *((s // 2, s - s // 2) for s in self.strides), (0, 0)]
        x = tf.reshape(tf.pad(inputs, margins), (-1, height, rows, width, columns * channels))
        x = tf.reshape(tf.transpose(x, (0, 1, 3, 2, 4)), (-1, height, width, rows * columns * channels))
        weights = tf.reshape(tf.convert_to_tensor(kernel), (2, rows, 2, columns, channels, self.filters))
        weights = tf.reshape(tf.transpose(weights, (0, 2, 1, 3, 4, 5)), (2, 2, -1, self.filters))
        return tf.nn.conv2d(x, weights, 1, "VALID")


class ThriftyLeakyReLU(layers.LeakyReLU):  # type: ignore[misc]  # keras carries no types
    """Leaky ReLU whose gradient asks for the sign of its output, which is that of its input.

    So nobody needs the input any more, and TensorFlow computes convolution, bias and activation in one pass.
    """

    def call(self, inputs: Any) -> Any:
        """Return max(x, slope x)."""
        slope = float(self.negative_slope)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def activate(x: Any) -> Any:
            y = tf.nn.leaky_relu(x, slope)
            return y, lambda dy: tf.raw_ops.LeakyReluGrad(gradients=dy, features=y, alpha=slope)

        return activate(inputs)


class MatrixConv2DTranspose(layers.Conv2DTranspose):  # type: ignore[misc]  # keras carries no types
    """A transposed convolution whose kernel is its stride: each pixel becomes a block of its own, by a matrix product.

    oneDNN computes it as the gradient of a convolution, in up to 1.5 times the time, forward and backward together.
    """

    def call(self, inputs: Any) -> Any:
        """Return the map (N, rows * H, columns * W, filters) of a map (N, H, W, C)."""
        rows, columns, filters, channels = self.kernel.shape
        height, width = inputs.shape[1:3]
        kernel = tf.reshape(tf.convert_to_tensor(self.kernel), (-1, channels))
        blocks = tf.matmul(tf.reshape(inputs, (-1, channels)), kernel, transpose_b=True)
        blocks = tf.reshape(blocks, (-1, width, rows, columns * filters))
        outputs = tf.reshape(tf.transpose(blocks, (0, 2, 1, 3)), (-1, height * rows, width * columns, filters))
        return self.activation(outputs + self.bias if self.use_bias else outputs)


class CompiledCropping2D(layers.Cropping2D):  # type: ignore[misc]  # keras carries no types
    """A crop to float32, which is what a softmax takes: one loop forward, a cast and a padding backward.

    TensorFlow's own gradient of a slice runs on one thread. Compiled into one loop, cast and padding take 2.5 times as
    long as TensorFlow's own two operations.
    """

    def call(self, inputs: Any) -> Any:
        """Return the map without its margins, float32."""
        margins = [(0, 0), *self.cropping, (0, 0)]

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def crop(whole: Any) -> Any:
            return _cropped(whole, margins), lambda dy: tf.pad(tf.cast(dy, whole.dtype), margins)

        return crop(inputs)


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _cropped(whole: Any, margins: Any) -> Any:
    return tf.cast(_inner(whole, margins), tf.float32)


def replaced(layer: keras.Layer) -> keras.Layer:
    """Return a new layer for a copy of a network: one of these where one does the same, otherwise of its own class."""
    found = (quick for plain, quick, fits in _FASTER if type(layer) is plain and fits(layer))
    kind: Any = next(found, type(layer))
    return kind.from_config(layer.get_config())


def _is_fused(layer: Any) -> bool:
    plain = layer.center and layer.scale and not layer.synchronized and not layer.renorm
    return bool(plain and layer.axis in (-1, 3) and len(layer.input.shape) == 4)


def _is_blocks(layer: Any) -> bool:
    plain = (layer.kernel_size, layer.dilation_rate, layer.data_format) == (layer.strides, (1, 1), "channels_last")
    return bool(plain and layer.output_padding is None and None not in layer.input.shape[1:3])


def _can_be_trimmed(layer: Any) -> bool:
    plain = (layer.padding, layer.strides, layer.dilation_rate, layer.groups) == ("same", (1, 1), (1, 1), 1)
    odd = all(size % 2 for size in layer.kernel_size)
    return plain and odd and any(cut != (0, 0) for cut in _margins(layer.kernel_size, layer.input.shape[1:3]))


def _is_on_blocks(layer: Any) -> bool:
    plain = (layer.padding, layer.dilation_rate, layer.groups, layer.data_format) == (
        "same",
        (1, 1),
        1,
        "channels_last",
    )
    twice = all(kernel == 2 * s and s > 1 for kernel, s in zip(layer.kernel_size, layer.strides, strict=True))
    *sizes, channels = layer.input.shape[1:]
    whole = all(size is not None and size % s == 0 for size, s in zip(sizes, layer.strides, strict=True))
    return plain and twice and whole and channels <= _FEW_CHANNELS


def _margins(kernel: Any, size: Any) -> list[tuple[int, int]]:
    """Return how many taps see only padding, at both ends of each side."""
    return [(max(k // 2 - (s - 1), 0),) * 2 for k, s in zip(kernel, size, strict=True)]


def _cut(x: Any, margins: list[tuple[int, int]]) -> Any:
    """Return an array without its margins; the gradient is padded with zeros."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def cut(whole: Any) -> Any:
        return _inner(whole, margins), lambda dy: tf.pad(dy, margins)

    return cut(x)


def _inner(whole: Any, margins: Any) -> Any:
    return whole[tuple(slice(before, -after or None) for before, after in margins)]


_FASTER: Sequence[tuple[type, Any, Callable[[Any], bool]]] = (
    (layers.BatchNormalization, FusedBatchNormalization, _is_fused),
    (layers.Conv2D, TrimmedConv2D, _can_be_trimmed),
    (layers.Conv2D, BlockConv2D, _is_on_blocks),
    (layers.Conv2DTranspose, MatrixConv2DTranspose, _is_blocks),
    (layers.LeakyReLU, ThriftyLeakyReLU, lambda layer: 0 < float(layer.negative_slope) < 1),
    (layers.Cropping2D, CompiledCropping2D, lambda layer: layer.data_format == "channels_last"),
)
"""Keras's layers, what stands in for them, and where it does."""
