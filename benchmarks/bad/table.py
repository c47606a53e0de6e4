"""The whole table of bad inputs: what is wrong, the command that meets it, and how that must end.

A command runs in a folder of its own that holds `good.png`, `good.npz` and `model.onnx` (a small segtool model) beside
what the case writes. Exit codes: 1 failed, 2 wrong usage, 3 the good input was done and the bad one named, 4 a gate
refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from bad import of_data, of_models, of_predictions
from bad.case import Case


def cases() -> Iterator[Case]:
    """Yield every case that this system can make."""
    for make in (
        of_predictions.images_,
        of_predictions.inputs,
        of_predictions.outputs,
        of_predictions.usage,
        of_models.model_files,
        of_models.contracts,
        of_models.keras_files,
        of_data.array_files,
        of_data.folders,
    ):
        yield from make()
