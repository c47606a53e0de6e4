"""The arguments of `segtool predict`: one request, its inputs, and the combinations that are refused."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segtool.errors import DataError

if TYPE_CHECKING:
    from segtool.predict.predict_options import PredictOptions


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of `segtool predict`; `out` may be a URL for Ray, and `outputs` says what is written there."""

    images: tuple[str, ...]
    model: Path | None
    out: str
    outputs: PredictOptions
    provider: str
    provider_options: Mapping[str, str]
    threads: int | None
    watch: Path | None
    watch_idle: float | None
    engine: str
    ray_address: str | None

    @property
    def manifest(self) -> str:
        """The manifest of the run; a str, because it may be at a URL."""
        return f"{self.out.rstrip('/')}/manifest.json"


def request_of(*, out: str, **options: Any) -> Request:
    """Return the options of the command as one request, with the defaults of the library."""
    from segtool.predict.predict_options import PredictOptions

    names = {field.name for field in fields(PredictOptions)}
    given = {name: value for name, value in options.items() if name in names and value is not None}
    others = {name: value for name, value in options.items() if name not in names}
    return Request(out=out, outputs=PredictOptions(out=Path(out), **given), **others)


def inputs_of(request: Request) -> list[str]:
    """Return the named images, with the list from stdin in place of a dash; refuse wrong usage."""
    if request.engine == "ray":
        _refuse_for_ray(request)
    if request.watch is None and not request.images:
        raise click.UsageError("Missing argument 'IMAGES...'; name images, or a folder with --watch.")
    if request.watch is not None and request.images:
        raise click.UsageError("IMAGES and --watch exclude each other.")
    if request.watch is None and request.watch_idle is not None:
        raise click.UsageError("--watch-idle needs --watch.")
    if request.images.count("-") > 1:
        raise click.UsageError("- is given more than once; give it once, because there is one stdin.")
    inputs = list(request.images)
    if "-" in inputs:
        place = inputs.index("-")
        inputs[place : place + 1] = _listed_on_stdin()
    if request.engine == "local":
        _refuse_for_local(inputs, request)
    return inputs


def _listed_on_stdin() -> list[str]:
    from segtool.predict.finding import parse_path_list

    listed = parse_path_list(sys.stdin.buffer.read())
    if not listed:
        raise DataError("stdin contains no path; write one path on each line, or remove the dash.")
    return listed


def _refuse_for_local(inputs: Sequence[str], request: Request) -> None:
    """Refuse arguments that the local engine does not support: a URL, and --ray-address."""
    from segtool.predict.finding import is_url

    if request.ray_address is not None:
        raise click.UsageError("--ray-address needs --engine ray; add --engine ray.")
    for text in (*inputs, request.out):
        if is_url(text):
            raise click.UsageError(f"{text} is a URL and needs --engine ray; add --engine ray.")


def _refuse_for_ray(request: Request) -> None:
    """Refuse options that a run on a cluster does not support."""
    from segtool.runtime.providers import sets_threads

    if request.watch is not None or request.watch_idle is not None:
        raise click.UsageError(
            "--watch needs --engine local; a cluster predicts only the images that exist at its start."
        )
    if request.outputs.resume:
        raise click.UsageError("--resume needs --engine local, which can also resume a run of a cluster.")
    if sets_threads(request.provider_options):
        raise click.UsageError(
            "With --engine ray, set the threads with --threads: each actor gets this number of processors."
        )
