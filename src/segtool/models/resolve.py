"""Finding the model that a user names: a run folder, a .keras file, an .onnx file, or none (the latest run)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segtool.errors import ModelFileError, SegtoolError, reason_of
from segtool.files import sha256_of
from segtool.models.other_formats import refuse_other_folder

if TYPE_CHECKING:
    from segtool.contract import ModelContract

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
        The content of run.json.
    """

    path: Path
    info: Mapping[str, Any]

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.path / KERAS_NAME

    @property
    def data(self) -> Mapping[str, Any]:
        """The training data of the run: spec, fingerprint, class_names, background_id, ignore_id, ..."""
        data: Mapping[str, Any] = self.info["data"]
        return data

    @property
    def split(self) -> Mapping[str, Any]:
        """How the run split its data: seed, val_split, test_split; empty if run.json does not contain them."""
        return {key: self.info[key] for key in ("seed", "val_split", "test_split") if key in self.info}


@dataclass(frozen=True)
class ModelSource:
    """A model file, its kind, and its run (None for a file outside of a run)."""

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
        "keras" (to export), "onnx" (to run on a device), or None for either. For a run folder "keras" selects the
        trained model and "onnx" the exported one; None prefers the exported one.

    Raises
    ------
    ModelFileError
        The model does not exist or is of another kind; the message says what to run.
    """
    target = LATEST if path is None else Path(path)
    if target.is_dir():
        refuse_other_folder(target)
        return _in_folder(target, kind)
    if path is None:
        raise ModelFileError("There is no run at runs/latest; train one with `segtool train`, or pass a model.")
    if not target.is_file():
        files = {"keras": "or a .keras file", "onnx": "or an .onnx file", None: "a .keras file or an .onnx file"}[kind]
        raise ModelFileError(f"There is no model at {target}; pass a run folder{'' if kind else ','} {files}.")
    _refuse_unnamed(target)
    found = file_kind(target)
    if kind not in (None, found):
        wanted = "a trained model (.keras or a run folder)" if kind == "keras" else "an exported model (.onnx)"
        hint = "pass the run that it was exported from" if kind == "keras" else "export one with `segtool export`"
        raise ModelFileError(f"{target} is a {target.suffix} file, expected {wanted}; {hint}.")
    belongs = found == "keras" and target.name == KERAS_NAME and (target.parent / RUN_NAME).is_file()
    return ModelSource(target, found, read_run(target.parent) if belongs else None)


def latest_exported(folder: str | Path = LATEST) -> Path:
    """Return the exported model of a run that the export recommended.

    Without a recommendation (INT8 was made for another processor), this is INT8 unless it was measured to be slower. An
    INT8 file that was made from another FP32 file than the one in the folder is not used.

    Raises
    ------
    ModelFileError
        The run has no exported model.
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
        The folder is not a run folder, or its run.json is damaged or incomplete.
    """
    path = Path(folder, RUN_NAME)
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFileError(
            f"{folder} is not a run folder (it has no {RUN_NAME}); pass one that `segtool train` wrote."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} cannot be read ({reason_of(error)}); train again.") from error
    data = info.get("data") if isinstance(info, dict) else None
    if not isinstance(data, dict) or not {"spec", "fingerprint", "class_names"} <= data.keys():
        raise ModelFileError(f"{path} does not describe the data that the run was trained on; train again.")
    return Run(Path(folder), info)


def exported_files(named: Sequence[Path]) -> list[Path]:
    """Return the named files, with each run folder replaced by its exported files, FP32 first.

    Raises
    ------
    ModelFileError
        A folder is not a run folder, or has no exported file.
    """
    return [file for path in named for file in _exported_in(path)]


def _exported_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    read_run(path)
    files = [file for name in (ONNX_NAME, INT8_NAME) if (file := path / name).is_file()]
    return files or [latest_exported(path)]


def run_files(folder: Path) -> list[Path]:
    """Return the files of a run folder that commands read; an empty list for another folder."""
    names = (RUN_NAME, KERAS_NAME, ONNX_NAME, INT8_NAME)
    return [folder / name for name in names] if (folder / RUN_NAME).is_file() else []


def file_kind(path: Path) -> Kind:
    """Return the kind of a model file by its name; opening it checks the content."""
    return "onnx" if path.suffix.lower() == ".onnx" else "keras"


def _refuse_unnamed(path: Path) -> None:
    """Refuse a file without a suffix; files with other suffixes are checked by their content."""
    if path.suffix:
        return
    raise ModelFileError(
        f"{path} has no suffix that shows its kind, expected .onnx (exported model) or .keras (trained model); rename "
        "the file."
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
    """Return the message for a folder without an exported model: what is there, and what to do."""
    name = f"{folder} ({folder.resolve()})" if folder.is_symlink() else str(folder)
    if folder.is_symlink() and not folder.exists():
        return f"{name} is a link to a run that no longer exists; train again with `segtool train`, or pass a model."
    if (folder / KERAS_NAME).is_file():
        command = "segtool export" if folder == LATEST else f"segtool export {shlex.quote(str(folder))}"
        sized = sorted(path.name for path in folder.glob("model.*x*.onnx"))
        other = f"{sized[0]}, which was exported for another size" if sized else "another model"
        own = " at its training size" if sized else ""
        return f"The run {name} is not exported{own} yet; run `{command}` first, or pass {other}."
    if (folder / RUN_NAME).is_file():
        return (
            f"The run {name} has no trained model yet; finish its training (`segtool train --resume` continues it) "
            "and run `segtool export`, or pass another model."
        )
    return f"There is no exported model in {name}; run `segtool train` and `segtool export`, or pass a model."


def _to_be_preferred(int8: Path, float32: Path) -> bool:
    """Return whether an INT8 file was made from this FP32 file and its export does not recommend FP32."""
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
    return not refused and is_made_from(contract, float32)


def float32_beside(int8: Path, contract: ModelContract) -> Path | None:
    """Return the FP32 file beside an INT8 file that it was made from: model.onnx for model.int8.onnx; None without."""
    float32 = int8.with_name(int8.name.replace(".int8.onnx", ".onnx"))
    is_other = float32 != int8 and float32.is_file()
    return float32 if is_other and is_made_from(contract, float32) else None


def is_made_from(contract: ModelContract, float32: Path) -> bool:
    """Return whether the contract of an INT8 file names this FP32 file as that which it was made from."""
    return bool(contract.quantization.get("float32_sha256") == sha256_of(float32))
