"""Sheets of images and label maps as PNG: predictions with their scores, and differences of two models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from segtool.array_types import IntegerArray, UInt8Array
from segtool.contract import default_palette
from segtool.data.base import Dataset
from segtool.data.classes import Classes
from segtool.images.image_io import resize_labels
from segtool.images.legend import INK, PAPER, Key, Legend, class_title
from segtool.images.overlay import enlarged, enlargement, overlay, widened
from segtool.images.pictures import Palette, write_image
from segtool.metrics import Scores, confusion_matrix
from segtool.models.predictor import Predictor
from segtool.text import clean, percent, shortened

IGNORED_COLOR = (222, 222, 222)
# Distinct for red-green colour blindness and in grey: blue, orange and a dark red, after Okabe and Ito.
_BOTH, _FIRST, _SECOND, _NEITHER = (250, 250, 250), (0, 114, 178), (230, 159, 0), (90, 30, 30)
_LONGEST = 480  # largest side of a picture in pixels; larger images are shrunk


@dataclass(frozen=True)
class _Row:
    """A title, pictures uint8 (h, w, 3) below it, and the legend of these pictures."""

    title: str
    pictures: Sequence[UInt8Array]
    keys: Sequence[Key] = ()


def plot_predictions(
    images: UInt8Array,
    truths: IntegerArray,
    predictions: IntegerArray,
    path: str | Path,
    *,
    classes: Classes,
    title: str,
    names: Sequence[str] | None = None,
) -> None:
    """Write one row per image to a PNG: image, prediction, truth, and below them the IoU and Dice of each class.

    Parameters
    ----------
    images
        uint8 (n, h, w, C) with C 1 (grey) or 3 (RGB); n is at least 1, and best at most 16.
    truths, predictions
        Class ids (n, h, w); `truths` may hold the ignore id, which is light grey and does not count.
    names
        Name of each image; None for their numbers.

    Raises
    ------
    SegtoolError
        The picture could not be written.
    """
    palette = default_palette(len(classes.names), background_id=classes.background_id)
    rows = []
    for at, (image, truth, labels) in enumerate(zip(images, truths, predictions, strict=True)):
        scores = scores_of(truth, labels, classes)
        mean = "mean" if classes.background_id is None else "foreground mean"
        figures = f"{mean} IoU {_percent(scores.foreground_mean_iou)}, Dice {_percent(scores.foreground_mean_dice)}"
        name = f"image {at + 1}" if names is None else names[at]
        keys = [*score_keys(scores, palette, classes), *_ignored(truth, classes)]
        rows.append(_Row(f"{name}: {figures}", _panels(image, [labels, truth], palette, classes), keys))
    note = "IoU and Dice are per image: from the pixels of this image, not averaged over the data set."
    _write_sheet(path, rows, columns=("Image", "Prediction", "Truth"), lines=(title, note))


def plot_differences(
    images: UInt8Array,
    truths: IntegerArray,
    predictions: Sequence[IntegerArray],
    path: str | Path,
    *,
    names: Sequence[str],
    titles: Sequence[str],
    classes: Classes,
) -> None:
    """Write one row per image to a PNG: image, truth, both predictions, and a map of the model that is right.

    `predictions` are class ids (n, h, w) of two models, `names` those of the models, and `titles` are above the rows.
    All else is as for `plot_predictions`.
    """
    palette = default_palette(len(classes.names), background_id=classes.background_id)
    states = [("both are right", _BOTH), (f"only {names[0]} is", _FIRST), (f"only {names[1]} is", _SECOND)]
    right = [Key(text, color) for text, color in [*states, ("neither is", _NEITHER)]]
    rows = []
    for image, truth, title, *labels in zip(images, truths, titles, *predictions, strict=True):
        found = who_is_right(truth, labels[0], labels[1], ignore_id=classes.ignore_id)
        present = np.unique([truth, *labels])
        keys = [_class_key(at, palette, classes) for at in present.tolist() if at < len(palette)]
        panels = [*_panels(image, [truth, *labels], palette, classes), enlarged(found, enlargement(truth.shape))]
        rows.append(_Row(title, panels, [*right, *keys, *_ignored(truth, classes)]))
    note = "Images with the most differing labels first; each picture has the size of the first model."
    heading = f"Where {names[0]} and {names[1]} differ"
    _write_sheet(path, rows, columns=("Image", "Truth", *names, "Who is right"), lines=(heading, note))


def scores_of(truth: IntegerArray, labels: IntegerArray, classes: Classes) -> Scores:
    """Return the scores of one image (h, w); pixels of the ignore id do not count."""
    matrix = confusion_matrix(truth, labels, len(classes.names), ignore_id=classes.ignore_id)
    return Scores.from_matrix(matrix, class_names=classes.names, background_id=classes.background_id, images=1)


def score_keys(scores: Scores, palette: Palette, classes: Classes) -> list[Key]:
    """Return a line of the legend with IoU and Dice for each class in the truth or the prediction."""
    present = np.flatnonzero(~np.isnan(scores.iou)).tolist()
    return [
        _class_key(at, palette, classes, f": IoU {_percent(scores.iou[at])}, Dice {_percent(scores.dice[at])}")
        for at in present
    ]


def who_is_right(
    truth: IntegerArray, first: IntegerArray, second: IntegerArray, *, ignore_id: int | None
) -> UInt8Array:
    """Return a picture uint8 (h, w, 3) that shows which of two label maps is right; ignored pixels are grey."""
    states = (first == truth).astype(np.intp) + 2 * (second == truth)
    states[truth == ignore_id] = 4
    picture: UInt8Array = np.asarray([_NEITHER, _FIRST, _SECOND, _BOTH, IGNORED_COLOR], np.uint8)[states]
    return picture


def labels_of(predictor: Predictor, data: Dataset, index: int, size: tuple[int, ...]) -> IntegerArray:
    """Return the labels of a model for one image, resized to (h, w)."""
    if predictor.answer_image is not None:
        return resize_labels(predictor.answer_image(data.image(index))[0], *size)
    own = predictor.contract.size
    return resize_labels(predictor.predict_batch(data.images([index], size=own))[0], *size)


def gray_to_rgb(image: UInt8Array) -> UInt8Array:
    """Return a uint8 image (h, w, 1) or (h, w, 3) as (h, w, 3)."""
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def overlay_of(image: UInt8Array, labels: IntegerArray, palette: Palette, classes: Classes) -> UInt8Array:
    """Return class ids (h, w) over an image (h, w, C), as uint8 (h, w, 3); small ones are enlarged.

    The background is left clear; pixels of the ignore id are light grey.
    """
    shown = labels if classes.ignore_id is None else np.where(labels == classes.ignore_id, len(palette), labels)
    times = enlargement(labels.shape)
    colors = [*palette, IGNORED_COLOR]
    return overlay(enlarged(image, times), enlarged(shown, times), colors, background_id=classes.background_id)


def shrunk(pixels: UInt8Array, longest: int) -> Image.Image:
    """Return a picture with sides of at most `longest` pixels, shrunk by averaging: thin classes stay visible."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest, longest), Image.Resampling.BOX)
    return image


