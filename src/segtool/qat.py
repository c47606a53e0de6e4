"""`segtool train --qat`: the exporter says what INT8 rounds, and the training rounds the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from segtool.errors import TrainingError
from segtool.export.trained import begin_quantization
from segtool.models.resolve import read_run
from segtool.train.callbacks import TrainListener
from segtool.train.options import TrainResult
from segtool.train.qat import Start, open_folded, qat_options
from segtool.train.run_folder import refuse_used
from segtool.train.trainer import train


def train_quantized(
    run: str | Path,
    *,
    given: Mapping[str, Any] | None = None,
    preset: str = "auto",
    out: str | Path | None = None,
    listener: TrainListener | None = None,
    arguments: Sequence[str] | None = None,
) -> TrainResult:
    """Train the network of a run further with the rounding of its INT8 file, and write a run folder.

    Parameters
    ----------
    run
        The run folder to begin with; it is not changed.
    given
        Options in place of those of the run, under the names of `TrainOptions`.
    preset
        The processor's preset whose integers are trained for, one of `segtool.export.presets.PRESET_NAMES`.
    out, listener, arguments
        As for `segtool.train.trainer.train`.

    Raises
    ------
    SegtoolError
        The run, the options or the data cannot be used, or INT8 computes layers that cannot be trained so.
    """
    if (backend := keras.backend.backend()) != "tensorflow":
        raise TrainingError(
            f"--qat needs the exporter, which runs on TensorFlow, and KERAS_BACKEND is {backend}; unset it."
        )
    if Path(run).is_symlink():  # runs/latest, which this training points to itself
        run = Path(run).resolve()
    if out:
        refuse_used(Path(out))
    options = qat_options(run, given or {})
    model, sha256 = open_folded(run)
    quantization = begin_quantization(read_run(run), model, data=options.data, preset=preset)
    start = Start(str(run), sha256, model, quantization)
    return train(options, start=start, out=out, listener=listener, arguments=arguments)
