"""Import the heavy libraries of an extra; a missing one is an error that prints the exact pip line."""

from __future__ import annotations

import os

from segtool.errors import ProviderError
from segtool.models.backend import BACKENDS, import_quietly
from segtool.report.style import require_matplotlib


def need_training() -> None:
    """Import Keras with its backend (KERAS_BACKEND, TensorFlow by default); check that pictures can be drawn.

    Raises
    ------
    MissingExtraError
        A library is not installed.
    ProviderError
        KERAS_BACKEND names a backend that training does not support.
    """
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend not in BACKENDS:
        raise ProviderError(
            f"KERAS_BACKEND is {backend!r}, expected one of {', '.join(BACKENDS)}; correct it or unset it."
        )
    import_quietly(backend, extra="train")
    import_quietly("keras", extra="train")
    require_matplotlib()


def need_all() -> None:
    """Import the libraries of training and export, in tested versions; errors as in `need_training`.

    Raises
    ------
    ExportError
        The version of a library is outside the range that export was tested with.
    """
    from segtool.export.preflight import check_versions

    check_versions()
    import_quietly("onnx", extra="all")  # before the libraries that import it
    need_training()
    import_quietly("tf2onnx", extra="all")
