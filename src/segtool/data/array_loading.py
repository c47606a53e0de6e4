"""From two arrays as they lie in files to a data set: which classes, which encoding, which splits."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from segtool.array_types import AnyArray, IntegerArray
from segtool.data.array_dataset import ArrayDataset, array_names, mismatches
from segtool.data.array_files import RawArrays, open_arrays
from segtool.data.arrays import blocks, distinct_values, narrow_labels, to_integer_labels, to_uint8_images
from segtool.data.base import Origin
from segtool.data.classes import (
    M2NIST_BACKGROUND,
    M2NIST_CLASSES,
    Classes,
    Encoding,
    background_of,
    identity_encoding,
    numbered_classes,
)
from segtool.data.inferred_classes import infer_encoding, is_binary, with_usual_ignore
from segtool.data.mask_values import LEAST_SPAN, MaskValues
from segtool.data.problem import Problem, refuse
from segtool.errors import DataError

M2NIST_SIZE = (64, 84)
_MOST_ABSENT_IDS = 64  # classes: undescribed labels with more ids and gaps between them are no class ids
logger = logging.getLogger(__name__)


def load_arrays(path: Path, *, spec: str, classes: Classes | None = None) -> ArrayDataset:
    """Load arrays as `segtool.data.array_files` finds them; `classes` are as in `segtool.data.loading.load_dataset`.

    Raise a DataError if a file is missing or damaged, the arrays do not fit together, or their labels are not those
    that are described.
    """
    raw = open_arrays(path)
    images = to_uint8_images(raw.images, source=spec)
    labels = to_integer_labels(raw.labels, source=spec)
    refuse(array_problems(raw, images, labels, spec=spec), spec=spec)
    classes, encoding = classes_of(raw, images, labels, source=spec, assumed=classes)
    name = path.stem if path.is_file() else path.resolve().name
    return ArrayDataset(
        images,
        _encode(labels, encoding, classes, source=spec),
        classes=classes,
        source=Origin(name, spec, raw.metadata.provenance if raw.metadata else {}),
        splits=raw.metadata.split_indices() if raw.metadata else None,
    )


def array_problems(raw: RawArrays, images: AnyArray, labels: IntegerArray, *, spec: str) -> list[Problem]:
    """Return where images (N, H, W, C), labels (N, H, W) and the description of arrays contradict each other."""
    found = mismatches(images, labels, spec=spec)
    if raw.metadata is None:
        return found
    sentences = raw.metadata.split_problems(len(images))
    if raw.metadata.channels not in (None, images.shape[-1]):
        sentences.append(
            f"{raw.metadata.file} says that the images have {raw.metadata.channels} channel(s), and they have "
            f"{images.shape[-1]}, expected the same; correct it or leave channels out."
        )
    return [*found, *(Problem("parts", spec, sentence) for sentence in sentences)]


def classes_of(
    raw: RawArrays, images: AnyArray, labels: IntegerArray, *, source: str, assumed: Classes | None = None
) -> tuple[Classes, Encoding]:
    """Return the classes of raw arrays, and how their labels encode them.

    In this order: the dataset.json; the names inside the file; M2NIST's layout (grey 64 x 84, ids up to 10, the
    background 10 among them, or 11 one-hot channels); the classes `assumed` where they are given; as many numbered
    classes as a one-hot array has channels; what the values themselves show.
    """
    if raw.metadata is not None:
        if raw.metadata.encoding.colors:
            raise DataError(
                f"{raw.metadata.file} gives colours, but the labels of {source} are ids; give values instead."
            )
        return raw.metadata.classes, raw.metadata.encoding
    channels = raw.labels.shape[-1] if raw.labels.ndim == 4 and raw.labels.shape[-1] > 1 else None
    if raw.class_names is not None:
        return _as_ids(Classes(raw.class_names, background_id=background_of(raw.class_names)))
    values = distinct_values(labels)
    larger = assumed is not None and len(assumed.names) > len(M2NIST_CLASSES.names)
    if not larger and _is_m2nist(images, values, channels, source):
        return _as_ids(M2NIST_CLASSES)
    if channels is None and (mixed := _mixed_binary(labels, values, source, assumed)):
        return mixed
    if assumed is not None and channels in (None, len(assumed.names)) and not is_binary(values, assumed):
        return _as_ids(with_usual_ignore(assumed, values, source=source))
    return _from_values(values, source) if channels is None else _as_ids(numbered_classes(channels))


def _as_ids(classes: Classes) -> tuple[Classes, Encoding]:
    return classes, identity_encoding(classes)


def _is_m2nist(images: AnyArray, values: AnyArray, channels: int | None, source: str) -> bool:
    """Return whether undescribed arrays are M2NIST; refuse those with ids out of its range."""
    if images.shape[1:] != (*M2NIST_SIZE, 1) or not (M2NIST_BACKGROUND in values or channels == M2NIST_BACKGROUND + 1):
        return False
    if values.min() < 0 or values.max() > M2NIST_BACKGROUND:
        raise DataError(
            f"{source} is laid out like M2NIST (grey 64 x 84, background 10) but holds the ids "
            f"{values[(values < 0) | (values > M2NIST_BACKGROUND)].tolist()[:12]}, expected 0..10; correct the "
            "labels, or name the classes in a dataset.json beside it."
        )
    return True


def _mixed_binary(
    labels: IntegerArray, values: AnyArray, source: str, assumed: Classes | None
) -> tuple[Classes, Encoding] | None:
    """Return the classes of binary label maps of 0/1 beside 0/255, None for any others; refuse soft edges.

    A second look at all label maps is taken only where their `values` are far apart.
    """
    if len(values) <= 2 or int(values.max()) - int(values.min()) < LEAST_SPAN:
        return None
    held = MaskValues.of_arrays(labels, array_names(len(labels)))
    held.refuse_soft(source=source)
    return held.mixed_binary(assumed, source=source)


def _from_values(values: AnyArray, source: str) -> tuple[Classes, Encoding]:
    """Derive the classes from the values: like masks in files, but up to half of an array's ids may not occur."""
    count = int(values.max()) + 1
    if values.min() >= 0 and 2 <= len(values) < count <= min(2 * len(values), _MOST_ABSENT_IDS):
        logger.warning(
            "The labels of %s hold %d of the ids 0..%d: the others are taken as classes that do not occur; a "
            "dataset.json beside it can change this.",
            source,
            len(values),
            count - 1,
        )
        return _as_ids(numbered_classes(count))
    return infer_encoding(values, source=source)


def _encode(labels: IntegerArray, encoding: Encoding, classes: Classes, *, source: str) -> IntegerArray:
    if np.array_equal(encoding.keys, encoding.labels):
        return labels  # The range check of ArrayDataset says more than Encoding.encode could.
    encoded = narrow_labels(np.zeros(labels.shape, np.uint8), classes.largest_label)
    for part in blocks(labels):
        encoded[part] = encoding.encode(np.asarray(labels[part]), source=source)
    return encoded
