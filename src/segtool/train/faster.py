"""Faster training steps for TensorFlow on a CPU: the same mathematics with fewer passes over the memory.

Each replacement saves about a tenth or more of a training step of fcn8-edge or fcn8 (benchmarks/training_pieces.py).
The results equal those of Keras up to rounding. The weights, their order and the saved model are those of Keras. Other
backends and GPUs, where Keras compiles with XLA, use Keras's code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import keras
from keras import layers

if TYPE_CHECKING:
    from segtool.train.device import Device

_MANY_WEIGHTS = 1_000_000
_FAST_COLUMNS = 3
"""Width of depthwise kernels whose gradient oneDNN computes fast."""


def can_be_faster(device: Device) -> bool:
    """Return whether faster layers exist for training on `device`."""
    return keras.backend.backend() == "tensorflow" and device.processor == "cpu"


def faster_network(network: keras.Model, device: Device) -> keras.Model:
    """Return a copy of the network with faster layers and the same weights; the network itself if none exist."""
    if not can_be_faster(device):
        return network
    copy = keras.models.clone_model(network, clone_function=replaced)
    copy.set_weights(network.get_weights())
    return copy


def replaced(layer: keras.Layer) -> keras.Layer:
    """Return a new layer for a copy of a network: an equivalent faster one, or one of the same class."""
    kind: Any = type(layer)
    if kind is layers.BatchNormalization and _is_fused(layer):
        kind = FusedBatchNormalization
    elif kind is layers.Cropping2D and layer.data_format == "channels_last":
        kind = SlicedCropping2D
    elif kind is layers.LeakyReLU and layer.negative_slope > 0:
        kind = OutputLeakyReLU
    elif kind is layers.DepthwiseConv2D and _is_wide(layer):
        kind = WideDepthwiseConv2D
    return kind.from_config(layer.get_config())


def faster_optimizer(optimizer: Any, device: Device) -> Any:
    """Return the optimizer with one compiled update of all weights, if there are many.

    Keras writes Adam as about ten operations, each of which reads and writes a whole array. The compiled update saves
    a fifth of a step of fcn8, with 9 million weights, and would add 5 % to a step of fcn8-edge, with 0.3 million. With
    several workers, TensorFlow's strategy applies the update.
    """
    if not can_be_faster(device) or device.cluster.workers > 1:
        return optimizer
    import tensorflow as tf

    plain = optimizer.apply

    def apply(gradients: Any, weights: Any = None) -> None:
        if sum(math.prod(weight.shape) for weight in weights or ()) < _MANY_WEIGHTS:
            plain(gradients, weights)
        else:
            tf.function(lambda values: plain(values, weights), jit_compile=True, autograph=False)(gradients)

    optimizer.apply = apply
    return optimizer


class FusedBatchNormalization(layers.BatchNormalization):  # type: ignore[misc]  # keras carries no types
    """Batch normalization in one fused operation (oneDNN) forward and one backward.

    With fixed statistics TensorFlow makes one operation of it and of the convolution before it.

    Ioffe, Szegedy: Batch Normalization (ICML 2015). As in Keras, the moving variance averages the biased variance
    of the batch; the operation returns the unbiased one.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: ARG002
        """Return the normalized map; in training, update the moving averages."""
        import tensorflow as tf

        is_training = bool(training and self.trainable)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=[] if is_training else self.moving_mean,
            variance=[] if is_training else self.moving_variance,
            epsilon=self.epsilon,
            is_training=is_training,
        )
        if not is_training:
            return outputs
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        # A single value has no unbiased variance; the operation then divides by 1.
        biased = variance * tf.maximum(count - 1.0, 1.0) / count
        for average, value in ((self.moving_mean, mean), (self.moving_variance, biased)):
            average.assign(average * self.momentum + tf.stop_gradient(value) * (1.0 - self.momentum))
        return outputs


class SlicedCropping2D(layers.Cropping2D):  # type: ignore[misc]  # keras carries no types
    """A crop with `tf.slice`: its gradient uses all threads, that of Keras's strided slice only one."""

    def call(self, inputs: Any) -> Any:
        """Return the map without its margins, float32 for the softmax that follows."""
        import tensorflow as tf

        (top, _), (left, _) = self.cropping
        size = [-1, *self.compute_output_shape(inputs.shape)[1:]]
        return tf.cast(tf.slice(inputs, [0, top, left, 0], size), tf.float32)


class WideDepthwiseConv2D(layers.DepthwiseConv2D):  # type: ignore[misc]  # keras carries no types
    """A depthwise convolution that makes the gradient of its wide kernel in parts of up to three columns.

    oneDNN 3.7 has a fast gradient for depthwise kernels of up to three columns. It takes a wider one for a grouped
    convolution of 16 x 16 channels, with 16 times as many products.
    """

    def call(self, inputs: Any) -> Any:
        """Return the map convolved with the kernel."""
        import tensorflow as tf

        strides, padding = [1, *self.strides, 1], self.padding.upper()

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def convolve(x: Any, kernel: Any) -> Any:
            y = tf.raw_ops.DepthwiseConv2dNative(input=x, filter=kernel, strides=strides, padding=padding)

            def gradients(dy: Any) -> tuple[Any, Any]:
                dx = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                    input_sizes=tf.shape(x), filter=kernel, out_backprop=dy, strides=strides, padding=padding
                )
                return dx, _kernel_gradient(x, dy, kernel.shape, strides, padding)

            return y, gradients

        outputs = convolve(inputs, tf.cast(self.kernel, inputs.dtype))
        return self.activation(outputs + self.bias if self.use_bias else outputs)


