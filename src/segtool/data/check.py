"""Finding everything that is wrong with a data set, where loading it would stop at the first problem."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segtool.array_types import Int64Array
from segtool.data.base import PARTS
from segtool.data.check_sources import Checkable, CheckedSample, open_checkable
from segtool.data.classes import Classes
from segtool.data.mask_files import ColorMaskError
from segtool.data.problem import Problem, these
from segtool.data.split import training_split, unlabelled
from segtool.errors import DataError
from segtool.text import listed

Progress = Callable[[int, int], None]
_TOLD_APART = 8  # values: masks with more of them that stand for no class are one group, whatever they hold


@dataclass(frozen=True)
class CheckReport:
    """What is wrong with a data set."""

    spec: str
    images: int  # how many samples were looked at
    classes: Classes | None  # None where they are not known
    problems: tuple[Problem, ...]  # in the order of the samples

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def background_note(self) -> str:
        """Why the background is the class that it is, and how to change it; empty where the classes are not known."""
        return self.classes.background_note if self.classes else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report in plain Python types."""
        kinds = Counter(problem.kind for problem in self.problems)
        return {
            "spec": self.spec,
            "images": self.images,
            "classes": list(self.classes.names if self.classes else ()),
            "background": self.classes.background if self.classes else None,
            "background_note": self.background_note,
            "ok": self.ok,
            "counts": dict(sorted(kinds.items())),
            "problems": [asdict(problem) for problem in self.problems],
        }


def check_dataset(spec: str, *, progress: Progress | None = None) -> CheckReport:
    """Look at every sample of a data set and name all that is wrong.

    Found are: files without a counterpart or with two, unreadable files, what `segtool.data.file_faults` finds (sizes,
    lossy formats, orientations, pages, alpha, ranges), masks with soft edges, palettes that differ, label values that
    are no class (masks with the same ones together), classes that never occur (in training, where the data set has
    parts; not where label maps could not be read), images that are there twice (in two parts where the data set has
    parts; anywhere where it has none, since a random split may tear them apart), and parts that a training refuses.

    `spec` is as in `segtool.data.loading.load_dataset`; `progress` is called with (done, total) after each sample.
    Raise a DataError if there is nothing at `spec` that could be a data set at all.
    """
    found = open_checkable(spec)
    classes = found.description.classes if found.description else None
    problems = list(found.problems)
    seen = _Seen()
    for done, sample in enumerate(found.samples, start=1):
        problems += _check_sample(sample, found, seen)
        if progress is not None:
            progress(done, len(found.samples))
    problems += [fault.problem() for fault in seen.faults.values()]
    if classes is not None and not seen.unread:
        problems += _unlabelled(classes, seen, spec) or _absent(classes, seen, spec)
    if found.samples and not any(problem.kind == "parts" for problem in problems):
        problems += _untrainable(found, spec)
    return CheckReport(spec, len(found.samples), classes, tuple(problems))


@dataclass
class _MaskFault:
    """Masks that cannot be taken as labels for the same reason.

    `found` is what is wrong with the first, from "The mask x holds" (or "is": the verb) on.
    """

    verb: str
    found: str
    samples: list[CheckedSample] = field(default_factory=list)

    def problem(self) -> Problem:
        masks = [Path(sample.mask) for sample in self.samples]
        names = [sample.name for sample in self.samples]
        return Problem.of("values", names, f"{these('mask', masks, self.verb)} {self.found}.")


@dataclass
class _Seen:
    """What the samples so far held."""

    pixels: dict[str, Int64Array] = field(default_factory=dict)  # of each class, (K,), by part
    images: dict[bytes, CheckedSample] = field(default_factory=dict)  # the first of each digest
    faults: dict[Hashable, _MaskFault] = field(default_factory=dict)  # masks that are no labels
    unread: bool = False  # whether a label map could not be read


