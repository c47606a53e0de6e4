"""Files that fsspec reaches: s3://, gs://, hdfs://, sftp://, https://, file://, zip://...::..."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtool.errors import DataError, MissingExtraError, OutputWriteError
from segtool.predict.ray_engine.extra import import_extra

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_USER = re.compile(r"(?<=://)[^/@]*@")

# The network libraries below some file systems raise errors that are no OSError, with no base class in common.
_FOREIGN_ERRORS = (("aiohttp", "ClientError"), ("botocore.exceptions", "BotoCoreError"))


def is_url(text: str) -> bool:
    """Tell whether an argument is a URL and not a path."""
    return _URL.match(text) is not None


def without_password(url: str) -> str:
    """Return a URL without the user and the password in it, for messages and manifests."""
    return _USER.sub("", url)


@dataclass(frozen=True)
class Place:
    """A file or a folder in a file system of fsspec.

    Attributes
    ----------
    fs
        The fsspec.AbstractFileSystem; it can be pickled, with what it needs to connect again elsewhere.
    path
        The path in it, without a slash at its end.
    """

    fs: Any
    path: str

    @property
    def url(self) -> str:
        """The path with its protocol, for messages and manifests; a password is never part of it."""
        return without_password(str(self.fs.unstrip_protocol(self.path)))

    @property
    def protocol(self) -> str:
        """The protocol by its usual name, such as "s3"."""
        protocol = self.fs.protocol
        return protocol if isinstance(protocol, str) else str(protocol[0])

    @property
    def key(self) -> str:
        """The path without the query of a web address: what its outputs are named by."""
        return self.path.partition("?")[0] if self.protocol.startswith("http") else self.path

    def at(self, path: str) -> Place:
        """Return another place of the same file system."""
        return Place(self.fs, path)

    def below(self, name: str) -> Place:
        """Return the place of a relative name in this folder."""
        return self.at(f"{self.path}/{name}")

    def is_file(self) -> bool:
        """Tell whether there is a file; errors as in `files_below`."""
        with _reading(self):
            return bool(self.fs.isfile(self.path))

    def files_below(self) -> list[str]:
        """Return the paths of all files in this folder and its sub-folders, in order; none where it is missing.

        Raises
        ------
        DataError
            It cannot be listed.
        """
        with _reading(self):
            self.fs.invalidate_cache()
            with suppress(FileNotFoundError):
                return sorted(self.fs.find(self.path))
            return []

    def matching(self) -> list[str]:
        """Return the paths of all files that this path matches as a pattern, in order; errors as in `files_below`."""
        with _reading(self):
            self.fs.invalidate_cache()
            found = self.fs.glob(self.path, detail=True)
            return sorted(path for path, facts in found.items() if facts["type"] == "file")

    def fetch(self, target: Path) -> None:
        """Copy this file to a local one.

        Raises
        ------
        DataError
            It is missing or cannot be read.
        """
        with _reading(self):
            self.fs.get_file(self.path, str(target))

    def put(self, source: Path, *, through: Place) -> None:
        """Copy a local file to the place `through`, which is then given this name.

        Raises
        ------
        OutputWriteError
            It could not be written.
        """
        try:
            for path in (through.path, self.path) if self._renames else ():
                self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.fs.put_file(str(source), through.path)
            self._rename(through.path)
        except _failures() as error:
            raise OutputWriteError(
                f"Could not write {self.url}: {_reason(error)}; free space, check permissions or choose another place."
            ) from error

    def remove(self) -> None:
        """Remove this folder with all that is in it, as far as that can be done."""
        with suppress(DataError, *_failures()):
            for path in self.files_below():  # one by one, because rm would expand patterns
                self.fs.rm_file(path)
            if self._renames:
                self.fs.rmdir(self.path)

    @property
    def _renames(self) -> bool:
        """Whether it has folders and a rename of its own, unlike S3, where making a folder would make a bucket."""
        from fsspec.spec import AbstractFileSystem

        return type(self.fs).mv is not AbstractFileSystem.mv

    def _rename(self, temporary: str) -> None:
        """Give a file this name; a file of this name is replaced."""
        if not self._renames:  # not with mv, which would expand patterns
            self.fs.cp_file(temporary, self.path)
            self.fs.rm_file(temporary)
            return
        try:
            self.fs.mv(temporary, self.path)
        except OSError:  # several do not rename over a file, such as SFTP and HDFS
            self.fs.rm_file(self.path)
            self.fs.mv(temporary, self.path)


def open_url(url: str) -> Place:
    """Return the place of a URL, with the settings that fsspec takes from its configuration and the environment.

    Raises
    ------
    DataError
        The protocol is not known, or what the URL names cannot be opened.
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
    """Return what a file system raises; of libraries that are not loaded, nothing can have been raised."""
    loaded = ((sys.modules.get(module), name) for module, name in _FOREIGN_ERRORS)
    return (OSError, ValueError, *(getattr(module, name) for module, name in loaded if module is not None))


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return without_password(" ".join(str(text).split()).rstrip("."))
