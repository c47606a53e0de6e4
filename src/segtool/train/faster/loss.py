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
    losses, powers, totals = _surprise(scores, labels)
    return losses, lambda upstream: (_gradient(powers, totals, labels, upstream), None)


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _surprise(scores: Any, labels: Any) -> Any:
    """Return the losses, and what the gradient needs: exp(score - the pixel's largest) (K, pixels), and its sums.

    Class by class, because loops over the pixels fill vector registers, and those over a few classes do not.
    """
    scores = tf.transpose(tf.reshape(scores, (-1, scores.shape[-1])))
    shifted = scores - tf.reduce_max(scores, axis=0)
    powers = tf.exp(shifted)
    totals = tf.reduce_sum(powers, axis=0)
    own = tf.reduce_sum(tf.where(_is_label(powers, labels), shifted, 0.0), axis=0)
    return tf.reshape(tf.math.log(totals) - own, tf.shape(labels)), powers, totals


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _gradient(powers: Any, totals: Any, labels: Any, upstream: Any) -> Any:
    """Return (softmax(scores) - one-hot(label)) times what the pixel counts for."""
    shares = tf.reshape(upstream, (-1,))
    gradient = powers * (shares / totals) - tf.where(_is_label(powers, labels), shares, 0.0)
    return tf.reshape(tf.transpose(gradient), (*tf.unstack(tf.shape(upstream)), powers.shape[0]))


def _is_label(powers: Any, labels: Any) -> Any:
    classes = tf.range(powers.shape[0], dtype=labels.dtype)
    return classes[:, None] == tf.reshape(labels, (1, -1))


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def hits(scores: Any, labels: Any) -> Any:
    """Return 1 for each pixel whose largest score is that of its label, the first of equal ones, and 0 elsewhere."""
    return tf.cast(tf.argmax(scores, -1, output_type=labels.dtype) == labels, tf.float32)
