"""Opening a .keras file without running code from it.

The file is read once and its configuration is checked. Keras then opens a new archive of the checked parts, in a
private temporary folder. So the checked content is the opened content.
"""

from __future__ import annotations

import json
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from segtool.errors import ModelFileError
from segtool.models.backend import import_quietly, without_advice
from segtool.models.config_check import check_config

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# An ONNX file is limited to 2 GiB, so larger weights cannot be exported.
_LIMITS = {_CONFIG: 16 << 20, _METADATA: 1 << 20, _WEIGHTS: 2 << 30}
_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"


def load_keras_file(path: str | Path) -> Any:
    """Open a model.keras file without running code from it.

    Parameters
    ----------
    path
        A file in the Keras 3 format. Other content, such as HDF5 or a pickle, is refused.

    Returns
    -------
    keras.Model
        The model, not compiled.

    Raises
    ------
    ModelFileError
        The file is missing, damaged or of another kind, or names an object outside the allow-list.
    MissingExtraError
        Keras is not installed.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix="segtool-") as folder:
        checked = Path(folder, "model.keras")
        try:
            with path.open("rb") as handle:
                _copy_checked(handle, checked, source=str(path))
        except FileNotFoundError:
            raise ModelFileError(f"There is no model file {path}; train one with `segtool train`.") from None
        except OSError as error:
            raise ModelFileError(
                f"{path} cannot be read ({error.strerror or error}); pass a readable model.keras file."
            ) from error
        return _load(checked, source=str(path))


def _copy_checked(handle: BinaryIO, target: Path, *, source: str) -> None:
    """Copy the checked parts of an archive to a new archive at `target`."""
    _check_magic(handle.read(16), source=source)
    handle.seek(0)
    try:
        with zipfile.ZipFile(handle) as archive:
            _check_members(archive.infolist(), source=source)
            config = json.loads(archive.read(_CONFIG))
            if isinstance(config, dict):
                config["compile_config"] = None  # optimizer and losses: not needed, so removed unchecked
            check_config(config, source=source)
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
    _check_weights(weights, source=source)


def _check_magic(start: bytes, *, source: str) -> None:
    if start.startswith(_ZIP):
        return
    expected = "expected a .keras file such as `segtool train` writes"
    if start.startswith(_HDF5):
        raise ModelFileError(
            f"{source} is an HDF5 file, which can hold code that runs on opening; {expected}: save it with Keras 3."
        )
    if start[:1] == b"\x80" or start.startswith((b"(", b"c__", b"cos")):
        raise ModelFileError(f"{source} is a pickle, which runs code on opening; {expected}.")
    if not start:
        raise ModelFileError(f"{source} is empty; {expected}.")
    raise ModelFileError(f"{source} is not a Keras model; {expected}, or an exported .onnx file.")


def _check_members(members: list[zipfile.ZipInfo], *, source: str) -> None:
    """Refuse an archive that does not hold exactly the three files of Keras, each of a plausible size."""
    names = [member.filename for member in members]
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


def _check_weights(weights: bytes, *, source: str) -> None:
    """Refuse weights that refer to other files: HDF5 supports links and external storage."""
    import io

    h5py = import_quietly("h5py", extra="export")

    def visit(group: Any) -> None:
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ModelFileError(
                    f"The weights in {source} hold a link ({name}), expected data only; the model was not opened."
                )
            item = group[name]
            if isinstance(item, h5py.Group):
                visit(item)
            elif item.external or item.is_virtual:
                raise ModelFileError(
                    f"The weights in {source} store {item.name} in another file; the model was not opened."
                )

    try:
        with h5py.File(io.BytesIO(weights), "r") as file:
            visit(file)
    except (OSError, KeyError, RuntimeError, RecursionError) as error:
        raise ModelFileError(
            f"The weights in {source} are damaged ({error}); copy the file again, or train again."
        ) from error


def _with_plain_ends(model: Any) -> Any:
    """Return a model whose single input and output are arrays, not a list or dict with one entry."""
    keras = import_quietly("keras", extra="export")
    ends = (model.input, model.output)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or not any(isinstance(end, list | dict) for end in ends):
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def _load(path: Path, *, source: str) -> Any:
    keras = import_quietly("keras", extra="export")
    try:
        with without_advice():
            # If a file lacks weights, Keras only warns, and the layers keep random values.
            warnings.filterwarnings("error", message=r"(Skipping|A total of)")
            return _with_plain_ends(keras.saving.load_model(path, compile=False, safe_mode=True))
    except (UserWarning, ValueError, TypeError, KeyError, OSError, AttributeError, RuntimeError, IndexError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFileError(
            f"Keras {keras.__version__} cannot rebuild the model in {source} ({reason}); save it again."
        ) from error
