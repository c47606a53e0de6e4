"""The same run twice: bit-identical weights, at some cost in speed."""

from __future__ import annotations

import os

import keras


def make_deterministic() -> None:
    """Let the Keras backend of this process compute the same bits from the same values, from now on.

    Call it before the backend has placed anything. On TensorFlow an operation that cannot do so raises an error. On
    JAX the processor always does, and on a GPU this sets XLA's flag; on PyTorch an operation that cannot raises.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA's matrix library starts
        torch.use_deterministic_algorithms(True)
    elif "--xla_gpu_deterministic_ops" not in (flags := os.environ.get("XLA_FLAGS", "")):
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
