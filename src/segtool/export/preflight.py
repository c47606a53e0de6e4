"""What an export refuses before it does any work: untested libraries, wrong options, existing files, too few data."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

from segtool.errors import DataError, ExportError
from segtool.export.data import ExportData
from segtool.export.options import (
    CALIBRATIONS,
    DEFAULT_OPSET,
    MIN_CALIBRATION_IMAGES,
    MOST_PRUNING,
    TESTED_OPSETS,
    WINOGRAD_CHOICES,
    ExportOptions,
)
from segtool.export.resize.rebuild import check_size
from segtool.export.verdict import GATES
from segtool.files import refuse_existing
from segtool.models.backend import import_quietly
from segtool.models.resolve import ONNX_NAME, ModelSource

_EXTRA = "export"


def check_versions() -> None:
    """Refuse libraries outside the tested range, before they are imported.

    The range is that of the package's own extra "export", written nowhere else. What is not installed is left to the
    import, whose error names the extra to install.

    Raises
    ------
    ExportError
        Libraries are older or newer than tested; the message has the pip line that fixes it.
    MissingExtraError
        The package `packaging` is not installed.
    """
    try:
        requirements = importlib.metadata.requires("segtool") or []
    except importlib.metadata.PackageNotFoundError:  # run from its source without an installation
        return
    if wrong := list(_outside(requirements)):
        found = ", ".join(f"{name} {version} (tested: {tested})" for name, version, tested in wrong)
        wanted = " ".join(f'"{name}{tested}"' for name, _, tested in wrong)
        raise ExportError(f"segtool export was not tested with {found}; run pip install {wanted}.")


def _outside(requirements: Iterable[str]) -> Iterable[tuple[str, str, str]]:
    """Yield (name, installed version, tested range) of the extra's packages that are outside their range."""
    parse = import_quietly("packaging.requirements", extra=_EXTRA).Requirement
    for requirement in map(parse, requirements):
        # What names no extra is the base, which pip holds to its range for every command.
        if requirement.marker is None or not requirement.marker.evaluate({"extra": _EXTRA}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield requirement.name, version, str(requirement.specifier)


def check_options(options: ExportOptions) -> None:
    """Refuse options that cannot be met.

    Raises
    ------
    ExportError
        An opset that was not tested, a calibration method, a gate or a choice that does not exist, too few calibration
        images, or pruning of no sense.
    """
    _check_opset(options.opset)
    if options.calibration not in CALIBRATIONS:
        raise ExportError(f"There is no calibration method {options.calibration!r}; choose {', '.join(CALIBRATIONS)}.")
    if options.calibration_images is not None and options.calibration_images < MIN_CALIBRATION_IMAGES:
        raise ExportError(
            f"{options.calibration_images} calibration images were asked for, expected {MIN_CALIBRATION_IMAGES} or "
            "more: from fewer the ranges of activations are guesses; ask for more."
        )
    if options.winograd not in WINOGRAD_CHOICES:
        raise ExportError(f"winograd is {options.winograd!r}; choose {', '.join(WINOGRAD_CHOICES)}.")
    if options.prune is not None:
        _check_pruning(options.prune, quantize=options.quantize)
    if unknown := [name for name in options.waive if name not in GATES]:
        raise ExportError(f"There is no gate {unknown[0]!r} to waive; choose {', '.join(GATES)}.")
    if options.threshold is not None and not 0 < options.threshold < 1:
        raise ExportError(f"The threshold is {options.threshold:g}, expected a number between 0 and 1, such as 0.5.")
    if options.size is not None:
        check_size(options.size)


def _check_opset(opset: int | None) -> None:
    """Refuse an opset that was not tested."""
    if opset is not None and opset not in TESTED_OPSETS:
        raise ExportError(
            f"Opset {opset} was asked for, segtool converts to {TESTED_OPSETS.start} to {TESTED_OPSETS.stop - 1}; "
            f"leave --opset out for {DEFAULT_OPSET}."
        )


def _check_pruning(percent: float, *, quantize: bool) -> None:
    if not quantize:
        raise ExportError("Pruning is of the INT8 file, and none is made; quantize too, or do not prune.")
    if not 0 < percent <= MOST_PRUNING:
        raise ExportError(
            f"Pruning may change {percent:g} percent of the labels, expected more than 0 and at most {MOST_PRUNING}; "
            "0.1 is a good start."
        )


def output_paths(source: ModelSource, options: ExportOptions) -> tuple[Path, Path | None]:
    """Return where the FP32 and, with `quantize`, the INT8 file go; refuse what exists and may not be replaced."""
    target = source.path.with_name(_default_name(source, options.size)) if options.out is None else Path(options.out)
    if target.suffix.lower() != ".onnx" or target.is_dir():
        raise ExportError(
            f"The output {target} is not the name of an .onnx file; give one such as model.onnx with --out."
        )
    if target.resolve() == source.path.resolve():
        raise ExportError(f"The output {target} is the network itself; give another name with --out.")
    refuse_existing(target, overwrite=options.overwrite)
    if not options.quantize:
        return target, None
    return target, refuse_existing(target.with_name(f"{target.stem}.int8.onnx"), overwrite=options.overwrite)


def _default_name(source: ModelSource, size: tuple[int, int] | None) -> str:
    """Return the FP32 file's name: model.onnx, predict's default, or another for another size or an ONNX network."""
    if source.kind == "onnx":
        return f"{source.path.stem}.segtool.onnx"
    if size is None:
        return ONNX_NAME
    return f"{Path(ONNX_NAME).stem}.{size[0]}x{size[1]}.onnx"


def check_int8_data(data: ExportData) -> None:
    """Refuse data that INT8 cannot be calibrated on or proven with.

    Raises
    ------
    DataError
        There are no validation images, or too few training images.
    """
    name, found = data.dataset.name, int(data.split.train.size)
    if not data.split.val.size:
        raise DataError(
            f"INT8 needs validation images to prove its accuracy on, and {name} has none; "
            "name data with a validation split with --data, or export without --quantize."
        )
    if found < MIN_CALIBRATION_IMAGES:
        raise DataError(
            f"{name} has {found} training images, and INT8 is calibrated on {MIN_CALIBRATION_IMAGES} or more; "
            "name more data with --data, or export without --quantize."
        )
