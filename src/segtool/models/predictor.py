"""One way to get label maps from a model, whatever kind of file it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.contract import ModelContract, default_palette
from segtool.errors import ModelFileError
from segtool.models.keras_file import load_keras_file
from segtool.models.resolve import Kind, ModelSource, find_model
from segtool.runtime.answers import label
from segtool.runtime.pixels import ArrayPixels

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Predictor:
    """A model that is ready to run.

    Attributes
    ----------
    path, kind
        The file and what it is.
    contract
        What the model expects and returns; for a .keras file made from its run, or from its shapes alone.
    predict_batch
        uint8 (N, height, width, channels) to class ids (N, height, width).
    label_image
        One image uint8 (H, W, channels) of any size to class ids (H, W): resized or by tiles, as the contract says.
    provider_report
        As of a `Segmenter`; empty for a .keras file.
    """

    path: Path
    kind: Kind
    contract: ModelContract
    predict_batch: Callable[[Images], Labels]
    label_image: Callable[[Images], Labels]
    provider_report: Mapping[str, Any] = field(default_factory=dict)


def open_predictor(
    path: str | Path | None,
    *,
    provider: str = "auto",
    threads: int | None = None,
    provider_options: Mapping[str, Any] | None = None,
) -> Predictor:
    """Open a run folder, a .keras file or an .onnx file to predict with.

    Of a run folder the trained model is opened. Keras is imported only for it and for .keras files.

    Parameters
    ----------
    path
        The model; None for runs/latest.
    provider, threads, provider_options
        As in `segtool.load`; a .keras file runs on Keras's own device and refuses them.

    Raises
    ------
    ModelFileError
        There is no such model or it cannot be opened.
    """
    source = find_model(path, kind="keras") if path is None or Path(path).is_dir() else find_model(path)
    if source.kind == "keras":
        if provider != "auto" or threads is not None or provider_options:
            raise ModelFileError(
                f"{source.path} is run by Keras, where provider and threads mean nothing; leave them out, or export it."
            )
        return _open_keras(source)
    from segtool.runtime.segmenter import load

    segmenter = load(source.path, provider=provider, threads=threads, provider_options=provider_options)
    return Predictor(
        source.path,
        "onnx",
        segmenter.contract,
        segmenter.predict_batch,
        segmenter,
        provider_report=segmenter.provider_report,
    )


def contract_of(
    model: Any, *, data: Mapping[str, Any], source: str, split: Mapping[str, Any] | None = None
) -> ModelContract:
    """Return the contract of a Keras model: its sizes from its shapes, the classes from its data.

    Parameters
    ----------
    data
        class_names, background_id, ignore_id and fingerprint, as in run.json; what is missing is left open, and
        classes without names are called "class 0", ...
    source
        Name of the file, for errors.
    split
        How the training split the data: seed, val_split, test_split; None where it is not known.

    Raises
    ------
    ModelFileError
        The model has no single image input and (N, H, W, K) output, or the data name another number of classes.
    """
    height, width, channels, count = _shapes(model, source=source)
    names = tuple(data.get("class_names") or (f"class {index}" for index in range(count)))
    if len(names) != count:
        raise ModelFileError(
            f"{source} scores {count} classes and its data name {len(names)}; the two do not belong together."
        )
    background = data.get("background_id")
    return ModelContract(
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

    def predict_batch(images: Images) -> Labels:
        from keras import ops

        scores = ops.convert_to_numpy(model(images, training=False))
        return np.asarray(scores.argmax(-1), contract.label_dtype)

    def label_image(image: Images) -> Labels:
        return label(ArrayPixels(image), contract, predict_batch, "auto")

    return Predictor(source.path, "keras", contract, predict_batch, label_image)
