"""The drawings of a report as files of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from segtool.files import write_bytes
from segtool.report.page.raster import write_png
from segtool.report.page.scene import Scene, as_file


def plot_paths(scenes: Mapping[str, Scene], folder: Path | None) -> list[Path]:
    """Return the files that `write_plots` writes: an SVG and a PNG for each drawing; none without a folder."""
    if folder is None:
        return []
    return [folder / f"{name}.{kind}" for name in scenes for kind in ("svg", "png")]


def drawings_in(folder: Path | None) -> list[Path]:
    """Return the drawings that are in a folder already."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in (".svg", ".png"))


def write_plots(scenes: Mapping[str, Scene], folder: Path | None) -> None:
    """Write every drawing as SVG, and as PNG by matplotlib, each atomically.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    OutputWriteError
        A file could not be written.
    """
    if folder is None:
        return
    for name, scene in scenes.items():
        write_bytes(folder / f"{name}.svg", as_file(scene).encode())
        write_png(scene, folder / f"{name}.png")
