"""Data sets as the check sees them: opened without the validation that loading does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from segtool.array_types import IntegerArray, UInt8Array
from segtool.data.array_dataset import array_names
from segtool.data.array_files import holds_arrays, open_arrays
from segtool.data.array_loading import array_problems, describe_arrays
from segtool.data.file_faults import file_problems
from segtool.data.folder import describe_command, describe_folder
from segtool.data.header_faults import SampleHeaders, read_headers
from segtool.data.inferred_classes import UndescribedError
from segtool.data.layout import find_places
from segtool.data.listing import Sample, list_samples
from segtool.data.loading import load_dataset
from segtool.data.mask_files import read_raw_mask
from segtool.data.metadata import FILE_NAME, Metadata
from segtool.data.problem import Problem
from segtool.errors import DataError
from segtool.images.image_io import read_image, read_mask


@dataclass(frozen=True, eq=False)
class CheckedSample:
    """A sample to look at; its functions raise a DataError where a file cannot be read."""

    name: str
    part: str  # the predefined part that it is in; empty where there are none
    mask: str  # what its label map is called: its file, or the sample's name in arrays
    image: Callable[[], UInt8Array]
    raw_label: Callable[[], IntegerArray]  # (H, W) raw values, or (H, W, 3) colours


@dataclass(frozen=True)
class Checkable:
    """The samples of a data set, what their raw labels mean (None: unknown), and what is wrong before any is read."""

    samples: Sequence[CheckedSample]
    description: Metadata | None
    problems: Sequence[Problem]


def open_checkable(spec: str) -> Checkable:
    """Open what `spec` names for checking; raise a DataError if that cannot be a data set."""
    path = Path(spec).expanduser()
    if holds_arrays(path):
        return _open_arrays(path, spec)
    if path.is_dir() and find_places(path):
        return _open_folder(path)
    data = load_dataset(spec)
    samples = _by_index(data.sample_names, data.splits or {}, data.image, data.label)
    return Checkable(samples, Metadata.of_ids(data.classes), ())


def _by_index(
    names: Sequence[str],
    splits: Mapping[str, Iterable[int]],
    image: Callable[[int], UInt8Array],
    label: Callable[[int], IntegerArray],
) -> list[CheckedSample]:
    part_of = {int(i): part for part, indices in splits.items() for i in indices}
    return [
        CheckedSample(name, part_of.get(i, ""), name, partial(image, i), partial(label, i))
        for i, name in enumerate(names)
    ]


def _open_arrays(path: Path, spec: str) -> Checkable:
    try:
        arrays = open_arrays(path, spec=spec)
    except DataError as error:
        return Checkable((), None, [Problem("arrays", spec, str(error))])
    problems = array_problems(arrays)
    names = array_names(min(len(arrays.images), len(arrays.labels)))
    given = (arrays.metadata.splits if arrays.metadata else None) or {}
    splits = {part: range(*bounds)[: len(names)] for part, bounds in given.items()}
    samples = _by_index(names, splits, lambda i: np.asarray(arrays.images[i]), lambda i: np.asarray(arrays.labels[i]))
    try:
        return Checkable(samples, describe_arrays(arrays), problems)
    except DataError as error:
        return Checkable(samples, None, [*problems, Problem("values", spec, str(error))])


def _open_folder(folder: Path) -> Checkable:
    listing = list_samples(folder)
    headers = _readable(listing.samples)
    problems = [*listing.problems, *file_problems(folder, headers)]
    described = (folder / FILE_NAME).is_file()
    readable = [one.sample for one in headers if described or _is_mask(one.sample)]
    description: Metadata | None = None
    try:
        if readable or described:
            description = describe_folder(folder, readable)
    except DataError as error:
        explained = any(problem.kind in ("lossy", "alpha", "values") for problem in problems)
        if described or not explained:
            command = describe_command(folder) if isinstance(error, UndescribedError) else ""
            problems.append(Problem("values", str(folder), str(error), command=command))
    channels = (description.channels if description else None) or 3
    read = partial(read_raw_mask, colors=description.encoding.colors) if description else read_mask
    samples = [
        CheckedSample(
            sample.name,
            sample.part,
            str(sample.mask),
            partial(read_image, sample.image, channels=channels),
            partial(read, sample.mask),
        )
        for sample in listing.samples
    ]
    return Checkable(samples, description, problems)


def _readable(samples: Sequence[Sample]) -> list[SampleHeaders]:
    """Return the samples whose headers can be read, with these; the others are named where they are decoded."""
    found: list[SampleHeaders] = []
    for sample in samples:
        with suppress(DataError):
            found.append(read_headers(sample))
    return found


def _is_mask(sample: Sample) -> bool:
    try:
        read_mask(sample.mask)
    except DataError:
        return False
    return True
