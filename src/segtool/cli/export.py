"""`segtool export`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segtool.cli.common import WHOLE_FILES_KEPT, Command, arguments_as_given, emit_json, say
from segtool.cli.options import FiniteRange, SizeType, data_option, json_option, overwrite_option
from segtool.cli.tables import emit_table
from segtool.errors import ModelFileError
from segtool.export.options import (
    CALIBRATIONS,
    DEFAULT_CALIBRATION_IMAGES,
    MIN_CALIBRATION_IMAGES,
    MOST_PRUNING,
    WINOGRAD_CHOICES,
    ExportOptions,
)
from segtool.export.presets import PRESET_NAMES
from segtool.export.verdict import GATES
from segtool.text import percent

if TYPE_CHECKING:
    from segtool.contract import ModelContract
    from segtool.export.options import ExportResult

_INT8_OPTIONS = ("max_drop", "prune", "preset", "calibration", "calibration_images")


@click.command(
    cls=Command,
    name="export",
    kept=WHOLE_FILES_KEPT,
    short_help="Convert a trained network to ONNX, FP32 and INT8, and prove it.",
)
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
    "--size",
    type=SizeType(),
    help="Rebuild the network for this input size, with the same weights; up to 2,097,152 pixels (1024x2048). "
    "Images are resized to it, and every gate and figure is at this size.  [default: the network's own]",
)
@click.option(
    "--larger-images",
    "size_policy",
    type=click.Choice(["resize", "tile"]),
    help="What predict does by default with images larger than the input: resize them to it, or cut them into "
    "overlapping tiles (for networks trained at the scale of those images; overlaps are merged where --head gives "
    "scores).  [default: tile for a network trained on crops, else resize]",
)
@click.option(
    "--max-drop",
    type=FiniteRange(0),
    metavar="POINTS",
    help="Points of foreground mean IoU that INT8 may lose before the export refuses it.  [default: 0.5]",
)
@click.option(
    "--prune",
    type=FiniteRange(0, MOST_PRUNING, min_open=True),
    metavar="PERCENT",
    help="Remove channels (feature maps) that others can stand in for from the INT8 file, without training, while at "
    "most this share of the labels changes, on training images that the pruning is not fitted to; quantizing comes on "
    "top, and the gates judge both. 0.1 is a good start for a wide network; takes minutes.",
)
@click.option(
    "--winograd",
    type=click.Choice(WINOGRAD_CHOICES),
    default=ExportOptions.winograd,
    show_default=True,
    help="Winograd's 3x3 convolutions in the FP32 file, with fewer multiplications and more steps: auto takes them "
    "where they are timed to be faster on this processor; off for a GPU or a browser.",
)
@click.option(
    "--preset",
    type=click.Choice(PRESET_NAMES),
    help="The processor that the INT8 file is for: vnni (x86 since about 2019: AVX512-VNNI or AVX-VNNI), x86 (older, "
    "7-bit weights), arm, or auto, this machine's. For another than this machine's, speed is measured here and not "
    "judged.  [default: auto]",
)
@click.option(
    "--calibration",
    type=click.Choice(CALIBRATIONS),
    help="How INT8 ranges are chosen from calibration images: min-max keeps all that was seen; percentile drops the "
    "rarest 0.001 % at each end, for data with outliers; entropy clips most, and hurts where the foreground is rare.  "
    f"[default: {ExportOptions.calibration}]",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(MIN_CALIBRATION_IMAGES),
    metavar="N",
    help="Training images, or tiles of them, to calibrate INT8 on, at most.  "
    f"[default: {DEFAULT_CALIBRATION_IMAGES}, fewer where they are large]",
)
@click.option(
    "--waive",
    type=click.Choice(GATES),
    multiple=True,
    help="Write the file although this gate refuses it, with a warning that its metadata keep; may be given more than "
    "once. accuracy and speed are gates of INT8.",
)
@click.option("--opset", type=int, default=None, help="ONNX operator set.  [default: the tested one]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The FP32 file; the INT8 file is named after it.  [default: model.onnx beside model.keras, or "
    "model.HxW.onnx with --size]",
)
@overwrite_option
@json_option
def command(*, source: Path | None, as_json: bool, **options: Any) -> None:
    """Convert a trained network (a run folder or .keras file; the latest run where not given) to one ONNX file.

    The file takes raw uint8 pixels and returns class ids: scaling and arg-max are in the graph. It carries its
    contract, and images to verify itself with. Three gates prove it, and a file that one refuses is not written
    (exit code 4): parity (the trained network's answers on real images), and for the INT8 file accuracy (at most
    --max-drop points lost) and speed (not slower than FP32 on the processor it is for).

    \b
    Examples:
      segtool export --quantize
      segtool export --quantize --size 128x168
      segtool export --quantize --prune 0.1        # smaller and faster still, for a wide network
      segtool export --quantize --preset arm       # for an Arm board; measure there with segtool benchmark
      segtool export --quantize --waive speed      # the smaller file, even where it is slower
      segtool export runs/fcn8-20260101-120000 --head probabilities --out scores.onnx
    """
    from segtool.cli.extras import need_all
    from segtool.cli.progress import progress_bar

    _check_usage(options)
    need_all()
    from segtool.export import export_model

    given = {key: value for key, value in options.items() if value is not None}
    given["arguments"] = arguments_as_given()
    with progress_bar("images") as progress:
        result = export_model(source, options=ExportOptions(**given), progress=progress)
    if as_json:
        emit_json("export", result.to_dict())
    else:
        _report(result, data=_data_of(source, options["data"]))


def _check_usage(options: Mapping[str, Any]) -> None:
    """Refuse options that only mean something for INT8 where none is made."""
    if options["quantize"]:
        return
    for name in _INT8_OPTIONS:
        if options[name] is not None:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} is an option of INT8; give --quantize too, or leave it out.")
    if gates := sorted(set(options["waive"]) - {"parity"}):
        raise click.UsageError(f"--waive {gates[0]} is about the INT8 file; give --quantize too, or leave it out.")


def _report(result: ExportResult, *, data: str | None) -> None:
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
    if sentence := _of_convolutions(result.contract.convolutions):
        say(sentence)
    if result.int8_contract and (sentence := _of_pruning(result.int8_contract)):
        say(sentence)
    if result.int8_contract:
        say(f"INT8 against FP32 on this machine: {result.int8_contract.gates['speed']['sentence']}.")
    if result.contract.trained_size:
        size, trained = (result.contract.height, result.contract.width), result.contract.trained_size
        resized = "images are resized to that, so what they show has another size than in training"
        tiled = "larger images are cut into tiles of that"
        say(
            f"The network was trained at {_spell(trained)} and rebuilt for {_spell(size)}: "
            f"{tiled if result.contract.size_policy == 'tile' else resized}; the accuracy above is measured so."
        )
    best = {"int8": result.int8, "float32": result.float32}.get(result.recommendation.file or "")
    if result.int8:
        say(f"Deploy {best}: {result.recommendation.reason}." if best else f"Deploy: {result.recommendation.reason}.")
    model = best or result.int8 or result.float32
    named = "" if _is_default(model) else f" --model {shlex.quote(str(model))}"
    say(f"Next: segtool predict {_images_of(data)}{named}")


def _of_convolutions(facts: Mapping[str, Any]) -> str | None:
    """Say how the FP32 file computes its convolutions, where both ways were timed."""
    if "winograd_speedup" not in facts:
        return None
    times = f"{facts['low']:.2f} to {facts['high']:.2f} times as fast here on one thread"
    if facts["algorithm"] == "direct":
        return f"Winograd's convolutions would be {times}: not taken for the FP32 file."
    return f"The FP32 file has Winograd's convolutions, {times}; for a GPU or a browser export with --winograd off."


def _of_pruning(contract: ModelContract) -> str | None:
    """Say how much was removed from the INT8 file, where that was asked for."""
    found = contract.quantization.get("pruned")
    if found is None:
        return None
    if "lost_points" in found:
        return f"Pruned nothing: INT8 lost {found['lost_points']:.2f} points with the channels gone."
    if not found["channels"]:
        return "Pruned nothing: no channels could go without changing more labels than that."
    count, agreement = len(found["channels"]), contract.gates["accuracy"]["label_agreement"]
    return (
        f"Pruned {count} convolution{'s' * (count > 1)} of the INT8 file, {found['macs_saved']:.0%} of the "
        f"multiply-accumulates: {found['label_agreement']:.3%} of the labels stay on {found['images_checked']} "
        f"training images that the pruning was not fitted to, and quantized {agreement:.3%} on validation images."
    )


def _is_default(model: Path) -> bool:
    """Tell whether predict would take this file unasked."""
    from segtool.models.resolve import latest_exported

    try:
        return latest_exported().resolve() == model.resolve()
    except ModelFileError:
        return False


def _data_of(source: Path | None, data: str | None) -> str | None:
    """Return the SPEC of the data that an export was proven on; None where it is not known."""
    from segtool.models.resolve import find_model

    run = find_model(source, kind="keras").run
    return data or (str(run.data["spec"]) if run else None)


def _images_of(spec: str | None) -> str:
    """Return images to try a model on, as one would type them: of its data, or those that a training left."""
    from segtool.data.generator import GENERATOR_NAME
    from segtool.data.layout import find_places

    folder = Path(spec or "").expanduser()
    places = find_places(folder) if spec and folder.is_dir() else []
    found = {place.part: place.images for place in places if place.images.is_dir()}
    for part in ("test", "val", "", "train"):
        if part in found:
            return shlex.quote(str(found[part]))
    is_built_in = (spec or "").partition(":")[0] == GENERATOR_NAME
    return "images/*.png" if is_built_in and any(Path("images").glob("*.png")) else "YOUR_IMAGES"


def _spell(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
