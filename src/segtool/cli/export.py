"""`segtool export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from segtool.cli.common import WHOLE_FILES_KEPT, Command, arguments_as_given, emit_json, is_verbose, say
from segtool.cli.export_summary import print_summary, serving
from segtool.cli.layers import print_layers
from segtool.cli.options import (
    FiniteRange,
    NamedPath,
    SizeType,
    data_option,
    json_option,
    overwrite_option,
    path_option,
)
from segtool.contract_check import Head, SizePolicy
from segtool.export.network.scaling import HELP as SCALE_HELP
from segtool.export.options import (
    CALIBRATIONS,
    DEFAULT_CALIBRATION_IMAGES,
    MIN_CALIBRATION_IMAGES,
    MOST_PRUNING,
    WINOGRAD_CHOICES,
    ExportOptions,
)
from segtool.export.presets import PRESET_NAMES
from segtool.export.triton import is_exported, write_model
from segtool.export.verdict import GATES

if TYPE_CHECKING:
    from segtool.benchmark.layers import LayerTimes
    from segtool.export.options import ExportResult

_SLOWEST = 20  # layers that -v shows
_SERVING = {"source", "triton", "triton_gpu", "overwrite", "as_json"}  # what concerns a file that is exported already
_INT8_OPTIONS = ("max_drop", "prune", "preset", "calibration", "calibration_images")


@click.command(cls=Command, name="export", kept=WHOLE_FILES_KEPT)
@click.argument("source", required=False, type=NamedPath(), metavar="[MODEL]")
@click.option("--quantize", is_flag=True, help="Also write an INT8 file, calibrated on training images.")
@path_option(
    "--custom",
    "FILE.py",
    "A Python file with the layers of your own that the network names. It is run, so name only a file that you trust.",
    exists=True,
    dir_okay=False,
)
@data_option("Images for the gates and the calibration.  [default: the data of the run]")
@click.option(
    "--head",
    type=click.Choice(get_args(Head)),
    default="labels",
    help="Output of the file: class ids, or float32 scores of each class.",
)
@click.option(
    "--size",
    type=SizeType(),
    help="Rebuild the network for this input size, with the same weights; up to 2,097,152 pixels (1024x2048). All "
    "figures are measured at it.  [default: the input size of the network]",
)
@click.option(
    "--input-scale",
    metavar="NAME|NUMBERS",
    help="Scaling of the pixels of a network with float32 input: 0..255, 0..1, -1..1, imagenet (RGB, mean and standard "
    f"deviation), caffe (BGR, mean), or {SCALE_HELP}.  [default: read from the network, or measured on --data]",
)
@click.option("--output", metavar="NAME", help="The output with the scores of the classes, if there are several.")
@click.option(
    "--threshold",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    help="Probability above which a network with one sigmoid output sees its class.  [default: 0.5]",
)
@click.option(
    "--larger-images",
    "size_policy",
    type=click.Choice(get_args(SizePolicy)),
    help="How predict processes images larger than the input: resize them, or cut them into overlapping tiles, for "
    "networks trained at their scale.  [default: tile for a network trained on crops, resize otherwise]",
)
@click.option(
    "--max-drop",
    type=FiniteRange(0),
    metavar="POINTS",
    help="Maximum loss of foreground mean IoU of INT8, in percentage points.  [default: 0.5]",
)
@click.option(
    "--prune",
    type=FiniteRange(0, MOST_PRUNING, min_open=True),
    metavar="PERCENT",
    help="Remove redundant channels (feature maps) from the INT8 file, without training, while at most this percentage "
    "of the labels changes on other training images. Start with 0.1 for a wide network; takes minutes.",
)
@click.option(
    "--winograd",
    type=click.Choice(WINOGRAD_CHOICES),
    default=ExportOptions.winograd,
    help="Winograd's 3x3 convolutions in the FP32 file. auto uses them if they are measured to be faster on this "
    "processor; choose off for a GPU or a browser.",
)
@click.option(
    "--preset",
    type=click.Choice(PRESET_NAMES),
    help="Target processor of the INT8 file: amx (Xeon since 2023), vnni (x86 since about 2019), x86 (older, 7-bit "
    "weights), arm (fast with dot products, as in a Raspberry Pi 5), or auto (this machine). For another "
    "processor, the speed is measured but not checked.  "
    "[default: auto]",
)
@click.option(
    "--calibration",
    type=click.Choice(CALIBRATIONS),
    help="How INT8 ranges are chosen from the calibration images: min-max keeps the full range; mse clips where that "
    "makes the squared error smaller; auto takes the one that keeps more labels.  "
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
    help="Write the file although this gate refuses it, with a warning in its metadata. Repeatable.",
)
@click.option("--opset", type=int, help="ONNX operator set.  [default: the tested version]")
@path_option(
    "--out",
    "FILE",
    "Path of the FP32 file; the INT8 file is named after it.  [default: model.onnx beside model.keras, or "
    "model.HxW.onnx with --size]",
)
@path_option(
    "--triton",
    "DIR",
    "Also write the recommended file to this Triton model repository: DIR/NAME/config.pbtxt and DIR/NAME/1/model.onnx. "
    "If MODEL is an exported file, nothing is converted, and the base install is enough.",
    file_okay=False,
)
@click.option(
    "--triton-gpu",
    is_flag=True,
    help="Configure --triton for GPUs, with the FP32 file.  [default: single-threaded instances on the processors]",
)
@overwrite_option
@json_option
def command(*, source: Path | None, as_json: bool, **options: Any) -> None:
    """Convert a trained network to one ONNX file that is verified and states what it needs.

    MODEL is a run folder (by default the latest run), or anybody's segmentation network: a .keras, .h5 or .onnx file,
    with float32 or uint8 pixels in any of the usual scalings, and softmax, logits or sigmoid at full or reduced size.
    Such a network is verified on your own images and masks (--data).

    The file takes raw uint8 pixels and returns class ids: scaling and arg-max are inside the graph. It contains its
    contract and images for a self-test. Three gates check it: parity (same outputs as the trained network on real
    images), and for the INT8 file accuracy (a loss of at most --max-drop points) and speed (not slower than FP32 on
    the target processor). A file that a gate refuses is not written (exit code 4).

    With -v, the slowest layers of the INT8 file are shown too, as segtool info --layers does.

    \b
    Examples:
      segtool export --quantize
      segtool export --quantize --size 128x168
      segtool export --quantize --prune 0.1        # even smaller and faster, for a wide network
      segtool export --quantize --preset arm       # for an Arm board; measure there with segtool benchmark
      segtool export --quantize --waive speed      # the smaller file, even if it is slower
      segtool export unet.keras --data photos --quantize --input-scale imagenet
      segtool export deeplab.onnx --data photos --quantize --output out
      segtool export runs/fcn8-20260101-120000 --head probabilities --out scores.onnx
      segtool export mine.keras --custom my_layers.py --data DATA   # layers of your own
      segtool export runs/latest/model.int8.onnx --triton models    # for a model server
    """
    if options["triton_gpu"] and not options["triton"]:
        raise click.UsageError("--triton-gpu is an option of --triton; add --triton DIR, or remove it.")
    if options["triton"] and source and is_exported(source):
        _serve(source, options["triton"], as_json=as_json)
        return
    from segtool.cli.extras import need_all
    from segtool.cli.progress import stages_bar

    request = _request(**options)
    need_all()
    from segtool.export import export_model

    with stages_bar() as progress:
        result = export_model(source, options=request, progress=progress)
    times = _layers(result) if is_verbose() else None
    if as_json:
        emit_json("export", {**result.to_dict(), **({"layers": times.to_dict()} if times else {})})
        return
    if times:
        print_layers(times, _SLOWEST)
    print_summary(result, source=source, data=request.data)


def _serve(model: Path, repository: Path, *, as_json: bool) -> None:
    """Write an exported file to a Triton repository; refuse the options of a conversion."""
    context = click.get_current_context()
    given = context.params
    for param in context.command.params:
        name = param.name or ""
        if (
            name in given.keys() - _SERVING
            and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        ):
            raise click.UsageError(
                f"{param.opts[0]} is an option of the conversion, but {model} is an exported file already; remove the "
                "option, or name the network that the file was made from."
            )
    folder = write_model(model, repository, gpu=given["triton_gpu"], overwrite=given["overwrite"])
    if as_json:
        emit_json("export", {"model": str(model), "triton": str(folder)})
    else:
        say(serving(folder))


def _layers(result: ExportResult) -> LayerTimes | None:
    """Return the times of the layers of an INT8 file, beside those of the FP32 file; None without one."""
    from segtool.benchmark.layers import measure_layers

    return None if result.int8 is None else measure_layers(result.int8, result.float32)


def _request(**options: Any) -> ExportOptions:
    """Return the options as one request, with the library's defaults; refuse options of INT8 without --quantize."""
    given = {name: value for name, value in options.items() if value is not None}
    request = ExportOptions(**given, arguments=arguments_as_given())
    if request.quantize:
        return request
    for name in _INT8_OPTIONS:
        if name in given:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} is an option of INT8; add --quantize, or remove {option}.")
    if gates := sorted(set(request.waive) - {"parity"}):
        raise click.UsageError(f"--waive {gates[0]} is about the INT8 file; add --quantize, or remove the option.")
    return request
