"""Write the folder of a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segtool.errors import OutputExistsError, OutputWriteError
from segtool.files import atomic_path, refuse_input_as_output, write_error, write_json
from segtool.web.models import MODEL_NAMES, PageModel, contract_json, read_models
from segtool.web.runtime import runtime_files

_STATIC = Path(__file__).resolve().parent / "static"
_SCRIPTS = ("resize.js", "orientation.js", "pixels.js", "labels.js", "model.js", "drawing.js", "page.js", "style.css")
_FIRST = "index.html"  # written last: a folder that a failure left incomplete opens as no page
_CONTRACT = "contract.json"  # written first: it shows that the folder is one of a page
_RUNTIME = "runtime"


@dataclass(frozen=True)
class WebPage:
    """A page that was written.

    Attributes
    ----------
    folder
        Its folder.
    files
        The size in bytes of each file, by its path in the folder.
    models
        The source of each model, by its name in the folder.
    """

    folder: Path
    files: dict[str, int]
    models: dict[str, Path]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


def write_page(
    models: Sequence[Path], folder: Path, *, runtime: Path | None = None, overwrite: bool = False
) -> WebPage:
    """Write a folder with a page that runs models in the browser, for any static web server.

    The page loads nothing from elsewhere. It verifies each model by its golden pair before the first image, and uses
    the fastest file that passes.

    Parameters
    ----------
    models
        One exported file, or an FP32 and an INT8 file of one network.
    folder
        The folder to write; it may exist if it is empty.
    runtime
        Where the npm package onnxruntime-web is; see `segtool.web.runtime.runtime_files`.
    overwrite
        Write into a folder with files, and replace those of an earlier page, both its models among them; other files
        stay.

    Raises
    ------
    ModelFileError, ContractError, GateError
        As in `segtool.web.models.read_models`.
    MissingExtraError
        onnxruntime-web is missing or has another version.
    OutputExistsError, OutputWriteError
        The folder has files, is a file, or cannot be written.
    DataError
        A file of the page would replace a model or a file of the runtime.
    """
    found = read_models(models)
    sources = _sources(found, runtime_files(runtime))
    names = [*sources, _CONTRACT]
    _check_folder(folder, overwrite=overwrite)
    refuse_input_as_output([folder / name for name in names], list(sources.values()))
    write_json(folder / _CONTRACT, contract_json(found))
    for name, source in sources.items():
        with atomic_path(folder / name) as temporary:
            shutil.copyfile(source, temporary)
    for model in found:
        model.file.require_unchanged()
    _remove_stale(folder / name for name in MODEL_NAMES if name not in sources)
    sizes = {name: (folder / name).stat().st_size for name in sorted(names)}
    return WebPage(folder, sizes, {model.name: model.file.path for model in found})


def _remove_stale(models: Iterable[Path]) -> None:
    """Remove models of an earlier page, which this one does not have."""
    for path in models:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(path, error) from error


def _sources(models: Sequence[PageModel], runtime: dict[str, Path]) -> dict[str, Path]:
    """Return the files to copy, by their names in the folder, in the order in which they are written."""
    return {
        **{f"{_RUNTIME}/{name}": path for name, path in runtime.items()},
        **{model.name: model.file.path for model in models},
        **{name: _STATIC / name for name in (*_SCRIPTS, _FIRST)},
    }


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a path that is no folder, a folder with files unless `overwrite`, and one with models of somebody else."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise OutputWriteError(f"{folder} is a file; expected the folder of the page. Choose another path.")
    try:
        filled = next(folder.iterdir(), None) is not None
    except OSError as error:
        raise write_error(folder, error) from error
    if filled and not overwrite:
        raise OutputExistsError(
            f"{folder} has files and was not changed; pass --overwrite to replace the files of a page in it, or choose "
            "another path."
        )
    models = [name for name in MODEL_NAMES if (folder / name).exists()]
    if models and not (folder / _CONTRACT).is_file():
        raise OutputExistsError(
            f"{folder} has {models[0]}, which `segtool page` did not write, so it was not changed; choose another path."
        )
