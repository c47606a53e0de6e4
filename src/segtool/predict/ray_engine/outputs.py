"""The output folder of a prediction on a cluster: a folder that all nodes share, or a URL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from segtool.contract import ModelContract
from segtool.errors import DataError, OutputExistsError, OutputWriteError
from segtool.files import TEMPORARY, temporary_folder, write_error
from segtool.predict.finding import is_url
from segtool.predict.manifest import MANIFEST_NAME
from segtool.predict.outputs import write_outputs
from segtool.predict.ray_engine.inputs import without_file_protocol
from segtool.predict.ray_engine.storage import Location, open_location
from segtool.runtime.stream import Result


@dataclass(frozen=True)
class OutputFolder:
    """The output folder; it can be pickled."""

    place: Path | Location
    scratch: Path | None = None
    """The folder for unfinished files, in `place`; None before the run, and for a remote place.

    The run removes it, with the files of lost nodes. A node detects by it that the folder is shared.
    """

    @contextmanager
    def records(self) -> Iterator[Path]:
        """Yield the folder of journal and manifest; for a remote place it is temporary, and the manifest is copied."""
        if isinstance(self.place, Path):
            yield self.place
            return
        with temporary_folder(TEMPORARY) as here:
            try:
                yield here
            finally:  # also after an error or a stop
                if (here / MANIFEST_NAME).exists():
                    self.place.below(MANIFEST_NAME).put(here / MANIFEST_NAME)

    @contextmanager
    def with_scratch(self) -> Iterator[OutputFolder]:
        """Yield the folder with a scratch folder in it, which is removed at the end of the block.

        After a stop, actors may still write into it. It is renamed first, so that they cannot while it is removed.
        """
        if isinstance(self.place, Location):
            yield self
            return
        with temporary_folder(TEMPORARY, beside=self.place) as folder:
            scratch = folder / "running"
            scratch.mkdir()
            try:
                yield replace(self, scratch=scratch)
            finally:
                with suppress(OSError):
                    scratch.rename(folder / "ended")

    def require_shared(self) -> None:
        """Refuse a node on which this path is another folder, with an OutputWriteError."""
        if self.scratch is not None and not self.scratch.is_dir():
            raise OutputWriteError(
                f"{self.place} is not the same folder on every node; choose an --out on a file system that they "
                "share, or a URL."
            )

    def refuse_remote(self, names: Iterable[str], inputs: Iterable[object], *, overwrite: bool) -> None:
        """Refuse remote outputs that are also inputs (DataError) or that exist (OutputExistsError)."""
        if isinstance(self.place, Path):
            return
        taken = {one.name for one in inputs if isinstance(one, Location)}
        existing = {one.path for one in self.place.files_below()}
        for target in map(self.place.below, names):
            if target.name in taken:
                raise DataError(f"The output {target.name} would replace an input; choose another folder with --out.")
            if target.path in existing and not overwrite:
                raise OutputExistsError(
                    f"{target.name} already exists and was not changed; pass --overwrite to replace it, or choose "
                    "another --out."
                )

    def write(self, result: Result, names: Mapping[str, str], contract: ModelContract) -> dict[str, str]:
        """Write the outputs `names` of an image, each complete; return the SHA-256 of each by kind.

        Raises
        ------
        OutputWriteError
            One could not be written.
        """
        self.require_shared()  # after the run, a node that was considered lost must not write
        try:
            with temporary_folder(TEMPORARY, beside=self.scratch) as folder:
                hashes = write_outputs(result, names, folder, contract)
                for name in names.values():
                    self._move(folder / name, name)
        except OSError as error:
            raise write_error(str(self.place), error) from error
        return hashes

    def _move(self, file: Path, name: str) -> None:
        if isinstance(self.place, Location):
            self.place.below(name).put(file)
            return
        target = self.place / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
        except OSError as error:
            raise write_error(target, error) from error


def open_output(out: str) -> OutputFolder:
    """Return the output folder of --out.

    Raises
    ------
    DataError
        It is a URL that cannot be opened, or to which several processes cannot write.
    MissingExtraError
        A package that its protocol needs is not installed.
    """
    text = without_file_protocol(out)
    if not is_url(text):
        return OutputFolder(Path(text).absolute())
    place = open_location(text)
    if "::" in out or place.protocol in ("memory", "zip", "tar"):
        raise DataError(f"{out} cannot be written by several processes; choose a folder or a bucket.")
    return OutputFolder(place)
