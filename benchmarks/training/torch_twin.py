"""A Keras network as a PyTorch module with the same weights, for the comparison.

The description is made where TensorFlow is, and built where PyTorch is: no process holds both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_LAYERS = "layers"


def describe(model: Any, path: Path) -> None:
    """Write what layers a Keras network has, what each is fed with, and its weights, to an .npz file at `path`."""
    names = {id(layer.output): layer.name for layer in model.layers}
    layers, weights = [], {}
    for layer in model.layers:
        inputs = [] if layer.__class__.__name__ == "InputLayer" else layer.input
        inputs = inputs if isinstance(inputs, list) else [inputs]
        kind = next(name for name in (base.__name__ for base in type(layer).__mro__) if name in _KINDS)
        item = {"name": layer.name, "kind": kind, "inputs": [names[id(tensor)] for tensor in inputs]}
        layers.append({**item, "config": _plain(layer.get_config()), "shape": [*layer.output.shape[1:]]})
        weights.update({f"{layer.name}/{weight.name}": np.asarray(weight) for weight in layer.weights})
    arrays: dict[str, Any] = {_LAYERS: np.frombuffer(json.dumps(layers).encode(), np.uint8), **weights}
    np.savez(path, **arrays)


def build(path: Path) -> Any:
    """Return the torch.nn.Module that `describe` wrote: uint8 (N, H, W, C) to logits (N, K, H, W)."""
    import torch

    with np.load(path) as stored:
        layers: list[dict[str, Any]] = json.loads(stored[_LAYERS].tobytes())
        weights = {name: stored[name] for name in stored.files if name != _LAYERS}

    class Twin(torch.nn.Module):  # type: ignore[misc]  # torch carries no types here
        """The layers in order; each keeps its output for those that it feeds."""

        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList()
            shapes = {item["name"]: item["shape"] for item in layers}
            for item in layers:
                start = f"{item['name']}/"
                own = {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)}
                self.parts.append(_KINDS[item["kind"]](item, own, [shapes[name] for name in item["inputs"]]))

        def forward(self, image: Any) -> Any:
            # The layout of a uint8 image (N, H, W, C) seen as (N, C, H, W) is channels_last as it is.
            values: dict[str, Any] = {}
            for item, part in zip(layers, self.parts, strict=True):
                given = [values[name] for name in item["inputs"]] or [image.permute(0, 3, 1, 2)]
                values[item["name"]] = part(*given)
            return values[layers[-1]["name"]]

    return Twin().to(memory_format=torch.channels_last)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if isinstance(value, int | float | str | list | tuple)}


def _nothing(_item: Any, _weights: Any, _shapes: Any) -> Any:
    """Return nothing to do, for the image itself and for the softmax: PyTorch's loss takes logits."""
    import torch

    return torch.nn.Identity()


