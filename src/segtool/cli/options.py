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

model_option = click.option(
    "--model",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="An exported .onnx, or a run folder.  [default: the file in runs/latest that its export recommended; "
    "where there is no runs/latest, the model that ships with segtool]",
)

_provider_name = click.option(
    "--provider",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="auto takes the best that really starts; a named one (cpu, cuda, tensorrt, openvino, directml, coreml, "
    "xnnpack, qnn, ...) that does not start is an error.",
)


def _as_mapping(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Return KEY=VALUE texts as a mapping; each key once."""
    options: dict[str, str] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{text!r} is no option of a provider; write KEY=VALUE, such as device_type=GPU.")
        if key in options:
            raise click.BadParameter(f"{key!r} is given twice.")
        options[key] = value
    return options


_provider_options = click.option(
    "--provider-option",
    "provider_options",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_as_mapping,
    help="An option of the named provider, by its own key; can be given several times. One that the provider does not "
    "know is an error.",
)


def provider_option(command: Command) -> Command:
    """Add --provider and --provider-option."""
    return _provider_name(_provider_options(command))


def say_provider(report: Mapping[str, Any]) -> None:
    """Say on stderr which providers auto did not take, and why; nothing where it took the best."""
    if report.get("refused_providers"):
        say(report["provider_reason"])


threads_option = click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads of one run.  [default: OMP_NUM_THREADS; else the processors this process may use, or 1 in predict "
    "with several images, which then run side by side]",
)

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace outputs that are already there.")


def data_option(text: str) -> Callable[[Command], Command]:
    """Return the --data option with `text` as its help."""
    return click.option("--data", metavar="SPEC", help=text)


def seed_option(text: str) -> Callable[[Command], Command]:
    """Return the --seed option with `text` as its help."""
    return click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help=text)


class FiniteRange(click.FloatRange):
    """A finite number within limits: click's own range takes nan for any, and inf where it has no upper end."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number; write one such as 2.5.", param, ctx)
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
            self.fail(f"{value!r} is no size; write height x width in pixels, such as 64x84.", param, ctx)
        return int(parts[0]), int(parts[1])


class TileType(SizeType):
    """The words auto and never, or a size HxW."""

    name = "auto|never|HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return "auto", "never" or (height, width)."""
        return value if value in ("auto", "never") else super().convert(value, param, ctx)


class IntList(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic only in newer clicks
    """Positive whole numbers with commas between them, such as 1,2."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers, each once, in the order given."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is no list of positive numbers; write them with commas, such as 1,2.", param, ctx)
        return tuple(dict.fromkeys(int(part) for part in parts))
