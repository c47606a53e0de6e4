"""New images from the objects of others, for data like M2NIST: bright objects on a uniform dark background.

Masks define the objects, not brightness. An object is a group of pixels of one class. Several adjacent columns without
the class separate two objects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import BoolArray, IntegerArray, UInt8Array
from segtool.train.augmentation.samples import Samples

GAP = 3  # empty columns that separate two objects of one class


@dataclass(frozen=True)
class Piece:
    """An object: pixels uint8 (h, w, C), 0 outside its mask; mask bool (h, w); class id; left edge in pixels."""

    pixels: UInt8Array
    mask: BoolArray
    class_id: int
    left: int


def recompose(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """Compose each image from its own objects and those of another image of the batch.

    From left to right, each object is kept or, with probability 1/2, replaced by the object of the same rank in the
    other image. The object then moves to a random height, and sideways by up to `strength` pixels. Where objects
    overlap, the pixel is their maximum and the label is the lower class id, as in M2NIST. The background is 0.
    """
    ground = samples.background_id or 0
    pieces = [_pieces(image, label, ground) for image, label in zip(samples.images, samples.labels, strict=True)]
    images, labels = np.zeros_like(samples.images), np.full_like(samples.labels, ground)
    for index, partner in enumerate(rng.permutation(len(pieces)).tolist()):
        for piece in _exchanged(pieces[index], pieces[partner], rng):
            box = _place(piece, labels[index].shape, limit=int(strength), rng=rng)
            _paste(piece, images[index][box], labels[index][box], ground=ground)
    return replace(samples, images=images, labels=labels)


def _pieces(image: UInt8Array, label: IntegerArray, ground: int) -> list[Piece]:
    """Return the objects of one image, from left to right."""
    pieces = []
    for class_id in np.unique(label).tolist():
        if class_id != ground:
            mask = label == class_id
            pieces += [_piece(image, mask, class_id, columns) for columns in _runs(mask.any(0))]
    return sorted(pieces, key=lambda piece: piece.left)


def _runs(filled: npt.NDArray[np.bool_]) -> list[slice]:
    """Return the filled ranges of a line as slices; gaps of fewer than `GAP` places are closed."""
    places = np.flatnonzero(filled)
    parts: list[npt.NDArray[Any]] = np.split(places, np.flatnonzero(np.diff(places) > GAP) + 1)
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def _piece(image: UInt8Array, mask: BoolArray, class_id: int, columns: slice) -> Piece:
    rows = np.flatnonzero(mask[:, columns].any(1))
    box = slice(int(rows[0]), int(rows[-1]) + 1), columns
    return Piece(image[box] * mask[box][..., None], mask[box], class_id, columns.start)


def _exchanged(own: list[Piece], others: list[Piece], rng: np.random.Generator) -> list[Piece]:
    take = rng.random(len(own)) < 0.5
    return [others[rank] if take[rank] and rank < len(others) else piece for rank, piece in enumerate(own)]


def _place(piece: Piece, shape: tuple[int, ...], *, limit: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return the new place of a piece in an image of `shape`: any height, at most `limit` pixels sideways."""
    height, width = piece.mask.shape
    top = int(rng.integers(0, shape[0] - height + 1))
    left = int(np.clip(piece.left + rng.integers(-limit, limit + 1), 0, shape[1] - width))
    return slice(top, top + height), slice(left, left + width)


def _paste(piece: Piece, image: UInt8Array, label: IntegerArray, *, ground: int) -> None:
    """Draw a piece into a window of an image and its labels; the window has the size of the piece."""
    np.maximum(image, piece.pixels, out=image)
    lower = (label == ground) | (label > piece.class_id)
    label[piece.mask & lower] = piece.class_id
