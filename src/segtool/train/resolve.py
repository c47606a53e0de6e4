"""Apply the user's options to a recipe; the result is what a run does, and what run.json records."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from segtool.errors import TrainingError
from segtool.train.augmentation import parse_augmentations, spell
from segtool.train.optimizers import OPTIMIZERS, SCHEDULES, refuse_unknown
from segtool.train.options import TrainOptions
from segtool.train.recipes import BALANCED, LOSSES, NONE, Recipe, get_recipe, parse_weights

_NAMES_AND_NUMBERS = ("epochs", "batch_size", "schedule", "loss", "class_weights", "ema", "patience")


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
