"""The models of a page, and what its contract.json states about them."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from segtool import __version__
from segtool.contract import GoldenPair, ModelContract
from segtool.errors import ContractError, ModelFileError
from segtool.images.png import write_png
from segtool.models.resolve import is_made_from
from segtool.runtime.model_file import ModelFile, check_model_file
from segtool.runtime.opening import require_verified
from segtool.runtime.verify import required_agreement
from segtool.text import clean
from segtool.web.runtime import VERSION

SCHEMA_VERSION = 1
_NAMES = {"float32": "model.onnx", "int8": "model.int8.onnx"}
MODEL_NAMES = tuple(_NAMES.values())
"""The names of models in the folder of a page."""

_SHARED = ("height", "width", "channels", "class_names", "palette", "background_id", "size_policy")


@dataclass(frozen=True)
class PageModel:
    """A model of the page.

    Attributes
    ----------
    file
        The checked file.
    name
        Its name in the page.
    contract, golden
        What the file contains.
    """

    file: ModelFile
    name: str
    contract: ModelContract
    golden: GoldenPair


def read_models(paths: Sequence[Path]) -> list[PageModel]:
    """Read the contracts of one or two models of the same network.

    Raises
    ------
    ModelFileError
        A file is not a model, the page cannot run it, or the two do not belong together.
    ContractError
        A file has no contract or no golden pair.
    GateError
        A file does not give the labels of its golden pair on this machine.
    """
    found = [_read(path) for path in paths]
    if len({each.name for each in found}) < len(found):
        raise ModelFileError(
            f"{paths[0]} and {paths[1]} both are {found[0].contract.precision} files; expected one FP32 and one INT8 "
            "file of one network, or a single file."
        )
    for each in found[1:]:
        different = [name for name in _SHARED if getattr(each.contract, name) != getattr(found[0].contract, name)]
        if different:
            raise ModelFileError(
                f"{paths[0]} and {each.file.path} differ in {', '.join(different)}; expected two files of one network."
            )
        _check_pair(*sorted(found, key=lambda model: model.contract.precision))
    return found


def _check_pair(float32: PageModel, int8: PageModel) -> None:
    """Refuse an INT8 file that was made from another FP32 file, if it says from which."""
    if "float32_sha256" in int8.contract.quantization and not is_made_from(int8.contract, float32.file.path):
        raise ModelFileError(
            f"{int8.file.path} was made from another FP32 file than {float32.file.path}; expected two files of one "
            "export. Export them again together."
        )


def contract_json(models: Sequence[PageModel]) -> dict[str, Any]:
    """Return the content of contract.json: input, classes and colours, and each file with its golden pair.

    `probe_png` is the first golden image as a PNG: the page decodes it and compares the pixels, because some browsers
    change what a page reads from a canvas.
    """
    contract, golden = models[0].contract, models[0].golden
    return {
        "schema_version": SCHEMA_VERSION,
        "segtool": __version__,
        "onnxruntime_web": VERSION,
        **{name: getattr(contract, name) for name in _SHARED},
        "class_names": [clean(name) for name in contract.class_names],
        "models": [_entry(model) for model in models],
        "probe_png": _png_base64(golden),
    }


def _read(path: Path) -> PageModel:
    file = check_model_file(path)
    contract = ModelContract.from_metadata(file.metadata, source=str(path))
    golden = GoldenPair.from_metadata(file.metadata, source=str(path))
    size = contract.size
    if golden.images.shape[1:] != (*size, contract.channels) or golden.labels.shape != (len(golden.images), *size):
        raise ContractError(f"The golden pair of {path} does not fit its input size {size}; export the model again.")
    if contract.size_policy == "tile" and contract.head != "labels":
        raise ModelFileError(
            f"{path} has the {contract.head} head and cuts larger images into tiles. The page does not merge scores of "
            "tiles; export the model with --head labels, or with --larger-images resize."
        )
    require_verified(path)
    return PageModel(file, _NAMES.get(contract.precision, _NAMES["float32"]), contract, golden)


def _entry(model: PageModel) -> Mapping[str, Any]:
    return {
        "file": model.name,
        "bytes": model.file.path.stat().st_size,
        "crc32": zlib.crc32(model.file.path.read_bytes()),
        "precision": model.contract.precision,
        "head": model.contract.head,
        "required_agreement": required_agreement(model.contract),
        "golden": json.loads(model.golden.to_json()),
    }


def _png_base64(golden: GoldenPair) -> str:
    image, stream = golden.images[0], BytesIO()
    height, width, channels = image.shape
    write_png(stream, [image], height=height, width=width, channels=channels)
    return base64.b64encode(stream.getvalue()).decode("ascii")
