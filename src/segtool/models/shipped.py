"""The model that ships in the package, so that a new install can segment digits at once."""

from __future__ import annotations

import logging
from pathlib import Path

from segtool.errors import ModelFileError
from segtool.models.resolve import LATEST, latest_exported

logger = logging.getLogger(__name__)
SHIPPED = Path(__file__).resolve().parents[1] / "shipped" / "m2nist.int8.onnx"


def default_model() -> Path:
    """Return the exported model of runs/latest, or, where there is no runs/latest, the one that ships in the package.

    A run that was not exported is no reason to take another model: that is an error, and says what to do.

    Raises
    ------
    ModelFileError
        There is a run without an exported model, or the package's own model is missing.
    """
    if LATEST.exists() or LATEST.is_symlink():
        return latest_exported()
    if not SHIPPED.is_file():
        raise ModelFileError(
            f"There is no run at {LATEST} and no model in the package; run `segtool train` and `segtool export`, or "
            "name a model."
        )
    logger.warning(
        "There is no run at %s: using the model that ships with segtool (grey 64 x 84 images of handwritten digits).",
        LATEST,
    )
    return SHIPPED
