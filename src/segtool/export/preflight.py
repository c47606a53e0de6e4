"""What an export refuses before it does any work: options that cannot be met, and data that INT8 cannot be made of."""

from __future__ import annotations

from segtool.errors import DataError, ExportError
from segtool.export.data import ExportData
from segtool.export.keras_to_onnx import check_opset
from segtool.export.options import (
    CALIBRATIONS,
    MIN_CALIBRATION_IMAGES,
    MOST_PRUNING,
    WINOGRAD_CHOICES,
    ExportOptions,
)
from segtool.export.verdict import GATES


def check_options(options: ExportOptions) -> None:
    """Refuse options that cannot be met.

    Raises
    ------
    ExportError
        An opset that was not tested, a calibration method, a gate or a choice that does not exist, too few calibration
        images, or pruning of no sense.
    """
    check_opset(options.opset)
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


def _check_pruning(percent: float, *, quantize: bool) -> None:
    if not quantize:
        raise ExportError("Pruning is of the INT8 file, and none is made; quantize too, or do not prune.")
    if not 0 < percent <= MOST_PRUNING:
        raise ExportError(
            f"Pruning may change {percent:g} percent of the labels, expected more than 0 and at most {MOST_PRUNING}; "
            "0.1 is a good start."
        )


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
