"""Files on remote file systems of fsspec: s3://, gs://, hdfs://, sftp://, https://, zip://...::..."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtool.errors import DataError, MissingExtraError, OutputWriteError, SegtoolError
from segtool.predict.ray_engine.cluster import import_extra

_USER = re.compile(r"(?<=://)[^/@]*@")

# The network libraries of some file systems raise errors that are not OSErrors and have no common base class.
_FOREIGN_ERRORS = (("aiohttp", "ClientError"), ("botocore.exceptions", "BotoCoreError"))
_OPEN = "{} cannot be opened ({}); check its protocol and name."
_READ = "{} cannot be read ({}); check its name, the connection and permissions."
_WRITE = "Could not write {}: {}; free space, check permissions or choose another place."


def without_password(url: str) -> str:
    """Return a URL without user and password, for messages and manifests."""
    return _USER.sub("", url)


@dataclass(frozen=True)
class Location:
    """A file or a folder in a file system of fsspec; it can be pickled with its connection settings.

    Reading and listing raise a DataError, writing an OutputWriteError.
    """

    fs: Any
    """The fsspec.AbstractFileSystem."""
    path: str
    """The path in it, without a slash at its end."""

    @property
    def name(self) -> str:
        """The URL without a password."""
        return without_password(str(self.fs.unstrip_protocol(self.path)))

    def __str__(self) -> str:
        return self.name

    @property
    def protocol(self) -> str:
        """The usual name of the protocol, such as "s3"."""
        protocol = self.fs.protocol
        return protocol if isinstance(protocol, str) else str(protocol[0])

    @property
    def key(self) -> str:
        """The path without the query of a web address; outputs are named by it."""
        return self.path.partition("?")[0] if self.protocol.startswith("http") else self.path

    def below(self, name: str) -> Location:
        """Return the place of a relative name in this folder."""
        return Location(self.fs, f"{self.path}/{name}")

    def is_file(self) -> bool:
        """Return whether there is a file."""
        with _errors(DataError, _READ, self.name):
            return bool(self.fs.isfile(self.path))

    def files_below(self) -> list[Location]:
        """Return all files in this folder and its sub-folders, sorted; none if the folder is missing."""
        with _errors(DataError, _READ, self.name), suppress(FileNotFoundError):
            self.fs.invalidate_cache()
            return [Location(self.fs, path) for path in sorted(self.fs.find(self.path))]
        return []

    def matching(self) -> list[Location]:
        """Return all files that this path matches as a pattern, sorted."""
        with _errors(DataError, _READ, self.name):
            self.fs.invalidate_cache()
            found = self.fs.glob(self.path, detail=True)
            return [Location(self.fs, path) for path, facts in sorted(found.items()) if facts["type"] == "file"]

    def fetch(self, target: Path) -> None:
        """Copy this file to a local path."""
        with _errors(DataError, _READ, self.name):
            self.fs.get_file(self.path, str(target))

    def put(self, source: Path) -> None:
        """Copy a local file here; an existing file is replaced.

        An object store shows an upload only when it is complete; other file systems can show a part of it.
        """
        with _errors(OutputWriteError, _WRITE, self.name):
            self.fs.put_file(str(source), self.path)


def open_location(url: str) -> Location:
    """Return the place of a URL, with the settings from fsspec's configuration and the environment.

    Raises
    ------
    DataError
        The protocol is not known, or the URL cannot be opened.
    MissingExtraError
        A package that the protocol needs is not installed.
    """
    core, name = import_extra("fsspec.core"), without_password(url)
    try:
        with _errors(DataError, _OPEN, name):
            fs, path = core.url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError(f"{name} cannot be opened: {_reason(error)}, on every node of the cluster.") from error
    return Location(fs, path.rstrip("/"))


@contextmanager
def _errors(kind: type[SegtoolError], message: str, name: str) -> Iterator[None]:
    """Raise the errors of a file system as `kind`, with a message of the name and the reason."""
    try:
        yield
    except _failures() as error:
        raise kind(message.format(name, _reason(error))) from error


def _failures() -> tuple[type[BaseException], ...]:
    """Return the errors that a file system can raise; a library that is not loaded raises nothing."""
    loaded = ((sys.modules.get(module), name) for module, name in _FOREIGN_ERRORS)
    return (OSError, ValueError, *(getattr(module, name) for module, name in loaded if module is not None))


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return without_password(" ".join(str(text).split()).rstrip("."))
