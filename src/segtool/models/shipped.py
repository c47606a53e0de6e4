"""The model that ships in the package, so that a new installation can segment digits without a training."""

from __future__ import annotations

import logging
from pathlib import Path

from segtool.errors import ModelFileError
from segtool.models.resolve import LATEST, latest_exported

logger = logging.getLogger(__name__)
SHIPPED = Path(__file__).resolve().parents[1] / "shipped" / "m2nist.int8.onnx"


def default_model() -> Path:
    """Return the exported model of runs/latest; if there is no runs/latest, the model that ships in the package.

    A latest run without an exported model is an error: another model would be a silent replacement.

    Raises
    ------
    ModelFileError
        The latest run has no exported model, or the model of the package is missing.
    """
    if LATEST.exists() or LATEST.is_symlink():
        return latest_exported()
    if not SHIPPED.is_file():
        raise ModelFileError(
            f"There is no run at {LATEST} and no model in the package; run `segtool train` and `segtool export`, or "
            "pass a model."
        )
    logger.warning(
        "There is no run at %s: using the model of the package (for grey 64 x 84 images of handwritten digits).",
        LATEST,
    )
    return SHIPPED
