"""Importing Keras, TensorFlow and matplotlib without the messages and files that they write during import."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType

from segtool.errors import MissingExtraError
from segtool.files import temporary_folder
from segtool.stopping import postponed

BACKENDS = ("tensorflow", "jax", "torch")
"""The Keras backends for training; TensorFlow is in the extra `train`, the others are packages of these names."""

_SETTINGS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Plan oneDNN's convolutions once instead of in each step: saves 3 % of a step, at the same peak memory.
    "TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE": "0",
    # TensorFlow uses oneDNN by default only on processors with VNNI, bfloat16 or AMX instructions. On others a step of
    # fcn8 takes 1.9 times as long without it, one of fcn8-lite 1.4 times, one of fcn8-edge 1.1 times.
    **({"TF_ENABLE_ONEDNN_OPTS": "1"} if platform.machine() in ("x86_64", "AMD64") else {}),
}
"""Environment variables that TensorFlow reads when it is loaded; values set by the user are kept."""


_ABORTING = ("onnx",)
"""Modules whose native code ends the process if a signal raises an exception while it is imported."""


def import_quietly(name: str, *, extra: str) -> ModuleType:
    """Import the module `name`, which belongs to the optional dependencies `extra`.

    Raises
    ------
    MissingExtraError
        The module is not installed.
    """
    if name in sys.modules:
        return sys.modules[name]
    os.environ.update({key: value for key, value in _SETTINGS.items() if key not in os.environ})
    try:
        with _native_stderr_closed(), no_files_at_home(), postponed() if name in _ABORTING else nullcontext():
            return importlib.import_module(name)
    except ImportError as error:
        line = name if name in BACKENDS[1:] else f'"segtool[{extra}]"'
        raise MissingExtraError(
            f"{name} could not be imported ({error}); install it with pip install {line}."
        ) from error


@contextmanager
def without_advice() -> Iterator[None]:
    """Ignore the warnings of Keras about the code of a model that it builds or runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@contextmanager
def no_files_at_home() -> Iterator[None]:
    """Prevent libraries that are imported within the block from creating files in the user's home folder.

    Keras creates ~/.keras/keras.json. matplotlib, which Keras imports, creates a font list and two folders. If these
    files exist already, or KERAS_HOME or MPLCONFIGDIR sets their place, they are read and written as usual.
    """
    with _no_keras_json(), _temporary_font_list():
        yield


@contextmanager
def _no_keras_json() -> Iterator[None]:
    home = _home() / ".keras"
    if "keras" in sys.modules or "KERAS_HOME" in os.environ or (home / "keras.json").exists():
        yield
        return
    # No file can be created below it, and Keras works without one.
    with _environment({"KERAS_HOME": os.devnull}):
        yield
    config = sys.modules.get("keras.src.backend.config")
    if config is not None:
        vars(config)["_KERAS_DIR"] = str(home)  # the download folder of keras.utils.get_file in a host program


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
    # The font list is built again in each process: 0.3 s with few fonts.
    with temporary_folder() as folder, _environment({"MPLCONFIGDIR": str(folder)}):
        yield


def _home() -> Path:
    return Path(os.path.expanduser("~"))  # noqa: PTH111 (Path.home() raises for a user without a home)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that are not set yet, within the block only."""
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)


@contextmanager
def _native_stderr_closed() -> Iterator[None]:
    # TensorFlow prints its first lines from C++ before it reads its log level; only closing the file descriptor stops
    # them. Python errors are exceptions and still reach the user.
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
