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
    short_help="Convert a trained network to ONNX (FP32, INT8) and verify it.",
)
@click.argument("source", required=False, type=click.Path(path_type=Path), metavar="[MODEL]")
@click.option("--quantize", is_flag=True, help="Also write an INT8 file, calibrated on training images.")
@click.option(
    "--custom",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE.py",
    help="A Python file that defines the layers of your own that the network names. It is run, so name only a file "
    "that you trust.",
)
@data_option("Images for the gates and the calibration.  [default: the data of the run]")
@click.option(
    "--head",
    type=click.Choice(["labels", "logits", "probabilities"]),
    default="labels",
    show_default=True,
    help="Output of the file: class ids, or float32 scores of each class.",
)
@click.option(
    "--size",
    type=SizeType(),
    help="Rebuild the network for this input size, with the same weights; up to 2,097,152 pixels (1024x2048). Images "
    "are resized to it, and all gates and figures use it.  [default: the input size of the network]",
)
@click.option(
    "--larger-images",
    "size_policy",
    type=click.Choice(["resize", "tile"]),
    help="How predict processes images larger than the input: resize them, or cut them into overlapping tiles (for "
    "networks trained at the scale of these images; overlaps are merged if --head gives scores).  [default: tile for "
    "a network trained on crops, resize otherwise]",
)
@click.option(
    "--max-drop",
    type=FiniteRange(0),
    metavar="POINTS",
    help="Maximum loss of foreground mean IoU of INT8, in percentage points; a greater loss refuses the file.  "
    "[default: 0.5]",
)
@click.option(
    "--prune",
    type=FiniteRange(0, MOST_PRUNING, min_open=True),
    metavar="PERCENT",
    help="Remove redundant channels (feature maps) from the INT8 file, without training, while at most this percentage "
    "of the labels changes. The labels are compared on training images that the pruning does not use. The gates check "
    "the result after quantization. Start with 0.1 for a wide network; takes minutes.",
)
@click.option(
    "--winograd",
    type=click.Choice(WINOGRAD_CHOICES),
    default=ExportOptions.winograd,
    show_default=True,
    help="Winograd's 3x3 convolutions in the FP32 file: fewer multiplications, more steps. auto uses them if they are "
    "measured to be faster on this processor; choose off for a GPU or a browser.",
)
@click.option(
    "--preset",
    type=click.Choice(PRESET_NAMES),
    help="Target processor of the INT8 file: vnni (x86 since about 2019: AVX512-VNNI or AVX-VNNI), x86 (older, 7-bit "
    "weights), arm, or auto (this machine). For another processor than this machine's, the speed is measured but not "
    "checked.  [default: auto]",
)
@click.option(
    "--calibration",
    type=click.Choice(CALIBRATIONS),
    help="How INT8 ranges are chosen from the calibration images: min-max keeps the full range; percentile drops the "
    "rarest 0.001 % at each end, for data with outliers; entropy clips most, and is inaccurate if the foreground is "
    "rare.  "
    f"[default: {ExportOptions.calibration}]",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(MIN_CALIBRATION_IMAGES),
    metavar="N",
    help="Maximum number of training images, or tiles of them, for the INT8 calibration.  "
    f"[default: {DEFAULT_CALIBRATION_IMAGES}, fewer if they are large]",
)
@click.option(
    "--waive",
    type=click.Choice(GATES),
    multiple=True,
    help="Write the file although this gate refuses it; the metadata record a warning. Repeatable. accuracy and speed "
    "are gates of INT8.",
)
@click.option("--opset", type=int, default=None, help="ONNX operator set.  [default: the tested version]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Path of the FP32 file; the name of the INT8 file is derived from it.  [default: model.onnx beside "
    "model.keras, or "
    "model.HxW.onnx with --size]",
)
@overwrite_option
@json_option
def command(*, source: Path | None, as_json: bool, **options: Any) -> None:
    """Convert a trained network (a run folder, .keras or .h5 file; by default the latest run) to one ONNX file.

    The file takes raw uint8 pixels and returns class ids: scaling and arg-max are inside the graph. It contains its
    contract and images for a self-test. Three gates check it: parity (same outputs as the trained network on real
    images), and for the INT8 file accuracy (a loss of at most --max-drop points) and speed (not slower than FP32 on
    the target processor). A file that a gate refuses is not written (exit code 4).

    \b
    Examples:
      segtool export --quantize
      segtool export --quantize --size 128x168
      segtool export --quantize --prune 0.1        # even smaller and faster, for a wide network
      segtool export --quantize --preset arm       # for an Arm board; measure there with segtool benchmark
      segtool export --quantize --waive speed      # the smaller file, even if it is slower
      segtool export runs/fcn8-20260101-120000 --head probabilities --out scores.onnx
      segtool export mine.keras --custom my_layers.py --data DATA   # layers of your own
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
    """Refuse options of INT8 without --quantize."""
    if options["quantize"]:
        return
    for name in _INT8_OPTIONS:
        if options[name] is not None:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} is an option of INT8; add --quantize, or remove {option}.")
    if gates := sorted(set(options["waive"]) - {"parity"}):
        raise click.UsageError(f"--waive {gates[0]} is about the INT8 file; add --quantize, or remove the option.")


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
        resized = "images are resized to this size, so objects have another scale than in training"
        tiled = "larger images are cut into tiles of this size"
        say(
            f"The network was trained at {_spell(trained)} and rebuilt for {_spell(size)}: "
            f"{tiled if result.contract.size_policy == 'tile' else resized}. The accuracy above is measured this way."
        )
    best = {"int8": result.int8, "float32": result.float32}.get(result.recommendation.file or "")
    if result.int8:
        say(f"Deploy {best}: {result.recommendation.reason}." if best else f"Deploy: {result.recommendation.reason}.")
    model = best or result.int8 or result.float32
    named = "" if _is_default(model) else f" --model {shlex.quote(str(model))}"
    say(f"Next: segtool predict {_images_of(data)}{named}")


def _of_convolutions(facts: Mapping[str, Any]) -> str | None:
    """Return how the FP32 file computes its convolutions, if both ways were timed."""
    if "winograd_speedup" not in facts:
        return None
    times = f"{facts['low']:.2f} to {facts['high']:.2f} times as fast on this machine with one thread"
    if facts["algorithm"] == "direct":
        return f"The FP32 file does not use Winograd's convolutions: they would be {times}."
    return f"The FP32 file uses Winograd's convolutions: {times}. For a GPU or a browser, export with --winograd off."


def _of_pruning(contract: ModelContract) -> str | None:
    """Return how much was removed from the INT8 file, if pruning was requested."""
    found = contract.quantization.get("pruned")
    if found is None:
        return None
    if "lost_points" in found:
        return f"Pruned nothing: INT8 lost {found['lost_points']:.2f} points without the channels."
    if not found["channels"]:
        return "Pruned nothing: removing any channel changes more labels than --prune allows."
    count, agreement = len(found["channels"]), contract.gates["accuracy"]["label_agreement"]
    return (
        f"Pruned {count} convolution{'s' * (count > 1)} of the INT8 file, {found['macs_saved']:.0%} of the "
        f"multiply-accumulates. {found['label_agreement']:.3%} of the labels are unchanged on "
        f"{found['images_checked']} training images that the pruning did not use; after quantization, {agreement:.3%} "
        "on validation images."
    )


def _is_default(model: Path) -> bool:
    """Return whether predict uses this file by default."""
    from segtool.models.resolve import latest_exported

    try:
        return latest_exported().resolve() == model.resolve()
    except ModelFileError:
        return False


def _data_of(source: Path | None, data: str | None) -> str | None:
    """Return the SPEC of the data that the export was verified on; None if unknown."""
    from segtool.models.resolve import find_model

    run = find_model(source, kind="keras").run
    return data or (str(run.data["spec"]) if run else None)


def _images_of(spec: str | None) -> str:
    """Return example images for the next command, as typed in a shell: from the data, or those written by train."""
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
