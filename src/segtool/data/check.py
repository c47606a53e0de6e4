"""Finding everything that is wrong with a data set, where loading it would stop at the first problem."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import IntegerArray
from segtool.data.array_dataset import SPLIT_NAMES
from segtool.data.check_masks import FaultyMasks
from segtool.data.check_sources import Entry, open_checkable
from segtool.data.classes import Classes
from segtool.data.mask_files import ColorMaskError
from segtool.data.problem import Problem
from segtool.data.training_parts import training_split, unlabelled
from segtool.errors import DataError

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CheckReport:
    """What is wrong with a data set.

    Attributes
    ----------
    spec
        The data set.
    images
        How many samples were looked at.
    classes
        The class names; empty where they are not known.
    problems
        Everything that was found, in the order of the samples; empty where nothing is wrong.
    background, background_note
        The class that foreground means leave out, None where there is none; and a sentence on why it is that one and
        how to change it; empty where the classes are not known.
    """

    spec: str
    images: int
    classes: tuple[str, ...]
    problems: tuple[Problem, ...]
    background: str | None = None
    background_note: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return the report in plain Python types."""
        kinds = sorted({problem.kind for problem in self.problems})
        return {
            "spec": self.spec,
            "images": self.images,
            "classes": list(self.classes),
            "background": self.background,
            "background_note": self.background_note,
            "ok": self.ok,
            "counts": {kind: sum(problem.kind == kind for problem in self.problems) for kind in kinds},
            "problems": [asdict(problem) for problem in self.problems],
        }


def check_dataset(spec: str, *, progress: Progress | None = None) -> CheckReport:
    """Look at every sample of a data set and name all that is wrong.

    Found are: files without a counterpart or with two, unreadable files, masks in a lossy format, masks of another size
    than their image, what `segtool.data.pixel_faults` finds (orientations, pages, alpha, ranges), masks with soft
    edges, palettes that differ, label values that are no class (masks with the same ones together), classes that never
    occur (in training, where the data set has parts; not where label maps could not be read), images that are there
    twice (in two parts where the data set has parts; anywhere where it has none, since a random split may tear them
    apart), and parts that a training refuses.

    Parameters
    ----------
    spec
        As in `segtool.data.loading.load_dataset`.
    progress
        Called with (done, total) after each sample.

    Raises
    ------
    DataError
        There is nothing at `spec` that could be a data set at all.
    """
    found = open_checkable(spec)
    problems = list(found.problems)
    classes = found.classes
    seen = _Seen(len(classes.names) if classes else 0)
    for done, entry in enumerate(found.entries, start=1):
        problems += _check_entry(entry, seen)
        if progress is not None:
            progress(done, len(found.entries))
    problems += seen.faulty.problems()
    if not seen.unread:
        problems += _absent(classes, seen, spec)
    if not any(problem.kind == "parts" for problem in problems):
        problems += _untrainable(found.entries, spec)
    if classes is None:
        return CheckReport(spec, len(found.entries), (), tuple(problems))
    background = None if classes.background_id is None else classes.names[classes.background_id]
    return CheckReport(spec, len(found.entries), classes.names, tuple(problems), background, classes.background_note)


class _Seen:
    """What the samples so far held: pixels of each class by part, the digest of each image, and masks with faults."""

    def __init__(self, num_classes: int) -> None:
        self.classes = num_classes
        self.pixels: dict[str, npt.NDArray[np.int64]] = {}
        self.images: dict[bytes, Entry] = {}
        self.faulty = FaultyMasks()
        self.unread = False

    def add(self, part: str, ids: IntegerArray) -> None:
        """Count the pixels of each class in one label map."""
        counts = np.bincount(ids.ravel(), minlength=self.classes)[: self.classes]
        self.pixels[part] = self.pixels.get(part, 0) + counts


def _check_entry(entry: Entry, seen: _Seen) -> Iterator[Problem]:
    """Yield what is wrong with one sample, and note what it holds."""
    try:
        image = entry.image()
    except DataError as error:
        yield Problem("unreadable", entry.name, str(error))
    else:
        yield from _duplicate(entry, hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest(), seen)
    try:
        label = entry.raw_label()
    except ColorMaskError as error:
        seen.unread = True
        seen.faulty.add_colored(entry.name, entry.mask, error)
        return
    except DataError as error:
        seen.unread = True
        yield Problem("unreadable", entry.name, str(error))
        return
    if entry.encoding is None:
        return
    unknown = entry.encoding.unknown(label)
    if unknown.size:
        seen.unread = True
        seen.faulty.add_unknown(entry.name, entry.mask, entry.encoding, unknown)
        return
    seen.add(entry.part, entry.encoding.encode(label, source=entry.mask))


def _duplicate(entry: Entry, digest: bytes, seen: _Seen) -> Iterator[Problem]:
    first = seen.images.setdefault(digest, entry)
    if first is entry or (entry.part and first.part == entry.part):
        return
    where = f" of {first.part}" if first.part else ""
    risk = f"but is in {entry.part}" if entry.part else "and a random split may put one in each part"
    yield Problem(
        "duplicate",
        entry.name,
        f"{entry.name} has the same pixels as {first.name}{where}, {risk}; validation is only honest on images that "
        "were not trained on, remove one.",
    )


def _untrainable(entries: Sequence[Entry], spec: str) -> list[Problem]:
    """Return what a training with no other option would refuse of the parts."""
    given = {
        part: np.array([index for index, entry in enumerate(entries) if entry.part == part], np.intp)
        for part in SPLIT_NAMES
    }
    try:
        if entries:
            training_split(len(entries), {part: found for part, found in given.items() if found.size}, spec=spec)
    except DataError as error:
        return [Problem("parts", spec, str(error))]
    return []


def _unlabelled(classes: Classes, seen: _Seen, spec: str) -> list[Problem]:
    """Return the parts that a training needs and that have no pixel of any class."""
    found = {part: pixels for part, pixels in seen.pixels.items() if part in ("", "train", "val")}
    return [
        Problem("unlabelled", part or spec, unlabelled(spec, part, classes.ignore_id))
        for part, pixels in found.items()
        if not pixels.any()
    ]


def _absent(classes: Classes | None, seen: _Seen, spec: str) -> list[Problem]:
    """Return the classes that occur nowhere, or not in the training part, from which alone a network learns them."""
    if classes is not None and (nothing_at_all := _unlabelled(classes, seen, spec)):
        return nothing_at_all
    names: Sequence[str] = classes.names if classes else ()
    nothing = np.zeros(len(names), np.int64)
    everywhere = sum(seen.pixels.values(), nothing)
    learned = seen.pixels.get("train", everywhere)
    return [
        Problem(
            "class",
            name,
            f"Class {index} ({name!r}) of {spec} occurs in no readable label map"
            f"{' of the training part' if everywhere[index] else ''}, expected some pixels of it; add images of it or "
            "remove the class.",
        )
        for index, name in enumerate(names)
        if not learned[index]
    ]
