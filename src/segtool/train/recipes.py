"""The registries of recipes and losses, and the values of a recipe with the user's options applied.

The command line takes its choices from `RECIPES` and `LOSSES`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from segtool.errors import TrainingError
from segtool.train.augmentation import parse_augmentations, spell
from segtool.train.optimizers import OPTIMIZERS, SCHEDULES, refuse_unknown
from segtool.train.options import TrainOptions

LOSSES: Mapping[str, str] = {
    "cross-entropy": "the default choice",
    "dice": "overlap of each class; rare and frequent classes count the same",
    "focal": "cross-entropy in which well-classified pixels hardly count",
    "combined": "cross-entropy plus dice",
}
"""Name -> one line for users; `segtool.train.losses` implements them."""

NONE, BALANCED = "none", "balanced"
"""Class weights by name."""

_NAMES_AND_NUMBERS = ("epochs", "batch_size", "schedule", "loss", "class_weights", "ema", "patience")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    summary
        One line for users.
    epochs
        Passes over the training images.
    batch_size
        Images per step.
    learning_rate
        Peak learning rate.
    warmup_epochs
        Epochs in which the learning rate rises linearly from a tenth of its peak.
    schedule, optimizer
        Names from the registries of `segtool.train.optimizers`.
    weight_decay
        Fraction of each weight that is subtracted per step, multiplied by the learning rate; 0 for none.
    augment
        The augmentations and their strengths, as in `segtool.train.augmentation`; drawn again for each image in each
        epoch.
    loss
        Name from `LOSSES`.
    class_weights
        The weight of each class in the loss, as in `segtool.train.losses.class_weights`.
    ema
        Decay per step of the moving average of the weights, which is scored and saved; 0 for the weights themselves.
    patience
        The training ends after this number of epochs in a row without a better score; 0 for never.
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


def resolve_recipe(options: TrainOptions) -> Recipe:
    """Return the recipe that `options` name, with the values that `options` override.

    Raises
    ------
    TrainingError
        A name is in no registry, or values contradict each other.
    """
    recipe = get_recipe(options.recipe)
    given = {name: value for name in _NAMES_AND_NUMBERS if (value := getattr(options, name)) is not None}
    changed = replace(recipe, **given, **_optimization(options, recipe))
    refuse_unknown("schedule", changed.schedule, SCHEDULES)
    refuse_unknown("loss", changed.loss, LOSSES)
    if changed.class_weights not in (NONE, BALANCED):
        parse_weights(changed.class_weights)
    augment = recipe.augment if options.augment is None else options.augment
    return replace(changed, augment=spell(parse_augmentations(augment)))


def _optimization(options: TrainOptions, recipe: Recipe) -> dict[str, Any]:
    """Return optimizer, rate and decay; an optimizer other than the recipe's has its own values."""
    name = options.optimizer or recipe.optimizer
    refuse_unknown("optimizer", name, OPTIMIZERS)
    kind, own = OPTIMIZERS[name], name == recipe.optimizer
    if options.weight_decay is not None and kind.weight_decay is None:
        raise TrainingError(
            f"The optimizer {name} has no weight decay, found {options.weight_decay:g}; use the optimizer adamw."
        )
    decay = recipe.weight_decay if own else kind.weight_decay or 0.0
    rate = recipe.learning_rate * kind.rate_scale / OPTIMIZERS[recipe.optimizer].rate_scale
    return {
        "optimizer": name,
        "weight_decay": decay if options.weight_decay is None else options.weight_decay,
        "learning_rate": options.learning_rate or rate,
    }


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """Return the values of a resolved recipe, JSON-serializable; without the summary, which describes the original."""
    values = asdict(recipe)
    del values["summary"]
    return values


def parse_weights(text: str) -> list[float]:
    """Return the numbers of a list of class weights; each is at least 0, and at least one is above 0.

    Raises
    ------
    TrainingError
        The text is not such a list.
    """
    try:
        given = [float(part) for part in text.split(",")]
    except ValueError:
        given = []
    if not any(weight > 0 for weight in given) or any(weight < 0 or not math.isfinite(weight) for weight in given):
        raise TrainingError(
            f"Class weights are {NONE}, {BALANCED}, or a comma-separated list with one number per class, each at least "
            f"0 and at least one above 0; found {text!r}."
        )
    return given
