"""Importing Keras, TensorFlow and matplotlib without the lines and the files that they write while they load."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from segtool.errors import MissingExtraError

BACKENDS = ("tensorflow", "jax", "torch")
"""What Keras trains on; TensorFlow comes with the extra `train`, the others are installed by their own name."""

_SETTINGS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # oneDNN's convolutions are planned once, not in each step again: 3 % of a step, and no more memory at its peak.
    "TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE": "0",
}
"""Environment variables that TensorFlow reads when it is loaded; a user's own values stay."""


def import_quietly(name: str, *, extra: str) -> ModuleType:
    """Import the module `name`, which the optional dependencies `extra` bring.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    if name in sys.modules:
        return sys.modules[name]
    os.environ.update({key: value for key, value in _SETTINGS.items() if key not in os.environ})
    try:
        with _native_stderr_closed(), no_files_at_home():
            return importlib.import_module(name)
    except ImportError as error:
        line = name if name in BACKENDS[1:] else f'"segtool[{extra}]"'
        raise MissingExtraError(
            f"{name} could not be imported ({error}); install it with pip install {line}."
        ) from error


@contextmanager
def without_advice() -> Iterator[None]:
    """Ignore what Keras warns of while it builds or runs a model: advice on how to write it, with paths of files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@contextmanager
def no_files_at_home() -> Iterator[None]:
    """Keep libraries that are imported within the block from making files in the user's home.

    Keras makes ~/.keras/keras.json, and matplotlib, which Keras imports, a list of fonts and two folders. Where the
    user has these already, or says by KERAS_HOME or MPLCONFIGDIR where they belong, they are read and written as ever.
    """
    with _no_keras_json(), _temporary_font_list():
        yield


@contextmanager
def _no_keras_json() -> Iterator[None]:
    home = _home() / ".keras"
    if "keras" in sys.modules or "KERAS_HOME" in os.environ or (home / "keras.json").exists():
        yield
        return
    # Nothing can be made below it, and Keras goes on without.
    with _environment({"KERAS_HOME": os.devnull}):
        yield
    config = sys.modules.get("keras.src.backend.config")
    if config is not None:
        vars(config)["_KERAS_DIR"] = str(home)  # where keras.utils.get_file puts what a host program downloads


@contextmanager
def _temporary_font_list() -> Iterator[None]:
    home = _home()
    config, cache = (
        Path(os.environ.get(variable) or home / name)
        for variable, name in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache"))
    )
    own = (config / "matplotlib", cache / "matplotlib", home / ".matplotlib")
    if "matplotlib" in sys.modules or "MPLCONFIGDIR" in os.environ or any(folder.exists() for folder in own):
        yield
        return
    # Made again in each process: 0.3 s with few fonts.
    with tempfile.TemporaryDirectory(prefix="segtool-") as folder, _environment({"MPLCONFIGDIR": folder}):
        yield


def _home() -> Path:
    return Path(os.path.expanduser("~"))  # noqa: PTH111 (a user without a home is no error)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that were not set, for the block alone."""
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)


@contextmanager
def _native_stderr_closed() -> Iterator[None]:
    # TensorFlow's first lines come before its log level is read, from C++: only the file descriptor stops them.
    # Python's own errors are exceptions and still get out.
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # a process without a standard error, such as a service
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
