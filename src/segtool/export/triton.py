"""Write an exported file as a model of a Triton model repository: a folder from which model servers serve it.

::

    REPOSITORY/NAME/config.pbtxt     the configuration, in the text format of Triton's model_config.proto
    REPOSITORY/NAME/labels.txt       the class names, line k for class id k
    REPOSITORY/NAME/1/model.onnx     a copy of the exported file, with its contract and golden pair

The configuration leaves the name out, so Triton takes that of the folder, which can be renamed. OpenVINO Model Server
reads the same folder without the configuration.

Source of the fields: ``model_config.proto`` of triton-inference-server/common, and for the parameters the README of
triton-inference-server/onnxruntime_backend.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from segtool import __version__
from segtool.contract import METADATA_KEY, ModelContract
from segtool.errors import OutputExistsError
from segtool.files import atomic_folder, refuse_existing, sha256_of
from segtool.machine.processors import available_cpus
from segtool.models.resolve import RUN_NAME
from segtool.runtime.model_file import check_model_file
from segtool.runtime.opening import require_verified

logger = logging.getLogger(__name__)

CONFIG, LABELS, MODEL = "config.pbtxt", "labels.txt", "1/model.onnx"
_OWN = {CONFIG, LABELS, MODEL, "1"}
# Images in a batch, and pixels: activations of a wide network take about 500 bytes for each pixel.
_MOST_IMAGES = {"cpu": 8, "gpu": 32}
_MOST_PIXELS = {"cpu": 1 << 19, "gpu": 1 << 22}
_DELAY_MICROSECONDS = {"cpu": 100, "gpu": 500}


def is_exported(path: Path) -> bool:
    """Return whether a path is an .onnx file with a segtool contract, so that there is nothing to convert.

    Raises
    ------
    ModelFileError
        It is an .onnx file that is damaged or unsafe.
    """
    is_onnx = path.suffix.lower() == ".onnx" and path.is_file()
    return is_onnx and METADATA_KEY in check_model_file(path).metadata


def model_folder(repository: str | Path, model: Path, *, overwrite: bool) -> Path:
    """Return the folder in a repository for a model file, or refuse one that is there.

    The name is that of the run for ``model.onnx`` and ``model.int8.onnx`` in a run folder, else that of the file.

    Parameters
    ----------
    repository
        The folder with a folder for each model; it need not exist.
    model
        The exported file; it need not exist.
    overwrite
        Accept a folder that an earlier call wrote.

    Raises
    ------
    OutputExistsError
        The folder exists and `overwrite` is false, or it contains files that segtool did not write, such as another
        version of the model.
    """
    target = refuse_existing(Path(repository, _name(model)), overwrite=overwrite)
    if target.exists() and not target.is_dir():
        raise OutputExistsError(f"{target} is not a folder and was not changed; choose another repository.")
    found = {path.relative_to(target).as_posix() for path in target.rglob("*")}
    if others := sorted(found - _OWN):
        raise OutputExistsError(
            f"{target} contains {others[0]}, which segtool did not write, so it was not changed; move it away, or "
            "choose another repository."
        )
    return target


def write_model(model: str | Path, repository: str | Path, *, gpu: bool = False, overwrite: bool = False) -> Path:
    """Write an exported file as a model of a Triton repository; the folder appears when it is complete.

    Parameters
    ----------
    model
        An .onnx file of `segtool export`.
    repository
        The folder with a folder for each model; it is created.
    gpu
        Configure one instance on each GPU, not single-threaded instances on the processors.
    overwrite
        Replace the folder of an earlier call.

    Returns
    -------
    Path
        The folder of the model, REPOSITORY/NAME.

    Raises
    ------
    ModelFileError, GateError
        The file is not an exported model, is damaged, or does not give the labels of its golden pair here.
    OutputExistsError
        As in `model_folder`.
    OutputWriteError
        The operating system refused the write.

    Examples
    --------
    >>> write_model("m2nist.int8.onnx", "models")  # doctest: +SKIP
    PosixPath('models/m2nist')
    """
    source = check_model_file(model)
    contract = ModelContract.from_metadata(source.metadata, source=str(source.path))
    if gpu:
        _warn_of_cpu_file(source.path, contract)
    target = model_folder(repository, source.path, overwrite=overwrite)
    require_verified(source.path)
    with atomic_folder(target, overwrite=overwrite) as folder:
        (folder / MODEL).parent.mkdir()
        shutil.copyfile(source.path, folder / MODEL)
        (folder / LABELS).write_text("".join(f"{' '.join(name.split())}\n" for name in contract.class_names), "utf-8")
        (folder / CONFIG).write_text(config_text(contract, sha256_of(folder / MODEL), gpu=gpu), "utf-8")
    return target


def config_text(contract: ModelContract, digest: str, *, gpu: bool = False) -> str:
    """Return the configuration of a model, in protobuf's text format.

    Parameters
    ----------
    contract
        Of the file.
    digest
        SHA-256 of the file in hexadecimal, for a comment.
    gpu
        As in `write_model`.
    """
    device = "gpu" if gpu else "cpu"
    size = contract.size
    most = _largest_batch(size, device)
    scores = (*size, contract.num_classes)
    is_labels = contract.head == "labels"
    blocks = (
        f"# Written by segtool {__version__}; {contract.precision} file, SHA-256 {digest}.",
        "# The name of the model is the name of this folder. The first dimension, the batch, is not listed.",
        'backend: "onnxruntime"',
        'default_model_filename: "model.onnx"',
        f"max_batch_size: {most}",
        _tensor("input", "image", "UINT8", (*size, contract.channels), layout="FORMAT_NHWC"),
        _tensor("output", "labels", contract.label_dtype.name.upper(), size)
        if is_labels
        else _tensor("output", contract.head, "FP32", scores),
        "version_policy { latest { num_versions: 1 } }",
        *_batching(most, _DELAY_MICROSECONDS[device]),
        *(_on_gpu() if gpu else _on_cpu()),
        "# For clients: pixels are raw, 0 to 255, with the channels in this order.",
        _parameter("color_order", contract.color_order),
        _parameter("class_names", json.dumps(contract.class_names)),
        *(_warmup(batch, (*size, contract.channels)) for batch in sorted({1, most} if gpu else {1})),
    )
    return "\n".join(blocks) + "\n"


def _name(model: Path) -> str:
    stem = model.stem.removesuffix(".int8")
    first, dot, rest = stem.partition(".")
    if first == "model" and (model.parent / RUN_NAME).is_file():
        stem = model.parent.resolve().name + dot + rest
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).strip("._-") or "model"


def _largest_batch(size: tuple[int, int], device: str) -> int:
    """Return the largest power of two within the limits of the device, at least 1."""
    images = min(_MOST_IMAGES[device], _MOST_PIXELS[device] // (size[0] * size[1]))
    return 1 << max(images, 1).bit_length() - 1


def _tensor(kind: str, name: str, dtype: str, dims: tuple[int, ...], *, layout: str | None = None) -> str:
    form = f" format: {layout}" if layout else ""
    return f'{kind} [ {{ name: "{name}" data_type: TYPE_{dtype}{form} dims: {_list(dims)} }} ]'


def _list(values: tuple[int, ...]) -> str:
    return f"[ {', '.join(map(str, values))} ]"


def _batching(most: int, delay: int) -> Iterator[str]:
    if most == 1:
        return
    preferred = tuple(sorted({most // 2, most} - {1}))
    yield "# Requests that wait are batched. A longer delay fills batches, and adds latency."
    yield f"dynamic_batching {{ preferred_batch_size: {_list(preferred)} max_queue_delay_microseconds: {delay} }}"


def _on_cpu() -> Iterator[str]:
    yield "# One single-threaded instance per processor has the highest throughput: set count to those of the server."
    yield f"instance_group [ {{ count: {available_cpus()} kind: KIND_CPU }} ]"
    for key in ("intra_op_thread_count", "inter_op_thread_count"):
        yield _parameter(key, "1")


def _on_gpu() -> Iterator[str]:
    yield "# One instance on each GPU, with the CUDA provider."
    yield "instance_group [ { count: 1 kind: KIND_GPU } ]"


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value: {{ string_value: {json.dumps(value)} }} }}'


def _warmup(batch: int, dims: tuple[int, ...]) -> str:
    image = f"data_type: TYPE_UINT8 dims: {_list(dims)} zero_data: true"
    inputs = f'inputs {{ key: "image" value: {{ {image} }} }}'
    return f'model_warmup [ {{ name: "batch of {batch}" batch_size: {batch} {inputs} }} ]'


def _warn_of_cpu_file(path: Path, contract: ModelContract) -> None:
    if contract.precision == "int8":
        logger.warning("%s is an INT8 file, whose form is for CPUs; on a GPU serve the FP32 file.", path)
    elif contract.convolutions.get("algorithm") == "winograd":
        logger.warning("%s has Winograd's convolutions for a CPU; for a GPU export it with --winograd off.", path)
