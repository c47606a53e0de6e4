"""The pictures of a finished run: its curves, and predictions beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from segtool.data.classes import Classes
from segtool.images.image_io import resize_labels
from segtool.images.pixels import resize_image
from segtool.report import plot_curves, plot_predictions
from segtool.train.epoch_end import ValidationSet
from segtool.train.run_folder import RunFolder
from segtool.train.validation import predict_labels

SHOWN = 6


def draw_run(
    folder: RunFolder, rows: Sequence[Mapping[str, Any]], validation: ValidationSet, model: keras.Model
) -> None:
    """Write curves.png and predictions.png of a run; the latter shows the first `SHOWN` validation images."""
    plot_curves(rows, folder.curves, title=folder.path.name)
    shown = range(min(SHOWN, len(validation.images)))
    images, truths = [validation.images[i] for i in shown], [validation.labels[i] for i in shown]
    predictions = [predict_labels(model, image) for image in images]
    height, width = images[0].shape[:2]
    plot_predictions(
        np.stack([resize_image(image, height, width) for image in images]),
        np.stack([resize_labels(truth, height, width) for truth in truths]),
        np.stack([resize_labels(prediction, height, width) for prediction in predictions]),
        folder.predictions,
        classes=Classes(validation.class_names, validation.background_id, validation.ignore_id),
        title=f"{folder.path.name}: validation images",
    )
