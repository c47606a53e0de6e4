"""One interface to get label maps from a model file of any kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import FloatArray, IntegerArray, UInt8Array
from segtool.contract import ModelContract, default_palette
from segtool.errors import ModelFileError
from segtool.images.pixels import ArrayPixels
from segtool.models.keras_file import load_keras_file
from segtool.models.resolve import Kind, ModelSource, find_model
from segtool.runtime.tiling import predict_tiled

if TYPE_CHECKING:
    from segtool.runtime.segmenter import Segmenter

_ROUNDING = 1e-2  # of the sum of probabilities, also in bfloat16


@dataclass(frozen=True)
class Predictor:
    """A model that is ready to run.

    Attributes
    ----------
    path, kind
        The model file and its kind.
    contract
        What the model expects and returns; for a .keras file derived from its run, or from its shapes only.
    predict_batch
        uint8 (N, height, width, channels) to class ids (N, height, width).
    provider_report
        The same as of a `Segmenter`; empty for a .keras file.
    answer_batch
        uint8 (N, height, width, channels) to class ids (N, height, width) and their probabilities, float32 of the same
        shape. None if the model gives no probabilities: an .onnx file with the labels head, or a .keras file with
        another output.
    answer_image
        One image uint8 (H, W, channels) of any size, in tiles, to class ids (H, W) and their probabilities or None.
        None if the contract says that images are resized.
    segmenter
        The segmenter of an .onnx file; None for a .keras file.
    """

    path: Path
    kind: Kind
    contract: ModelContract
    predict_batch: Callable[[UInt8Array], IntegerArray]
    provider_report: Mapping[str, Any] = field(default_factory=dict)
    answer_batch: Callable[[UInt8Array], tuple[IntegerArray, FloatArray]] | None = None
    answer_image: Callable[[UInt8Array], tuple[IntegerArray, FloatArray | None]] | None = None
    segmenter: Segmenter | None = None


def open_predictor(
    path: str | Path | None,
    *,
    provider: str = "auto",
    threads: int | None = None,
    provider_options: Mapping[str, Any] | None = None,
    sandbox: bool = False,
) -> Predictor:
    """Open a run folder, a .keras file or an .onnx file to predict with.

    For a run folder this opens the trained model. Keras is imported only for run folders and .keras files.

    Parameters
    ----------
    path
        The model; None for runs/latest.
    provider, threads, provider_options
        As in `segtool.load`; an error for a .keras file, which runs on the device of Keras.
    sandbox
        As in `segtool.load`, for .onnx files; a .keras file is always read without running code from it.

    Raises
    ------
    ModelFileError
        The model does not exist or cannot be opened.
    """
    source = find_model(path, kind="keras") if path is None or Path(path).is_dir() else find_model(path)
    if source.kind == "keras":
        if provider != "auto" or threads is not None or provider_options:
            raise ModelFileError(
                f"{source.path} runs in Keras, which has no provider or threads option; remove them, or export it."
            )
        return _open_keras(source)
    from segtool.runtime.segmenter import load

    segmenter = load(
        source.path, provider=provider, threads=threads, provider_options=provider_options, sandbox=sandbox
    )
    return Predictor(
        source.path,
        "onnx",
        segmenter.contract,
        segmenter.predict_batch,
        provider_report=segmenter.provider_report,
        answer_batch=None if segmenter.contract.head == "labels" else _answer_batch(segmenter),
        answer_image=_answer_image(segmenter) if segmenter.contract.size_policy == "tile" else None,
        segmenter=segmenter,
    )


def contract_of(
    model: Any, *, data: Mapping[str, Any], source: str, split: Mapping[str, Any] | None = None
) -> ModelContract:
    """Return the contract of a Keras model: sizes from its shapes, classes from its data.

    Parameters
    ----------
    data
        class_names, background_id, ignore_id and fingerprint, as in run.json; all are optional. Classes without names
        are called "class 0", "class 1", ...
    source
        Name of the file, for error messages.
    split
        How the training split the data: seed, val_split, test_split; None if unknown.

    Raises
    ------
    ModelFileError
        The model does not have one image input and one (N, H, W, K) output, or the data have another number of
        classes.
    """
    height, width, channels, count = _shapes(model, source=source)
    names = tuple(data.get("class_names") or (f"class {index}" for index in range(count)))
    if len(names) != count:
        raise ModelFileError(
            f"{source} predicts {count} classes and its data have {len(names)}; use the model and run.json of one run."
        )
    background = data.get("background_id")
    return ModelContract.of_file(
        source,
        height=height,
        width=width,
        channels=channels,
        class_names=names,
        palette=default_palette(count, background_id=background),
        background_id=background,
        ignore_id=data.get("ignore_id"),
        data_fingerprint=data.get("fingerprint", ""),
        split=dict(split or {}),
        size_policy=data.get("size_policy", "resize"),
    )


def _shapes(model: Any, *, source: str) -> tuple[int, int, int, int]:
    expected = "expected one image input (N, H, W, C) of fixed size and one output (N, H, W, K) at the same size"
    shapes = [tuple(tensor.shape) for tensor in (*model.inputs, *model.outputs)]
    fixed = len(shapes) == 2 and all(len(shape) == 4 and None not in shape[1:] for shape in shapes)
    if not fixed or shapes[0][1:3] != shapes[1][1:3] or shapes[0][3] not in (1, 3):
        raise ModelFileError(f"{source} has inputs and outputs of shape {shapes}; {expected}.")
    return (*shapes[0][1:], shapes[1][3])


def _open_keras(source: ModelSource) -> Predictor:
    model = load_keras_file(source.path)
    run = source.run
    contract = contract_of(
        model, data=run.data if run else {}, split=run.split if run else None, source=str(source.path)
    )

    def answer_batch(images: UInt8Array) -> tuple[IntegerArray, FloatArray]:
        from keras import ops

        scores = ops.convert_to_numpy(model(images, training=False))
        return np.asarray(scores.argmax(-1), contract.label_dtype), scores.max(-1)

    def predict_batch(images: UInt8Array) -> IntegerArray:
        return answer_batch(images)[0]

    probable = _gives_probabilities(model, contract)

    def answer_image(image: UInt8Array) -> tuple[IntegerArray, FloatArray | None]:
        answers = predict_tiled(
            ArrayPixels(image), (contract.height, contract.width), lambda x: _packed(*answer_batch(x))
        )
        return answers["id"], answers["share"] if probable else None

    return Predictor(
        source.path,
        "keras",
        contract,
        predict_batch,
        answer_batch=answer_batch if probable else None,
        answer_image=answer_image if contract.size_policy == "tile" else None,
    )


def _packed(labels: IntegerArray, shares: FloatArray) -> npt.NDArray[np.void]:
    """Return class ids and their probabilities as one array of records, so that they are tiled together."""
    packed = np.empty(labels.shape, [("id", labels.dtype), ("share", np.float32)])
    packed["id"], packed["share"] = labels, shares
    return packed


def _gives_probabilities(model: Any, contract: ModelContract) -> bool:
    """Return whether the outputs of a Keras model sum to 1 over the classes, tested on one black image."""
    from keras import ops

    image = np.zeros((1, contract.height, contract.width, contract.channels), np.uint8)
    shares = ops.convert_to_numpy(model(image, training=False))
    return bool((shares >= 0).all() and np.abs(shares.sum(axis=-1, dtype=np.float64) - 1).max() < _ROUNDING)


def _answer_batch(segmenter: Segmenter) -> Callable[[UInt8Array], tuple[IntegerArray, FloatArray]]:
    from segtool.runtime.postprocess import best_and_share

    return lambda images: best_and_share(segmenter.run(images), segmenter.contract)


def _answer_image(segmenter: Segmenter) -> Callable[[UInt8Array], tuple[IntegerArray, FloatArray | None]]:
    from segtool.runtime.postprocess import label_and_score

    def answer_image(image: UInt8Array) -> tuple[IntegerArray, FloatArray | None]:
        if segmenter.contract.head == "labels":
            return segmenter(image), None
        labels, shares = label_and_score(ArrayPixels(image), segmenter.contract, segmenter.run, "auto")
        return labels, shares.max(-1)

    return answer_image
