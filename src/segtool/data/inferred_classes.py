"""Classes of masks and label maps that nothing describes, by the values that they hold."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

from segtool.array_types import Int64Array, IntegerArray
from segtool.data.classes import USUAL_IGNORE, Classes, Encoding, numbered_classes
from segtool.data.metadata import Metadata
from segtool.errors import DataError

logger = logging.getLogger(__name__)
BINARY_CLASSES = Classes(("background", "foreground"), background_id=0, background_assumed=True)
"""Of masks that hold 0 and one other value."""
BINARY_MAXIMA = (255, 65535)
"""What the foreground is in a binary mask that uses the whole range of 8 or 16 bits."""
_MOST_SHOWN = 32  # classes in a suggested description
_FAR_BELOW_IGNORE = 63
"""Where all other values are at most this, a 255 is what is ignored, and no class that is written as white."""


class UndescribedError(DataError):
    """Masks that need a dataset.json, and have none."""


def is_binary(values: IntegerArray, classes: Classes | None = None) -> bool:
    """Return whether labels are 0 and the maximum of 8 or 16 bits alone, unless `classes` ignore that maximum."""
    ignored = None if classes is None else classes.ignore_id
    return any(values.tolist() == [0, most] and most != ignored for most in BINARY_MAXIMA)


def with_usual_ignore(classes: Classes, values: IntegerArray, *, source: str) -> Classes:
    """Return classes for labels that hold `values`: a 255 among them is ignored where the classes say nothing else."""
    if classes.ignore_id is not None or len(classes.names) > USUAL_IGNORE or USUAL_IGNORE not in values:
        return classes
    logger.warning(
        "The masks of %s hold 255, which is none of the model's classes: it is taken as what to ignore; a dataset.json "
        "can say otherwise.",
        source,
    )
    return replace(classes, ignore_id=USUAL_IGNORE)


def infer_metadata(values: Int64Array, *, source: str) -> Metadata:
    """Derive the classes from the values that the masks hold, where nothing describes them.

    0..K-1 without a gap are class ids, with class 0 as the background; a 255 beside them is ignored, as everywhere in
    the field, with a warning. Exactly 0 and 255 (or 65535, of 16 bits) are a binary mask. Any other values raise a
    DataError with the dataset.json to write; of two classes or more it is an UndescribedError.
    """
    found = values.tolist()
    if not found:
        raise DataError(f"{source} has no mask that could be read, expected one at least; add masks.")
    if is_binary(values):
        return Metadata(BINARY_CLASSES, Encoding.of({0: 0, found[1]: 1}))
    bordered = found[-1] == USUAL_IGNORE and not _are_ids(found)
    ids = found[:-1] if bordered else found
    if not _are_ids(ids):
        undescribed = set(found) - {usually_ignored(found)}
        raise (UndescribedError if len(undescribed) > 1 else DataError)(_describe_yourself(found, source))
    if bordered:
        logger.warning(
            "The masks of %s hold the ids 0..%d and 255: 255 is taken as what to ignore; a dataset.json can say "
            "otherwise.",
            source,
            ids[-1],
        )
    return Metadata.of_ids(numbered_classes(len(ids), ignore_id=USUAL_IGNORE if bordered else None))


def _are_ids(values: list[int]) -> bool:
    return len(values) > 1 and values == list(range(len(values)))


def _describe_yourself(found: list[int], source: str) -> str:
    """Return the message for values that need a description, with a description that fits them."""
    shown = f"{found[:12]} and {len(found) - 12} more" if len(found) > 12 else f"{found}"
    ignored = usually_ignored(found)
    ids = [value for value in found if value != ignored]
    if len(ids) == 1:  # a description needs two classes
        ids = [0, ids[0] or 1]
    start = (
        f"The masks of {source} hold the values {shown}, expected class ids 0..K-1 without a gap (two classes or more) "
        "or 0 and 255; "
    )
    if len(found) == 1:
        start += "one value alone leaves nothing to learn: correct the masks, or, if they lack a class only here, "
    if len(ids) > _MOST_SHOWN:
        first = f'{{"classes": [{{"name": "...", "value": {ids[0]}}}, ...]}}'
        return f"{start}name the {len(ids)} classes in a dataset.json: {first}."
    classes = [{"name": f"class {value}" if value else "background", "value": value} for value in ids]
    return f"{start}write a dataset.json beside them: {json.dumps({'classes': classes, 'ignore_id': ignored})}."


def usually_ignored(found: list[int]) -> int | None:
    """Return which of the sorted values is ignored, if two classes are left: one below 0, or a 255 far above others."""
    if found[0] < 0:
        return found[0] if len(found) > 2 else None
    rest = found[:-1]
    far_above = len(rest) > 1 and not _are_ids(found) and rest[-1] <= max(2 * len(rest), _FAR_BELOW_IGNORE)
    return found[-1] if far_above and found[-1] == USUAL_IGNORE else None
