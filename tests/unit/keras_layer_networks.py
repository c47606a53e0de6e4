"""One small network for each layer, activation and operation of Keras that a segmentation network may hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

SIZE, CLASSES = 16, 5


def network(middle: Callable[[Any], Any], channels: int = 8) -> Any:
    """Return uint8 (N, 16, 16, 3) -> convolution -> `middle` -> softmax of 5 classes (N, 16, 16, 5), random weights."""
    import keras

    keras.utils.set_random_seed(7)
    inputs = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    x = middle(keras.layers.Conv2D(channels, 3, padding="same", name="before")(x))
    if x.shape[1:3] != (SIZE, SIZE):
        x = keras.layers.Resizing(SIZE, SIZE, interpolation="nearest")(x)
    x = keras.layers.Conv2D(CLASSES, 1, name="scores")(x)
    model = keras.Model(inputs, keras.layers.Softmax()(x))
    rng = np.random.default_rng(7)
    for weight in model.weights:  # statistics and scales that began as 0 and 1 too
        if weight.dtype == "float32" and len(weight.shape) == 1:
            weight.assign(np.abs(rng.normal(1, 0.3, weight.shape)).astype(np.float32))
    return model


def _layer(name: str, *args: Any, **options: Any) -> Callable[[Any], Any]:
    def build(x: Any) -> Any:
        import keras

        return getattr(keras.layers, name)(*args, **options)(x)

    return build


def _op(name: str, *args: Any, **options: Any) -> Callable[[Any], Any]:
    def build(x: Any) -> Any:
        import keras

        found = keras.ops
        for part in name.split("."):
            found = getattr(found, part)
        return found(x, *args, **options)

    return build


def _with(function: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """Return a builder from a function of keras and the tensor."""

    def build(x: Any) -> Any:
        import keras

        return function(keras, x)

    return build


def _attention(keras: Any, x: Any, layer: Any) -> Any:
    tokens = keras.layers.Reshape((SIZE * SIZE, 8))(x)
    return keras.layers.Reshape((SIZE, SIZE, 8))(layer(tokens))


def _shared(keras: Any, x: Any) -> Any:
    conv = keras.layers.Conv2D(8, 3, padding="same", activation="relu")
    return conv(conv(x))


def _nested(keras: Any, x: Any) -> Any:
    inputs = keras.Input(x.shape[1:])
    block = keras.Model(inputs, keras.layers.ReLU()(keras.layers.Conv2D(8, 3, padding="same", groups=2)(inputs)))
    return block(block(x))


def _separate(keras: Any, x: Any) -> Any:
    first, second = keras.ops.split(x, 2, axis=-1)
    return keras.ops.concatenate([second, first], axis=-1)


def _channel_attention(keras: Any, x: Any) -> Any:
    y = keras.ops.mean(x, axis=(1, 2), keepdims=True)
    return x * keras.ops.sigmoid(keras.layers.Conv2D(8, 1)(y))


ACTIVATIONS = [
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink",
    "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh", "tanh_shrink",
]  # fmt: skip

LAYERS: dict[str, Callable[[Any], Any]] = {
    "Conv2D 3x3": _layer("Conv2D", 8, 3, padding="same"),
    "Conv2D strides 2, same": _layer("Conv2D", 8, 3, strides=2, padding="same"),
    "Conv2D strides 2, valid": _layer("Conv2D", 8, 3, strides=2),
    "Conv2D dilation 2": _layer("Conv2D", 8, 3, dilation_rate=2, padding="same"),
    "Conv2D dilation 3, valid": _layer("Conv2D", 8, 3, dilation_rate=3),
    "Conv2D groups 2": _layer("Conv2D", 8, 3, padding="same", groups=2),
    "Conv2D groups 8": _layer("Conv2D", 8, 3, padding="same", groups=8),
    "Conv2D groups 4, more filters": _layer("Conv2D", 16, 3, padding="same", groups=4, use_bias=False),
    "Conv2D groups 2, strides 2": _layer("Conv2D", 8, 3, strides=2, padding="same", groups=2),
    "Conv2D groups 2, dilation 2": _layer("Conv2D", 8, 3, padding="same", groups=2, dilation_rate=2),
    "Conv2D groups 2, valid": _layer("Conv2D", 8, (3, 1), groups=2, activation="relu"),
    "Conv1D on rows": _with(
        lambda keras, x: keras.layers.Reshape((SIZE, SIZE, 8))(
            keras.layers.Conv1D(8, 3, padding="same")(keras.layers.Reshape((SIZE * SIZE, 8))(x))
        )
    ),
    "Conv2DTranspose 2x2 strides 2": _layer("Conv2DTranspose", 8, 2, strides=2),
    "Conv2DTranspose 3x3 strides 2, same": _layer("Conv2DTranspose", 8, 3, strides=2, padding="same"),
    "Conv2DTranspose 4x4 strides 2, same": _layer("Conv2DTranspose", 8, 4, strides=2, padding="same"),
    "Conv2DTranspose 5x3 strides 3, valid": _layer("Conv2DTranspose", 8, (5, 3), strides=3),
    "Conv2DTranspose output padding": _layer("Conv2DTranspose", 8, 3, strides=2, padding="same", output_padding=1),
    "Conv2DTranspose dilation 2": _layer("Conv2DTranspose", 8, 3, dilation_rate=2, padding="same"),
    "DepthwiseConv2D": _layer("DepthwiseConv2D", 3, padding="same"),
    "DepthwiseConv2D multiplier 2": _layer("DepthwiseConv2D", 3, padding="same", depth_multiplier=2),
    "DepthwiseConv2D strides 2": _layer("DepthwiseConv2D", 3, strides=2, padding="same"),
    "DepthwiseConv2D dilation 2": _layer("DepthwiseConv2D", 3, dilation_rate=2, padding="same"),
    "SeparableConv2D": _layer("SeparableConv2D", 8, 3, padding="same"),
    "SeparableConv2D multiplier 2, dilation 2": _layer(
        "SeparableConv2D", 8, 3, padding="same", depth_multiplier=2, dilation_rate=2
    ),
    "Dense on maps": _layer("Dense", 8, activation="relu"),
    "EinsumDense": _layer("EinsumDense", "bhwc,cd->bhwd", (None, None, 8), bias_axes="d"),
    "MaxPooling2D": _layer("MaxPooling2D"),
    "MaxPooling2D 3x3 strides 2, same": _layer("MaxPooling2D", 3, strides=2, padding="same"),
    "AveragePooling2D": _layer("AveragePooling2D", 2),
    "AveragePooling2D 3x3 strides 1, same": _layer("AveragePooling2D", 3, strides=1, padding="same"),
    "AveragePooling2D 5x5 strides 2, valid": _layer("AveragePooling2D", 5, strides=2),
    "AdaptiveAveragePooling2D 4x4": _layer("AdaptiveAveragePooling2D", 4),
    "AdaptiveAveragePooling2D 3x3": _layer("AdaptiveAveragePooling2D", 3),
    "AdaptiveMaxPooling2D 4x4": _layer("AdaptiveMaxPooling2D", 4),
    "GlobalAveragePooling2D, kept": _with(
        lambda keras, x: keras.layers.Multiply()([x, keras.layers.GlobalAveragePooling2D(keepdims=True)(x)])
    ),
    "GlobalAveragePooling2D, Dense, Reshape": _with(
        lambda keras, x: keras.layers.Multiply()([
            x,
            keras.layers.Reshape((1, 1, 8))(
                keras.layers.Dense(8, activation="sigmoid")(keras.layers.GlobalAveragePooling2D()(x))
            ),
        ])
    ),
    "GlobalMaxPooling2D, kept": _with(
        lambda keras, x: keras.layers.Add()([x, keras.layers.GlobalMaxPooling2D(keepdims=True)(x)])
    ),
    "UpSampling2D nearest": _layer("UpSampling2D", 2),
    "UpSampling2D bilinear": _layer("UpSampling2D", 2, interpolation="bilinear"),
    "UpSampling2D bicubic": _layer("UpSampling2D", 2, interpolation="bicubic"),
    "UpSampling2D lanczos3": _layer("UpSampling2D", 2, interpolation="lanczos3"),
    "Resizing nearest": _layer("Resizing", 24, 20, interpolation="nearest"),
    "Resizing bilinear": _layer("Resizing", 24, 20),
    "Resizing bilinear, smaller": _layer("Resizing", 7, 9),
    "Resizing bicubic": _layer("Resizing", 24, 20, interpolation="bicubic"),
    "Resizing area": _layer("Resizing", 8, 8, interpolation="area"),
    "Resizing, crop to aspect ratio": _layer("Resizing", 8, 12, crop_to_aspect_ratio=True),
    "Resizing, pad to aspect ratio": _layer("Resizing", 8, 12, pad_to_aspect_ratio=True),
    "CenterCrop": _layer("CenterCrop", 10, 12),
    "ZeroPadding2D": _layer("ZeroPadding2D", ((1, 2), (0, 3))),
    "Cropping2D": _layer("Cropping2D", ((1, 2), (0, 3))),
    "BatchNormalization": _layer("BatchNormalization"),
    "GroupNormalization": _layer("GroupNormalization", 4),
    "GroupNormalization of each channel": _layer("GroupNormalization", -1),
    "LayerNormalization": _layer("LayerNormalization"),
    "LayerNormalization over the map": _layer("LayerNormalization", axis=(1, 2, 3)),
    "RMSNormalization": _layer("RMSNormalization"),
    "UnitNormalization": _layer("UnitNormalization"),
    "SpectralNormalization": _with(
        lambda keras, x: keras.layers.SpectralNormalization(keras.layers.Conv2D(8, 3, padding="same"))(x)
    ),
    "Normalization": _layer("Normalization", mean=[0.1] * 8, variance=[2.0] * 8),
    "Rescaling": _layer("Rescaling", 0.5, 0.1),
    "ReLU with limits": _layer("ReLU", max_value=2.0, negative_slope=0.1, threshold=0.2),
    "LeakyReLU": _layer("LeakyReLU"),
    "PReLU, shared over the map": _layer("PReLU", shared_axes=(1, 2)),
    "PReLU": _layer("PReLU"),
    "ELU": _layer("ELU"),
    "Softmax": _layer("Softmax"),
    "MultiHeadAttention": _with(
        lambda keras, x: _attention(keras, x, lambda t: keras.layers.MultiHeadAttention(2, 4)(t, t))
    ),
    "GroupQueryAttention": _with(
        lambda keras, x: _attention(keras, x, lambda t: keras.layers.GroupQueryAttention(4, 4, 2)(t, t))
    ),
    "Attention": _with(lambda keras, x: _attention(keras, x, lambda t: keras.layers.Attention()([t, t]))),
    "AdditiveAttention": _with(
        lambda keras, x: _attention(keras, x, lambda t: keras.layers.AdditiveAttention()([t, t]))
    ),
    "Add, Subtract, Multiply": _with(
        lambda keras, x: keras.layers.Multiply()([
            keras.layers.Add()([x, x]), keras.layers.Subtract()([x, keras.layers.ReLU()(x)])
        ])
    ),
    "Maximum, Minimum, Average": _with(
        lambda keras, x: keras.layers.Average()([
            keras.layers.Maximum()([x, -x]), keras.layers.Minimum()([x, keras.layers.ReLU()(x)])
        ])
    ),
    "Concatenate": _with(lambda keras, x: keras.layers.Concatenate()([x, keras.layers.ReLU()(x)])),
    "Dot": _with(
        lambda keras, x: _attention(keras, x, lambda t: keras.layers.Dot((2, 1))([keras.layers.Dot(2)([t, t]), t]))
    ),
    "Permute": _layer("Permute", (2, 1, 3)),
    "Reshape, Flatten, RepeatVector": _with(
        lambda keras, x: keras.layers.Add()([
            x,
            keras.layers.Reshape((SIZE, SIZE, 1))(
                keras.layers.RepeatVector(SIZE * SIZE)(
                    keras.layers.Dense(1)(keras.layers.Flatten()(keras.layers.MaxPooling2D(8)(x)))
                )
            ),
        ])
    ),
    "TimeDistributed": _with(
        lambda keras, x: keras.layers.TimeDistributed(keras.layers.Conv1D(8, 3, padding="same"))(x)
    ),
    "ConvLSTM2D": _with(
        lambda keras, x: keras.layers.ConvLSTM2D(8, 3, padding="same")(keras.layers.Reshape((1, SIZE, SIZE, 8))(x))
    ),
    "Bidirectional LSTM": _with(
        lambda keras, x: _attention(
            keras, x, keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True))
        )
    ),
    "GRU": _with(lambda keras, x: _attention(keras, x, keras.layers.GRU(8, return_sequences=True))),
    "Conv3D": _with(
        lambda keras, x: keras.layers.Reshape((SIZE, SIZE, 8))(
            keras.layers.Conv3D(8, (1, 3, 3), padding="same")(keras.layers.Reshape((1, SIZE, SIZE, 8))(x))
        )
    ),
    "Dropout, noise and regularization": _with(
        lambda keras, x: keras.layers.ActivityRegularization(0.1)(keras.layers.AlphaDropout(0.5)(
            keras.layers.GaussianDropout(0.5)(keras.layers.GaussianNoise(1)(
                keras.layers.SpatialDropout2D(0.5)(keras.layers.Dropout(0.5)(x))))))
    ),
    "RandomFlip, RandomRotation, RandomZoom": _with(
        lambda keras, x: keras.layers.RandomZoom(0.2)(keras.layers.RandomRotation(0.2)(keras.layers.RandomFlip()(x)))
    ),
    "RandomTranslation, RandomShear, RandomErasing": _with(
        lambda keras, x: keras.layers.RandomErasing()(
            keras.layers.RandomShear(0.1, 0.1)(keras.layers.RandomTranslation(0.2, 0.2)(x)))
    ),
    "RandomContrast, RandomBrightness": _with(
        lambda keras, x: keras.layers.RandomBrightness(0.2)(keras.layers.RandomContrast(0.2)(x))
    ),
    "RandomCrop": _layer("RandomCrop", 12, 12),
    "a shared layer": _with(_shared),
    "a nested model, used twice": _with(_nested),
}  # fmt: skip

OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "ops.mean, sigmoid, multiply": _with(_channel_attention),
    "ops.split, concatenate": _with(_separate),
    "ops.pad": _op("pad", ((0, 0), (1, 1), (1, 1), (0, 0))),
    "ops.pad reflect": _op("pad", ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"),
    "ops.image.resize bilinear": _op("image.resize", (24, 24)),
    "ops.image.resize nearest": _op("image.resize", (8, 8), interpolation="nearest"),
    "ops.image.resize antialias": _op("image.resize", (8, 8), antialias=True),
    "ops.einsum": _with(lambda keras, x: keras.ops.einsum("bhwc,bhwd->bhcd", x, x)),
    "ops.matmul, transpose": _with(lambda keras, x: keras.ops.matmul(x, keras.ops.transpose(x, (0, 1, 3, 2)))),
    "ops slicing": _with(lambda _, x: x[:, ::2, 1:-1, :6]),
    "ops.max, min, sum, var, std": _with(
        lambda keras, x: keras.ops.concatenate([
            getattr(keras.ops, name)(x, axis=-1, keepdims=True) for name in ("max", "min", "sum", "var", "std")
        ])
    ),
    "ops.clip, abs, square, sqrt, exp, log": _with(
        lambda keras, x: keras.ops.log(1 + keras.ops.exp(keras.ops.clip(keras.ops.sqrt(
            keras.ops.square(keras.ops.abs(x)) + 1), 0, 3)))
    ),
    "ops.erf, rsqrt, power, maximum, where": _with(
        lambda keras, x: keras.ops.where(
            x > 0, keras.ops.erf(x), keras.ops.maximum(keras.ops.rsqrt(keras.ops.power(x, 2) + 1), x))
    ),
    "ops.reshape, expand_dims, squeeze, tile, repeat": _with(
        lambda keras, x: keras.ops.repeat(keras.ops.squeeze(keras.ops.tile(
            keras.ops.expand_dims(keras.ops.reshape(x, (-1, SIZE, SIZE, 8)), 1), (1, 1, 2, 1, 1)), 1), 2, axis=2)
    ),
    "ops.stack, roll, flip": _with(
        lambda keras, x: keras.ops.reshape(
            keras.ops.stack([keras.ops.roll(x, 1, axis=1), keras.ops.flip(x, axis=2)], axis=-1), (-1, SIZE, SIZE, 16))
    ),
    "ops.softmax, log_softmax, logsumexp": _with(
        lambda keras, x: keras.ops.softmax(x) + keras.ops.log_softmax(x)
        + keras.ops.logsumexp(x, axis=-1, keepdims=True)
    ),
    "ops.depthwise_conv": _with(
        lambda keras, x: keras.ops.depthwise_conv(x, np.full((3, 3, 8, 1), 0.1, np.float32), padding="same")
    ),
    "ops.nn.depth_to_space": _op("nn.depth_to_space", 2),
    "ops.nn.space_to_depth": _op("nn.space_to_depth", 2),
    "ops.max_pool, average_pool": _with(
        lambda keras, x: keras.ops.max_pool(x, 2, padding="same") + keras.ops.average_pool(x, 2, padding="same")
    ),
    "ops.normalize": _op("normalize"),
    "ops.layer_normalization": _with(
        lambda keras, x: keras.ops.layer_normalization(x, np.ones(8, np.float32), np.zeros(8, np.float32))
    ),
    "ops.gelu tanh": _op("gelu"),
    "ops.gelu erf": _op("gelu", approximate=False),
    "ops.glu": _op("glu"),
    "ops.dot_product_attention": _with(
        lambda keras, x: keras.ops.reshape(keras.ops.dot_product_attention(
            *[keras.ops.reshape(x, (-1, SIZE * SIZE, 2, 4))] * 3), (-1, SIZE, SIZE, 8))
    ),
    "ops.cumsum, argmax, one_hot": _with(
        lambda keras, x: keras.ops.cumsum(x, axis=1) + keras.ops.one_hot(keras.ops.argmax(x, axis=-1), 8)
    ),
    "ops.take": _op("take", [1, 0, 3], axis=-1),
    "ops.image.rgb_to_grayscale": _with(lambda keras, x: keras.ops.image.rgb_to_grayscale(x[..., :3])),
    "ops.image.extract_patches": _op("image.extract_patches", 2),
    "ops.top_k": _with(lambda keras, x: keras.ops.top_k(x, 3)[0]),
    "ops.sin, cos, floor, round, sign": _with(
        lambda keras, x: keras.ops.sin(x) + keras.ops.cos(x) + keras.ops.floor(x) + keras.ops.sign(x)
        + keras.ops.round(x)
    ),
}  # fmt: skip

NETWORKS: dict[str, Callable[[Any], Any]] = {
    **LAYERS,
    **{f"activation {name}": _layer("Activation", name) for name in ACTIVATIONS},
    **OPERATIONS,
}
"""Builders of the layer in the middle, by the name that the table of the docs shows."""


def build(name: str) -> Any:
    """Return the network of a name of `NETWORKS`."""
    return network(NETWORKS[name])
