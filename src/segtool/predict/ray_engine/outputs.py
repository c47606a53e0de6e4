"""The output folder of a prediction on a cluster: a folder that all nodes share, or a URL."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from segtool.errors import DataError, OutputExistsError, OutputWriteError
from segtool.files import TEMPORARY, temporary_folder, write_error
from segtool.predict.ray_engine.storage import Location, open_location

Result = TypeVar("Result")


@dataclass(frozen=True)
class OutputFolder:
    """The output folder; it can be pickled.

    Attributes
    ----------
    place
        The folder.
    scratch
        A folder in it for the unfinished files of this run; empty before the run. The run removes it, with the files
        of lost nodes. A node detects by it that the folder is shared.
    """

    place: Location
    scratch: str = ""

    @contextmanager
    def with_scratch(self) -> Iterator[OutputFolder]:
        """Yield the folder with a scratch folder in it; the scratch folder is removed at the end of the block.

        Raises
        ------
        OutputWriteError
            It could not be created.
        """
        scratch = self.place.below(f"{TEMPORARY}{secrets.token_hex(8)}")
        scratch.make_folder()
        try:
            yield replace(self, scratch=PurePosixPath(scratch.path).name)
        finally:
            scratch.remove()

    def require_shared(self) -> None:
        """Refuse a node on which this path is another folder.

        Raises
        ------
        OutputWriteError
            The scratch folder does not exist.
        """
        if self.place.is_local and not Path(self.place.path, self.scratch).is_dir():
            raise OutputWriteError(
                f"{self.place.name} is not the same folder on every node; choose an --out on a file system that they "
                "share, or a URL."
            )

    def refuse_outputs(self, names: Iterable[str], inputs: Iterable[Location], *, overwrite: bool) -> None:
        """Before the run, refuse outputs that exist and outputs that are also inputs.

        Raises
        ------
        DataError
            An output would replace an input.
        OutputExistsError
            An output exists, and `overwrite` is false.
        """
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
        """Call `write` to write the files `names` into a folder, and move each complete file here.

        Return the result of `write`.

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
                    unfinished = f"{TEMPORARY}{secrets.token_hex(8)}{PurePosixPath(name).suffix}"
                    through = self.place.below(str(PurePosixPath(self.scratch, unfinished)))
                    self.place.below(name).put(folder / name, through=through)
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
    """Return the same text for all names of one file."""
    return os.path.realpath(place.path) if place.is_local else place.name
