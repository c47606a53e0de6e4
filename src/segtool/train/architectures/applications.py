"""Encoders of keras.applications, and their ImageNet weights, which are downloaded once.

The layers of these networks are used as they are, under names with the prefix of encoders. Their classifier is left
out. The weights are kept where Keras keeps them: KERAS_HOME, or ~/.keras, in the folder models.
"""

from __future__ import annotations

import logging
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import keras
import numpy.typing as npt

from segtool.errors import TrainingError, reason_of
from segtool.files import write_bytes
from segtool.models.legacy_h5 import check_weights
from segtool.train.architectures.encoders import PREFIX, refuse_changed

_URL = "https://storage.googleapis.com/tensorflow/keras-applications"
_TIMEOUT = 60  # seconds without data
_MOMENTUM = 0.99  # the published networks have up to 0.999, for trainings of a million steps
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Application:
    """A network of keras.applications.

    Attributes
    ----------
    model
        The name of its function.
    file
        Where its weights without the classifier are, below `_URL`.
    layers
        The layers with the last maps at strides 4, 8, 16 and 32.
    scales
        Whether the function has an option to leave out the scaling of the pixels.
    md5
        MD5 of the file, as keras.applications states it; None where it states none.
    """

    model: str
    file: str
    layers: tuple[str, ...]
    scales: bool = True
    md5: str | None = None

    def build(self, **options: Any) -> keras.Model:
        """Return the network without classifier and without scaling of the pixels."""
        scaling = {"include_preprocessing": False} if self.scales else {}
        model: keras.Model = getattr(keras.applications, self.model)(include_top=False, **scaling, **options)
        return model


APPLICATIONS: Mapping[str, Application] = {
    "mobilenetv2": Application(
        "MobileNetV2",
        "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        ("block_2_add", "block_5_add", "block_12_add", "block_16_project_BN"),
        scales=False,
    ),
    "mobilenetv3": Application(
        "MobileNetV3Large",
        "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        tuple(f"expanded_conv_{block}_add" for block in (2, 5, 11, 14)),
        md5="07fb09a5933dd0c8eaafa16978110389",
    ),
    "mobilenetv3-small": Application(
        "MobileNetV3Small",
        "mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        ("expanded_conv_project_bn", "expanded_conv_2_add", "expanded_conv_7_add", "expanded_conv_10_add"),
        md5="d3e8ec802a04aa4fc771ee12a9a9b836",
    ),
    "efficientnetv2-b0": Application(
        "EfficientNetV2B0",
        "efficientnet_v2/efficientnetv2-b0_notop.h5",
        ("block2b_add", "block3b_add", "block5e_add", "block6h_add"),
        md5="893217f2bb855e2983157299931e43ff",
    ),
}


def encoder(x: Any, name: str) -> list[Any]:
    """Return the maps at strides 4, 8, 16 and 32 of a scaled image.

    Parameters
    ----------
    x
        Keras tensor (N, H, W, C), scaled as the network expects; H and W are multiples of 32.
    name
        Name from `APPLICATIONS`.
    """
    application = APPLICATIONS[name]
    before = keras.Model(keras.utils.get_source_inputs(x), x).layers
    network = application.build(weights=None, input_tensor=x)
    maps = [network.get_layer(layer).output for layer in application.layers]
    for layer in network.layers:
        if layer not in before:
            layer.name = PREFIX + layer.name
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = _MOMENTUM
    return maps


def weight_file(name: str) -> Path:
    """Return the file with the ImageNet weights of an application; download it if it is not there.

    Raises
    ------
    TrainingError
        The download fails.
    """
    application = APPLICATIONS[name]
    folder = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    url, path = f"{_URL}/{application.file}", folder / Path(application.file).name
    if path.is_file():
        return path
    logger.info("Download the weights of %s from %s to %s.", name, url, path)
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:  # noqa: S310 (the constant above)
            content = response.read()
    except (OSError, HTTPException) as error:
        raise TrainingError(
            f"The weights of {name} cannot be downloaded from {url} ({error}), expected a network connection; download "
            f"this file elsewhere and pass it with --weights {path.name}, or train without it (--weights none), or "
            "with --encoder lite0, whose weights are a package."
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)  # under its name only when it is whole: another training may look for it now
    return path


def file_weights(path: Path, name: str) -> Mapping[str, list[npt.NDArray[Any]]]:
    """Return the weights in an .h5 file of an application without its classifier, by the name of the encoder's layer.

    Raises
    ------
    SegtoolError
        The file is missing, damaged, refers to other files, or is of another network.
    """
    application = APPLICATIONS[name]
    remedy = f"delete it and download {_URL}/{application.file}"
    refuse_changed(path, name=Path(application.file).name, digest=application.md5, algorithm="md5", remedy=remedy)
    try:
        with path.open("rb") as content:
            check_weights(content, source=str(path))
        network = application.build(weights=str(path), input_shape=(224, 224, 3))
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(
            f"{path} cannot be read as the weights of {name} ({reason_of(error)}), expected "
            f"{Path(application.file).name} of keras.applications; download it again, or choose another "
            "--encoder."
        ) from error
    return {PREFIX + layer.name: layer.get_weights() for layer in network.layers if layer.weights}
