"""A folded network computes the same function, and its layers are what the exporter makes of them."""

import keras
import numpy as np
from keras import layers
from tiny_nets import build_tiny, tiny_data

from segtool.train.folding import folded


def _with_random_normalizations(model, *, lowest=0.5):
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.gamma.shape
            gamma = random.uniform(lowest, 1.5, shape)
            layer.set_weights([gamma, *random.normal(0, 0.3, (2, *shape)), random.uniform(0.5, 1.5, shape)])
    return model


def _difference(model, other):
    images, _ = tiny_data(4)
    return np.abs(np.asarray(model(images)) - np.asarray(other(images))).max()


def test_behind_pooling_only_the_shift_stays():
    model = _with_random_normalizations(build_tiny())
    found = folded(model)
    assert _difference(model, found) < 1e-6
    left = [layer for layer in found.layers if isinstance(layer, layers.BatchNormalization)]
    assert len(left) == 2
    for layer in left:
        assert not layer.scale
        assert not layer.trainable
        assert np.ptp(layer.moving_variance.numpy()) == np.ptp(layer.moving_mean.numpy()) == 0


def test_a_negative_scale_behind_a_pooling_stays():
    model = _with_random_normalizations(build_tiny(), lowest=-1.5)
    found = folded(model)
    assert _difference(model, found) < 1e-6
    assert any(layer.scale for layer in found.layers if isinstance(layer, layers.BatchNormalization))


def test_directly_behind_convolutions_of_each_kind_nothing_stays():
    image = keras.Input((16, 20, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255)(image)
    for number, layer in enumerate(
        [layers.Conv2D(6, 3), layers.DepthwiseConv2D(3, depth_multiplier=2), layers.Conv2DTranspose(4, 2, 2)]
    ):
        x = layers.BatchNormalization(name=f"norm{number}")(layer(x))
        x = layers.ReLU(6.0)(x)
    inner = keras.Model(image, x)
    outer = keras.Input((16, 20, 1), dtype="uint8", name="outer")
    model = _with_random_normalizations(keras.Model(outer, layers.Softmax()(inner(outer))))
    _with_random_normalizations(inner, lowest=-1.5)
    found = folded(model)
    assert _difference(model, found) < 1e-6
    assert not any(isinstance(layer, layers.BatchNormalization | keras.Model) for layer in found.layers)


def test_activations_are_layers_behind_the_pooling_and_taps_on_padding_are_0():
    found = folded(build_tiny())
    kinds = [type(layer) for layer in found.layers]
    before = kinds[: kinds.index(layers.MaxPooling2D)]
    assert kinds[len(before) + 1] is layers.LeakyReLU
    assert before.count(layers.LeakyReLU) == 1
    wide = next(layer for layer in found.layers if isinstance(layer, layers.Conv2D) and layer.kernel_size == (5, 5))
    assert wide.activation is keras.activations.linear
    assert np.abs(wide.kernel.numpy()).min() > 0  # 4 x 6 pixels: every tap of 5 x 5 meets the map

    image = keras.Input((2, 3, 1))
    model = keras.Model(image, layers.Conv2D(1, 7, padding="same", kernel_initializer="ones")(image))
    kernel = folded(model).layers[-1].kernel.numpy()[..., 0, 0]
    np.testing.assert_array_equal(np.argwhere(kernel)[[0, -1]], [[2, 1], [4, 5]])
