"""The registries of recipes and losses, and the values of a recipe with the user's options applied.

The command line takes its choices from `RECIPES` and `LOSSES`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from segtool.errors import TrainingError
from segtool.text import counted
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

NONE, BALANCED, SOFTENED = "none", "balanced", "softened"
"""Class weights by name; `NONE` is also a name of initial weights."""

IMAGENET = "imagenet"
"""Initial weights by name."""

_HANDED = re.compile(r"(^|[^a-z])(left|right)([^a-z]|$)", re.IGNORECASE)
_NAMES_AND_NUMBERS = (
    "epochs", "batch_size", "schedule", "auxiliary", "loss", "class_weights", "patience",
)  # fmt: skip


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
    crop_pixels
        The training images are crops with about this number of pixels and the shape of the network's input; 0 for
        whole images.
    auxiliary
        Factor on the loss of coarse scores at a middle layer, in architectures that name one; 0 for none.
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
    patience
        The training ends after this number of epochs in a row without a better score; 0 for never.
    """

    summary: str
    epochs: int
    batch_size: int
    learning_rate: float
    crop_pixels: int = 0
    auxiliary: float = 0.0
    warmup_epochs: int = 0
    schedule: str = "cosine"
    optimizer: str = "adam"
    weight_decay: float = 0.0
    augment: str = "none"
    loss: str = "cross-entropy"
    class_weights: str = "none"
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
    "photos": Recipe(
        summary="for a pretrained encoder: AdamW with warm-up and a cosine schedule, crops at random scales, flips, "
        "colours, weights for rare classes",
        epochs=40,
        batch_size=8,
        learning_rate=2e-3,
        crop_pixels=256 * 320,
        auxiliary=0.4,
        warmup_epochs=1,
        optimizer="adamw",
        weight_decay=1e-2,
        augment="flip-horizontal,scale:0.7,brightness:0.3,contrast:0.3,saturation:0.3",
        class_weights="softened",
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
    refuse_unknown("recipe", name, RECIPES)
    return RECIPES[name]


def resolve_recipe(options: TrainOptions, class_names: Sequence[str] = ()) -> Recipe:
    """Return the recipe that `options` name, with the values that `options` override.

    Its own flips are left out if the class names say that left and right differ.

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
    _check_weights(changed.class_weights, class_names)
    steps = parse_augmentations(recipe.augment if options.augment is None else options.augment)
    if options.augment is None and is_handed(class_names):
        steps = tuple(step for step in steps if step[0] != "flip-horizontal")
    return replace(changed, augment=spell(steps))


def _check_weights(text: str, class_names: Sequence[str]) -> None:
    """Refuse class weights that are not valid, or not one for each class."""
    if text in (NONE, BALANCED, SOFTENED):
        return
    count = len(parse_weights(text))
    if class_names and count != len(class_names):
        raise TrainingError(
            f"--class-weights has {counted(count, 'number')} and the data have {len(class_names)} classes; give "
            "one per class."
        )


def is_handed(class_names: Sequence[str]) -> bool:
    """Return whether classes differ by left and right, so that a mirrored image has wrong labels."""
    return any(_HANDED.search(name.replace("_", " ")) for name in class_names)


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
            f"Class weights are {NONE}, {BALANCED}, {SOFTENED}, or a comma-separated list with one number per class, "
            f"each at least 0 and at least one above 0; found {text!r}."
        )
    return given
