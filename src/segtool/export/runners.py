"""The functions that the gates compare: images in, labels or probabilities out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segtool.array_types import AnyArray, UInt8Array
from segtool.contract import Head
from segtool.export.heads import End
from segtool.export.keras_to_onnx import INPUT
from segtool.models.backend import without_advice
from segtool.runtime.postprocess import softmax
from segtool.runtime.session import open_session


def keras_runner(model: Any, *, batch: int = 32) -> Callable[[UInt8Array], AnyArray]:
    """Return a function from uint8 (N, H, W, C) to what Keras's network gives, float32 (N, H, W, K), on the CPU."""
    import tensorflow as tf

    def run(images: UInt8Array) -> AnyArray:
        # On the CPU: a GPU's TF32 alone is further off than the parity gate allows.
        with tf.device("/CPU:0"), without_advice():
            parts = [model(images[i : i + batch], training=False).numpy() for i in range(0, len(images), batch)]
        return np.concatenate(parts)

    return run


def onnx_runner(path: Path, *, threads: int | None = None) -> tuple[Callable[[UInt8Array], AnyArray], int]:
    """Return a function from uint8 (N, H, W, C) to a file's output on the CPU, and the threads it uses."""
    opened = open_session(path, provider="cpu", threads=threads)
    return lambda images: np.asarray(opened.session.run(None, {INPUT: images})[0]), opened.threads


def as_probabilities(run: Callable[[UInt8Array], AnyArray], end: End | Head) -> Callable[[UInt8Array], AnyArray]:
    """Return `run`, which ends in `end`, behind a softmax where that is in logits."""
    return (lambda images: softmax(run(images))) if end == "logits" else run


def as_labels(run: Callable[[UInt8Array], AnyArray], dtype: np.dtype[Any]) -> Callable[[UInt8Array], AnyArray]:
    """Return `run` with the class scores, where it gives those, turned into labels (N, H, W) of `dtype`."""

    def labels(images: UInt8Array) -> AnyArray:
        found = run(images)
        return found.argmax(-1).astype(dtype) if found.ndim == 4 else found

    return labels
