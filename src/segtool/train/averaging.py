"""The moving average of the weights, where the optimizer keeps one: it is what is scored and kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Within the block, the trainable weights of the compiled `model` are their moving averages.

    What normalizations keep (means and variances) are averages already and stay as they are. Without a moving average
    nothing changes.
    """
    # float16 training wraps the optimizer in one that scales the loss.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    kept = [np.array(variable.numpy()) for variable in model.trainable_variables]
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, kept, strict=True):
            variable.assign(value)
