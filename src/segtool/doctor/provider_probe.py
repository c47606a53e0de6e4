"""Test which providers of onnxruntime work, by running a tiny model on each."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np

from segtool.errors import ProviderError, SegtoolError
from segtool.files import temporary_folder
from segtool.runtime.native_log import plain_message
from segtool.runtime.providers import REMOTE, available_providers
from segtool.runtime.session import ORT_ERRORS, open_session

# b = relu(the mean over 4 channels of a), 1 x 4 x 8 x 8 floats, as a 1 x 1 convolution (opset 13). Each provider for
# image networks must be able to run it. It was made with onnx.helper, which the runtime does not have.
_MODEL = base64.b64decode(
    "CAgSADqtAQoPCgFhCgF3EgFjIgRDb252CgwKAWMSAWIiBFJlbHUSAWcqTwgECAQIAQgBEAFCAXdKQAAAgD4AAIA+AACAPgAAgD4AAIA+AACAPgAA"
    "gD4AAIA+AACAPgAAgD4AAIA+AACAPgAAgD4AAIA+AACAPgAAgD5aGwoBYRIWChQIARIQCgIIAQoCCAQKAggICgIICGIbCgFiEhYKFAgBEhAKAggB"
    "CgIIBAoCCAgKAggIQgQKABAN"
)
_TOLERANCE = 1e-2  # a provider may compute in half precision


def probe_providers() -> dict[str, str | None]:
    """Return the reason why each available provider does not run the tiny model; None if it does."""
    with temporary_folder("segtool-doctor-") as folder:
        path = folder / "probe.onnx"
        path.write_bytes(_MODEL)
        return {name: _refusal(path, name) for name in available_providers() if name != REMOTE}


def _refusal(path: Path, provider: str) -> str | None:
    try:
        _run(path, provider)
    except SegtoolError as error:
        return str(error)
    return None


def _run(path: Path, provider: str) -> None:
    """Run the model on a provider, and compare the output with the expected one.

    Raises
    ------
    ProviderError
        It does not start, fails, or computes wrong values.
    """
    opened = open_session(path, provider=provider, threads=1)
    values = np.linspace(-1, 1, 256, dtype=np.float32).reshape(1, 4, 8, 8)
    expected = np.maximum(values.mean(axis=1, keepdims=True), 0).repeat(4, axis=1)
    try:
        output = opened.session.run(None, {"a": values})[0]
    except ORT_ERRORS as error:
        raise ProviderError(f"{provider} starts but fails in its first run ({plain_message(str(error))}).") from error
    difference = float(np.abs(output - expected).max())
    if not difference <= _TOLERANCE:
        raise ProviderError(f"{provider} computes wrong values (off by {difference:.3g} on a mean of 4 numbers).")
