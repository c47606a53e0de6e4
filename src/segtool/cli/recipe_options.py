"""The options of `train` that change its recipe; their choices come from the registries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from segtool.cli.options import FiniteRange
from segtool.errors import TrainingError
from segtool.train.augmentation import AUGMENTATIONS, NONE, parse_augmentations
from segtool.train.optimizers import OPTIMIZERS, SCHEDULES
from segtool.train.options import RANGES
from segtool.train.recipes import BALANCED, LOSSES, RECIPES, SOFTENED, parse_weights

Command = TypeVar("Command", bound=Callable[..., Any])


def recipe_help() -> str:
    """Return the help of --recipe: each recipe with its summary."""
    return "The training recipe; the options below change it. " + " ".join(
        f"{name}: {recipe.summary} ({recipe.epochs} epochs, batches of {recipe.batch_size})."
        for name, recipe in RECIPES.items()
    )


def _augment_help() -> str:
    parts = [
        f"{name} ({item.summary}{'' if item.strength is None else f'; S is {item.strength:g}'})"
        for name, item in AUGMENTATIONS.items()
    ]
    return (
        f"Random changes of the training images, drawn again in each epoch: {NONE}, or a list with commas. A strength "
        "S may follow each name after a colon (shift:8,noise). The labels are changed in the same way; pixels from "
        f"outside the image are ignored. {'; '.join(parts)}."
    )


def _checked(parse: Callable[[str], Any], *words: str) -> Callable[..., str | None]:
    """Return a callback that reports errors of `parse` as wrong usage; `words` are accepted without parsing."""

    def callback(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
        try:
            if value is not None and value not in words:
                parse(value)
        except TrainingError as error:
            raise click.BadParameter(str(error)) from error
        return value

    return callback


def _listed(items: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {text}" for name, text in items.items())


_OPTIONS = (
    click.option(
        "--augment",
        metavar="NAME[:S],...",
        callback=_checked(parse_augmentations),
        help=_augment_help(),
    ),
    click.option("--loss", type=click.Choice(list(LOSSES)), help=f"The loss function. {_listed(LOSSES)}."),
    click.option(
        "--auxiliary",
        type=FiniteRange(*RANGES["auxiliary"]),
        help="Factor on the loss of coarse scores at stride 8 of fcn8-lite, for training only; 0 for none.",
    ),
    click.option(
        "--class-weights",
        metavar=f"{NONE}|{BALANCED}|{SOFTENED}|W,W,...",
        callback=_checked(parse_weights, NONE, BALANCED, SOFTENED),
        help="The weight of each class in the loss: balanced gives rare classes as much weight as frequent ones, and "
        "softened the square root of that; a list has one number for each class.",
    ),
    click.option(
        "--optimizer",
        type=click.Choice(list(OPTIMIZERS)),
        help=_listed({name: kind.summary for name, kind in OPTIMIZERS.items()}) + ".",
    ),
    click.option(
        "--schedule",
        type=click.Choice(list(SCHEDULES)),
        help="The learning rate after the warm-up: constant, or a cosine decay to zero.",
    ),
    click.option(
        "--learning-rate", type=FiniteRange(*RANGES["learning_rate"]), help="The maximum of the learning rate."
    ),
    click.option(
        "--weight-decay",
        type=FiniteRange(*RANGES["weight_decay"]),
        help="Fraction of each weight removed per step, times the learning rate.",
    ),
    click.option(
        "--patience",
        type=click.IntRange(0),
        metavar="N",
        help="Stop after N consecutive epochs without an improvement; 0 never stops early.",
    ),
    click.option(
        "--deterministic",
        is_flag=True,
        help="Make two runs with the same options on one machine bit-identical; slower.",
    ),
)


def recipe_options(command: Command) -> Command:
    """Add the options that change a recipe to a command; an option that is not given keeps the recipe's value."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
