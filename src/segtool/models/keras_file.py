"""Opening a .keras or legacy .h5 file without running code from it.

The file is read once and its configuration is checked. Keras then opens a new file of the checked parts, in a private
temporary folder. So the checked content is the opened content.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from segtool.errors import ModelFileError, first_line, reason_of
from segtool.files import temporary_folder
from segtool.models.backend import import_quietly, without_advice
from segtool.models.config_check import check_config
from segtool.models.legacy_h5 import check_weights, copy_checked_h5
from segtool.models.other_formats import refuse_other_archive, refuse_other_content
from segtool.models.precision import as_float32

logger = logging.getLogger(__name__)

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# An ONNX file is limited to 2 GiB, so larger weights cannot be exported.
_LIMITS = {_CONFIG: 16 << 20, _METADATA: 1 << 20, _WEIGHTS: 2 << 30}
_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"


def load_keras_file(path: str | Path, *, custom: Mapping[str, Any] | None = None) -> Any:
    """Open a .keras or legacy .h5 file without running code from it.

    Parameters
    ----------
    path
        A file in the Keras 3 format, or a legacy HDF5 file that holds the architecture. Other content, such as a
        pickle, is refused.
    custom
        The user's own layers and functions by their registered names, as `load_custom` returns them.

    Returns
    -------
    keras.Model
        The model in float32, not compiled.

    Raises
    ------
    ModelFileError
        The file is missing, damaged or of another kind, or names an object outside the allow-list.
    MissingExtraError
        Keras is not installed.
    """
    path, own = Path(path), dict(custom or {})
    with temporary_folder() as folder:
        try:
            with path.open("rb") as handle:
                checked, replaced = _copy_checked(handle, folder, custom=own, source=str(path))
        except FileNotFoundError:
            raise ModelFileError(f"There is no model file {path}; train one with `segtool train`.") from None
        except OSError as error:
            raise ModelFileError(
                f"{path} cannot be read ({reason_of(error)}); pass a readable model.keras file."
            ) from error
        model = _load(checked, custom=own, source=str(path))
    if replaced:
        logger.warning("%s is of precision %s; it is opened in float32.", path, ", ".join(sorted(replaced)))
    return model


def _copy_checked(handle: BinaryIO, folder: Path, *, custom: Mapping[str, Any], source: str) -> tuple[Path, set[str]]:
    """Copy the checked parts of a file to a new file in `folder`; return its path and the precisions replaced."""
    start = handle.read(16)
    handle.seek(0)
    if start.startswith(_HDF5):
        target = folder / "model.h5"
        return target, copy_checked_h5(handle, target, custom=custom, source=source)
    refuse_other_content(start, source=source)
    if not start.startswith(_ZIP):
        raise ModelFileError(
            f"{source} is not a Keras model; expected a .keras file such as `segtool train` writes, or a legacy .h5 "
            "file with its architecture."
        )
    target = folder / "model.keras"
    return target, _copy_archive(handle, target, custom=custom, source=source)


def _copy_archive(handle: BinaryIO, target: Path, *, custom: Mapping[str, Any], source: str) -> set[str]:
    """Copy the checked parts of an archive to a new archive at `target`; return the precisions replaced."""
    try:
        with zipfile.ZipFile(handle) as archive:
            _check_members(archive.infolist(), source=source)
            config = json.loads(archive.read(_CONFIG))
            if isinstance(config, dict):
                config["compile_config"] = None  # optimizer and losses: not needed, so removed unchecked
            check_config(config, source=source, custom=custom)
            replaced = as_float32(config, source=source)
            metadata, weights = archive.read(_METADATA), archive.read(_WEIGHTS)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelFileError(f"{source} is damaged or truncated ({error}); copy it again, or train again.") from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"The configuration in {source} is not valid JSON ({error}); save the model again."
        ) from error
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(_CONFIG, json.dumps(config))
        archive.writestr(_METADATA, metadata)
        archive.writestr(_WEIGHTS, weights)
    check_weights(io.BytesIO(weights), source=source)
    return replaced


def _check_members(members: list[zipfile.ZipInfo], *, source: str) -> None:
    """Refuse an archive that does not hold exactly the three files of Keras, each of a plausible size."""
    names = [member.filename for member in members]
    refuse_other_archive(names, source=source)
    odd = sorted(set(names) - _LIMITS.keys()) or sorted(name for name in set(names) if names.count(name) > 1)
    if odd:
        raise ModelFileError(
            f"{source} holds {odd[0]!r}, expected only {', '.join(_LIMITS)}, each once; it was not opened."
        )
    if missing := sorted(_LIMITS.keys() - set(names)):
        raise ModelFileError(f"{source} has no {missing[0]}, so it is not a complete Keras 3 model; save it again.")
    for member in members:
        if member.file_size > _LIMITS[member.filename]:
            size = member.file_size / 2**20
            raise ModelFileError(
                f"{member.filename} in {source} is {size:.0f} MiB, "
                f"expected at most {_LIMITS[member.filename] >> 20} MiB; it was not opened."
            )


def as_functional(model: Any) -> Any:
    """Return a Sequential model as a functional one, if it was built; other models as they are."""
    keras = import_quietly("keras", extra="export")
    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model


def with_plain_ends(model: Any) -> Any:
    """Return a functional model whose single input and output are arrays, not a list or dict with one entry.

    A Sequential model that was never built, which has neither, is returned as it is.
    """
    keras = import_quietly("keras", extra="export")
    if isinstance(model, keras.Sequential):
        return as_functional(model)
    ends = (model.input, model.output)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or not any(isinstance(end, list | dict) for end in ends):
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def _load(path: Path, *, custom: Mapping[str, Any], source: str) -> Any:
    keras = import_quietly("keras", extra="export")
    try:
        with without_advice():
            # If a file lacks weights, Keras only warns, and the layers keep random values.
            warnings.filterwarnings("error", message=r"(Skipping|A total of)")
            model = keras.saving.load_model(path, custom_objects=dict(custom), compile=False, safe_mode=True)
            return as_functional(model)
    except (UserWarning, ValueError, TypeError, KeyError, OSError, AttributeError, RuntimeError, IndexError) as error:
        raise ModelFileError(
            f"Keras {keras.__version__} cannot rebuild the model in {source} ({first_line(error)}); save it again."
        ) from error
