"""FCN-8 is the source's network, without the two mistakes of a widely copied implementation."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from segtool.errors import TrainingError
from segtool.train.architectures import build

ENCODER = [f"conv{block}_{index}" for block in range(1, 6) for index in (1, 2)] + [
    f"norm{block}" for block in range(1, 6)
]


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build("fcn8", size=(64, 84), channels=1, num_classes=11)


def test_it_has_the_parameters_of_the_source(network: keras.Model) -> None:
    assert network.count_params() == 9_061_985
    assert sum(network.get_layer(name).count_params() for name in ENCODER) == 2_354_784


def test_a_width_multiplies_every_layer_but_the_scores() -> None:
    model = build("fcn8", size=(64, 84), channels=1, num_classes=11, width=0.25)
    found = {name: model.get_layer(name).filters for name in ("conv1_1", "conv3_2", "conv6", "conv7", "score7", "up1")}
    assert found == {"conv1_1": 8, "conv3_2": 32, "conv6": 128, "conv7": 128, "score7": 11, "up1": 11}


def test_it_maps_raw_pixels_to_probabilities(network: keras.Model) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 84, 1), dtype=np.uint8)
    probabilities = network.predict_on_batch(images)
    assert probabilities.shape == (2, 64, 84, 11)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(("size", "channels", "classes"), [((32, 32), 3, 2), ((33, 70), 1, 5), ((20, 100), 3, 300)])
def test_any_size_channels_and_classes(size: tuple[int, int], channels: int, classes: int) -> None:
    model = build("fcn8", size=size, channels=channels, num_classes=classes)
    assert model.output_shape == (None, *size, classes)
    assert model.predict_on_batch(np.zeros((1, *size, channels), np.uint8)).shape == (1, *size, classes)


def test_a_shift_of_the_input_shifts_the_output_by_as_much() -> None:
    """A blob moved by 32 pixels, the network's stride, moves the scores by 32 pixels and changes nothing else.

    With padding on both sides and the crop on the right alone the scores would lie 6 pixels off their image, which
    the next test sees; this one sees any padding that depends on the position.
    """
    keras.utils.set_random_seed(1)
    model = build("fcn8", size=(64, 340), channels=1, num_classes=3)
    image = np.zeros((1, 64, 340, 1), np.uint8)
    image[0, 20:40, 130:150] = 200
    moved = np.roll(image, 32, axis=2)
    before, after = (model.predict_on_batch(x)[0] for x in (image, moved))
    # Columns whose receptive field (212 pixels to each side) the border reaches may differ: compare the blob's own.
    np.testing.assert_allclose(after[:, 152:192], before[:, 120:160], atol=2e-3)
    assert np.abs(after[:, 120:160] - before[:, 120:160]).max() > 2e-3


def test_padding_and_crop_are_on_the_same_side(network: keras.Model) -> None:
    """The 12 columns of padding go on the right, and that is where they come off again."""
    pad, crop = network.get_layer("pad").padding, network.get_layer("crop").cropping
    assert pad == crop == ((0, 0), (0, 12))


def test_scores_lie_on_their_pixels(network: keras.Model) -> None:
    """The gradient of one output block with respect to the input is centred on that block."""
    import tensorflow as tf

    image = tf.Variable(np.random.default_rng(2).uniform(0, 255, (1, 64, 84, 1)).astype(np.float32))
    first = network.layers.index(network.get_layer("scale"))
    with tf.GradientTape() as tape:
        scores = _run_from(network, first, image)
        block = tf.reduce_sum(scores[0, 32:40, 40:48, 0])
    weight = np.abs(tape.gradient(block, image).numpy()[0, :, :, 0]) ** 2
    centre = (weight.sum(0) * np.arange(84)).sum() / weight.sum()
    assert abs(centre - 43.5) < 4


def test_every_layer_carries_gradient(network: keras.Model) -> None:
    """conv6 and conv7 really feed the decoder: with them left out their gradient would be None."""
    import tensorflow as tf

    images = np.random.default_rng(0).integers(0, 256, (2, 64, 84, 1), dtype=np.uint8)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(network(images, training=True)[..., 3])
    gradients = tape.gradient(loss, network.trainable_variables)
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient.numpy()).all(), variable.path
        if variable.path.startswith(("conv6", "conv7")):
            assert np.abs(gradient.numpy()).max() > 0, variable.path


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (8, 8)])
def test_transposed_convolution_agrees_with_a_slow_reference(kernel: int, stride: int) -> None:
    rng = np.random.default_rng(kernel)
    x = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    layer = keras.layers.Conv2DTranspose(6, kernel, strides=stride, padding="same", use_bias=False)
    result = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(result, _transposed(x, layer.kernel.numpy(), stride), atol=1e-5)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"no architecture 'unet'; choose one of fcn8"):
        build("unet", size=(64, 84), channels=1, num_classes=11)


def _transposed(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Each input pixel adds its scaled kernel at stride times its place; then the rim is cut off."""
    n, h, w, _ = x.shape
    kh, kw, filters, _ = kernel.shape
    full = np.zeros((n, (h - 1) * stride + kh, (w - 1) * stride + kw, filters))
    for i in range(h):
        for j in range(w):
            full[:, i * stride : i * stride + kh, j * stride : j * stride + kw] += np.einsum(
                "nc,hwfc->nhwf", x[:, i, j], kernel
            )
    rim = (kh - stride) // 2
    return full[:, rim : rim + h * stride, rim : rim + w * stride]


def _run_from(model: keras.Model, first: int, x: object) -> object:
    """Run the layers behind the scaling on float pixels, so that the input has a gradient."""
    inner = keras.Model(model.layers[first].output, model.output)
    return inner(x / 255.0)