def _panels(image: UInt8Array, labels: Sequence[IntegerArray], palette: Palette, classes: Classes) -> list[UInt8Array]:
    """Return the image (h, w, C), and each label map over it; small ones are enlarged."""
    first = enlarged(gray_to_rgb(image), enlargement(image.shape[:2]))
    return [first, *(overlay_of(image, each, palette, classes) for each in labels)]


def _class_key(index: int, palette: Palette, classes: Classes, figures: str = "") -> Key:
    name = " ".join(clean(classes.names[index]).split())
    return Key(f"{class_title(index, name)}{figures}", None if index == classes.background_id else palette[index])


def _ignored(truth: IntegerArray, classes: Classes) -> list[Key]:
    return [Key("ignored: does not count", IGNORED_COLOR)] if (truth == classes.ignore_id).any() else []


def _percent(share: float) -> str:
    return f"{percent(share, 1)} %"


def _write_sheet(path: str | Path, rows: Sequence[_Row], *, columns: Sequence[str], lines: Sequence[str]) -> None:
    """Write lines of text, the titles of the columns, and the rows with their legends to a PNG, atomically."""
    pictures = [[np.asarray(shrunk(each, _LONGEST)) for each in row.pictures] for row in rows]
    height, width, _ = pictures[0][0].shape
    legends = [Legend(row.keys, (height, len(columns) * width)) for row in rows]
    gap = legends[0].gap
    page = max(len(columns) * (width + gap) + gap, *(legend.width for legend in legends))
    lefts = [gap + at * (width + gap) for at in range(len(columns))]

    def bands() -> Iterator[UInt8Array]:
        for line in lines:
            yield _text([line], [gap], page, legends[0])
        yield _text(columns, lefts, page, legends[0])
        for row, shown, legend in zip(rows, pictures, legends, strict=True):
            yield _text([row.title], [gap], page, legend)
            band = np.full((height, page, 3), PAPER, np.uint8)
            for left, pixels in zip(lefts, shown, strict=True):
                band[:, left : left + width] = pixels
            yield band
            yield from legend.bands()

    write_image(path, np.concatenate([widened(band, page, PAPER) for band in bands()]))


def _text(texts: Sequence[str], lefts: Sequence[int], width: int, legend: Legend) -> UInt8Array:
    """Return a line uint8 (h, width, 3) with texts at x = `lefts`, as in the legend; long ones are shortened."""
    picture = Image.new("RGB", (width, legend.line_height + legend.gap), PAPER)
    draw = ImageDraw.Draw(picture)
    room = int(np.diff([*lefts, width]).min()) - legend.gap
    for left, text in zip(lefts, texts, strict=True):
        line = shortened(" ".join(clean(text).split()), 5 * room // (2 * legend.line_height))
        draw.text((left, legend.gap), line, fill=INK, font=legend.font)
    return np.asarray(picture)
