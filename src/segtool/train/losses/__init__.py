"""The losses by name; the command line's choices come from `LOSSES`. Keras is imported when one is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segtool.errors import TrainingError

LOSSES: Mapping[str, str] = {
    "cross-entropy": "the usual choice",
    "dice": "the overlap of each class, rare ones as much as frequent ones",
    "focal": "cross-entropy in which pixels that are right already hardly count",
    "combined": "cross-entropy plus dice",
}
"""Name -> what it is for."""


def make_loss(name: str, *, num_classes: int, class_weights: Sequence[float] | None = None) -> Any:
    """Return a loss by name, as a `keras.losses.Loss` of label maps, probabilities and pixel weights.

    Parameters
    ----------
    name
        One of `LOSSES`.
    num_classes
        Number of classes K.
    class_weights
        What a pixel of each class counts for (in dice: what each class counts for); None for 1 each.

    Raises
    ------
    TrainingError
        The name is not in the registry.
    """
    if name not in LOSSES:
        raise TrainingError(f"There is no loss {name!r}; choose one of {', '.join(LOSSES)}.")
    if name == "cross-entropy" and class_weights is None:
        from segtool.train.pixels import PixelCrossEntropy

        return PixelCrossEntropy()
    from segtool.train.losses.pixels import PixelLoss

    return PixelLoss(name, class_weights or [1.0] * num_classes)
