"""From what the user named to a data set."""

from __future__ import annotations

from pathlib import Path

from segtool.data.array_files import IMAGES_FILE, LABELS_FILE, holds_arrays
from segtool.data.array_loading import load_arrays
from segtool.data.base import Dataset
from segtool.data.class_lists import class_list_files
from segtool.data.classes import Classes
from segtool.data.convert import outlines_problem
from segtool.data.folder import load_folder
from segtool.data.generator import GENERATOR_NAME, generate, parse_count
from segtool.data.layout import find_places, folders_in
from segtool.data.listing_faults import renaming
from segtool.data.metadata import FILE_NAME
from segtool.data.split import VAL_SPLIT
from segtool.errors import DataError

_MOST_FOLDERS = 50  # of a wrong folder, in which the right one is looked for
_EXPECTED = (
    "a folder with combined.npy and segmented.npy, an .npz with images and labels, "
    f"a folder with images/ and masks/ (or train/ and val/ above them, or train/ beside trainannot/), or "
    f"{GENERATOR_NAME}[:N]"
)


def load_dataset(
    spec: str, *, seed: int = 0, val_split: float = VAL_SPLIT, test_split: float = 0.0, classes: Classes | None = None
) -> Dataset:
    """Load a data set, recognised by what is there.

    Parameters
    ----------
    spec
        A folder with combined.npy and segmented.npy; an .npz with images and labels; a folder with images/ and
        masks/ (or another of the arrangements in `segtool.data.layout`); or ``m2nist-synthetic[:N]`` for the generator.
    seed, val_split, test_split
        Seed and shares for the generator, which composes each part of digits of its own. Files are not split here.
    classes
        Those of the model that the data are for: what the ids of data mean that do not say it themselves. None to
        derive the classes from the ids.

    Raises
    ------
    DataError
        There is nothing there, or nothing that is a data set.
    """
    if is_generated(spec):
        return generate(parse_count(spec), seed=seed, val_split=val_split, test_split=test_split)
    path = Path(spec).expanduser()
    if not spec or not path.exists():
        raise DataError(f"{spec!r} does not exist, expected {_EXPECTED}; check the path.")
    if holds_arrays(path):
        return load_arrays(path, spec=spec, classes=classes)
    if path.is_file():
        kind = f"a {path.suffix} file" if path.suffix else "a file without a suffix"
        raise DataError(f"{spec} is {kind}, expected {_EXPECTED}; convert it to one of these.")
    if find_places(path):
        return load_folder(path, spec=spec, classes=classes)
    if (outlines := outlines_problem(path)) is not None:
        raise DataError(outlines.message)
    below = [folder for folder in (*folders_in(path), *_second_level(path)) if find_places(folder)]
    if below:
        advice = f"name the folder that has them, such as {below[0]}."
    else:
        advice = renaming(path) or "name the folder or file that has them."
    raise DataError(f"{spec} has {_contents(path)}, expected {_EXPECTED}; {advice}")


def is_generated(spec: str) -> bool:
    """Return whether a data set is composed when it is asked for, and lies in no file."""
    return spec.split(":", maxsplit=1)[0] == GENERATOR_NAME


def paths_of(spec: str) -> list[Path]:
    """Return what is read of a data set: files, which may not be there, and folders that are read as a whole."""
    path = Path(spec).expanduser()
    if is_generated(spec) or not spec or not path.exists():
        return []
    if path.is_file():
        return [path, path.with_suffix(".json"), path.parent / FILE_NAME]
    read = [one for place in find_places(path) for one in (place.images, place.masks, place.names) if one is not None]
    return [*read, *class_list_files(path), *(path / name for name in (IMAGES_FILE, LABELS_FILE, FILE_NAME))]


def _second_level(folder: Path) -> list[Path]:
    return [below for entry in folders_in(folder)[:_MOST_FOLDERS] for below in folders_in(entry)[:_MOST_FOLDERS]]


def _contents(folder: Path) -> str:
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir())
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return f"only {shown}" if names else "nothing in it"
