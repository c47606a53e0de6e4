"""`segtool page`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from segtool.cli.common import WHOLE_FILES_KEPT, Command, emit_json, printable, say
from segtool.cli.options import NamedPath, json_option, overwrite_option, path_option
from segtool.text import megabytes


@click.command(cls=Command, name="page", kept=WHOLE_FILES_KEPT)
@click.argument("models", nargs=-1, type=NamedPath(), metavar="[MODEL]...")
@click.argument("folder", type=NamedPath(), metavar="DIR")
@path_option(
    "--runtime",
    "PATH",
    "The npm package onnxruntime-web, or a folder that contains it.  [default: node_modules of this folder]",
)
@overwrite_option
@json_option
def command(*, models: tuple[Path, ...], folder: Path, runtime: Path | None, overwrite: bool, as_json: bool) -> None:
    """Write the folder DIR: a web page that runs MODEL in the browser, on any static server and without a network.

    MODEL is an .onnx file or a run folder, or an FP32 and an INT8 file of one network: then the page measures both in
    the browser and uses the faster one. The default is the exported file of runs/latest; without runs/latest, the model
    that ships with segtool.

    The page labels images that are dropped, chosen, photographed or pasted. No image leaves the device. It verifies the
    model by its golden pair before the first image. The folder contains onnxruntime-web, which npm installs.

    \b
    Examples:
      npm install onnxruntime-web@1.30.0
      segtool page model.int8.onnx site/
      segtool page model.onnx model.int8.onnx site/
      python -m http.server --directory site/
    """
    from segtool.models.resolve import find_model
    from segtool.models.shipped import default_model
    from segtool.web import write_page

    if len(models) > 2:
        raise click.UsageError(f"{len(models)} models are given; expected one, or an FP32 and an INT8 file.")
    if folder.suffix == ".onnx":
        raise click.UsageError(f"The last argument is {folder}, a model; add the folder DIR of the page behind it.")
    paths = [find_model(model, kind="onnx").path for model in models] or [default_model()]
    page = write_page(paths, folder, runtime=runtime, overwrite=overwrite)
    if as_json:
        sources = {name: str(path) for name, path in page.models.items()}
        emit_json("page", {"folder": str(folder), "bytes": page.size, "files": page.files, "models": sources})
        return
    for name, source in page.models.items():
        click.echo(f"{printable(str(source))}: {name}, {megabytes(page.files[name])} MB")
    click.echo(f"{printable(str(folder))}: {len(page.files)} files, {megabytes(page.size)} MB")
    say(f"Open it with: python -m http.server --directory {shlex.quote(str(folder))}")
