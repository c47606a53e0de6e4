"""Fixtures that several test folders share."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # some tests import onnxruntime before segtool
for name in ("COLUMNS", "LINES"):  # readline sets them for pytest's workers; tables of a pipe are 120 characters wide
    os.environ.pop(name, None)
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the processors: one thread each, also in the processes that tests start.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

with suppress(ImportError):  # the environments for other providers have no Hypothesis
    from hypothesis import HealthCheck, settings

    # Neither a deadline nor a check of how long data take: both depend on how busy the machine is.
    settings.register_profile("segtool", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("segtool")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder with real data beside the checkout."""
    if not (SHARED / "m2nist" / "m2nist_4000.npz").is_file():
        pytest.skip("the real data are not beside the checkout (../shared)")
    return SHARED


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz of 48 grey 32 x 32 images: a bright (class 1) or a dim (class 2) square on black (class 0)."""
    rng = np.random.default_rng(3)
    images = np.zeros((48, 32, 32), np.uint8)
    labels = np.zeros((48, 32, 32), np.uint8)
    for index in range(48):
        y, x = rng.integers(0, 20, 2)
        kind = index % 2
        images[index, y : y + 12, x : x + 12] = (250, 90)[kind]
        labels[index, y : y + 12, x : x + 12] = 1 + kind
    images += rng.integers(0, 6, images.shape, dtype=np.uint8)
    path = tmp_path_factory.mktemp("squares") / "squares.npz"
    np.savez(path, images=images, labels=labels)
    return path
