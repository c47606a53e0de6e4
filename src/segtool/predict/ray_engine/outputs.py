"""The output folder of a prediction on a cluster: a folder that all nodes share, or a place of fsspec."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from segtool.errors import DataError, OutputExistsError, OutputWriteError
from segtool.files import TEMPORARY, refuse_existing, write_error
from segtool.predict.ray_engine.storage import Place, is_url, open_url

Result = TypeVar("Result")


@dataclass(frozen=True)
class OutputFolder:
    """The output folder; it can be pickled.

    Attributes
    ----------
    place
        An absolute path, or a place of fsspec.
    scratch
        A folder in it for the unfinished files of this run. The run removes it, with the files of lost nodes. A node
        detects by it that the folder is shared. Empty if nothing is written.
    """

    place: Path | Place
    scratch: str = ""

    @property
    def name(self) -> str:
        """The path, or the URL without a password."""
        return str(self.place) if isinstance(self.place, Path) else self.place.url

    def write(self, names: Iterable[str], write: Callable[[Path], Result]) -> Result:
        """Call `write` to write the files `names` into a folder, and move each complete file here.

        Return the result of `write`.

        Raises
        ------
        OutputWriteError
            One could not be written.
        """
        if isinstance(self.place, Path):
            return self._write_local(self.place, names, write)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
            result = write(Path(folder))
            for name in names:
                unfinished = self.place.below(f"{self.scratch}/{secrets.token_hex(8)}{PurePosixPath(name).suffix}")
                self.place.below(name).put(Path(folder, name), through=unfinished)
        return result

    def _write_local(self, place: Path, names: Iterable[str], write: Callable[[Path], Result]) -> Result:
        folder = target = place / self.scratch / secrets.token_hex(8)
        try:
            folder.mkdir()  # without parents: after the run, a node that was considered lost must not write
            result = write(folder)
            for target in map(place.joinpath, names):
                target.parent.mkdir(parents=True, exist_ok=True)
                (folder / target.relative_to(place)).replace(target)
        except OSError as error:
            raise write_error(target, error) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return result

    def require_shared(self) -> None:
        """Refuse a node on which this path is another folder.

        Raises
        ------
        OutputWriteError
            The scratch folder does not exist.
        """
        if isinstance(self.place, Path) and not (self.place / self.scratch).is_dir():
            raise OutputWriteError(
                f"{self.place} is not the same folder on every node; choose an --out on a file system that they share, "
                "or a URL."
            )


def open_output(out: str) -> OutputFolder:
    """Return the output folder of --out.

    Raises
    ------
    DataError
        It is a URL that cannot be opened, or to which several processes cannot write.
    MissingExtraError
        A package that its protocol needs is not installed.
    """
    if not is_url(out):
        return OutputFolder(Path(out).absolute())
    place = open_url(out)
    if "::" in out or place.protocol in ("memory", "zip", "tar"):
        raise DataError(f"{out} cannot be written by several processes; choose a folder or a bucket.")
    return OutputFolder(place)


def refuse_outputs(
    folder: OutputFolder, names: Iterable[str], inputs: Iterable[Path | Place], *, overwrite: bool
) -> None:
    """Before the run, refuse outputs that exist and outputs that are also inputs.

    Raises
    ------
    DataError
        An output would replace an input.
    OutputExistsError
        An output exists, and `overwrite` is false.
    """
    place = folder.place
    if isinstance(place, Path):
        files = {path.resolve() for path in inputs if isinstance(path, Path)}
        for path in map(place.joinpath, names):
            _refuse_input(path, is_input=path.resolve() in files)
            refuse_existing(path, overwrite=overwrite)
        return
    urls = {one.url for one in inputs if isinstance(one, Place)}
    existing = {one.path for one in place.files_below()}
    for target in map(place.below, names):
        _refuse_input(target.url, is_input=target.url in urls)
        if target.path in existing and not overwrite:
            raise OutputExistsError(
                f"{target.url} already exists and was not changed; pass --overwrite to replace it, or choose another "
                "--out."
            )


@contextmanager
def with_scratch(folder: OutputFolder) -> Iterator[OutputFolder]:
    """Yield the folder with a scratch folder in it; the scratch folder is removed at the end of the block.

    Raises
    ------
    OutputWriteError
        It could not be created.
    """
    scratch, place = f"{TEMPORARY}{secrets.token_hex(8)}", folder.place
    if isinstance(place, Path):
        try:
            (place / scratch).mkdir(parents=True)
        except OSError as error:
            raise write_error(place / scratch, error) from error
    try:
        yield OutputFolder(place, scratch)
    finally:
        if isinstance(place, Path):
            shutil.rmtree(place / scratch, ignore_errors=True)
        else:
            place.below(scratch).remove()


def _refuse_input(target: object, *, is_input: bool) -> None:
    if is_input:
        raise DataError(f"The output {target} would replace an input; choose another folder with --out.")
