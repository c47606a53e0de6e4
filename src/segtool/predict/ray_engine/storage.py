"""Files on file systems of fsspec: s3://, gs://, hdfs://, sftp://, https://, file://, zip://...::..."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtool.errors import DataError, MissingExtraError, OutputWriteError
from segtool.predict.ray_engine.cluster import import_extra

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_USER = re.compile(r"(?<=://)[^/@]*@")

# The network libraries of some file systems raise errors that are not OSErrors and have no common base class.
_FOREIGN_ERRORS = (("aiohttp", "ClientError"), ("botocore.exceptions", "BotoCoreError"))


def is_url(text: str) -> bool:
    """Return whether an argument is a URL and not a path."""
    return _URL.match(text) is not None


def without_password(url: str) -> str:
    """Return a URL without user and password, for messages and manifests."""
    return _USER.sub("", url)


@dataclass(frozen=True)
class Place:
    """A file or a folder in a file system of fsspec.

    Attributes
    ----------
    fs
        The fsspec.AbstractFileSystem. Its pickle contains the connection settings for a node.
    path
        The path in it, without a slash at its end.
    """

    fs: Any
    path: str

    @property
    def url(self) -> str:
        """The path with its protocol and without a password."""
        return without_password(str(self.fs.unstrip_protocol(self.path)))

    @property
    def protocol(self) -> str:
        """The usual name of the protocol, such as "s3"."""
        protocol = self.fs.protocol
        return protocol if isinstance(protocol, str) else str(protocol[0])

    @property
    def key(self) -> str:
        """The path without the query of a web address; outputs are named by it."""
        return self.path.partition("?")[0] if self.protocol.startswith("http") else self.path

    def below(self, name: str) -> Place:
        """Return the place of a relative name in this folder."""
        return Place(self.fs, f"{self.path}/{name}")

    def is_file(self) -> bool:
        """Return whether there is a file; errors as in `files_below`."""
        with _reading(self):
            return bool(self.fs.isfile(self.path))

    def files_below(self) -> list[Place]:
        """Return all files in this folder and its sub-folders, sorted; none if the folder is missing.

        Raises
        ------
        DataError
            The folder cannot be listed.
        """
        with _reading(self):
            self.fs.invalidate_cache()
            with suppress(FileNotFoundError):
                return [Place(self.fs, path) for path in sorted(self.fs.find(self.path))]
            return []

    def matching(self) -> list[Place]:
        """Return all files that this path matches as a pattern, sorted; errors as in `files_below`."""
        with _reading(self):
            self.fs.invalidate_cache()
            found = self.fs.glob(self.path, detail=True)
            return [Place(self.fs, path) for path, facts in sorted(found.items()) if facts["type"] == "file"]

    def fetch(self, target: Path) -> None:
        """Copy this file to a local path.

        Raises
        ------
        DataError
            It is missing or cannot be read.
        """
        with _reading(self):
            self.fs.get_file(self.path, str(target))

    def put(self, source: Path, *, through: Place) -> None:
        """Copy a local file here atomically; an existing file is replaced.

        If the file system supports rename, the file is first uploaded to the place `through`. Object stores have no
        rename, but show an upload only when it is complete.

        Raises
        ------
        OutputWriteError
            It could not be written.
        """
        try:
            if not self._renames:
                self.fs.put_file(str(source), self.path)
                return
            for path in (through.path, self.path):
                self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.fs.put_file(str(source), through.path)
            self._take_from(through.path)
        except _failures() as error:
            raise OutputWriteError(
                f"Could not write {self.url}: {_reason(error)}; free space, check permissions or choose another place."
            ) from error

    def remove(self) -> None:
        """Remove this folder and its files, as far as possible."""
        if not self._renames:  # an object store has no folders, and `put` leaves no unfinished files
            return
        with suppress(DataError, *_failures()):
            for one in self.files_below():  # one by one, because rm would expand patterns
                self.fs.rm_file(one.path)
            self.fs.rmdir(self.path)

    @property
    def _renames(self) -> bool:
        """Whether the file system has folders and a native rename; S3 has neither."""
        from fsspec.spec import AbstractFileSystem

        return type(self.fs).mv is not AbstractFileSystem.mv

    def _take_from(self, temporary: str) -> None:
        """Rename a file to this place."""
        try:
            self.fs.mv(temporary, self.path)
        except OSError:  # SFTP, HDFS and others do not rename over a file
            self.fs.rm_file(self.path)
            self.fs.mv(temporary, self.path)


def open_url(url: str) -> Place:
    """Return the place of a URL, with the settings from fsspec's configuration and the environment.

    Raises
    ------
    DataError
        The protocol is not known, or the URL cannot be opened.
    MissingExtraError
        A package that the protocol needs is not installed.
    """
    core = import_extra("fsspec.core")
    name = without_password(url)
    try:
        fs, path = core.url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError(f"{name} cannot be opened: {_reason(error)}, on every node of the cluster.") from error
    except _failures() as error:
        raise DataError(f"{name} cannot be opened ({_reason(error)}); check its protocol and name.") from error
    return Place(fs, path.rstrip("/"))


@contextmanager
def _reading(place: Place) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{place.url} does not exist; expected an image file.") from error
    except _failures() as error:
        raise DataError(
            f"{place.url} cannot be read ({_reason(error)}); check its name, the connection and permissions."
        ) from error


def _failures() -> tuple[type[BaseException], ...]:
    """Return the errors that a file system can raise; a library that is not loaded raises nothing."""
    loaded = ((sys.modules.get(module), name) for module, name in _FOREIGN_ERRORS)
    return (OSError, ValueError, *(getattr(module, name) for module, name in loaded if module is not None))


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return without_password(" ".join(str(text).split()).rstrip("."))
