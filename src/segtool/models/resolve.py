"""What a user means by a model: a run folder, a .keras file, an .onnx file, or nothing (the latest)."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segtool.errors import ModelFileError, SegtoolError

LATEST = Path("runs", "latest")
KERAS_NAME, ONNX_NAME, INT8_NAME, RUN_NAME = "model.keras", "model.onnx", "model.int8.onnx", "run.json"
Kind = Literal["keras", "onnx"]


@dataclass(frozen=True)
class Run:
    """A run folder and its run.json.

    Attributes
    ----------
    path
        The folder.
    info
        What run.json says.
    """

    path: Path
    info: Mapping[str, Any]

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.path / KERAS_NAME

    @property
    def data(self) -> Mapping[str, Any]:
        """What the run was trained on: spec, fingerprint, class_names, background_id, ignore_id, ..."""
        data: Mapping[str, Any] = self.info["data"]
        return data

    @property
    def split(self) -> Mapping[str, Any]:
        """How the run split its data: seed, val_split, test_split; empty where run.json does not say."""
        return {key: self.info[key] for key in ("seed", "val_split", "test_split") if key in self.info}


@dataclass(frozen=True)
class ModelSource:
    """A model file, what kind it is, and the run that it belongs to (None for a file on its own)."""

    path: Path
    kind: Kind
    run: Run | None = None


def find_model(path: str | Path | None, *, kind: Kind | None = None) -> ModelSource:
    """Find the model that a user named.

    Parameters
    ----------
    path
        A run folder, a .keras file, an .onnx file; None for runs/latest.
    kind
        "keras" (to export), "onnx" (to run on a device) or None for either: of a run folder that is the trained
        model for "keras" and the exported one for "onnx"; for None the exported one where there is one.

    Raises
    ------
    ModelFileError
        There is no such model, or it is of another kind; the message says what to run.
    """
    target = LATEST if path is None else Path(path)
    if target.is_dir():
        return _in_folder(target, kind)
    if path is None:
        raise ModelFileError("There is no run at runs/latest; train one with `segtool train`, or name a model.")
    if not target.is_file():
        raise ModelFileError(f"There is no model at {target}; give a run folder, a .keras or an .onnx file.")
    _refuse_unnamed(target)
    found = file_kind(target)
    if kind not in (None, found):
        wanted = "a trained model (.keras or a run folder)" if kind == "keras" else "an exported model (.onnx)"
        hint = "name the run it was exported from" if kind == "keras" else "export one with `segtool export`"
        raise ModelFileError(f"{target} is a {target.suffix} file where {wanted} was expected; {hint}.")
    belongs = found == "keras" and target.name == KERAS_NAME and (target.parent / RUN_NAME).is_file()
    return ModelSource(target, found, read_run(target.parent) if belongs else None)


def latest_exported(folder: str | Path = LATEST) -> Path:
    """Return the exported model of a run that its export recommended.

    Where it recommended none (INT8 was made for another processor), that is INT8 unless it was measured slower. An INT8
    file that was made from another FP32 file than the one beside it (one that was exported again since) is not taken.

    Raises
    ------
    ModelFileError
        Nothing was exported there.
    """
    folder = Path(folder)
    float32, int8 = folder / ONNX_NAME, folder / INT8_NAME
    if int8.is_file() and (not float32.is_file() or _to_be_preferred(int8, float32)):
        return int8
    if float32.is_file():
        return float32
    raise ModelFileError(_not_exported(folder))


def read_run(folder: str | Path) -> Run:
    """Read a run folder's run.json.

    Raises
    ------
    ModelFileError
        The folder is no run folder, or its run.json is damaged or incomplete.
    """
    path = Path(folder, RUN_NAME)
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFileError(
            f"{folder} is not a run folder (it has no {RUN_NAME}); give one that `segtool train` wrote."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} cannot be read ({error}); train again.") from error
    data = info.get("data") if isinstance(info, dict) else None
    if not isinstance(data, dict) or not {"spec", "fingerprint", "class_names"} <= data.keys():
        raise ModelFileError(f"{path} does not say what data the run was trained on; train again.")
    return Run(Path(folder), info)


def run_files(folder: Path) -> list[Path]:
    """Return the files of a run folder that commands read; none where it is no run folder."""
    names = (RUN_NAME, KERAS_NAME, ONNX_NAME, INT8_NAME)
    return [folder / name for name in names] if (folder / RUN_NAME).is_file() else []


def file_kind(path: Path) -> Kind:
    """Return what kind of model a file is, by its name; what is inside is checked when it is opened."""
    return "onnx" if path.suffix.lower() == ".onnx" else "keras"


def _refuse_unnamed(path: Path) -> None:
    """Refuse a file whose name says nothing of its kind; a .h5 and the like are refused for what is in them."""
    if path.suffix:
        return
    raise ModelFileError(
        f"{path} has no suffix that says what kind of model it is, expected .onnx (exported) or .keras (trained); "
        "rename it."
    )


def _in_folder(folder: Path, kind: Kind | None) -> ModelSource:
    run = read_run(folder)
    if kind == "onnx" or (kind is None and ((folder / ONNX_NAME).is_file() or (folder / INT8_NAME).is_file())):
        return ModelSource(latest_exported(folder), "onnx", run)
    if not run.model.is_file():
        raise ModelFileError(
            f"The run {folder} has no {KERAS_NAME} yet; finish it with `segtool train --resume --out "
            f"{shlex.quote(str(folder))}`."
        )
    return ModelSource(run.model, "keras", run)


def _not_exported(folder: Path) -> str:
    """Return what there is in place of an exported model, and what to do."""
    name = f"{folder} ({folder.resolve()})" if folder.is_symlink() else str(folder)
    if folder.is_symlink() and not folder.exists():
        return f"{name} leads nowhere, the run it names is gone; train again with `segtool train`, or name a model."
    if (folder / KERAS_NAME).is_file():
        command = "segtool export" if folder == LATEST else f"segtool export {shlex.quote(str(folder))}"
        sized = sorted(path.name for path in folder.glob("model.*x*.onnx"))
        other = f"{sized[0]}, which is for a size of its own" if sized else "another model"
        own = " at its own size" if sized else ""
        return f"The run {name} was not exported{own} yet; run `{command}` first, or name {other}."
    if (folder / RUN_NAME).is_file():
        return (
            f"The run {name} has no trained model yet; let its training end (`segtool train --resume` goes on with it) "
            "and run `segtool export`, or name another model."
        )
    return f"There is no exported model in {name}; run `segtool train` and `segtool export`, or name a model."


def _to_be_preferred(int8: Path, float32: Path) -> bool:
    """Whether an INT8 file was made from this very FP32 file and its export did not recommend that one."""
    from segtool.contract import ModelContract
    from segtool.runtime.model_file import check_model_file

    try:
        contract = ModelContract.from_metadata(check_model_file(int8).metadata, source=str(int8))
    except SegtoolError:
        return False
    speed = contract.gates.get("speed")
    found = speed if isinstance(speed, Mapping) else {}
    advised = found.get("recommendation")
    refused = advised == "float32" or (advised is None and found.get("verdict") == "slower")
    made_from = contract.quantization.get("float32_sha256")
    return not refused and made_from == hashlib.sha256(float32.read_bytes()).hexdigest()
