"""Training recipes by name; the command line's choices come from `RECIPES`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segtool.errors import TrainingError


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    epochs
        Passes over the training images.
    batch_size
        Images a step.
    learning_rate
        Peak learning rate of Adam (Kingma, Ba: Adam, ICLR 2015).
    warmup_epochs
        Epochs in which the learning rate rises linearly from a tenth of its peak.
    cosine
        Whether the rate falls to zero on a half cosine after the warm-up (Loshchilov, Hutter: SGDR, ICLR 2017);
        otherwise it stays at its peak.
    shift
        Each training image is moved by up to this many pixels up, down, left and right, anew in each epoch.
    weight_decay
        Share of each weight that is taken off a step, times the learning rate (Loshchilov, Hutter: Decoupled Weight
        Decay Regularization, ICLR 2019); 0 for plain Adam.
    summary
        One line for people.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    warmup_epochs: int
    cosine: bool
    shift: int
    weight_decay: float
    summary: str


RECIPES: Mapping[str, Recipe] = {
    "standard": Recipe(
        epochs=60,
        batch_size=16,
        learning_rate=2e-3,
        warmup_epochs=1,
        cosine=True,
        shift=12,
        weight_decay=1e-4,
        summary="AdamW with warm-up and a cosine schedule, random shifts of up to 12 pixels",
    ),
    "fast": Recipe(
        epochs=30,
        batch_size=8,
        learning_rate=1e-3,
        warmup_epochs=2,
        cosine=True,
        shift=4,
        weight_decay=0.0,
        summary="Adam with warm-up and a cosine schedule, random shifts of up to 4 pixels, small batches",
    ),
    "source": Recipe(
        epochs=75,
        batch_size=32,
        learning_rate=1e-3,
        warmup_epochs=0,
        cosine=False,
        shift=0,
        weight_decay=0.0,
        summary="the source's training: 75 epochs of Adam at a constant rate, no augmentation",
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
