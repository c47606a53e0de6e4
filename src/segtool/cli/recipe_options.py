"""The options of `train` that change its recipe; what they may say comes from the registries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from segtool.cli.options import FiniteRange
from segtool.errors import TrainingError
from segtool.train.augmentation import AUGMENTATIONS, NONE, parse_augmentations
from segtool.train.optimizers import OPTIMIZERS, SCHEDULES
from segtool.train.recipes import BALANCED, LOSSES, RECIPES, parse_weights

Command = TypeVar("Command", bound=Callable[..., Any])


def recipe_help() -> str:
    """Return what --recipe says: each recipe with its summary."""
    return "How it is trained; the options below change it. " + " ".join(
        f"{name}: {recipe.summary} ({recipe.epochs} epochs, batches of {recipe.batch_size})."
        for name, recipe in RECIPES.items()
    )


def _augment_help() -> str:
    parts = [
        f"{name} ({item.summary}{'' if item.strength is None else f'; S is {item.strength:g}'})"
        for name, item in AUGMENTATIONS.items()
    ]
    return (
        f"Random changes of the training images, anew in each epoch: {NONE}, or some of these with commas between, "
        "each with a strength S behind a colon if you like (shift:8,noise). Labels follow; what comes in from outside "
        f"the image counts nowhere. {'; '.join(parts)}."
    )


def _checked(parse: Callable[[str], Any], *words: str) -> Callable[..., str | None]:
    """Return a callback that turns what `parse` refuses into a wrong usage; `words` need no parsing."""

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
    click.option("--loss", type=click.Choice(list(LOSSES)), help=f"What is minimized. {_listed(LOSSES)}."),
    click.option(
        "--class-weights",
        metavar=f"{NONE}|{BALANCED}|W,W,...",
        callback=_checked(parse_weights, NONE, BALANCED),
        help="What each class counts for in the loss: balanced gives rare classes as much weight as frequent ones, a "
        "list has one number for each class.",
    ),
    click.option(
        "--optimizer",
        type=click.Choice(list(OPTIMIZERS)),
        help=_listed({name: kind.summary for name, kind in OPTIMIZERS.items()}) + ".",
    ),
    click.option(
        "--schedule",
        type=click.Choice(list(SCHEDULES)),
        help="Of the learning rate after the warm-up: it stays, or falls to zero on a half cosine.",
    ),
    click.option("--learning-rate", type=FiniteRange(0, min_open=True), help="Its peak."),
    click.option(
        "--weight-decay", type=FiniteRange(0, 1), help="Share of each weight taken off a step, times the rate."
    ),
    click.option(
        "--ema",
        type=FiniteRange(0, 1, max_open=True),
        metavar="DECAY",
        help="Score and keep a moving average of the weights: 0.99 is that of about the last 100 steps, 0 none.",
    ),
    click.option(
        "--patience",
        type=click.IntRange(0),
        metavar="N",
        help="Stop after N epochs in a row without a better one; 0 for never.",
    ),
    click.option(
        "--teacher",
        metavar="RUN",
        help="Learn the answers of this run or .keras file as well as the labels (distillation), for a small network "
        "beside a large one: --width 0.5 --teacher runs/large. It must take the same images and tell the same classes.",
    ),
    click.option(
        "--temperature",
        type=FiniteRange(0.1, 100),
        help="How soft the teacher's answers are made: above 1 they say more of what else a pixel might be.  "
        "[default: 2]",
    ),
    click.option(
        "--deterministic",
        is_flag=True,
        help="End two runs with the same options on one machine with the same bits; somewhat slower.",
    ),
)


def recipe_options(command: Command) -> Command:
    """Add the options that change a recipe to a command; each is the recipe's own where it is not given."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
