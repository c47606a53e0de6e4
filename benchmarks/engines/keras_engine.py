"""Keras and TensorFlow: `predict_on_batch`, and the network compiled with `tf.function`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from engines.engine import Engine, Images, Predict


def engines(keras_file: Path) -> list[Engine]:
    """Return the engines that run the trained file as it is."""
    in_graph = "uint8 in; arg-max of the scores before the soft-max and cast to uint8 in the function"
    return [
        Engine(
            "keras",
            "Keras predict_on_batch",
            "float32",
            "uint8 in; arg-max of the probabilities in numpy",
            keras_file,
            open_predict_on_batch,
        ),
        Engine("tf-function", "tf.function", "float32", in_graph, keras_file, partial(open_function, xla=False)),
        Engine("tf-xla", "tf.function, XLA", "float32", in_graph, keras_file, partial(open_function, xla=True)),
    ]


def labels_function(network: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return the network without its soft-max, and a function of TensorFlow that gives its class ids, uint8 (N, H, W).

    The soft-max is a layer or the activation of the last one; the network given loses the latter.
    Soft-max is monotone, so the arg-max of its input is the arg-max of its output. The function takes TensorFlow's own
    arg-max: that of keras.ops tells 0.0 and -0.0 apart, with six operations on the scores that nobody needs here.
    """
    import keras
    import tensorflow as tf

    last = network.layers[-1]
    if getattr(last, "activation", None) is keras.activations.softmax:
        last.activation = keras.activations.linear
    scorer = keras.Model(network.input, last.input if isinstance(last, keras.layers.Softmax) else network.output)

    def labels(images: Any) -> Any:
        scores = scorer(tf.cast(images, network.input.dtype), training=False)
        return tf.cast(tf.argmax(scores, -1, output_type=tf.int32), tf.uint8)

    return scorer, labels


def open_predict_on_batch(path: Path, threads: int) -> Predict:
    """Open the network as Keras users run it."""
    _set_threads(threads)
    network = _load(path)

    def predict(images: Images) -> Images:
        return np.asarray(network.predict_on_batch(images).argmax(-1), np.uint8)

    return predict


def open_function(path: Path, threads: int, *, xla: bool) -> Predict:
    """Open the network as one TensorFlow graph, with XLA or without."""
    tf = _set_threads(threads)
    scorer, labels = labels_function(_load(path))
    signature = [tf.TensorSpec([1, *scorer.input.shape[1:]], tf.uint8)]
    function = tf.function(labels, input_signature=signature, autograph=False, jit_compile=xla).get_concrete_function()

    def predict(images: Images) -> Images:
        found: Images = function(tf.constant(images)).numpy()
        return found

    return predict


def _load(path: Path) -> Any:
    from segtool.models.keras_file import load_keras_file

    return load_keras_file(path)


def _set_threads(threads: int) -> Any:
    """Set the thread pools of this whole process; return TensorFlow."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return tf
