"""`segtool export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segtool.cli.common import Command, emit_json, emit_table, percent, say
from segtool.cli.options import SizeType, data_option, json_option, overwrite_option

if TYPE_CHECKING:
    from segtool.export.options import ExportResult


@click.command(cls=Command, name="export", short_help="Convert a trained network to ONNX, FP32 and INT8, and prove it.")
@click.argument("source", required=False, type=click.Path(path_type=Path), metavar="[RUN_OR_KERAS]")
@click.option("--quantize", is_flag=True, help="Also write an INT8 file, calibrated on training images.")
@data_option("Images to prove and calibrate on; the run's own data where not given.")
@click.option(
    "--head",
    type=click.Choice(["labels", "logits", "probabilities"]),
    default="labels",
    show_default=True,
    help="What the file returns: class ids, or float32 scores for each class.",
)
@click.option(
    "--larger-images",
    "size_policy",
    type=click.Choice(["resize", "tile"]),
    default="resize",
    show_default=True,
    help="What predict does by default with images larger than the input: resize them to it, or cut them into "
    "overlapping tiles (for networks trained at the scale of those images; overlaps are merged where --head gives "
    "scores).",
)
@click.option("--size", type=SizeType(), help="Input size of the exported file; the network's own where not given.")
@click.option(
    "--max-drop",
    type=click.FloatRange(0),
    metavar="POINTS",
    help="Points of foreground mean IoU that INT8 may lose before the export refuses it.  [default: 0.5]",
)
@click.option("--opset", type=int, default=None, help="ONNX operator set.  [default: the tested one]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The FP32 file; the INT8 file is named after it.  [default: model.onnx beside model.keras]",
)
@overwrite_option
@json_option
def command(*, source: Path | None, as_json: bool, **options: Any) -> None:
    """Convert a trained network (a run folder or .keras file; the latest run where not given) to one ONNX file.

    The file takes raw uint8 pixels and returns class ids: scaling and arg-max are in the graph. It carries its
    contract, and images to verify itself with. It is written only when it gives the trained network's answers on
    real images; the INT8 file only when it keeps the accuracy too (exit code 4 otherwise).

    \b
    Examples:
      segtool export --quantize
      segtool export runs/fcn8-20260101-120000 --head probabilities --out scores.onnx
    """
    from segtool.cli.extras import need_all
    from segtool.cli.live import progress_bar

    if options["max_drop"] is not None and not options["quantize"]:
        raise click.UsageError("--max-drop says what INT8 may lose; give --quantize too.")
    need_all()
    from segtool.export.options import ExportOptions
    from segtool.export.pipeline import export_model

    given = {key: value for key, value in options.items() if value is not None}
    with progress_bar("images") as progress:
        result = export_model(source, options=ExportOptions(**given), progress=progress)
    if as_json:
        emit_json("export", result.to_dict())
    else:
        _report(result)


def _report(result: ExportResult) -> None:
    metrics = (result.int8_contract or result.contract).metrics
    files = {"float32": result.float32, "int8": result.int8}
    emit_table(
        ["file", "size MB", "pixel accuracy %", "foreground mean IoU %", "foreground mean Dice %"],
        [
            [
                path,
                f"{path.stat().st_size / 1e6:.2f}",
                *(
                    percent(metrics.get(name, {}).get(key))
                    for key in ("pixel_accuracy", "foreground_mean_iou", "foreground_mean_dice")
                ),
            ]
            for name, path in files.items()
            if path
        ],
        title="Exported and proven; accuracy on validation images",
    )
    parity = result.contract.gates["parity"]
    say(
        f"Parity with Keras on {parity['images']} images: probabilities within {parity['max_difference']:.1e}, "
        f"{parity['label_agreement']:.4%} of the labels agree."
    )
    if result.int8_contract:
        say(f"INT8 against FP32 on this machine: {result.int8_contract.gates['speed']['sentence']}.")
    latest = Path("runs/latest").resolve() == result.float32.parent.resolve()
    say(f"Next: segtool predict images/*.png{'' if latest else f' --model {result.int8 or result.float32}'}")
