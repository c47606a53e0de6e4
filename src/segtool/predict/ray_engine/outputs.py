"""Where the outputs of a prediction on a cluster go: a folder that all nodes share, or a place of fsspec."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segtool.errors import DataError, OutputExistsError, OutputWriteError
from segtool.files import TEMPORARY, refuse_existing, write_error
from segtool.predict.ray_engine.storage import Place, is_url, open_url


@dataclass(frozen=True)
class OutputFolder:
    """Where outputs go; it can be pickled.

    Attributes
    ----------
    place
        An absolute path, or a place of fsspec.
    scratch
        The folder in it for what is not finished, of this run alone, so that what a lost node leaves can be removed; by
        it a node also sees that the folder is the same one there. Empty where nothing is to be written.
    """

    place: Path | Place
    scratch: str = ""

    @property
    def name(self) -> str:
        """The path, or the URL without a password."""
        return str(self.place) if isinstance(self.place, Path) else self.place.url

    def write(self, names: Iterable[str], write: Callable[[Path], object]) -> None:
        """Have `write` write the files `names` into a folder, and bring them here, each whole or not at all.

        Raises
        ------
        OutputWriteError
            One could not be written.
        """
        if isinstance(self.place, Path):
            self._write_local(self.place, names, write)
            return
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
            write(Path(folder))
            for name in names:
                unfinished = self.place.below(f"{self.scratch}/{secrets.token_hex(8)}{PurePosixPath(name).suffix}")
                self.place.below(name).put(Path(folder, name), through=unfinished)

    def _write_local(self, place: Path, names: Iterable[str], write: Callable[[Path], object]) -> None:
        folder = place / self.scratch / secrets.token_hex(8)
        target = folder
        try:
            folder.mkdir()  # without parents: once the run is over, a node that was taken for lost writes nothing
            write(folder)
            for target in map(place.joinpath, names):
                target.parent.mkdir(parents=True, exist_ok=True)
                (folder / target.relative_to(place)).replace(target)
        except OSError as error:
            raise write_error(target, error) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def require_shared(self) -> None:
        """Refuse a node on which this is another folder, so that nothing is written where nobody looks for it.

        Raises
        ------
        OutputWriteError
            It is.
        """
        if isinstance(self.place, Path) and not (self.place / self.scratch).is_dir():
            raise OutputWriteError(
                f"{self.place} is not the same folder on every node; choose an --out on a file system that they share, "
                "or a URL."
            )


def open_output(out: str) -> OutputFolder:
    """Return the folder that --out names.

    Raises
    ------
    DataError
        It is a URL that cannot be opened, or of something that several processes cannot write to.
    MissingExtraError
        A package that its protocol needs is not installed.
    """
    if not is_url(out):
        return OutputFolder(Path(out).absolute())
    place = open_url(out)
    if "::" in out or place.protocol in ("memory", "zip", "tar"):
        raise DataError(f"{out} is no place that several processes can write to; choose a folder or a bucket.")
    return OutputFolder(place)


def refuse_outputs(
    folder: OutputFolder, names: Iterable[str], inputs: Iterable[Path | Place], *, overwrite: bool
) -> None:
    """Refuse, before anything runs, outputs that are also inputs and outputs that are there.

    Raises
    ------
    DataError
        An output would replace an input.
    OutputExistsError
        One is there, and `overwrite` is false.
    """
    place = folder.place
    if isinstance(place, Path):
        taken = {path.resolve() for path in inputs if isinstance(path, Path)}
        for target in (place / name for name in names):
            _refuse_input(target, is_input=target.resolve() in taken)
            refuse_existing(target, overwrite=overwrite)
        return
    urls = {one.url for one in inputs if isinstance(one, Place)}
    there = set(place.files_below())
    for one in map(place.below, names):
        _refuse_input(one.url, is_input=one.url in urls)
        if one.path in there and not overwrite:
            raise OutputExistsError(
                f"{one.url} already exists and is left as it is; pass --overwrite to replace it, or choose another "
                "--out."
            )


@contextmanager
def with_scratch(folder: OutputFolder) -> Iterator[OutputFolder]:
    """Give the folder with a scratch folder in it, which is removed behind the block with what nodes left there.

    Raises
    ------
    OutputWriteError
        It could not be made.
    """
    scratch = f"{TEMPORARY}{secrets.token_hex(8)}"
    if isinstance(folder.place, Place):
        try:
            yield OutputFolder(folder.place, scratch)
        finally:
            folder.place.below(scratch).remove()
        return
    path = folder.place / scratch
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise write_error(path, error) from error
    try:
        yield OutputFolder(folder.place, scratch)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _refuse_input(target: object, *, is_input: bool) -> None:
    if is_input:
        raise DataError(f"The output {target} would replace an input; choose another folder with --out.")
