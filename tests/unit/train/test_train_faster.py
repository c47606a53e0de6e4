"""What is faster computes what Keras's own computes: outputs, gradients, moving averages, updates."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from segtool.train import faster as train_faster
from segtool.train.architectures import build
from segtool.train.device import Cluster, Device
from segtool.train.faster import (
    FusedBatchNormalization,
    OutputLeakyReLU,
    SlicedCropping2D,
    WideDepthwiseConv2D,
    faster_network,
    faster_optimizer,
    replaced,
)
from segtool.train.losses import PixelAccuracy, PixelLoss
from segtool.train.optimizers import OPTIMIZERS, make_optimizer

CPU = Device("cpu", "CPU")


def _one_layer(layer: Any, shape: tuple[int, ...]) -> keras.Model:
    image = keras.Input(shape)
    return keras.Model(image, layer(image))


def _trained(model: keras.Model, x: Any) -> list[np.ndarray]:
    """Return the outputs in training, the gradients of input and weights, and all weights afterwards."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=True)
        loss = tf.reduce_sum(tf.sin(y))
    gradients = tape.gradient(loss, [x, *[weight.value for weight in model.trainable_weights]])
    return [np.asarray(value) for value in (y, *gradients, *model.weights)]


CASES = [
    (lambda: layers.BatchNormalization(momentum=0.7), FusedBatchNormalization, (5, 6, 3)),
    (lambda: layers.Cropping2D(((0, 2), (1, 0))), SlicedCropping2D, (5, 6, 3)),
    (lambda: layers.LeakyReLU(0.3), OutputLeakyReLU, (5, 6, 3)),
    (lambda: layers.DepthwiseConv2D(5, padding="same", use_bias=False), WideDepthwiseConv2D, (8, 10, 16)),
    (lambda: layers.DepthwiseConv2D(5, 2, padding="same", activation="relu"), WideDepthwiseConv2D, (9, 12, 3)),
    (lambda: layers.DepthwiseConv2D((2, 7), 3, depth_multiplier=2), WideDepthwiseConv2D, (12, 15, 4)),
    (lambda: layers.DepthwiseConv2D((3, 4), (2, 2), padding="same"), WideDepthwiseConv2D, (2, 2, 4)),
]


