"""The real images that an export needs: to calibrate on (training) and to compare on (validation).

They are what the model sees on the device: images resized to its input, or tiles of them where its contract says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from segtool.array_types import IndexArray, UInt8Array
from segtool.contract import ModelContract
from segtool.data.base import Dataset, show_size
from segtool.data.classes import numbered_classes
from segtool.data.loading import load_dataset
from segtool.data.split import Split
from segtool.errors import DataError, ExportError
from segtool.evaluate.scoring import images_at_once
from segtool.evaluate.selection import parts_of
from segtool.images.pixels import ArrayPixels
from segtool.models.resolve import Run
from segtool.runtime.tiling import cut_tile, spans, uses_tiles

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportData:
    """A data set and its split, as they were in training."""

    dataset: Dataset
    split: Split

    def facts(self) -> dict[str, Any]:
        """Return what a contract says of data that the network may not have been trained on: no fingerprint."""
        dataset = self.dataset
        return {
            "class_names": dataset.class_names,
            "background_id": dataset.background_id,
            "ignore_id": dataset.ignore_id,
        }

    @property
    def proving(self) -> IndexArray:
        """The images that the network is compared on: those of validation, training ones where there are none."""
        return self.split.val if self.split.val.size else self.split.train

    def few_images(self, count: int, size: tuple[int, int]) -> UInt8Array:
        """Return up to `count` of the images that prove, resized: uint8 (n, H, W, C)."""
        return self.dataset.images([int(index) for index in self.proving[:count]], size=size)

    def real_images(self, count: int, contract: ModelContract) -> UInt8Array:
        """Return up to `count` inputs of the images that prove: uint8 (n, H, W, C)."""
        return np.stack(list(model_inputs(self.dataset, self.proving, count, contract)))

    def calibration(self, count: int, contract: ModelContract) -> Iterator[UInt8Array]:
        """Yield up to `count` inputs of training images, spread evenly over the split, a batch at a time."""
        inputs = model_inputs(self.dataset, self.split.train, count, contract)
        while batch := list(islice(inputs, images_at_once(contract.size, most=16))):
            yield np.stack(batch)


def model_inputs(dataset: Dataset, pool: IndexArray, count: int, contract: ModelContract) -> Iterator[UInt8Array]:
    """Yield up to `count` inputs of a model, uint8 (h, w, C), spread evenly over some images of a data set.

    Parameters
    ----------
    dataset, pool
        The images, by their indices.
    count
        How many at most. Of images that are tiled some tiles each are taken, as many as it needs.
    contract
        The model's.
    """
    chosen = spread(pool, count)
    for position, index in enumerate(chosen):
        pixels = ArrayPixels(dataset.image(int(index)))
        if uses_tiles(contract, pixels.size, "auto"):
            share = count * (position + 1) // len(chosen) - count * position // len(chosen)
            yield from _tiles(pixels, share, position, contract)
        else:
            yield pixels.resized(*contract.size)


def spread(pool: IndexArray, count: int) -> IndexArray:
    """Return up to `count` of `pool`, evenly spread over it, in its order."""
    if len(pool) <= count:
        return pool
    return pool[np.arange(count) * len(pool) // count]


def _tiles(pixels: ArrayPixels, count: int, position: int, contract: ModelContract) -> Iterator[UInt8Array]:
    """Yield up to `count` of an image's tiles; the first is another one from image to image."""
    size = contract.size
    rows, columns = (spans(length, tile) for length, tile in zip(pixels.size, size, strict=True))
    grid = [(row.start, column.start) for row in rows for column in columns]
    for number in range(min(count, len(grid))):
        # In even steps through the grid, from another place each time, and never twice the same.
        top, left = grid[(position + number * len(grid) // min(count, len(grid))) % len(grid)]
        yield cut_tile(pixels, top, left, size)


def open_data(run: Run | None, spec: str | None) -> ExportData:
    """Open the data of a run, or those that the user names.

    Parameters
    ----------
    run
        The run the model is of; its data, seed and split are used again.
    spec
        A data SPEC in place of the run's, for example because the data were moved; needed without a run.

    Raises
    ------
    ExportError
        There is neither.
    DataError
        The run's data cannot be read or are no longer those of the training.
    """
    if run is None:
        if spec is None:
            raise ExportError(
                "A network without its run says nothing of its data; "
                "give real images to prove the export on with --data SPEC."
            )
        dataset = load_dataset(spec)
        way = "use the parts of %s" if dataset.splits else "split %s by seed 0"
        logger.warning(
            f"What this network was trained on is not known: calibration and gates {way}, and its validation part may "
            "hold images that were trained on.",
            spec,
        )
        return ExportData(dataset, parts_of(dataset, {}))
    dataset = load_dataset(spec or str(run.data["spec"]), **run.split)
    _check_same(dataset, run.data, given=spec is not None)
    return ExportData(dataset, parts_of(dataset, run.split))


def check_fits(dataset: Dataset, contract: ModelContract) -> None:
    """Refuse data with other classes than the model's; warn where images are resized for it.

    Their channels and the number of their classes are those of the model already (`network.opening`). Classes are
    compared by name, in order; data that name none ("class 0", ...) have no others.
    """
    _check_names(dataset, contract)
    size = contract.size
    resized = contract.size_policy == "resize" and dataset.image_size != size
    # The fingerprint takes every image; a network without one was not trained on these data as far as is known.
    if resized and not (contract.data_fingerprint and dataset.fingerprint() == contract.data_fingerprint):
        found = show_size(dataset.image_size) if dataset.image_size else "several sizes"
        logger.warning(
            "%s has images of %s, the model takes %s: they are resized, so calibration and gates see other pixels "
            "than the device may.",
            dataset.name,
            found,
            show_size(size),
        )


def _check_names(dataset: Dataset, contract: ModelContract) -> None:
    named, unnamed = (dataset.class_names, contract.class_names), numbered_classes(dataset.num_classes).names
    if named[0] != named[1] and unnamed not in named:
        index = next(i for i, (a, b) in enumerate(zip(*named, strict=True)) if a != b)
        raise DataError(
            f"{dataset.name} calls class {index} {named[0][index]!r}, the model {named[1][index]!r}; "
            "give the data it was trained on, or data with the same classes in the same order."
        )


def _check_same(dataset: Dataset, data: Mapping[str, Any], *, given: bool) -> None:
    found, expected = dataset.fingerprint(), data["fingerprint"]
    if found == expected:
        return
    if not given:
        raise DataError(
            f"The data at {data['spec']} have fingerprint {found[:12]}, the run was trained on {str(expected)[:12]}: "
            "they were changed since; "
            "restore them, name others with --data, or train again."
        )
    logger.warning(
        "%s is not the data that the run was trained on: calibration and gates use "
        "its own split, which may hold training images.",
        dataset.spec,
    )
