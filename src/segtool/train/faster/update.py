"""Adam's update in one pass over the weights: TensorFlow on a CPU."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
    """Update a weight and its two moments, as `keras.optimizers.Adam.update_step` does in ten passes.

    Kingma, Ba: Adam (ICLR 2015), algorithm 1 with the order of section 2's remark: the two corrections of the bias
    are in the step size.
    """
    dtype = variable.dtype
    index = self._get_variable_index(variable)
    step = tf.cast(self.iterations + 1, dtype)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=self._momentums[index].value.handle,
        v=self._velocities[index].value.handle,
        beta1_power=tf.pow(tf.cast(self.beta_1, dtype), step),
        beta2_power=tf.pow(tf.cast(self.beta_2, dtype), step),
        lr=tf.cast(learning_rate, dtype),
        beta1=self.beta_1,
        beta2=self.beta_2,
        epsilon=self.epsilon,
        grad=tf.cast(gradient, dtype),
        use_locking=True,
    )
