"""The weights that a training starts from: those of ImageNet, of a PyTorch file, or of an earlier network."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from segtool.errors import TrainingError
from segtool.models.keras_file import load_keras_file
from segtool.models.resolve import find_model
from segtool.text import counted
from segtool.train.architectures.encoders import DEFAULT, ENCODERS, PREFIX, TORCH_SUFFIXES, Encoder, Weights
from segtool.train.recipes import IMAGENET, NONE
from segtool.train.torch_file import is_torch_file

FILE_SUFFIXES = (".keras", ".h5", ".hdf5", *TORCH_SUFFIXES)

MOST = 1e6
"""The largest magnitude of a weight that is not a sign of damage; variances of published encoders reach about 1000."""

logger = logging.getLogger(__name__)


def read_weights(spec: str, encoder: str | None, *, channels: int = 3) -> Weights:
    """Return weights by the name of the layer; an empty mapping for "none".

    Parameters
    ----------
    spec
        "none", "imagenet", or a path: a run, a .keras file, or a file of the encoder (.pth or .h5).
    encoder
        The encoder of the network, a name from `ENCODERS`; None if it has no encoder.
    channels
        1 (grey) or 3 (RGB) channels of the images.

    Raises
    ------
    SegtoolError
        The weights are not installed, damaged, or not of this encoder or these images.
    """
    if spec == NONE:
        return {}
    suffix = Path(spec).suffix.lower()
    of_torch = suffix in TORCH_SUFFIXES
    if encoder is None and (of_torch or spec == IMAGENET):
        raise TrainingError(
            f"--weights {spec} is for a network with an encoder, expected --arch fcn8-lite; choose it, or leave "
            "--weights out."
        )
    _refuse_other_files(spec)
    chosen = ENCODERS[encoder] if encoder else None
    for_colours = channels == 1 and chosen is not None and _differs_by_channel(chosen)
    if for_colours and spec == IMAGENET:  # before a download
        raise _for_colours(encoder)
    if chosen and (spec == IMAGENET or suffix in chosen.suffixes):
        weights = chosen.read(chosen.fetch() if spec == IMAGENET else Path(spec))
    elif of_torch:
        raise TrainingError(
            f"--weights {spec} is a PyTorch file, expected an .h5 file, a .keras file or a run for the encoder "
            f"{encoder}; choose an encoder of EfficientNet-Lite, or other weights."
        )
    else:
        weights = _of_model(load_keras_file(find_model(spec, kind="keras").path))
    _refuse_damaged(weights, spec=spec)
    if for_colours and _is_rgb(weights):
        raise _for_colours(encoder)
    return weights


def _for_colours(encoder: str | None) -> TrainingError:
    return TrainingError(
        f"The weights of {encoder} expect R, G and B scaled differently, found grey images; choose another "
        f"--encoder, such as {DEFAULT}, or --weights {NONE}."
    )


def _refuse_other_files(spec: str) -> None:
    path = Path(spec)
    if path.is_file() and path.suffix.lower() not in TORCH_SUFFIXES and is_torch_file(path):
        raise TrainingError(
            f"--weights {spec} is a PyTorch file, expected the suffix .pth or .pt; rename it: "
            f"mv {spec} {path.with_suffix('.pth')}"
        )
    if spec == IMAGENET or path.is_dir() or (path.exists() and path.suffix.lower() in FILE_SUFFIXES):
        return
    found = f"--weights {spec} is of another kind" if path.exists() else f"There are no weights at {spec}"
    raise TrainingError(
        f"{found}, expected {NONE}, {IMAGENET}, a run, or a file ({', '.join(FILE_SUFFIXES)}); correct --weights."
    )


def _refuse_damaged(weights: Weights, *, spec: str) -> None:
    """Refuse values that no training leaves: HDF5 and PyTorch files have no checksum of their content."""
    for name, values in weights.items():
        statistics = len(values) == 4 and all(value.ndim == 1 for value in values)
        for index, value in enumerate(values):
            least = 0 if statistics and index == 3 else -MOST  # the fourth of a normalization is its variance
            wrong = value[~((value >= least) & (value <= MOST))]
            if wrong.size:
                raise TrainingError(
                    f"The layer {name} of the weights {spec} holds the value {wrong[0]:g}, expected values from "
                    f"{least:g} to {MOST:g}: the file is damaged, or its training failed; get the file again, or "
                    "choose other --weights."
                )


def _of_model(model: keras.Model) -> Weights:
    """Return the weights of the layers of a model; an application of Keras itself has the layers of an encoder."""
    found = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    prefix = "" if any(name.startswith(PREFIX) for name in found) else PREFIX
    return {**{prefix + name: values for name, values in found.items()}, **found}


def _differs_by_channel(encoder: Encoder) -> bool:
    return any(isinstance(item, tuple) for item in encoder.scaling)


def _is_rgb(weights: Weights) -> bool:
    return any(np.ndim(item) == 4 and item.shape[2] == 3 for values in weights.values() for item in values)


def set_weights(network: keras.Model, weights: Weights, *, spec: str) -> None:
    """Set the weights of each layer of `network` that has the name and the shapes of given ones.

    The first kernel of an RGB encoder is summed over its inputs for grey images, which gives the same map as three
    equal channels. Other layers of the same name and another shape, such as the scores of other classes, keep their
    random weights, and a log message names them; in the encoder they are an error.

    Raises
    ------
    TrainingError
        No layer fits, or a layer of the encoder does not or is missing.
    """
    named = {layer.name: layer for layer in network.layers if layer.weights}
    fitting, other = {}, []
    for name in named.keys() & weights.keys():
        shapes = [tuple(weight.shape) for weight in named[name].weights]
        values = [_grey(value, shape) for value, shape in zip(weights[name], shapes, strict=False)]
        if [value.shape for value in values] == shapes and len(values) == len(weights[name]):
            fitting[name] = values
        else:
            other.append(f"{name} ({_shown(weights[name])}, expected {_shown(named[name].weights)})")
    unfit = [item for item in sorted(other) if item.startswith(PREFIX)]
    absent = [name for name in named if name.startswith(PREFIX) and name not in weights]
    if unfit or absent or not fitting:
        if unfit:
            found = f"layers of another shape: {', '.join(unfit[:3])}"
        elif fitting:
            found = f"no values for {counted(len(absent), 'layer')} of the encoder, such as {absent[0]}"
        else:
            found = "no layer of this network"
        same = "--encoder" if unfit or fitting else "--arch, --encoder and --width"
        raise TrainingError(f"The weights {spec} have {found}; choose weights of the same {same}, or --weights {NONE}.")
    for name, values in fitting.items():
        named[name].set_weights(values)
    if other:
        logger.warning("These layers start from random weights: %s.", "; ".join(sorted(other)))
    logger.info("%s start from %s.", counted(len(fitting), "layer"), spec)


def _grey(value: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return a kernel for RGB images as one for grey images, if `shape` is its shape."""
    if len(shape) == 4 and value.shape == (*shape[:2], 3, shape[3]) and shape[2] == 1:
        return np.asarray(value.sum(axis=2, keepdims=True))
    return value


def _shown(weights: Any) -> str:
    return " and ".join(" x ".join(map(str, np.shape(weight))) for weight in weights[:1])
