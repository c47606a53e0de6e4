"""Kernel taps that the training never used, and that another size puts to work.

On a small map the outer taps of a large kernel only ever meet zero padding: fcn8's 7x7 kernel on the 2 x 3 map of a
64 x 84 image uses 3 x 5 of its taps. The others have no gradient and keep the random values that they began with. On
the larger map of a larger image they meet the image, and those values take part in the answers.
"""

from __future__ import annotations

from typing import Any

from segtool.export.passes.dead_taps import live_taps


def untrained_taps(trained: Any, rebuilt: Any) -> list[str]:
    """Return a phrase for each convolution that uses taps in `rebuilt` that it did not use in `trained`.

    Parameters
    ----------
    trained, rebuilt
        A keras.Model and the one of `respecialize`. Layers of a model inside the model are not looked at.
    """
    phrases = []
    for layer in trained.layers:
        if type(layer).__name__ not in ("Conv2D", "DepthwiseConv2D") or layer.padding != "same":
            continue
        before, after = _live(layer), _live(rebuilt.get_layer(layer.name))
        if after[0] > before[0] or after[1] > before[1]:
            used = (min(before[0], after[0]) * min(before[1], after[1]), after[0] * after[1])
            phrases.append(f"{used[1] - used[0]} of the {used[1]} taps of {layer.name}")
    return phrases


def _live(layer: Any) -> tuple[int, int]:
    """Return how many rows and columns of a padded convolution's kernel ever meet its input."""
    rows, columns = (_live_along(layer, axis) for axis in (0, 1))
    return rows, columns


def _live_along(layer: Any, axis: int) -> int:
    taps, stride, dilation = (int(item[axis]) for item in (layer.kernel_size, layer.strides, layer.dilation_rate))
    size, outputs = (int(tensor.shape[1 + axis]) for tensor in (layer.input, layer.output))
    # TensorFlow's "same": what the last output still needs beyond the input, the larger half behind.
    missing = max((outputs - 1) * stride + (taps - 1) * dilation + 1 - size, 0)
    return len(live_taps(taps, size, outputs, missing // 2, stride, dilation))
