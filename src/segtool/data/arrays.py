"""Images and labels in arrays: checked and converted block by block, in bounded memory."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterator

import numpy as np

from segtool.array_types import AnyArray, Int64Array, IntegerArray, UInt8Array
from segtool.errors import DataError
from segtool.text import counted

logger = logging.getLogger(__name__)

BLOCK_BYTES = 32 * 2**20
"""Largest piece of an array that is held in memory while it is converted."""

MAX_SHARED_PIXELS = 1e-3
"""Share of pixels that may carry two classes in a one-hot file, as overlapping digits can in M2NIST."""

_FEW = 2**16  # values that are counted, which is faster than sorting


def blocks(array: AnyArray, *, row_bytes: int | None = None) -> Iterator[slice]:
    """Yield slices along the first axis, each of one row at least and of at most `BLOCK_BYTES` beyond that.

    The pages of a memory-mapped array are given back after each block, so that a file larger than memory does not
    fill it. `row_bytes` is the memory that one row needs, where that is not its own size.
    """
    step = max(1, BLOCK_BYTES // max(1, row_bytes or array.nbytes // max(1, len(array))))
    for start in range(0, len(array), step):
        yield slice(start, min(start + step, len(array)))
        _release(array)


def to_uint8_images(array: AnyArray, *, source: str) -> UInt8Array:
    """Return images as uint8 (N, H, W, C); a uint8 array is not copied, so it stays memory-mapped.

    `array` is (N, H, W), (N, H, W, 1) or (N, H, W, 3) of any integer type with values 0..255; anything else raises a
    DataError that names `source`.
    """
    _require_numbers(array, source)
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or 0 in array.shape:
        raise DataError(
            f"The images of {source} have shape {array.shape}, expected (N, H, W), (N, H, W, 1) or (N, H, W, 3) "
            "with at least one image; rearrange them."
        )
    if array.dtype == np.uint8:
        return array
    images = np.empty(array.shape, np.uint8)
    for part in blocks(array):
        block = np.asarray(array[part])
        low, high = float(block.min()), float(block.max())
        if array.dtype.kind not in "iu" or low < 0 or high > 255:
            raise DataError(
                f"The images of {source} are {array.dtype} with values {low:g}..{high:g}, expected uint8 pixels "
                "0..255; scale them to 0..255 and save them as uint8."
            )
        images[part] = block
    return images


def to_integer_labels(array: AnyArray, *, source: str) -> IntegerArray:
    """Return raw integer labels (N, H, W) from an id map or from a one-hot array (N, H, W, K).

    Another shape, a type that is not an integer, or a one-hot array that is not one raises a DataError.
    """
    _require_numbers(array, source)
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    if array.dtype.kind not in "iu":
        raise DataError(
            f"The labels of {source} are {array.dtype}, expected integer class ids; save them as uint8 or int64."
        )
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 4:
        return onehot_to_ids(array, source=source)
    if array.ndim != 3:
        raise DataError(
            f"The labels of {source} have shape {array.shape}, expected (N, H, W) class ids or (N, H, W, K) one-hot."
        )
    return array


def onehot_to_ids(onehot: AnyArray, *, source: str) -> IntegerArray:
    """Turn a one-hot array into class ids, block by block.

    A pixel that carries several classes gets the lowest of them, as ``argmax`` gives it. A file in M2NIST's layout can
    have such pixels where two digits overlap, so up to `MAX_SHARED_PIXELS` of all pixels are accepted, with a warning.

    `onehot` has (N, H, W, K) integers, each 0 or 1, and may be memory-mapped; the ids are uint8 (N, H, W), or uint16
    above 256 classes. Other values, pixels of no class, or too many pixels of several classes raise a DataError.
    """
    ids = np.empty(onehot.shape[:-1], np.uint8 if onehot.shape[-1] <= 256 else np.uint16)
    shared = 0
    for part in blocks(onehot):
        block = np.asarray(onehot[part])
        shared += _count_shared(block, first=part.start, source=source)
        ids[part] = block.argmax(axis=-1)
    if shared > MAX_SHARED_PIXELS * ids.size:
        raise DataError(
            f"The labels of {source} have shape {onehot.shape} but are not one-hot: {counted(shared, 'pixel')} with "
            "several classes at once; give each pixel exactly one class."
        )
    if shared:
        logger.warning(
            "%s: %s with several classes; each was given the lowest of them.", source, counted(shared, "pixel")
        )
    return ids


def narrow_labels(labels: IntegerArray, largest: int) -> IntegerArray:
    """Return labels as uint8, or uint16 where `largest` needs it; not copied where that is their type."""
    return labels.astype(np.uint8 if largest <= 255 else np.uint16, copy=False)


def distinct_values(array: IntegerArray) -> Int64Array:
    """Return the sorted distinct values of an integer array, found block by block, as int64."""
    found: set[int] = set()
    for part in blocks(array):
        block = np.asarray(array[part]).ravel()
        least = int(block.min())
        if int(block.max()) - least <= _FEW:
            from_zero = block.astype(np.int64)
            from_zero -= least
            found.update((np.flatnonzero(np.bincount(from_zero)) + least).tolist())
        else:
            found.update(np.unique(block).tolist())
    return np.array(sorted(found), np.int64)


def _release(array: AnyArray) -> None:
    """Drop the pages of a mapped file from this process; they are read again where they are needed again."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _count_shared(block: AnyArray, *, first: int, source: str) -> int:
    """Return how many pixels of a one-hot block carry several classes; refuse what is no one-hot coding at all."""
    if block.min() < 0 or block.max() > 1:
        raise DataError(
            f"The labels of {source} have {block.shape[-1]} channels with values {block.min()}..{block.max()}, "
            "expected 0 or 1 (one-hot); save class ids (N, H, W) or a one-hot array."
        )
    marks = block.sum(axis=-1, dtype=np.uint16)
    if not marks.all():
        sample = first + int(np.argwhere(marks == 0)[0, 0])
        raise DataError(
            f"The labels of {source} are not one-hot: image {sample} has pixels of no class; "
            "give each pixel exactly one class (background is a class too)."
        )
    return int(np.count_nonzero(marks > 1))


def _require_numbers(array: AnyArray, source: str) -> None:
    if array.dtype.kind not in "biuf":
        held = "Python objects" if array.dtype.hasobject else f"values of the type {array.dtype}"
        raise DataError(
            f"{source} holds {held}, expected a numeric array of one shape; stack the images to one array and save it "
            "as uint8."
        )