@pytest.mark.parametrize(("make", "kind", "shape"), CASES)
@pytest.mark.parametrize("count", [1, 4])
def test_a_layer_computes_what_keras_does(make: Any, kind: Any, shape: tuple[int, ...], count: int) -> None:
    plain = _one_layer(make(), shape)
    quick = faster_network(plain, CPU)
    assert type(quick.layers[-1]) is kind
    x = np.random.default_rng(0).normal(1, 2, (count, *shape)).astype(np.float32)
    for ours, theirs in zip(_trained(quick, x), _trained(plain, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(quick(x), plain(x), rtol=1e-4, atol=1e-5)


def test_a_normalization_that_is_not_trained_keeps_its_statistics() -> None:
    plain = _one_layer(layers.BatchNormalization(trainable=False), (5, 6, 3))
    rng = np.random.default_rng(1)
    plain.set_weights([rng.uniform(0.5, 2, 3) for _ in range(4)])
    quick = faster_network(plain, CPU)
    assert type(quick.layers[-1]) is FusedBatchNormalization
    x = rng.normal(1, 2, (4, 5, 6, 3)).astype(np.float32)
    for ours, theirs in zip(_trained(quick, x), _trained(plain, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def test_a_wide_depthwise_kernel_trains_in_bfloat16() -> None:
    plain = _one_layer(layers.DepthwiseConv2D(5, padding="same", dtype="mixed_bfloat16"), (8, 10, 16))
    quick = faster_network(plain, CPU)
    assert type(quick.layers[-1]) is WideDepthwiseConv2D
    x = np.random.default_rng(0).normal(size=(2, 8, 10, 16)).astype(np.float32)
    for ours, theirs in zip(_trained(quick, x), _trained(plain, x), strict=True):
        np.testing.assert_allclose(ours.astype(np.float32), theirs.astype(np.float32), rtol=0.05, atol=0.5)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(center=False),
        layers.BatchNormalization(axis=1),
        layers.Cropping2D(1, data_format="channels_first"),
        layers.LeakyReLU(0.0),
        layers.DepthwiseConv2D(3),
        layers.DepthwiseConv2D((5, 3)),
        layers.DepthwiseConv2D(5, dilation_rate=2, padding="same"),
        layers.DepthwiseConv2D(5, data_format="channels_first", padding="same"),
    ],
)
def test_what_has_no_faster_form_stays(layer: Any) -> None:
    _one_layer(layer, (7, 7, 3))
    assert type(replaced(layer)) is type(layer)


def _steps(arch: str, *, faster: bool) -> tuple[list[np.ndarray], dict[str, float]]:
    keras.utils.set_random_seed(3)
    network = build(arch, size=(28, 36), channels=1, num_classes=4)
    optimizer: Any = keras.optimizers.AdamW(1e-3, weight_decay=0.1)
    if faster:
        network, optimizer = faster_network(network, CPU), faster_optimizer(optimizer, CPU)
        assert "Fused" in str([type(layer).__name__ for layer in network.layers])
    loss = PixelLoss("cross-entropy") if faster else keras.losses.SparseCategoricalCrossentropy(
        reduction="mean_with_sample_weight"
    )  # fmt: skip
    network.compile(optimizer, loss, weighted_metrics=[PixelAccuracy() if faster else "accuracy"])
    rng = np.random.default_rng(0)
    for _ in range(3):
        images, labels = rng.integers(0, 256, (4, 28, 36, 1), np.uint8), rng.integers(0, 4, (4, 28, 36), np.int32)
        weights = (rng.random((4, 28, 36)) > 0.3).astype(np.float32)
        logs = network.train_on_batch(images, labels, sample_weight=weights, return_dict=True)
    return [np.asarray(value) for value in network.get_weights()], logs


@pytest.mark.parametrize("arch", ["fcn8", "fcn8-edge-half"])  # with and without a compiled update
def test_a_training_goes_the_same_way(arch: str) -> None:
    (ours, our_logs), (theirs, their_logs) = (_steps(arch, faster=faster) for faster in (True, False))
    assert our_logs == pytest.approx(their_logs, rel=1e-3)
    # Adam's first steps are signs: a gradient that is 0 but for rounding may go either way, by a step each.
    off = [np.mean(np.abs(one - other) > 2e-4) for one, other in zip(ours, theirs, strict=True)]
    assert max(off) < 0.02


def test_loss_accuracy_and_gradient_are_keras_own() -> None:
    rng = np.random.default_rng(2)
    scores, labels = rng.normal(0, 30, (2, 5, 6, 4)).astype(np.float32), rng.integers(0, 4, (2, 5, 6), np.int32)
    scores[0, 0] = 1.0  # equal scores: the first class wins
    weights = rng.random((2, 5, 6)).astype(np.float32)

    def results(loss: Any, accuracy: Any) -> list[Any]:
        @tf.function
        def run(z: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(z)
                p = tf.nn.softmax(z)
                value = loss(labels, p, sample_weight=weights)
            accuracy.update_state(labels, p, sample_weight=weights)
            return value, tape.gradient(value, z)

        return [*run(tf.constant(scores)), accuracy.result()]

    ours = results(PixelLoss("cross-entropy"), PixelAccuracy())
    keras_loss = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
    theirs = results(keras_loss, keras.metrics.SparseCategoricalAccuracy())
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_an_optimizer_updates_weights_and_decay_as_keras_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_faster, "_MANY_WEIGHTS", 0)

    def updated(*, faster: bool) -> list[np.ndarray]:
        kernel, bias = (keras.Variable(np.linspace(-1, 1, 6).reshape(2, 3), name=name) for name in ("kernel", "bias"))
        made = make_optimizer(name, schedule="cosine", learning_rate=0.1, weight_decay=0.1, warmup=2, steps=9)
        optimizer = faster_optimizer(made, CPU) if faster else made
        optimizer.build([kernel, bias])
        for step in range(1, 5):
            optimizer.apply([tf.fill((2, 3), 0.1 * step), tf.fill((2, 3), -1.0)], [kernel, bias])
        return [np.asarray(variable.numpy()) for variable in (kernel, bias, *optimizer.variables)]

    for ours, theirs in zip(updated(faster=True), updated(faster=False), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_the_compiled_update_is_for_a_cpu_without_other_workers() -> None:
    for device in (Device("gpu", "GPU"), Device("cpu", "CPU", cluster=Cluster(2))):
        optimizer = keras.optimizers.Adam()
        plain = optimizer.apply
        assert faster_optimizer(optimizer, device).apply == plain


def test_a_gpu_keeps_the_layers_of_keras() -> None:
    network = _one_layer(layers.BatchNormalization(), (3, 3, 1))
    assert faster_network(network, Device("gpu", "GPU")) is network


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or sys.platform == "darwin", reason="TensorFlow without oneDNN here"
)
@pytest.mark.parametrize(("own", "expected"), [(None, True), ("0", False)])
def test_onednn_is_used_on_every_x86_processor_unless_the_user_forbids_it(own: str | None, expected: bool) -> None:
    # TensorFlow alone leaves it off on processors without VNNI: a step of fcn8-lite takes 1.4 times as long there.
    code = (
        "from segtool.models.backend import import_quietly\n"
        "import_quietly('tensorflow', extra='train')\n"
        "from tensorflow.python.util import _pywrap_util_port\n"
        "print(_pywrap_util_port.IsMklEnabled())"
    )
    environment = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    if own is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = own
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(expected)
