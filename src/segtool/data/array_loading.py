"""From two arrays as they lie in files to a data set: which classes, which encoding, which splits."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from segtool.array_types import AnyArray, IntegerArray
from segtool.data.array_dataset import ArrayDataset, array_names
from segtool.data.array_files import Arrays, open_arrays
from segtool.data.arrays import blocks, distinct_values, narrow_labels
from segtool.data.base import Origin, show_size
from segtool.data.classes import (
    M2NIST_BACKGROUND,
    M2NIST_CLASSES,
    Classes,
    background_of,
    numbered_classes,
)
from segtool.data.inferred_classes import infer_metadata, is_binary, with_usual_ignore
from segtool.data.mask_values import LEAST_SPAN, MaskValues
from segtool.data.metadata import Metadata
from segtool.data.problem import Problem, refuse
from segtool.errors import DataError
from segtool.text import counted

M2NIST_SIZE = (64, 84)
_MOST_ABSENT_IDS = 64  # classes: undescribed labels with more ids and gaps between them are no class ids
logger = logging.getLogger(__name__)


def load_arrays(path: Path, *, spec: str, classes: Classes | None = None) -> ArrayDataset:
    """Load arrays as `segtool.data.array_files` finds them; `classes` are as in `segtool.data.loading.load_dataset`.

    Raise a DataError if a file is missing or damaged, the arrays do not fit together, or their labels are not those
    that are described.
    """
    arrays = open_arrays(path, spec=spec)
    refuse(array_problems(arrays), spec=spec)
    found = describe_arrays(arrays, assumed=classes)
    name = path.stem if path.is_file() else path.resolve().name
    return ArrayDataset(
        arrays.images,
        _encode(arrays, found),
        classes=found.classes,
        source=Origin(name, spec, found.provenance),
        splits=found.split_indices(),
    )


def array_problems(arrays: Arrays) -> list[Problem]:
    """Return where the images, the labels and the description of arrays contradict each other."""
    spec, images, labels, metadata = arrays.spec, arrays.images, arrays.labels, arrays.metadata
    found = []
    if images.shape[1:3] != labels.shape[1:3]:
        message = (
            f"The images of {spec} are {show_size(images.shape[1:3])} and its label maps "
            f"{show_size(labels.shape[1:3])} (height x width), expected the same size; crop or resize one of them."
        )
        found.append(Problem("size", spec, message))
    if len(images) != len(labels):
        message = (
            f"{spec} has {counted(len(images), 'image')} and {counted(len(labels), 'label map')}, expected one label "
            "map for each image; make the two arrays equally long."
        )
        found.append(Problem("missing", spec, message))
    if metadata is None:
        return found
    sentences = metadata.split_problems(len(images))
    if metadata.channels not in (None, images.shape[-1]):
        sentences.append(
            f"{metadata.file} says that the images have {counted(metadata.channels or 0, 'channel')}, and they have "
            f"{images.shape[-1]}, expected the same; correct it or leave channels out."
        )
    return [*found, *(Problem("parts", spec, sentence) for sentence in sentences)]


def describe_arrays(arrays: Arrays, *, assumed: Classes | None = None) -> Metadata:
    """Return the classes of arrays, and how their labels encode them.

    In this order: the dataset.json; the names inside the file; M2NIST's layout (grey 64 x 84, ids up to 10, the
    background 10 among them, or 11 one-hot channels); the classes `assumed` where they are given; as many numbered
    classes as a one-hot array has channels; what the values themselves show.
    """
    channels = arrays.channels
    if arrays.metadata is not None:
        if arrays.metadata.encoding.colors:
            raise DataError(
                f"{arrays.metadata.file} gives colours, but the labels of {arrays.spec} are ids; give values instead."
            )
        return arrays.metadata
    if arrays.class_names is not None:
        return Metadata.of_ids(Classes(arrays.class_names, background_id=background_of(arrays.class_names)))
    values = distinct_values(arrays.labels)
    larger = assumed is not None and len(assumed.names) > len(M2NIST_CLASSES.names)
    if not larger and _is_m2nist(arrays, values):
        return Metadata.of_ids(M2NIST_CLASSES)
    if channels is None and (mixed := _mixed_binary(arrays, values, assumed)):
        return mixed
    if assumed is not None and channels in (None, len(assumed.names)) and not is_binary(values, assumed):
        return Metadata.of_ids(with_usual_ignore(assumed, values, source=arrays.spec))
    return _from_values(values, arrays.spec) if channels is None else Metadata.of_ids(numbered_classes(channels))


def _is_m2nist(arrays: Arrays, values: AnyArray) -> bool:
    """Return whether undescribed arrays are M2NIST; refuse those with ids out of its range."""
    with_background = M2NIST_BACKGROUND in values or arrays.channels == M2NIST_BACKGROUND + 1
    if arrays.images.shape[1:] != (*M2NIST_SIZE, 1) or not with_background:
        return False
    if values.min() < 0 or values.max() > M2NIST_BACKGROUND:
        raise DataError(
            f"{arrays.spec} is laid out like M2NIST (grey 64 x 84, background 10) but holds the ids "
            f"{values[(values < 0) | (values > M2NIST_BACKGROUND)].tolist()[:12]}, expected 0..10; correct the "
            "labels, or name the classes in a dataset.json beside it."
        )
    return True


def _mixed_binary(arrays: Arrays, values: AnyArray, assumed: Classes | None) -> Metadata | None:
    """Return the classes of binary label maps of 0/1 beside 0/255, None for any others; refuse soft edges.

    A second look at all label maps is taken only where their `values` are far apart.
    """
    if len(values) <= 2 or int(values.max()) - int(values.min()) < LEAST_SPAN:
        return None
    held = MaskValues()
    for name, label in zip(array_names(len(arrays.labels)), arrays.labels, strict=True):
        held.add(np.asarray(label), name)
    held.refuse_soft(source=arrays.spec)
    return held.mixed_binary(assumed, source=arrays.spec)


def _from_values(values: AnyArray, source: str) -> Metadata:
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
        return Metadata.of_ids(numbered_classes(count))
    return infer_metadata(values, source=source)


def _encode(arrays: Arrays, description: Metadata) -> IntegerArray:
    """Return the labels as class ids, uint8 or uint16; refuse values that are no class, by the first label map."""
    labels, encoding, largest = arrays.labels, description.encoding, description.classes.largest_label
    unknown = encoding.unknown(distinct_values(labels))
    if unknown.size:
        image = next(index for index, label in enumerate(labels) if np.isin(label, unknown).any())
        raise DataError(
            f"The label map of image {image} of {arrays.spec} is wrong: it holds {encoding.refusal(unknown)}."
        )
    if np.array_equal(encoding.keys, encoding.labels):
        return narrow_labels(labels, largest)
    encoded = narrow_labels(np.zeros(labels.shape, np.uint8), largest)
    for part in blocks(labels):
        encoded[part] = encoding.encode(np.asarray(labels[part]), source=arrays.spec)
    return encoded
