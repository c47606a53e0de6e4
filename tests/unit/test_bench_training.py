"""The PyTorch twin of benchmarks/training_throughput.py is the same network."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from training import torch_twin

from segtool.train.architectures import build


@pytest.mark.parametrize("arch", ["fcn8", "fcn8-edge", "fcn8-lite"])
def test_the_twin_answers_as_the_network_does(arch: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install torch")
    keras.utils.set_random_seed(0)
    channels = 3 if arch == "fcn8-lite" else 1  # each channel of the first has an offset of its own
    network = build(arch, size=(60, 84), channels=channels, num_classes=5)
    rng = np.random.default_rng(0)
    for weight in network.weights:  # moving averages too, and biases
        weight.assign(np.asarray(weight) + 0.05 * rng.random(weight.shape, np.float32))
    torch_twin.describe(network, tmp_path / "network.npz")
    twin = torch_twin.build(tmp_path / "network.npz").eval()
    images = rng.integers(0, 256, (2, 60, 84, channels), dtype=np.uint8)
    with torch.no_grad():
        ours = torch.softmax(twin(torch.from_numpy(images)), 1).permute(0, 2, 3, 1).numpy()
    theirs = np.asarray(network(images))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert theirs.std() > 0.01