def _check_sample(sample: CheckedSample, data: Checkable, seen: _Seen) -> Iterator[Problem]:
    """Yield what is wrong with one sample, and note what it holds."""
    try:
        image = sample.image()
    except DataError as error:
        yield Problem("unreadable", sample.name, str(error))
    else:
        yield from _duplicate(sample, hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest(), seen)
    try:
        label = sample.raw_label()
    except ColorMaskError as error:
        _note(sample, seen, "colored", _MaskFault("is", error.found))
        return
    except DataError as error:
        seen.unread = True
        yield Problem("unreadable", sample.name, str(error))
        return
    if data.description is None:
        return
    encoding = data.description.encoding
    unknown = encoding.unknown(label)
    if unknown.size:
        if len(unknown) <= _TOLD_APART:
            _note(sample, seen, tuple(unknown.tolist()), _MaskFault("holds", encoding.refusal(unknown)))
        else:
            found = f"more values than there are classes, such as {encoding.refusal(unknown)}"
            _note(sample, seen, "many", _MaskFault("holds", found))
        return
    counts = data.description.classes.count(encoding.encode(label, source=sample.mask))
    seen.pixels[sample.part] = seen.pixels.get(sample.part, 0) + counts


def _note(sample: CheckedSample, seen: _Seen, key: Hashable, fault: _MaskFault) -> None:
    """Add a mask that is no labels to those with the same `key`."""
    seen.unread = True
    seen.faults.setdefault(key, fault).samples.append(sample)


def _duplicate(sample: CheckedSample, digest: bytes, seen: _Seen) -> Iterator[Problem]:
    first = seen.images.setdefault(digest, sample)
    if first is sample or (sample.part and first.part == sample.part):
        return
    where = f" of {first.part}" if first.part else ""
    risk = f"but is in {sample.part}" if sample.part else "and a random split may put one in each part"
    yield Problem(
        "duplicate",
        sample.name,
        f"{sample.name} has the same pixels as {first.name}{where}, {risk}; validation is only honest on images that "
        "were not trained on, remove one.",
    )


def _untrainable(data: Checkable, spec: str) -> list[Problem]:
    """Return what a training with no other option would refuse of the parts."""
    given = {part: np.flatnonzero([sample.part == part for sample in data.samples]) for part in PARTS}
    try:
        training_split(len(data.samples), {part: found for part, found in given.items() if found.size}, spec=spec)
    except DataError as error:
        return [Problem("parts", spec, str(error))]
    return []


def _unlabelled(classes: Classes, seen: _Seen, spec: str) -> list[Problem]:
    """Return the parts that a training needs and that have no pixel of any class."""
    return [
        Problem("unlabelled", part or spec, unlabelled(spec, part, classes.ignore_id))
        for part, pixels in seen.pixels.items()
        if part != "test" and not pixels.any()
    ]


def _absent(classes: Classes, seen: _Seen, spec: str) -> list[Problem]:
    """Return the classes that occur nowhere, or not in the training part, from which alone a network learns them."""
    everywhere = sum(seen.pixels.values(), np.zeros(len(classes.names), np.int64))
    learned = seen.pixels.get("train", everywhere)
    not_learned = np.flatnonzero((learned == 0) & (everywhere > 0)).tolist()
    nowhere = np.flatnonzero(everywhere == 0).tolist()
    return [
        Problem.of(
            "class",
            [classes.names[index] for index in missing],
            f"{_these_classes(classes, missing)} in no readable label map of {where}{spec}, expected some "
            "pixels of each; add images of it or remove the class.",
        )
        for missing, where in ((not_learned, "the training part of "), (nowhere, ""))
        if missing
    ]


def _these_classes(classes: Classes, indices: Sequence[int]) -> str:
    """Return the start of a sentence on classes: "Class 3 ('d') occurs", or "2 classes ('c', 'd') occur"."""
    names = listed([repr(classes.names[index]) for index in indices])
    return f"Class {indices[0]} ({names}) occurs" if len(indices) == 1 else f"{len(indices)} classes ({names}) occur"
