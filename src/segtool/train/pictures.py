"""The pictures of a finished run: its curves, and predictions beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from segtool.contract import default_palette
from segtool.report.curves import plot_curves
from segtool.report.panels import plot_predictions
from segtool.train.epoch_end import ValidationSet
from segtool.train.run_folder import RunFolder

SHOWN = 6


def draw_run(
    folder: RunFolder, rows: Sequence[Mapping[str, Any]], validation: ValidationSet, model: keras.Model
) -> None:
    """Write curves.png and predictions.png of a run; the latter shows the first `SHOWN` validation images."""
    plot_curves(rows, folder.curves, title=folder.path.name)
    images, truths = validation.images[:SHOWN], validation.labels[:SHOWN]
    plot_predictions(
        images,
        truths,
        np.asarray(model.predict_on_batch(images)).argmax(-1),
        folder.predictions,
        class_names=validation.class_names,
        palette=default_palette(len(validation.class_names), background_id=validation.background_id),
        background_id=validation.background_id,
        ignore_id=validation.ignore_id,
        title=f"{folder.path.name}: validation images",
    )
