"""What a trained network takes and gives: the facts that `export` and `evaluate` rely on, each decided here.

Two facts are read elsewhere, because they need another form of the network:

- the layers that a file may name: `config_check`, from its configuration, before Keras sees the file
- the last operation (softmax, sigmoid or neither): `segtool.export.heads.end_of`, from the converted graph
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from segtool.contract import ModelContract, default_palette
from segtool.errors import ExportError, ModelFileError

_ROUNDING = 1e-2  # of the sum of probabilities, also in bfloat16


@dataclass(frozen=True)
class Network:
    """A trained network, and what it takes and gives.

    Attributes
    ----------
    model
        keras.Model with one input and one output.
    source
        Name of its file, for messages.
    height, width, channels
        Its input: one image (N, height, width, channels), of this size only.
    dtype
        Type of the input's values, such as "uint8" (pixels 0..255, with the scaling inside the network).
    num_classes
        Its output: scores (N, height, width, num_classes), at the size of the input.
    """

    model: Any
    source: str
    height: int
    width: int
    channels: int
    dtype: str
    num_classes: int


def network_of(model: Any, *, source: str) -> Network:
    """Read from a Keras model what it takes and gives.

    Raises
    ------
    ModelFileError
        It does not have one image input and one (N, H, W, K) output of the same fixed size.
    """
    expected = "expected one image input (N, H, W, C) of fixed size and one output (N, H, W, K) at the same size"
    shapes = [tuple(tensor.shape) for tensor in (*model.inputs, *model.outputs)]
    fixed = len(shapes) == 2 and all(len(shape) == 4 and None not in shape[1:] for shape in shapes)
    if not fixed or shapes[0][1:3] != shapes[1][1:3] or shapes[0][3] not in (1, 3):
        raise ModelFileError(f"{source} has inputs and outputs of shape {shapes}; {expected}.")
    height, width, channels = shapes[0][1:]
    return Network(model, source, height, width, channels, str(model.inputs[0].dtype), shapes[1][3])


def contract_of(network: Network, *, data: Mapping[str, Any], split: Mapping[str, Any] | None = None) -> ModelContract:
    """Return the contract of a network: sizes from its shapes, classes from its data.

    Parameters
    ----------
    network
        As from `network_of`.
    data
        class_names, background_id, ignore_id and fingerprint, as in run.json; all are optional. Classes without names
        are called "class 0", "class 1", ...
    split
        How the training split the data: seed, val_split, test_split; None if unknown.

    Raises
    ------
    ModelFileError
        The data have another number of classes.
    """
    count = network.num_classes
    names = tuple(data.get("class_names") or (f"class {index}" for index in range(count)))
    if len(names) != count:
        raise ModelFileError(
            f"{network.source} predicts {count} classes and its data have {len(names)}; "
            "use the model and run.json of one run."
        )
    background = data.get("background_id")
    return ModelContract.of_file(
        network.source,
        height=network.height,
        width=network.width,
        channels=network.channels,
        class_names=names,
        palette=default_palette(count, background_id=background),
        background_id=background,
        ignore_id=data.get("ignore_id"),
        data_fingerprint=data.get("fingerprint", ""),
        split=dict(split or {}),
        size_policy=data.get("size_policy", "resize"),
    )


def check_exportable(network: Network) -> None:
    """Refuse a network that the conversion would change, or whose weights are not finite.

    Raises
    ------
    ExportError
        Keras runs on another backend than TensorFlow, the input is not raw uint8 pixels, a layer does not compute in
        float32, or a weight is NaN or infinite.
    """
    import keras

    model = network.model
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"Export needs Keras on TensorFlow, found {keras.backend.backend()}; run it with KERAS_BACKEND=tensorflow."
        )
    if network.dtype != "uint8":
        raise ExportError(f"The network's input is {network.dtype}, expected uint8 raw pixels with the scaling inside.")
    for layer in model.layers:
        if layer.weights and layer.compute_dtype != "float32":
            raise ExportError(
                f"Layer {layer.name} computes in {layer.compute_dtype}, expected float32; save the model in float32."
            )
    for weight in model.weights:
        if not np.isfinite(np.asarray(weight)).all():
            raise ExportError(
                f"The weight {weight.path} holds NaN or infinite values; the training went wrong, train again."
            )


def gives_probabilities(network: Network) -> bool:
    """Return whether the outputs of a network sum to 1 over the classes, tested on one black image."""
    from keras import ops

    image = np.zeros((1, network.height, network.width, network.channels), np.uint8)
    scores = ops.convert_to_numpy(network.model(image, training=False))
    return bool((scores >= 0).all() and np.abs(scores.sum(axis=-1, dtype=np.float64) - 1).max() < _ROUNDING)
