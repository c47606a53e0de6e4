"""From a trained network to a proven ONNX file, FP32 or INT8."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from segtool.export.options import ExportOptions, ExportResult
from segtool.models.backend import import_quietly

__all__ = ["ExportOptions", "ExportResult", "export_model"]


def export_model(
    source: str | Path | Any = None,
    *,
    options: ExportOptions | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> ExportResult:
    """Export a trained network: `segtool.export.pipeline.export_model`, imported when it is needed.

    Raises
    ------
    MissingExtraError
        What export needs is not installed.
    SegtoolError
        As there.
    """
    from segtool.export.preflight import check_versions

    check_versions()
    import_quietly("onnx", extra="export")
    from segtool.export import pipeline
    from segtool.export.stages import silent

    return pipeline.export_model(source, options=options, progress=progress or silent)


class _Callable(ModuleType):
    """Makes the package callable: `segtool.export(model, ...)` exports, and its modules are where they were."""

    def __call__(self, model: Any, *, data: str | Path | None = None, **options: Any) -> ExportResult:
        """Export a network from Python.

        Parameters
        ----------
        model
            A keras.Model in memory, or the path of a run folder, a .keras, .h5 or .onnx file.
        data
            Images and masks, as for `segtool export --data`.
        **options
            Fields of `ExportOptions`: `quantize`, `out`, `input_scale`, ...

        Raises
        ------
        GateError
            A gate refused.
        SegtoolError
            The network, the data or the options are not usable; the message says why.

        Examples
        --------
        >>> result = segtool.export(model, data="photos", quantize=True, out="model.onnx")  # doctest: +SKIP
        >>> result.int8  # doctest: +SKIP
        PosixPath('model.int8.onnx')
        """
        request = ExportOptions(data=None if data is None else str(data), **options)
        return export_model(model, options=request)


sys.modules[__name__].__class__ = _Callable
