"""One interface to get label maps from a model file of any kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import FloatArray, IntegerArray, UInt8Array
from segtool.contract import ModelContract
from segtool.errors import ModelFileError
from segtool.images.pixels import ArrayPixels
from segtool.models.keras_file import load_keras_file, with_plain_ends
from segtool.models.network import contract_of, gives_probabilities, shape_of
from segtool.models.resolve import Kind, ModelSource, find_model
from segtool.runtime.tiling import predict_tiled

if TYPE_CHECKING:
    from segtool.runtime.segmenter import Segmenter

Answer = tuple[IntegerArray, FloatArray | None]


@dataclass(frozen=True)
class Predictor:
    """A model that is ready to run.

    Attributes
    ----------
    path, kind
        The model file and its kind.
    contract
        What the model expects and returns; for a .keras file derived from its run, or from its shapes only.
    answer_batch
        uint8 (N, height, width, channels) to class ids (N, height, width) and their probabilities, float32 of the same
        shape; None in their place if the model gives none: an .onnx file with the labels head, or a .keras file with
        another output.
    provider_report
        The same as of a `Segmenter`; empty for a .keras file.
    answer_image
        The same for one image uint8 (H, W, channels) of any size, in tiles. None if the contract says that images are
        resized.
    segmenter
        The segmenter of an .onnx file; None for a .keras file.
    """

    path: Path
    kind: Kind
    contract: ModelContract
    answer_batch: Callable[[UInt8Array], Answer]
    provider_report: Mapping[str, Any] = field(default_factory=dict)
    answer_image: Callable[[UInt8Array], Answer] | None = None
    segmenter: Segmenter | None = None

    def predict_batch(self, images: UInt8Array) -> IntegerArray:
        """Return the class ids (N, height, width) of images uint8 (N, height, width, channels)."""
        return self.answer_batch(images)[0]


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
    from segtool.runtime.opening import load

    segmenter = load(
        source.path, provider=provider, threads=threads, provider_options=provider_options, sandbox=sandbox
    )
    return Predictor(
        source.path,
        "onnx",
        segmenter.contract,
        _answer_batch(segmenter),
        provider_report=segmenter.provider_report,
        answer_image=_answer_image(segmenter) if segmenter.contract.size_policy == "tile" else None,
        segmenter=segmenter,
    )


def _open_keras(source: ModelSource) -> Predictor:
    model = with_plain_ends(load_keras_file(source.path))
    run = source.run
    shape = shape_of(model, source=str(source.path))
    contract = contract_of(shape, data=run.data if run else {}, split=run.split if run else None)

    probable = gives_probabilities(model, shape)

    def scored(images: UInt8Array) -> tuple[IntegerArray, FloatArray]:
        from keras import ops

        scores = ops.convert_to_numpy(model(images, training=False))
        return np.asarray(scores.argmax(-1), contract.label_dtype), scores.max(-1)

    def answer_batch(images: UInt8Array) -> Answer:
        labels, shares = scored(images)
        return labels, shares if probable else None

    def answer_image(image: UInt8Array) -> Answer:
        answers = predict_tiled(ArrayPixels(image), contract.size, lambda x: _packed(*scored(x)))
        return answers["id"], answers["share"] if probable else None

    return Predictor(
        source.path,
        "keras",
        contract,
        answer_batch,
        answer_image=answer_image if contract.size_policy == "tile" else None,
    )


def _packed(labels: IntegerArray, shares: FloatArray) -> npt.NDArray[np.void]:
    """Return class ids and their probabilities as one array of records, so that they are tiled together."""
    packed = np.empty(labels.shape, [("id", labels.dtype), ("share", np.float32)])
    packed["id"], packed["share"] = labels, shares
    return packed


def _answer_batch(segmenter: Segmenter) -> Callable[[UInt8Array], Answer]:
    from segtool.runtime.postprocess import best_and_share

    if segmenter.contract.head == "labels":
        return lambda images: (segmenter.predict_batch(images), None)
    return lambda images: best_and_share(segmenter.run(images), segmenter.contract)


def _answer_image(segmenter: Segmenter) -> Callable[[UInt8Array], Answer]:
    from segtool.runtime.postprocess import label_and_score

    def answer_image(image: UInt8Array) -> Answer:
        if segmenter.contract.head == "labels":
            return segmenter(image), None
        labels, shares = label_and_score(ArrayPixels(image), segmenter.contract, segmenter.run, "auto")
        return labels, shares.max(-1)

    return answer_image