def _rescaling(item: Any, _weights: Any, _shapes: Any) -> Any:
    import torch

    factor, offset = (torch.tensor(item["config"][name]).reshape(-1, 1, 1) for name in ("scale", "offset"))

    class Scale(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x.float() * factor + offset

    return Scale()


def _padding(item: Any, _weights: Any, _shapes: Any) -> Any:
    import torch

    (top, bottom), (left, right) = item["config"]["padding"]
    return torch.nn.ZeroPad2d((left, right, top, bottom))


def _cropping(item: Any, _weights: Any, _shapes: Any) -> Any:
    import torch

    (top, bottom), (left, right) = item["config"]["cropping"]
    return torch.nn.ZeroPad2d((-left, -right, -top, -bottom))


def _convolution(item: Any, weights: Any, shapes: Any) -> Any:
    import torch

    config, (height, width, channels) = item["config"], shapes[0]
    kernel, stride = tuple(config["kernel_size"]), tuple(config["strides"])
    pads = [_same(size, k, s) for size, k, s in zip((height, width), kernel, stride, strict=True)]
    even = all(before == after for before, after in pads)
    depthwise = item["kind"] == "DepthwiseConv2D"
    layer = torch.nn.Conv2d(
        channels, channels if depthwise else config["filters"], kernel, stride,
        padding=tuple(p[0] for p in pads) if even else 0, groups=channels if depthwise else 1, bias=config["use_bias"],
    )  # fmt: skip
    _set(layer, weights, (2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
    front = [] if even else [torch.nn.ZeroPad2d((*pads[1], *pads[0]))]
    return torch.nn.Sequential(*front, layer, *_activation(config["activation"]))


def _upsampling(item: Any, _weights: Any, _shapes: Any) -> Any:
    import torch

    return torch.nn.Upsample(scale_factor=tuple(item["config"]["size"]), mode=item["config"]["interpolation"])


def _transposed(item: Any, weights: Any, shapes: Any) -> Any:
    import torch

    config, channels = item["config"], shapes[0][2]
    kernel, stride = tuple(config["kernel_size"]), tuple(config["strides"])
    # TensorFlow's "same" gives size times stride; so does "valid" where the kernel is the stride.
    cut = tuple((k - s) // 2 for k, s in zip(kernel, stride, strict=True))
    layer = torch.nn.ConvTranspose2d(channels, config["filters"], kernel, stride, padding=cut, bias=config["use_bias"])
    _set(layer, weights, (3, 2, 0, 1))
    return torch.nn.Sequential(layer, *_activation(config["activation"]))


def _pooling(item: Any, _weights: Any, _shapes: Any) -> Any:
    import torch

    return torch.nn.MaxPool2d(tuple(item["config"]["pool_size"]))


def _normalization(item: Any, weights: Any, shapes: Any) -> Any:
    import torch

    config = item["config"]
    layer = torch.nn.BatchNorm2d(shapes[0][2], eps=config["epsilon"], momentum=1 - config["momentum"])
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    with torch.no_grad():
        for ours, theirs in names.items():
            getattr(layer, ours).copy_(torch.from_numpy(weights[theirs]))
    return layer


def _leaky(item: Any, _weights: Any, _shapes: Any) -> Any:
    import torch

    return torch.nn.LeakyReLU(item["config"]["negative_slope"], inplace=True)


def _relu(item: Any, _weights: Any, _shapes: Any) -> Any:
    import torch

    return torch.nn.ReLU6(inplace=True) if item["config"].get("max_value") == 6 else torch.nn.ReLU(inplace=True)


def _add(_item: Any, _weights: Any, _shapes: Any) -> Any:
    import torch

    class Sum(torch.nn.Module):  # type: ignore[misc]
        def forward(self, *parts: Any) -> Any:
            return sum(parts[1:], parts[0])

    return Sum()


def _concatenate(_item: Any, _weights: Any, _shapes: Any) -> Any:
    import torch

    class Join(torch.nn.Module):  # type: ignore[misc]
        def forward(self, *parts: Any) -> Any:
            return torch.cat(parts, 1)

    return Join()


_KINDS: Mapping[str, Any] = {
    "InputLayer": _nothing,
    "Softmax": _nothing,
    "Rescaling": _rescaling,
    "ZeroPadding2D": _padding,
    "Cropping2D": _cropping,
    "Conv2D": _convolution,
    "DepthwiseConv2D": _convolution,
    "Conv2DTranspose": _transposed,
    "UpSampling2D": _upsampling,
    "MaxPooling2D": _pooling,
    "BatchNormalization": _normalization,
    "LeakyReLU": _leaky,
    "ReLU": _relu,
    "Add": _add,
    "Concatenate": _concatenate,
}


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's "same" padding before and after: more at the end where it is odd."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _activation(name: str) -> list[Any]:
    import torch

    return {"linear": [], "relu": [torch.nn.ReLU(inplace=True)]}[name]


def _set(layer: Any, weights: Mapping[str, Array], order: tuple[int, ...]) -> None:
    import torch

    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weights["kernel"].transpose(order))))
        if "bias" in weights:
            layer.bias.copy_(torch.from_numpy(weights["bias"]))
