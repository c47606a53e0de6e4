"""What a prediction of many files writes, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segtool.images.decoding import MAX_PIXELS
from segtool.predict.naming import SUFFIXES
from segtool.runtime.tiling import TileOption


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What `segtool.predict.predict.predict_paths` writes, and how.

    Attributes
    ----------
    out
        The folder of the outputs; made where it is missing.
    overlay, color, contours, probabilities
        Besides the label map ``<stem>.png`` write ``<stem>.overlay.png`` (its classes over the image, with a legend),
        ``<stem>.color.png`` (its classes alone), ``<stem>.contours.geojson`` (its regions as polygons, as in
        `segtool.predict.geojson`) and ``<stem>.probabilities.npz`` (an array `probabilities`, float32 (H, W, K)).
    tile
        What is done with images larger than the model, as in `Segmenter`.
    max_pixels
        Images of more pixels are failed entries of the manifest.
    workers
        Threads that read, predict and write; None for one more than the processors.
    overwrite
        Replace outputs that are there.
    resume
        Leave what an earlier run into the folder did, and do the rest.
    """

    out: Path
    overlay: bool = False
    color: bool = False
    contours: bool = False
    probabilities: bool = False
    tile: TileOption = "auto"
    max_pixels: int = MAX_PIXELS
    workers: int | None = None
    overwrite: bool = False
    resume: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of output that are written, of those in `SUFFIXES`."""
        return tuple(kind for kind in SUFFIXES if kind == "labels" or getattr(self, kind))
