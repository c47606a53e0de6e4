"""A folder of image files and mask files, read when they are needed."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segtool.array_types import IntegerArray, UInt8Array
from segtool.data.base import Dataset, Size, Source
from segtool.data.class_lists import folder_metadata, named_by_position
from segtool.data.classes import (
    Classes,
    Encoding,
    UndescribedError,
    identity_encoding,
    infer_encoding,
    is_binary,
    with_usual_ignore,
)
from segtool.data.headers import Header
from segtool.data.layout import PARTS
from segtool.data.listing import Sample, is_image_folder, list_samples
from segtool.data.lossy import lossy_masks
from segtool.data.mask_files import ColorMaskError, read_raw_mask, survey_masks
from segtool.data.mask_values import SoftMasksError, refuse_differing_palettes
from segtool.data.metadata import FILE_NAME, Metadata
from segtool.data.pixel_faults import pixel_problems, size_problems
from segtool.data.problem import refuse
from segtool.data.sample_headers import files_like, read_pair
from segtool.errors import DataError
from segtool.images.image_io import read_image

logger = logging.getLogger(__name__)

__all__ = ["Description", "FolderDataset", "describe_folder", "is_image_folder", "load_folder"]


@dataclass(frozen=True)
class Description:
    """How the files of a folder are read.

    Attributes
    ----------
    classes, encoding
        The classes, and which raw value or colour of a mask stands for which.
    channels
        1 or 3 where dataset.json says so; None to go by the files: grey only where all images are grey.
    provenance
        What dataset.json says of the origin.
    """

    classes: Classes
    encoding: Encoding
    channels: int | None
    provenance: dict[str, object]


class FolderDataset(Dataset):
    """Image and mask files that are decoded when a sample is asked for.

    Parameters
    ----------
    samples
        The files, in order.
    headers
        The header of each image.
    description
        How masks are read.
    source
        Where the folder is.
    """

    def __init__(
        self, samples: Sequence[Sample], headers: Sequence[Header], *, description: Description, source: Source
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


def load_folder(folder: Path, *, spec: str, classes: Classes | None = None) -> FolderDataset:
    """Load a folder with images/ and masks/, or with train/, val/ and test/ above them.

    Headers are read at once, so that images and masks of different sizes are found here; pixels only when needed
    (all masks once, where no dataset.json says which values they hold). `classes` are as in
    `segtool.data.loading.load_dataset`.

    Raises
    ------
    DataError
        Files without a counterpart, of another size than it, unreadable, or masks whose values are not described.
    """
    listing = list_samples(folder)
    refuse(listing.problems, spec=spec)
    for note in listing.notes:
        logger.warning(note)
    lossy = lossy_masks([sample.mask for sample in listing.samples])
    pairs = [read_pair(sample) for sample in listing.samples]
    # Before the classes are derived from all masks, which would hide the fault of one mask.
    refuse(size_problems(pairs), spec=spec)
    problems = pixel_problems(folder, pairs)
    refuse(problems, spec=spec)
    try:
        description = describe_folder(folder, listing.samples, assumed=classes)
    except SoftMasksError:
        raise  # says how to make ids of what JPEG left
    except DataError as error:
        if lossy and not (folder / FILE_NAME).is_file():
            raise DataError(lossy) from error  # values that JPEG made are no classes to describe
        raise
    for problem in (*listing.problems, *problems):
        logger.warning(problem.message)
    if lossy:
        logger.warning(lossy)
    source = Source(folder.resolve().name, spec, description.provenance)
    return FolderDataset(listing.samples, [pair.image for pair in pairs], description=description, source=source)


def describe_folder(folder: Path, samples: Sequence[Sample], *, assumed: Classes | None = None) -> Description:
    """Tell how to read a folder's masks: from its dataset.json or a list of another tool, else from what they hold.

    Values without a description are ids of the classes `assumed`, where those are given.

    Raises
    ------
    DataError
        There is no dataset.json and the values do not speak for themselves, or a mask cannot be read.
    """
    metadata = folder_metadata(folder, [sample.mask for sample in samples])
    if metadata is not None:
        _refuse_splits(metadata)
        return Description(metadata.classes, metadata.encoding, metadata.channels, dict(metadata.provenance))
    try:
        return _undescribed(folder, samples, assumed)
    except (ColorMaskError, UndescribedError) as error:
        command = describe_command(folder)
        advice = "" if command in str(error) else f" `{command}` writes it, for you to correct."
        raise UndescribedError(f"{error}{advice}") from error


def describe_command(folder: Path) -> str:
    """Return the command that writes the dataset.json of a folder."""
    return f"segtool data describe {shlex.quote(str(folder))}"


def _undescribed(folder: Path, samples: Sequence[Sample], assumed: Classes | None) -> Description:
    """Return how to read masks that nothing describes, except a list of names."""
    survey = survey_masks(sample.mask for sample in samples)
    refuse_differing_palettes(survey.colors, source=str(folder))
    survey.values.refuse_soft(source=str(folder), files=files_like([sample.mask for sample in samples]))
    masks, values = survey.values.first, survey.values.values
    if assumed is None and (named := named_by_position(folder, masks)) is not None:
        return Description(named.classes, named.encoding, None, {})
    if mixed := survey.values.mixed_binary(assumed, source=str(folder)):
        classes, encoding = mixed
    elif assumed is None or not masks or is_binary(values, assumed):
        classes, encoding = infer_encoding(values, source=str(folder))
    else:
        classes = with_usual_ignore(assumed, values, source=str(folder))
        encoding = identity_encoding(classes)
        _refuse_foreign(masks, classes)
    return Description(classes, encoding, None, {})


def _refuse_foreign(masks: Mapping[int, str], classes: Classes) -> None:
    """Refuse values that are no id of a model's classes, by the first mask that holds any."""
    known = {*range(len(classes.names)), classes.ignore_id}
    foreign = [value for value in masks if value not in known]
    if not foreign:
        return
    first = masks[foreign[0]]
    held = sorted(value for value in foreign if masks[value] == first)
    more = f" and {len(held) - 12} more" if len(held) > 12 else ""
    ignored = "" if classes.ignore_id is None else f" and {classes.ignore_id} (ignored)"
    raise DataError(
        f"The mask {first} holds {', '.join(map(str, held[:12]))}{more}, expected the model's class ids "
        f"0..{len(classes.names) - 1}{ignored}; correct the mask, or say which value is which class in a dataset.json: "
        '{"classes": [{"name": "...", "value": 0}, ...]}.'
    )


def _refuse_splits(metadata: Metadata) -> None:
    if metadata.splits is not None:
        raise DataError(
            f"{metadata.file} has splits, which number the images of arrays, and this is a folder of files; put the "
            "files into train/, val/ and test/ instead, and take splits out."
        )


def _splits(samples: Sequence[Sample]) -> dict[str, npt.NDArray[np.intp]] | None:
    if not any(sample.part for sample in samples):
        return None
    found = {part: [i for i, sample in enumerate(samples) if sample.part == part] for part in PARTS}
    return {part: np.array(indices, np.intp) for part, indices in found.items() if indices}
