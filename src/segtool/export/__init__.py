"""From a trained network to a proven ONNX file, FP32 or INT8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segtool.export.options import ExportOptions, ExportResult
from segtool.models.backend import import_quietly

__all__ = ["ExportOptions", "ExportResult", "export_model"]


def export_model(
    source: str | Path | None = None,
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
