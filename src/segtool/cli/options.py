"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from segtool.cli.common import say

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")

_provider_name = click.option(
    "--provider",
    default="auto",
    metavar="NAME",
    help="auto selects the best provider that starts on this machine. A named provider (cpu, cuda, tensorrt, "
    "openvino, directml, coreml, xnnpack, qnn, ...) that does not start is an error.",
)


def _as_mapping(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Return KEY=VALUE texts as a mapping; a repeated key is an error."""
    options: dict[str, str] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{text!r} is not a provider option; write KEY=VALUE, such as device_type=GPU.")
        if key in options:
            raise click.BadParameter(f"{key!r} is given twice; give it once.")
        options[key] = value
    return options


_provider_options = click.option(
    "--provider-option",
    "provider_options",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_as_mapping,
    help="Set an option of the named provider, under the provider's own key; repeatable. An option that the provider "
    "does not know is an error.",
)


def provider_option(command: Command) -> Command:
    """Add --provider and --provider-option."""
    return _provider_name(_provider_options(command))


def say_provider(report: Mapping[str, Any]) -> None:
    """Print on stderr the providers that auto did not select, with the reasons; nothing if it selected the best."""
    if report.get("refused_providers"):
        say(report["provider_reason"])


threads_option = click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads for one run of the model.  [default: OMP_NUM_THREADS; without it all processors of this process, or "
    "1 in predict with several images, which then run in parallel]",
)

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing outputs.")


def data_option(text: str) -> Callable[[Command], Command]:
    """Return the --data option with `text` as its help."""
    return click.option("--data", metavar="SPEC", help=text)


class NamedPath(click.Path):
    """A path. An empty one, such as that of an unset variable of a shell, would mean the current folder: it is refused.

    Parameters
    ----------
    **of_path
        As for click.Path.
    """

    def __init__(self, **of_path: bool) -> None:
        super().__init__(path_type=Path, **of_path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the pathlib.Path."""
        if value == "":
            self.fail("The path is empty; expected the name of a file or folder.", param, ctx)
        return super().convert(value, param, ctx)


def path_option(name: str, metavar: str, text: str, **of_path: bool) -> Callable[[Command], Command]:
    """Return an option that is a path, with `text` as its help; `of_path` are arguments of `NamedPath`."""
    return click.option(name, type=NamedPath(**of_path), metavar=metavar, help=text)


split_option = click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Which part of the data.  [default: val for the data that the model was trained on and for data with parts; "
    "all otherwise]",
)


def seed_option(text: str) -> Callable[[Command], Command]:
    """Return the --seed option with `text` as its help."""
    return click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help=text)


class FiniteRange(click.FloatRange):
    """A finite number within limits. click's own range accepts nan, and inf if it has no upper limit."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number; write a number such as 2.5.", param, ctx)
        return number


class SizeType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic only in newer clicks
    """A size HxW in pixels, such as 64x84."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return (height, width)."""
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not a size; write height x width in pixels, such as 64x84.", param, ctx)
        return int(parts[0]), int(parts[1])


class TileType(SizeType):
    """The words auto and never, or a size HxW."""

    name = "auto|never|HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return "auto", "never" or (height, width)."""
        return value if value in ("auto", "never") else super().convert(value, param, ctx)


class IntList(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic only in newer clicks
    """Positive integers separated by commas, such as 1,2."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers in the given order, without duplicates."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
            self.fail(
                f"{value!r} is not a list of positive integers; separate them with commas, such as 1,2.", param, ctx
            )
        return tuple(dict.fromkeys(int(part) for part in parts))
