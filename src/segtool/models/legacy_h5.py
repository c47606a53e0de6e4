"""HDF5 in model files: the check of weights, and legacy .h5 files of Keras 2 that hold the architecture.

A legacy file is copied: its checked configuration and its weights, without optimizer, losses and anything else.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

from segtool.errors import ModelFileError
from segtool.models.backend import import_quietly
from segtool.models.config_check import check_config
from segtool.models.precision import as_float32

_CONFIG, _WEIGHTS = "model_config", "model_weights"
_KEPT = ("keras_version", "backend")
_MOST_TEXT = 16 << 20  # bytes of a configuration
# What h5py raises for damaged content.
_DAMAGED = (OSError, KeyError, RuntimeError, RecursionError)


def check_weights(content: BinaryIO, *, source: str) -> None:
    """Refuse weights that refer to other files: HDF5 supports links and external storage.

    Raises
    ------
    ModelFileError
        The weights hold a link or are stored in another file, or they are damaged.
    """
    h5py = import_quietly("h5py", extra="export")
    try:
        with h5py.File(content, "r") as file:
            _check_group(file, source)
    except _DAMAGED as error:
        raise _damaged(source, error) from error


def copy_checked_h5(content: BinaryIO, target: Path, *, custom: Collection[str], source: str) -> set[str]:
    """Copy the checked parts of a legacy .h5 file to a new file.

    Parameters
    ----------
    content
        The file.
    target
        Path of the new file.
    custom
        Registered names of the user's own layers.
    source
        Name of the file, for error messages.

    Returns
    -------
    set of str
        The precisions that were replaced by float32.

    Raises
    ------
    ModelFileError
        The file holds no architecture, is damaged, or names an object outside the allow-list.
    """
    h5py = import_quietly("h5py", extra="export")
    try:
        with h5py.File(content, "r") as file:
            config = _config(file, source)
            check_config(config, source=source, legacy=True, custom=custom)
            replaced = as_float32(config, source=source)
            _check_group(file, source)
            with h5py.File(target, "w") as copy:
                copy.attrs[_CONFIG] = json.dumps(config).encode()
                copy.attrs.update({name: file.attrs[name] for name in _KEPT if name in file.attrs})
                file.copy(_WEIGHTS, copy)
    except _DAMAGED as error:
        raise _damaged(source, error) from error
    return replaced


def _config(file: Any, source: str) -> Any:
    """Return the parsed configuration of a legacy file; refuse a file of weights alone."""
    if _CONFIG not in file.attrs or _WEIGHTS not in file:
        raise ModelFileError(
            f"{source} is an HDF5 file without an architecture (weights only). Build the network in Python, and save "
            f'both in one file: model.load_weights("{Path(source).name}"); model.save("model.keras")'
        )
    text = file.attrs[_CONFIG]
    if not isinstance(text, str | bytes) or len(text) > _MOST_TEXT:
        raise ModelFileError(f"The configuration in {source} is not a text of at most 16 MiB; it was not opened.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"The configuration in {source} is not valid JSON ({error}); save the model again."
        ) from error


def _check_group(group: Any, source: str) -> None:
    h5py = import_quietly("h5py", extra="export")
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ModelFileError(
                f"The weights in {source} hold a link ({name}), expected data only; the model was not opened."
            )
        item = group[name]
        if isinstance(item, h5py.Group):
            _check_group(item, source)
        elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            raise ModelFileError(
                f"The weights in {source} store {item.name} in another file; the model was not opened."
            )


def _damaged(source: str, error: Exception) -> ModelFileError:
    return ModelFileError(f"The HDF5 content of {source} is damaged ({error}); copy the file again, or train again.")
