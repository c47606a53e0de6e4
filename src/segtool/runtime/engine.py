"""Import onnxruntime, or raise an error with the reason."""

from __future__ import annotations

from typing import Any

from segtool.errors import MissingExtraError, first_line
from segtool.stopping import postponed

try:
    import numpy  # noqa: F401  first: where numpy fails inside onnxruntime's import, that prints a traceback

    with postponed():
        import onnxruntime as ort
        from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

    # Uninstalling one of two onnxruntime packages removes files of the other and leaves an empty module.
    INFERENCE_SESSION: Any = ort.InferenceSession
except (ImportError, AttributeError) as error:
    raise MissingExtraError(
        f"onnxruntime cannot be used ({first_line(error)}); run `segtool doctor`, or "
        "pip install --force-reinstall onnxruntime."
    ) from error

__all__ = ["INFERENCE_SESSION", "ORT_ERRORS", "ort"]

ORT_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)
"""The exceptions of onnxruntime, which have no common base class."""
