"""The cross-entropy of pixels and their accuracy, from the scores, each compiled into one loop over them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def scores_behind(probabilities: Any) -> Any:
    """Return the scores that a softmax was taken of, float32 (N, H, W, K); None where that cannot be seen."""
    if not isinstance(probabilities, tf.Tensor) or tf.executing_eagerly() or probabilities.op.type != "Softmax":
        return None
    return probabilities.op.inputs[0]


@tf.custom_gradient  # type: ignore[untyped-decorator]
def surprise(scores: Any, labels: Any) -> Any:
    """Return -log softmax(scores)[label] of each pixel, in nats: scores (N, H, W, K), labels integers (N, H, W)."""
    return _surprise(scores, labels), lambda upstream: (_gradient(scores, labels, upstream), None)


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _surprise(scores: Any, labels: Any) -> Any:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=scores)


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _gradient(scores: Any, labels: Any, upstream: Any) -> Any:
    """Return (softmax(scores) - one-hot(label)) times what the pixel counts for."""
    truth = tf.one_hot(labels, scores.shape[-1], dtype=scores.dtype)
    return (tf.nn.softmax(scores) - truth) * upstream[..., None]


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def hits(scores: Any, labels: Any) -> Any:
    """Return 1 for each pixel whose largest score is that of its label, the first of equal ones, and 0 elsewhere."""
    return tf.cast(tf.argmax(scores, -1, output_type=labels.dtype) == labels, tf.float32)
