"""Data sets as the check sees them: opened without the validation that loading does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from segtool.array_types import AnyArray, IntegerArray, UInt8Array
from segtool.data.array_dataset import SPLIT_NAMES, array_names, sizes_message
from segtool.data.arrays import to_integer_labels, to_uint8_images
from segtool.data.classes import Classes, Encoding, UndescribedError, identity_encoding
from segtool.data.folder import Description, describe_command, describe_folder, is_image_folder
from segtool.data.listing import Sample, list_samples
from segtool.data.lossy import lossy_masks
from segtool.data.m2nist import is_m2nist, open_m2nist
from segtool.data.mask_files import read_raw_mask
from segtool.data.mask_values import SoftMasksError
from segtool.data.metadata import FILE_NAME, Metadata
from segtool.data.npz import open_npz_arrays
from segtool.data.pixel_faults import pixel_problems, size_problems
from segtool.data.problem import Problem
from segtool.data.raw_arrays import RawArrays, classes_of, description_problems
from segtool.data.sample_headers import Pair, read_pair
from segtool.errors import DataError
from segtool.images.image_io import read_image, read_mask

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Entry:
    """A sample to look at.

    Attributes
    ----------
    name, part
        Its name, and the predefined part that it is in (empty where there are none).
    mask
        What its label map is called: its file, or the sample's name in arrays.
    image, raw_label
        Read the image, and the label map's raw values; raise DataError where that fails.
    encoding
        What the raw values mean; None where that is not known.
    """

    name: str
    part: str
    mask: str
    image: Callable[[], UInt8Array]
    raw_label: Callable[[], IntegerArray]
    encoding: Encoding | None


@dataclass(frozen=True)
class Checkable:
    """The samples of a data set, and what is wrong with it before any is read."""

    classes: Classes | None
    entries: Sequence[Entry]
    problems: Sequence[Problem]


def open_checkable(spec: str) -> Checkable:
    """Open what `spec` names for checking.

    Raises
    ------
    DataError
        There is nothing that could be a data set.
    """
    path = Path(spec).expanduser()
    if path.is_dir() and is_m2nist(path):
        return _open_arrays(lambda: open_m2nist(path), spec)
    if path.is_dir() and is_image_folder(path):
        return _open_folder(path)
    if path.is_file() and path.suffix.lower() == ".npz":
        return _open_arrays(lambda: open_npz_arrays(path), spec)
    return _open_loaded(spec)


def _open_loaded(spec: str) -> Checkable:
    from segtool.data.loading import load_dataset

    dataset = load_dataset(spec)
    encoding = identity_encoding(dataset.classes)
    part_of = {int(i): part for part, indices in (dataset.splits or {}).items() for i in indices}
    entries = [
        Entry(name, part_of.get(i, ""), name, partial(dataset.image, i), partial(dataset.label, i), encoding)
        for i, name in enumerate(dataset.sample_names)
    ]
    return Checkable(dataset.classes, entries, ())


def _open_folder(folder: Path) -> Checkable:
    listing = list_samples(folder)
    problems = list(listing.problems)
    for note in listing.notes:
        logger.warning(note)
    if lossy := lossy_masks([sample.mask for sample in listing.samples]):
        problems.append(Problem("lossy", str(folder), lossy))
    pairs = _readable(listing.samples)
    problems += [*size_problems(pairs), *pixel_problems(folder, pairs)]
    readable = [pair.sample for pair in pairs if _is_mask(pair.sample)]
    description: Description | None = None
    try:
        if readable or (folder / FILE_NAME).is_file():
            description = describe_folder(folder, readable)
    except SoftMasksError as error:
        # Says what a lossy format did, and how to bring the classes back.
        problems = [problem for problem in problems if problem.kind != "lossy"]
        problems.append(Problem("values", str(folder), str(error)))
    except DataError as error:
        explained = any(problem.kind in ("lossy", "alpha") for problem in problems)
        if (folder / FILE_NAME).is_file() or not explained:
            command = describe_command(folder) if isinstance(error, UndescribedError) else ""
            problems.append(Problem("values", str(folder), str(error), command=command))
    return Checkable(
        description.classes if description else None,
        [_file_entry(sample, description) for sample in listing.samples],
        problems,
    )


def _readable(samples: Sequence[Sample]) -> list[Pair]:
    """Return the samples whose headers can be read, with these; the others are named where they are decoded."""
    found: list[Pair] = []
    for sample in samples:
        with suppress(DataError):
            found.append(read_pair(sample))
    return found


def _is_mask(sample: Sample) -> bool:
    try:
        read_mask(sample.mask)
    except DataError:
        return False
    return True


def _file_entry(sample: Sample, description: Description | None) -> Entry:
    encoding = description.encoding if description else None
    channels = (description.channels if description else None) or 3
    return Entry(
        sample.name,
        sample.part,
        str(sample.mask),
        partial(read_image, sample.image, channels=channels),
        partial(read_raw_mask, sample.mask, colors=encoding.colors) if encoding else partial(read_mask, sample.mask),
        encoding,
    )


def _open_arrays(opener: Callable[[], RawArrays], spec: str) -> Checkable:
    try:
        raw = opener()
        images = to_uint8_images(raw.images, source=spec)
        labels = to_integer_labels(raw.labels, source=spec)
    except DataError as error:
        return Checkable(None, (), (Problem("arrays", spec, str(error)),))
    problems = [Problem("parts", spec, sentence) for sentence in description_problems(raw, images)]
    if images.shape[1:3] != labels.shape[1:3]:
        problems.append(Problem("size", spec, sizes_message(images, labels, source=spec)))
    if len(images) != len(labels):
        problems.append(Problem("missing", spec, _count_message(spec, len(images), len(labels))))
    try:
        classes, encoding = classes_of(raw, images, labels, source=spec)
    except DataError as error:
        problems.append(Problem("values", spec, str(error)))
        return Checkable(None, _array_entries(images, labels, None, raw.metadata), problems)
    return Checkable(
        classes, _array_entries(images, labels, encoding or identity_encoding(classes), raw.metadata), problems
    )


def _array_entries(
    images: UInt8Array, labels: IntegerArray, encoding: Encoding | None, metadata: Metadata | None
) -> list[Entry]:
    count = min(len(images), len(labels))
    ranges = (metadata.splits if metadata else None) or {}
    part_of = {i: part for part in SPLIT_NAMES for i in range(*ranges.get(part, (0, 0)))[:count]}
    return [
        Entry(name, part_of.get(i, ""), name, partial(_row, images, i), partial(_row, labels, i), encoding)
        for i, name in enumerate(array_names(count))
    ]


def _row(array: AnyArray, index: int) -> AnyArray:
    return np.asarray(array[index])


def _count_message(spec: str, images: int, labels: int) -> str:
    return (
        f"{spec} has {images} images and {labels} label maps, expected one label map for each image; "
        "make the two arrays equally long."
    )
