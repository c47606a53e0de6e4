"""The user's own layers: a Python file that `--custom` names, which is run, and whose layers a model file may name."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from segtool.errors import ModelFileError
from segtool.models.backend import import_quietly

logger = logging.getLogger(__name__)
_MODULE = "segtool_custom"


def load_custom(path: str | Path) -> dict[str, Any]:
    """Run a Python file and return the layers and functions that it defines.

    Parameters
    ----------
    path
        A .py file. It is run with all rights of the user, so a log message names it.

    Returns
    -------
    dict
        By the names that a model file gives them: what is registered with
        ``@keras.saving.register_keras_serializable``, by its registered name, and the other subclasses of
        ``keras.layers.Layer``, by their class names.

    Raises
    ------
    ModelFileError
        There is no such file, it fails, or it defines no layer.
    MissingExtraError
        Keras is not installed.
    """
    path = Path(path)
    keras = import_quietly("keras", extra="export")
    if path.suffix != ".py" or not path.is_file():
        raise ModelFileError(f"{path} is not a Python file; pass the .py file that defines your layers with --custom.")
    logger.warning("Running %s, because --custom names it.", path)
    module = _run(path)
    found = {
        name: value
        for name, value in keras.saving.get_custom_objects().items()
        if getattr(value, "__module__", None) == _MODULE
    }
    for name, value in vars(module).items():
        is_layer = inspect.isclass(value) and issubclass(value, keras.layers.Layer) and value.__module__ == _MODULE
        if is_layer and value not in found.values():
            found[name] = value
    if not found:
        raise ModelFileError(
            f"{path} defines no layer, expected subclasses of keras.layers.Layer or functions with "
            "@keras.saving.register_keras_serializable(); name the file that defines them."
        )
    return found


def _run(path: Path) -> ModuleType:
    """Run a file as a module of its own; a second file takes the place of the first."""
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    if spec is None or spec.loader is None:
        raise ModelFileError(f"{path} cannot be run as Python; pass a .py file with --custom.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module  # dataclasses and pickles in the file look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        line = _line_of(error, path)
        raise ModelFileError(
            f"{path} failed{line} ({type(error).__name__}: {error}); correct it: python {path}"
        ) from error
    return module


def _line_of(error: Exception, path: Path) -> str:
    """Return " in line N" for the innermost frame of the file; empty if there is none."""
    if isinstance(error, SyntaxError):
        return f" in line {error.lineno}"
    line, traceback = "", error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            line = f" in line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return line
