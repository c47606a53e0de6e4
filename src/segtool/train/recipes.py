"""Training recipes and losses by name; the command line's choices come from `RECIPES` and `LOSSES`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from segtool.errors import TrainingError

LOSSES: Mapping[str, str] = {
    "cross-entropy": "the usual choice",
    "dice": "the overlap of each class, rare ones as much as frequent ones",
    "focal": "cross-entropy in which pixels that are right already hardly count",
    "combined": "cross-entropy plus dice",
}
"""Name -> what it is for; `segtool.train.losses` has the losses themselves."""

NONE, BALANCED = "none", "balanced"
"""Class weights by name."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    summary
        One line for people.
    epochs
        Passes over the training images.
    batch_size
        Images a step.
    learning_rate
        Peak learning rate.
    warmup_epochs
        Epochs in which the learning rate rises linearly from a tenth of its peak.
    schedule, optimizer
        Names from the registries of `segtool.train.optimizers`.
    weight_decay
        Share of each weight that is taken off a step, times the learning rate; 0 for none.
    augment
        The augmentations and their strengths, as in `segtool.train.augmentation`; each image changes anew
        in each epoch.
    loss
        Name from `LOSSES`.
    class_weights
        The weight of each class in the loss, as in `segtool.train.losses.class_weights`.
    ema
        Decay a step of the moving average of the weights that is scored and kept; 0 for the weights themselves.
    patience
        The training ends after so many epochs in a row without a better one; 0 for never.
    """

    summary: str
    epochs: int
    batch_size: int
    learning_rate: float
    warmup_epochs: int = 0
    schedule: str = "cosine"
    optimizer: str = "adam"
    weight_decay: float = 0.0
    augment: str = "none"
    loss: str = "cross-entropy"
    class_weights: str = "none"
    ema: float = 0.0
    patience: int = 0


RECIPES: Mapping[str, Recipe] = {
    "standard": Recipe(
        summary="AdamW with warm-up and a cosine schedule, random shifts of up to 12 pixels",
        epochs=60,
        batch_size=16,
        learning_rate=2e-3,
        warmup_epochs=1,
        optimizer="adamw",
        weight_decay=1e-4,
        augment="shift:12",
    ),
    "fast": Recipe(
        summary="Adam with warm-up and a cosine schedule, random shifts of up to 4 pixels, small batches",
        epochs=30,
        batch_size=8,
        learning_rate=1e-3,
        warmup_epochs=2,
        augment="shift:4",
    ),
    "source": Recipe(
        summary="the source's training: 75 epochs of Adam at a constant rate, no augmentation",
        epochs=75,
        batch_size=32,
        learning_rate=1e-3,
        schedule="constant",
    ),
}


def get_recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises
    ------
    TrainingError
        The name is not in the registry.
    """
    if name not in RECIPES:
        raise TrainingError(f"There is no recipe {name!r}; choose one of {', '.join(RECIPES)}.")
    return RECIPES[name]


def parse_weights(text: str) -> list[float]:
    """Return the numbers of a list of class weights, each at least 0 and one of them above.

    Raises
    ------
    TrainingError
        The text is no such list.
    """
    try:
        given = [float(part) for part in text.split(",")]
    except ValueError:
        given = []
    if not any(weight > 0 for weight in given) or any(weight < 0 or not math.isfinite(weight) for weight in given):
        raise TrainingError(
            f"Class weights are {NONE}, {BALANCED}, or a number for each class with commas between them, each 0 or "
            f"more and one at least above 0; found {text!r}."
        )
    return given