def _kernel_gradient(x: Any, dy: Any, shape: Sequence[int], strides: Sequence[int], padding: str) -> Any:
    """Return the gradient of a depthwise kernel of this shape (H, W, C, 1), made in parts of its columns."""
    import tensorflow as tf

    steps = [(count - 1) * stride for count, stride in zip(dy.shape[1:3], strides[1:3], strict=True)]
    if padding == "SAME":
        spans = [step + size for step, size in zip(steps, shape[:2], strict=True)]
        missing = [max(span - size, 0) for span, size in zip(spans, x.shape[1:3], strict=True)]
        x = tf.pad(x, [[0, 0], *([one // 2, one - one // 2] for one in missing), [0, 0]])
    parts = []
    for start in range(0, shape[1], _FAST_COLUMNS):
        columns = min(_FAST_COLUMNS, shape[1] - start)
        parts.append(
            tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                input=tf.slice(x, [0, 0, start, 0], [-1, steps[0] + shape[0], steps[1] + columns, -1]),
                filter_sizes=[shape[0], columns, *shape[2:]],
                out_backprop=dy,
                strides=strides,
                padding="VALID",
            )
        )
    return tf.concat(parts, 1)


class OutputLeakyReLU(layers.LeakyReLU):  # type: ignore[misc]  # keras carries no types
    """Leaky ReLU whose gradient uses the sign of its output, which is that of its input.

    The input is then free, and TensorFlow computes convolution, bias and activation in one pass.
    """

    def call(self, inputs: Any) -> Any:
        """Return max(x, slope x)."""
        import tensorflow as tf

        slope = float(self.negative_slope)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def activate(x: Any) -> Any:
            y = tf.nn.leaky_relu(x, slope)
            return y, lambda dy: tf.raw_ops.LeakyReluGrad(gradients=dy, features=y, alpha=slope)

        return activate(inputs)


def _is_wide(layer: Any) -> bool:
    plain = layer.data_format == "channels_last" and tuple(layer.dilation_rate) == (1, 1)
    return bool(plain and layer.kernel_size[1] > _FAST_COLUMNS and None not in layer.input.shape[1:3])


def _is_fused(layer: Any) -> bool:
    plain = layer.center and layer.scale and not layer.synchronized and not layer.renorm
    return bool(plain and layer.axis in (-1, 3) and len(layer.input.shape) == 4)


def scores_behind(probabilities: Any) -> Any:
    """Return the input of the softmax, float32 (N, H, W, K); None if `probabilities` is no softmax output.

    If both the loss and the accuracy use these scores, TensorFlow skips the softmax.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    if not isinstance(probabilities, tf.Tensor) or tf.executing_eagerly() or probabilities.op.type != "Softmax":
        return None
    return probabilities.op.inputs[0]


def negative_log(scores: Any, labels: Any) -> Any:
    """Return -log softmax(scores)[label] of each pixel, float32 (N, H, W), in nats."""
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def value(scores: Any) -> Any:
        losses, gradients = _compiled(_loss_and_gradient)(scores, labels)
        return losses, lambda upstream: upstream[..., None] * gradients

    return value(scores)


def hits(scores: Any, labels: Any) -> Any:
    """Return 1 for each pixel whose label has the largest score, 0 elsewhere; the first of equal scores wins."""
    return _compiled(_hits)(scores, labels)


def _loss_and_gradient(scores: Any, labels: Any) -> Any:
    """Return the loss of each pixel (N, H, W), and its gradient with respect to the pixel's scores (N, H, W, K).

    Both come from one call, in which XLA knows all sizes. A gradient that TensorFlow derives from a compiled loss keeps
    each intermediate result for batches of unknown size, and saves nothing.
    """
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(scores)
        # Classes first: loops over the pixels fill the vector registers, and loops over a few classes do not.
        by_class = tf.transpose(tf.reshape(scores, (-1, scores.shape[-1])))
        shifted = by_class - tf.stop_gradient(tf.reduce_max(by_class, axis=0))
        is_label = tf.range(scores.shape[-1], dtype=labels.dtype)[:, None] == tf.reshape(labels, (1, -1))
        own = tf.reduce_sum(tf.where(is_label, shifted, 0.0), axis=0)
        losses = tf.reshape(tf.math.log(tf.reduce_sum(tf.exp(shifted), axis=0)) - own, tf.shape(labels))
    return losses, tape.gradient(losses, scores)


def _hits(scores: Any, labels: Any) -> Any:
    import tensorflow as tf

    return tf.cast(tf.argmax(scores, -1, output_type=labels.dtype) == labels, tf.float32)


@cache
def _compiled(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return the function, compiled by XLA into a few loops."""
    import tensorflow as tf

    return cast("Callable[[Any, Any], Any]", tf.function(function, jit_compile=True, autograph=False))
