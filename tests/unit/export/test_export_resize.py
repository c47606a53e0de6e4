"""A network rebuilt for another size: bit for bit what its builder would have built there, or one clear refusal."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from segtool.errors import ExportError
from segtool.export.resize.rebuild import MAX_PIXELS, check_size, rebuild
from segtool.models.keras_file import load_keras_file
from segtool.train.architectures import fcn8


@pytest.fixture
def thin(monkeypatch):
    """fcn8 with few filters: the same layers in milliseconds."""
    monkeypatch.setattr(fcn8, "ENCODER_FILTERS", (4, 5, 6, 7, 8))
    monkeypatch.setattr(fcn8, "FULLY_CONNECTED_FILTERS", 9)


def randomized(model, seed=0):
    """Random weights, the variances positive; biases and moving means too, which a fresh network has at 0."""
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(0.02, 0.3, weight.shape) - 0.1 * (weight.ndim == 4) for weight in model.weights])
    return model


def answers(model, seed=1):
    shape = (2, *model.inputs[0].shape[1:])
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return keras.ops.convert_to_numpy(model(images, training=False))


def assert_same_network(found, expected):
    assert found.inputs[0].shape == expected.inputs[0].shape
    got, wanted = answers(found), answers(expected)
    assert got.shape == wanted.shape
    assert np.ptp(wanted[..., 0]) > 1e-6  # an answer that depends on the image
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    ("trained", "size"),
    [
        ((64, 84), (48, 52)),
        ((64, 84), (96, 128)),  # padded at first, then not
        ((64, 84), (100, 90)),
        ((64, 84), (1, 1)),
        ((48, 52), (64, 84)),
        ((64, 96), (100, 90)),  # not padded at first: the layers are put in
        ((64, 96), (96, 64)),
    ],
    ids=str,
)
def test_fcn8_is_bit_for_bit_the_one_built_for_that_size(thin, trained, size):
    model = randomized(fcn8.build_fcn8(*trained, 1, 5))
    expected = fcn8.build_fcn8(*size, 1, 5)
    expected.set_weights(model.get_weights())
    before = answers(model)
    assert_same_network(rebuild(model, size), expected)
    np.testing.assert_array_equal(answers(model), before)  # and the trained one is as it was


def test_the_real_fcn8_from_its_file(tmp_path):
    model = randomized(fcn8.build_fcn8(64, 84, 3, 11))
    model.save(tmp_path / "model.keras")
    expected = fcn8.build_fcn8(48, 100, 3, 11)
    expected.set_weights(model.get_weights())
    assert_same_network(rebuild(load_keras_file(tmp_path / "model.keras"), (48, 100)), expected)


def encoder_decoder(size, *, nested=False, sequential=False, padding=((0, 0), (0, 0)), middle=None, scaled=True):
    """Two pools down, two transposed convolutions up, one skip; one 1x1 convolution at the end."""
    image = keras.Input((*size, 1), dtype="uint8", name="image")
    start = layers.Rescaling(1 / 127.5, offset=-1, name="scale") if scaled else layers.BatchNormalization(name="norm")
    down = [
        layers.Conv2D(4, 3, padding="same", activation="relu", name="down1"),
        layers.MaxPooling2D(2, name="pool1"),
        layers.Conv2D(4, 3, strides=2, padding="same", name="down2"),
    ]
    up = [layers.Conv2DTranspose(4, 2, strides=2, name=name) for name in ("up1", "up2")]
    last = layers.Conv2D(3, 1, activation="softmax", name="classes")
    if sequential:
        frame = ([layers.ZeroPadding2D(padding)], [layers.Cropping2D(padding)]) if any(map(any, padding)) else ([], [])
        return keras.Sequential([image, start, *frame[0], *down, *up, *frame[1], last], name="plain")
    x = start(image)
    if any(map(any, padding)):
        x = layers.ZeroPadding2D(padding)(x)
    if nested:
        inner = keras.Input(x.shape[1:])
        pooled = down[1](down[0](inner))
        skip, deep = keras.Model(inner, [pooled, down[2](pooled)], name="backbone")(x)
    else:
        skip = down[1](down[0](x))
        deep = down[2](skip)
    deep = deep if middle is None else middle(deep)
    x = up[1](layers.Add(name="skip")([up[0](deep), skip]))
    if any(map(any, padding)):
        x = layers.Cropping2D(padding)(x)
    return keras.Model(image, last(x), name="small")


@pytest.mark.parametrize("kind", [{}, {"nested": True}, {"sequential": True}, {"scaled": False}], ids=str)
def test_other_kinds_of_networks(kind):
    model = randomized(encoder_decoder((16, 20), **kind))
    expected = encoder_decoder((24, 12), **kind)
    expected.set_weights(model.get_weights())
    assert_same_network(rebuild(model, (24, 12)), expected)


@pytest.mark.parametrize("kind", [{}, {"nested": True}, {"sequential": True}], ids=str)
def test_a_size_between_two_that_fit_is_padded_with_zeros_behind_the_scaling(kind):
    model = randomized(encoder_decoder((16, 20), **kind))
    found = rebuild(model, (13, 21))
    expected = encoder_decoder((13, 21), padding=((0, 3), (0, 3)), **kind)
    expected.set_weights(model.get_weights())
    assert_same_network(found, expected)


def test_a_layer_that_is_used_twice_stays_one():
    def build(size):
        image = keras.Input((*size, 1), dtype="uint8")
        shared = layers.Conv2D(1, 3, padding="same", name="shared")
        x = layers.Concatenate()([y := shared(layers.Rescaling(1 / 255)(image)), shared(y)])
        return keras.Model(image, layers.Softmax()(layers.Conv2D(2, 3, padding="same", name="last")(x)))

    model = randomized(build((8, 8)))
    expected = build((9, 30))
    expected.set_weights(model.get_weights())
    found = rebuild(model, (9, 30))
    assert len(found.weights) == len(model.weights) == 4
    assert_same_network(found, expected)


@pytest.mark.parametrize(
    ("border", "trained", "size"),
    [(((2, 2), (2, 2)), (12, 16), (20, 24)), (((4, 2), (4, 2)), (14, 18), (22, 26))],
)
def test_padding_on_both_sides_is_kept_and_the_sizes_that_fit_it_are_named(border, trained, size):
    """Whether the border would be another one at another size is not known, so it stays as it is."""
    model = randomized(encoder_decoder(trained, padding=border))
    expected = encoder_decoder(size, padding=border)
    expected.set_weights(model.get_weights())
    assert_same_network(rebuild(model, size), expected)
    height, width = size
    message = rf"a height of {height} or {height + 4} and a width of {width}, or train"
    with pytest.raises(ExportError, match=message):
        rebuild(model, (height + 1, width))


def test_more_padding_than_needed_is_kept():
    """20 columns fit already; by what rule 4 were added is not known."""
    model = randomized(encoder_decoder((16, 20), padding=((0, 0), (0, 4))))
    expected = encoder_decoder((12, 28), padding=((0, 0), (0, 4)))
    expected.set_weights(model.get_weights())
    assert_same_network(rebuild(model, (12, 28)), expected)
    with pytest.raises(ExportError, match="a height of 12 and a width of 28 or 32"):
        rebuild(model, (12, 30))


def test_where_zeros_cannot_go_only_sizes_that_fit_are_taken():
    with pytest.raises(ExportError, match="a height of 16 and a width of 20 or 24"):
        rebuild(encoder_decoder((16, 20), scaled=False), (16, 22))


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        (layers.PReLU(name="each"), r"Layer each \(PReLU\) of small takes only the size that it was built for"),
        (layers.LayerNormalization(axis=(1, 2, 3), name="all"), r"Layer all \(LayerNormalization\)"),
        (layers.Reshape((4, 5, 4), name="fixed"), r"24x12.*built for 16x20.*leave --size out, or train at that size"),
        (
            lambda x: layers.UpSampling2D((4, 5))(layers.GlobalAveragePooling2D(keepdims=True)(x)),
            r"24x12.*built for 16x20.*leave --size out, or train at that size",
        ),
    ],
)
def test_layers_that_fix_the_size_are_refused(middle, message):
    with pytest.raises(ExportError, match=message):
        rebuild(encoder_decoder((16, 20), middle=middle), (24, 12))


@pytest.mark.parametrize(
    ("size", "message"),
    [((0, 5), "no pixels"), ((100_000, 100_000), r"10,000,000,000 pixels, and at most 2,097,152"), ((4, -1), "4x-1")],
)
def test_absurd_sizes_are_refused_before_anything_is_built(size, message):
    with pytest.raises(ExportError, match=message):
        rebuild(None, size)


def test_the_largest_size_is_allowed():
    check_size((1, MAX_PIXELS))
    with pytest.raises(ExportError):
        check_size((1, MAX_PIXELS + 1))
