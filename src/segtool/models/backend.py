"""Importing Keras and TensorFlow without what their native libraries write on standard error while they load."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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
        with _native_stderr_closed():
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
