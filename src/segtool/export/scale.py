"""Whether another input size than that of the training still suits a network: a warning where it does not."""

from __future__ import annotations

from typing import Any

from segtool.contract import ModelContract

_FAR = 4  # times as many pixels, or as few
_SHRINKING = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "MaxPooling2D", "AveragePooling2D")


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
    if min(contract.height, contract.width) < stride:
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
