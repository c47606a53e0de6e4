"""The options of a prediction of many files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segtool.images.decoding import MAX_PIXELS
from segtool.predict.naming import SUFFIXES
from segtool.runtime.stream import StreamOptions
from segtool.runtime.tiling import TileOption


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """The options of `segtool.predict.predict.predict_paths`.

    Attributes
    ----------
    out
        The folder of the outputs; created if it is missing.
    overlay, color, contours, probabilities
        In addition to the label map ``<stem>.png``, write ``<stem>.overlay.png`` (regions over the image, with a
        legend), ``<stem>.color.png`` (classes only), ``<stem>.contours.geojson`` (regions as polygons, as in
        `segtool.predict.geojson`) and ``<stem>.probabilities.npz`` (an array `probabilities`, float32 (H, W, K)).
    tile
        How to process images larger than the model's input, as in `Segmenter`.
    max_pixels
        Images with more pixels are failed entries of the manifest.
    workers
        Threads that read, predict and write; None for one more than the number of processors.
    overwrite
        Replace existing outputs.
    resume
        Keep the results of an earlier run in the folder, and predict the rest.
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
        """The kinds of output to write, keys of `SUFFIXES`."""
        return tuple(kind for kind in SUFFIXES if kind == "labels" or getattr(self, kind))

    def of_each_image(self) -> StreamOptions:
        """Return the options for reading and predicting each image."""
        return StreamOptions(self.tile, self.probabilities, self.overlay, self.max_pixels, facts=True)
