"""The classes of a data set: names, background, ignored value, and how masks encode them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segtool.array_types import AnyArray, Int64Array, IntegerArray
from segtool.errors import DataError
from segtool.images.arrays import count_labels

M2NIST_BACKGROUND = 10
MAX_LABEL = 65535
USUAL_IGNORE = 255
_MANY_BETWEEN = 16  # values that stand for no class: more than labels that were forgotten


@dataclass(frozen=True)
class Classes:
    """Names and special ids of a data set's labels.

    Attributes
    ----------
    names
        Name of class id 0, 1, ...
    background_id
        The class that foreground means leave out; None where there is none.
    ignore_id
        The label value that counts nowhere, outside 0..K-1; None where there is none.
    background_assumed
        Whether nothing names the background: it is then the class of the value 0, as is usual in the field.
    """

    names: tuple[str, ...]
    background_id: int | None = None
    ignore_id: int | None = None
    background_assumed: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        count = len(self.names)
        if count < 2 or len(set(self.names)) != count:
            raise DataError(
                f"A data set needs two classes or more with different names, found {list(self.names)}; "
                "name each class once."
            )
        if self.background_id is not None and not 0 <= self.background_id < count:
            raise DataError(
                f"The background id {self.background_id} is no class, expected 0..{count - 1}; name a class."
            )
        if self.ignore_id is not None and not count <= self.ignore_id <= MAX_LABEL:
            raise DataError(
                f"The ignore id {self.ignore_id} is not usable, expected a value outside the class ids, in "
                f"{count}..{MAX_LABEL}; 255 is common."
            )

    @property
    def largest_label(self) -> int:
        """The largest value that a label may have."""
        return max(len(self.names) - 1, self.ignore_id or 0)

    @property
    def background(self) -> str | None:
        """The name of the background."""
        return None if self.background_id is None else self.names[self.background_id]

    @property
    def background_note(self) -> str:
        """Which class is the background, why, and how to change it: one sentence."""
        name = self.background
        if name is None:
            return (
                "No class is the background, so foreground means are over all classes; the key background of a "
                "dataset.json names one."
            )
        if not self.background_assumed:
            return f"{name!r} is the background, which foreground means leave out."
        return (
            f"Nothing says which class is the background, which foreground means leave out: {name!r} (the value 0) is "
            "taken; the key background of a dataset.json names another, or null for none."
        )

    def count(self, labels: IntegerArray) -> Int64Array:
        """Return the number of pixels of each class, int64 (K,), in labels of any shape; the ignore id is no class."""
        return count_labels(labels, len(self.names))


M2NIST_CLASSES = Classes((*(str(digit) for digit in range(10)), "background"), background_id=M2NIST_BACKGROUND)


@dataclass(frozen=True)
class Encoding:
    """Which raw value (or colour) of a mask stands for which label."""

    keys: Int64Array  # (M,), sorted: raw values, or colours packed by `pack_colors`
    labels: Int64Array  # (M,): the label of each key
    colors: bool = False  # whether the keys are colours
    described_in: str = "dataset.json"  # the file that says so, or that could

    @classmethod
    def of(cls, pairs: dict[int, int], *, colors: bool = False, described_in: str = "dataset.json") -> Encoding:
        """Make an encoding from {raw value or packed colour: label}."""
        keys = sorted(pairs)
        return cls(np.array(keys, np.int64), np.array([pairs[key] for key in keys], np.int64), colors, described_in)

    def encode(self, raw: AnyArray, *, source: str) -> IntegerArray:
        """Return the labels, uint8 or uint16 (..., H, W), of raw mask values.

        `raw` holds integers (..., H, W), or uint8 (..., H, W, 3) where the keys are colours. Raise a DataError that
        names the mask `source` if some of them stand for no class.
        """
        position, unknown = self._look_up(raw)
        if unknown.size:
            raise DataError(f"The mask {source} holds {self.refusal(unknown)}.")
        labels: IntegerArray = self.labels.astype(np.uint8 if self.labels.max() <= 255 else np.uint16)
        return np.take(labels, position)

    def unknown(self, raw: AnyArray) -> Int64Array:
        """Return the sorted raw values (or packed colours) of a mask, as `encode` takes it, that stand for no class."""
        return self._look_up(raw)[1]

    def refusal(self, unknown: Int64Array) -> str:
        """Return what is wrong with a mask that holds `unknown`: the sentence goes on from "The mask holds"."""
        between = unknown[(unknown > self.keys.min()) & (unknown < self.keys.max())]
        soft = not self.colors and between.size >= _MANY_BETWEEN
        cause = " (many values between those of two classes: soft edges, as interpolation and JPEG leave them)"
        return (
            f"{self._show(unknown)}, expected only {self._show(self.keys)}{cause if soft else ''}; correct the mask or "
            f"describe what it holds in {self.described_in} (classes, {'ignore_color' if self.colors else 'ignore_id'})"
        )

    def _look_up(self, raw: AnyArray) -> tuple[npt.NDArray[np.intp], Int64Array]:
        """Return where each pixel stands in the keys, and the values that stand nowhere in them."""
        values = pack_colors(raw) if self.colors else raw
        position = np.searchsorted(self.keys, values).clip(max=len(self.keys) - 1)
        return position, np.unique(values[self.keys[position] != values]).astype(np.int64)

    def _show(self, values: AnyArray) -> str:
        shown = [str(list(unpack_color(int(value)))) if self.colors else str(int(value)) for value in values[:12]]
        more = f" and {len(values) - 12} more" if len(values) > 12 else ""
        kind = "colour" if self.colors else "value"
        return f"the {kind}{'' if len(values) == 1 else 's'} {', '.join(shown)}{more}"


def identity_encoding(classes: Classes) -> Encoding:
    """Return the encoding of labels that are ids already."""
    ids = {index: index for index in range(len(classes.names))}
    return Encoding.of(ids if classes.ignore_id is None else {**ids, classes.ignore_id: classes.ignore_id})


def pack_colors(raw: AnyArray) -> Int64Array:
    """Return uint8 colours (..., 3) as one integer each: red * 65536 + green * 256 + blue."""
    wide = raw.astype(np.int64)
    packed: Int64Array = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
    return packed


def unpack_color(packed: int) -> tuple[int, int, int]:
    """Return the (red, green, blue) of a colour packed by `pack_colors`."""
    return packed >> 16, packed >> 8 & 255, packed & 255


def numbered_classes(count: int, *, ignore_id: int | None = None) -> Classes:
    """Return the classes "class 0", "class 1", ... with class 0 as the background."""
    names = tuple(f"class {index}" for index in range(count))
    return Classes(names, background_id=0, ignore_id=ignore_id, background_assumed=True)


def background_of(names: Sequence[str]) -> int | None:
    """Return the class that is called background, in any case and as other tools write it; None where none is."""
    return next((index for index, name in enumerate(names) if is_background(name)), None)


def is_background(name: str) -> bool:
    """Return whether a class is called background: also bg, LabelMe's _background_ or torchvision's __background__."""
    return name.strip().strip("_").lower() in ("background", "bg")
