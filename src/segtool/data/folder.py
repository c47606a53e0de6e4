"""A folder of image files and mask files, read when they are needed, and how its masks are read."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segtool.array_types import IndexArray, IntegerArray, UInt8Array
from segtool.data.base import PARTS, Dataset, Origin, Size
from segtool.data.class_lists import ClassList, folder_metadata
from segtool.data.classes import Classes
from segtool.data.file_faults import file_problems
from segtool.data.header_faults import read_headers
from segtool.data.headers import Header
from segtool.data.inferred_classes import UndescribedError, infer_metadata, is_binary, with_usual_ignore
from segtool.data.listing import Sample, list_samples
from segtool.data.mask_files import ColorMaskError, read_raw_mask, refuse_differing_palettes, survey_masks
from segtool.data.mask_values import MaskValues
from segtool.data.metadata import Metadata
from segtool.data.problem import files_like, refuse
from segtool.errors import DataError
from segtool.images.image_io import read_image

logger = logging.getLogger(__name__)


class FolderDataset(Dataset):
    """Image and mask files that are decoded when a sample is asked for.

    `headers` are those of the images. Where the `description` states no channels, images are grey if all files are.
    """

    def __init__(
        self, samples: Sequence[Sample], headers: Sequence[Header], *, description: Metadata, source: Origin
    ) -> None:
        super().__init__(classes=description.classes, source=source, splits=_splits(samples))
        self._samples = tuple(samples)
        self._sizes = [header.size for header in headers]
        self._encoding = description.encoding
        self.sample_names = [sample.name for sample in samples]
        self.channels = description.channels or (1 if all(header.grey for header in headers) else 3)

    @property
    def image_size(self) -> Size | None:
        """(height, width) of all images in pixels; None where they differ."""
        return self._sizes[0] if len(set(self._sizes)) == 1 else None

    def sizes(self) -> list[Size]:
        """Return the (height, width) of each image in pixels, from its header."""
        return self._sizes

    def image(self, index: int) -> UInt8Array:
        """Return image `index`, uint8 (H, W, C), decoded now."""
        return read_image(self._samples[index].image, channels=self.channels)

    def label(self, index: int) -> IntegerArray:
        """Return label map `index`, uint8 or uint16 (H, W), decoded now."""
        mask = self._samples[index].mask
        return self._encoding.encode(read_raw_mask(mask, colors=self._encoding.colors), source=str(mask))


def _splits(samples: Sequence[Sample]) -> dict[str, IndexArray] | None:
    found = {part: np.flatnonzero([sample.part == part for sample in samples]) for part in PARTS}
    return {part: indices for part, indices in found.items() if indices.size} or None


def load_folder(folder: Path, *, spec: str, classes: Classes | None = None) -> FolderDataset:
    """Load a folder in one of the arrangements of `segtool.data.layout`.

    Headers are read at once, so that images and masks of different sizes are found here; pixels only when needed
    (all masks once, where nothing describes which values they hold). `classes` are as in
    `segtool.data.loading.load_dataset`. Raise a DataError for files without a counterpart, of another size than it, or
    unreadable, and for masks whose values need a description.
    """
    listing = list_samples(folder)
    refuse(listing.problems, spec=spec)
    headers = [read_headers(sample) for sample in listing.samples]
    # Before the classes are derived from all masks, which would hide the fault of one mask.
    problems = file_problems(folder, headers)
    refuse(problems, spec=spec)
    description = describe_folder(folder, listing.samples, assumed=classes)
    for problem in (*listing.problems, *problems):
        logger.warning(problem.message)
    source = Origin(folder.resolve().name, spec, description.provenance)
    return FolderDataset(listing.samples, [one.image for one in headers], description=description, source=source)


def describe_folder(folder: Path, samples: Sequence[Sample], *, assumed: Classes | None = None) -> Metadata:
    """Return how to read a folder's masks: from its dataset.json or a list of another tool, else from what they hold.

    Values without a description are ids of the classes `assumed`, where those are given. Raise a DataError if a mask
    cannot be read, and an UndescribedError if its values need a dataset.json.
    """
    masks = [sample.mask for sample in samples]
    metadata = folder_metadata(folder, masks)
    if not isinstance(metadata, Metadata):
        try:
            return _undescribed(folder, masks, metadata, assumed)
        except (ColorMaskError, UndescribedError) as error:
            command = describe_command(folder)
            advice = "" if command in str(error) else f" `{command}` writes it, for you to correct."
            raise UndescribedError(f"{error}{advice}") from error
    if metadata.splits is not None:
        raise DataError(
            f"{metadata.file} has splits, which number the images of arrays, and this is a folder of files; put the "
            "files into train/, val/ and test/ instead, and take splits out."
        )
    return metadata


def describe_command(folder: Path) -> str:
    """Return the command that writes the dataset.json of a folder."""
    return f"segtool data describe {shlex.quote(str(folder))}"


def survey_folder(
    folder: Path, masks: Sequence[Path], listed: ClassList | None, *, assumed: Classes | None = None
) -> tuple[MaskValues, Metadata | None]:
    """Return what masks hold that only a list describes, if anything, and how they are read where that is clear.

    It is clear by a list that fits, and of binary masks that write the foreground in two ways. Raise a DataError if a
    mask cannot be read, is in colour or has soft edges, or if the palettes differ.
    """
    held = survey_masks(masks)
    refuse_differing_palettes(held.colors, source=str(folder))
    held.refuse_soft(source=str(folder), files=files_like(masks))
    named = listed.metadata(folder, held.first, grey=True) if listed and assumed is None else None
    if named is not None and len(named.classes.names) > 2:
        return held, named
    if mixed := held.mixed_binary(assumed, source=str(folder)):
        return held, mixed if named is None else replace(mixed, classes=replace(named.classes, ignore_id=None))
    return held, named


def _undescribed(folder: Path, masks: Sequence[Path], listed: ClassList | None, assumed: Classes | None) -> Metadata:
    held, found = survey_folder(folder, masks, listed, assumed=assumed)
    if found is not None:
        return found
    if assumed is None or not held.first or is_binary(held.values, assumed):
        return infer_metadata(held.values, source=str(folder))
    found = Metadata.of_ids(with_usual_ignore(assumed, held.values, source=str(folder)))
    unknown = found.encoding.unknown(held.values)
    if unknown.size:
        raise DataError(
            f"The masks of {folder} hold {found.encoding.refusal(unknown)}. Expected are the model's class ids; the "
            f"first mask with another value is {held.first[int(unknown[0])]}."
        )
    return found
