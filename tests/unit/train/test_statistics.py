"""Statistics of normalizations, estimated anew: the weighted average of the batches, on each backend."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from segtool.train.statistics import Reestimation


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input((6, 5, 2), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.BatchNormalization(momentum=0.9, name="frozen")(x)
    x = keras.layers.BatchNormalization(momentum=0.98, name="norm")(x)
    x = keras.layers.Conv2D(3, 1, name="scores")(x)
    model = keras.Model(image, x)
    model.get_layer("frozen").trainable = False
    return model


def check() -> None:
    """Compare the estimate with the average of the statistics of the batches, later ones with more weight."""
    model = network()
    model.get_layer("norm").moving_mean.assign([7.0, -3.0])
    before = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 200 + 10 * number, (4, 6, 5, 2), np.uint8) for number in range(5)]
    reestimate = Reestimation(model)
    for _ in range(2):
        reestimate(batches)  # again: from zero, not from the last estimate
    after = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    inside = [batch.astype(np.float64) / 255 / np.sqrt(1 + 1e-3) for batch in batches]  # of the frozen layer
    weights = 0.98 ** np.arange(len(batches))[::-1]
    for index, function in ((2, np.mean), (3, np.var)):
        each = np.stack([function(batch, axis=(0, 1, 2)) for batch in inside])
        np.testing.assert_allclose(after["norm"][index], weights @ each / weights.sum(), rtol=1e-4)
    for name, values in before.items():
        kept = values[:2] if name == "norm" else values
        for left, right in zip(kept, after[name], strict=False):
            np.testing.assert_array_equal(left, right)


def test_the_estimate_is_the_weighted_average_of_the_batches() -> None:
    check()


def test_a_network_without_trainable_normalizations_runs_nothing() -> None:
    model = network()
    model.get_layer("norm").trainable = False

    def fail():
        raise AssertionError("a batch was made")
        yield

    Reestimation(model)(fail())


def test_the_same_on_jax() -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    call = [sys.executable, "-c", f"import runpy; runpy.run_path({__file__!r})['check']()"]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
