"""Warnings on a network that was rebuilt for another input size: kernel taps that were never trained, and the scale.

On a small map the outer taps of a large kernel only ever meet zero padding: fcn8's 7x7 kernel on the 2 x 3 map of a
64 x 84 image uses 3 x 5 of its taps. The others have no gradient and keep their random initial values. On the larger
map of a larger image they meet the image, and those values take part in the outputs.
"""

from __future__ import annotations

from typing import Any

from segtool.contract import ModelContract
from segtool.export.passes.dead_taps import live_taps

_FAR = 4  # times as many pixels, or as few
_SHRINKING = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "MaxPooling2D", "AveragePooling2D")


def size_warnings(trained: Any, rebuilt: Any, contract: ModelContract) -> tuple[str, ...]:
    """Return the warnings on a network that was rebuilt for another size.

    Parameters
    ----------
    trained, rebuilt
        A keras.Model and the one of `rebuild`.
    contract
        Of the rebuilt one.
    """
    found = (_untrained(untrained_taps(trained, rebuilt), contract), size_warning(trained, contract))
    return tuple(text for text in found if text)


def _untrained(phrases: list[str], contract: ModelContract) -> str | None:
    if not phrases or contract.trained_size is None:
        return None
    trained = "{}x{}".format(*contract.trained_size)
    return (
        f"{', '.join(phrases)} met only padding at {trained}, so the training left them as they began, and they take "
        f"part at {contract.height}x{contract.width}: expect less accuracy than from training at that size."
    )


def untrained_taps(trained: Any, rebuilt: Any) -> list[str]:
    """Return a phrase for each convolution that uses taps in `rebuilt` that it did not use in `trained`.

    Parameters
    ----------
    trained, rebuilt
        A keras.Model and the one of `rebuild`. Layers of a model inside the model are not looked at.
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


def size_warning(model: Any, contract: ModelContract) -> str | None:
    """Return a sentence where a network was rebuilt for a size too small for it, or far from that of its training.

    Parameters
    ----------
    model
        The network as it was trained.
    contract
        Of the rebuilt one. Where it cuts larger images into tiles, a larger size shows nothing at another scale.
    """
    if contract.trained_size is None:
        return None
    size, trained = f"{contract.height}x{contract.width}", "{}x{}".format(*contract.trained_size)
    stride = total_stride(model)
    if min(contract.size) < stride:
        return (
            f"The size {size} is smaller than the network's total stride of {stride} pixels, so its deepest maps see "
            f"mostly padding: expect much less accuracy than at {trained}."
        )
    times = contract.height * contract.width / (contract.trained_size[0] * contract.trained_size[1])
    if times * _FAR < 1 or (times > _FAR and contract.size_policy == "resize"):
        much = f"{times:.1f} times as many" if times > 1 else f"{times:.2%} of the"
        return (
            f"The size {size} has {much} pixels as {trained}, which the network was trained at: expect less accuracy."
        )
    return None


def total_stride(model: Any) -> int:
    """Return how many pixels of the image lie between two neighbours of a functional network's coarsest map.

    Layers of a model inside the model are not looked at.
    """
    import keras

    strides: dict[int, float] = {}
    for layer in model.layers:  # in the order in which they are called
        before = max((strides.get(id(tensor), 1.0) for tensor in keras.tree.flatten(layer.input)), default=1.0)
        strides |= {id(tensor): before * _factor(layer) for tensor in keras.tree.flatten(layer.output)}
    return round(max(strides.values()))


def _factor(layer: Any) -> float:
    kind = type(layer).__name__
    if kind in _SHRINKING:
        return float(max(layer.strides))
    if kind == "Conv2DTranspose":
        return 1 / float(max(layer.strides))
    return 1 / float(max(layer.size)) if kind == "UpSampling2D" else 1.0
