"""The output folder of a prediction on a cluster: a folder that all nodes share, or a URL."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from segtool.errors import DataError, OutputExistsError, OutputWriteError
from segtool.files import TEMPORARY, temporary_folder, write_error
from segtool.predict.ray_engine.storage import Location, open_location

Result = TypeVar("Result")


@dataclass(frozen=True)
class OutputFolder:
    """The output folder; it can be pickled."""

    place: Location
    scratch: str = ""
    """The name of the folder in it for the unfinished files of this run; empty before the run, and for remote places.

    The run removes it, with the files of lost nodes. A node detects by it that the folder is shared.
    """

    @contextmanager
    def with_scratch(self) -> Iterator[OutputFolder]:
        """Yield the folder with a scratch folder in it, which is removed at the end of the block.

        Raises
        ------
        OutputWriteError
            It could not be created.
        """
        if not self.place.is_local:
            yield self
            return
        scratch = Path(self.place.path, f"{TEMPORARY}{secrets.token_hex(8)}")
        try:
            scratch.mkdir(parents=True)
        except OSError as error:
            raise write_error(self.place.name, error) from error
        try:
            yield replace(self, scratch=scratch.name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def require_shared(self) -> None:
        """Refuse a node on which this path is another folder, with an OutputWriteError."""
        if self.place.is_local and not Path(self.place.path, self.scratch).is_dir():
            raise OutputWriteError(
                f"{self.place.name} is not the same folder on every node; choose an --out on a file system that they "
                "share, or a URL."
            )

    def refuse_outputs(self, names: Iterable[str], inputs: Iterable[Location], *, overwrite: bool) -> None:
        """Before the run, refuse outputs that are also inputs (DataError) or that exist (OutputExistsError)."""
        taken = {_identity(one) for one in inputs}
        listed = set() if self.place.is_local else {one.path for one in self.place.files_below()}
        for target in map(self.place.below, names):
            if _identity(target) in taken:
                raise DataError(f"The output {target.name} would replace an input; choose another folder with --out.")
            exists = os.path.lexists(target.path) if target.is_local else target.path in listed
            if exists and not overwrite:
                raise OutputExistsError(
                    f"{target.name} already exists and was not changed; pass --overwrite to replace it, or choose "
                    "another --out."
                )

    def write(self, names: Iterable[str], write: Callable[[Path], Result]) -> Result:
        """Call `write` to write the files `names` into a folder, move each complete file here, return its result.

        Raises
        ------
        OutputWriteError
            One could not be written.
        """
        # The scratch folder is not created again: after the run, a node that was considered lost must not write.
        beside = Path(self.place.path, self.scratch) if self.place.is_local else None
        try:
            with temporary_folder(TEMPORARY, beside=beside) as folder:
                result = write(folder)
                for name in names:
                    self.place.below(name).put(folder / name)
        except OSError as error:
            raise write_error(self.place.name, error) from error
        return result


def open_output(out: str) -> OutputFolder:
    """Return the output folder of --out.

    Raises
    ------
    DataError
        It is a URL that cannot be opened, or to which several processes cannot write.
    MissingExtraError
        A package that its protocol needs is not installed.
    """
    place = open_location(out)
    if not place.is_path and ("::" in out or place.protocol in ("memory", "zip", "tar")):
        raise DataError(f"{out} cannot be written by several processes; choose a folder or a bucket.")
    return OutputFolder(place)


def _identity(place: Location) -> str:
    """Return one text for all names of one file."""
    return os.path.realpath(place.path) if place.is_local else place.name
