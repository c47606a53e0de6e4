"""The frame of a network: zeros that fill the image up to a size which it takes, and a crop of as much off the scores.

The zeros go below and to the right of the image. A network has such layers itself (fcn8 does, where its size needs
them), or there are places where they may go: behind the scaling of the pixels, where a zero is what convolutions pad
with too, and in front of the last layer, where that layer computes each pixel by itself, so that a crop before it and
one behind it give the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Size = tuple[int, int]
Layer = Callable[..., Any]


@dataclass(frozen=True)
class Frame:
    """Where the frame of a network is, or may go.

    Attributes
    ----------
    pad_at, crop_at
        Names of the layers that pad and crop; of those behind and in front of which such layers may go where the
        network has none; empty where there is no place.
    padding
        (bottom, right) in pixels, as the network has it.
    """

    pad_at: str = ""
    crop_at: str = ""
    padding: Size = (0, 0)

    @property
    def is_own(self) -> bool:
        """Whether the network has the layers itself."""
        return any(self.padding)

    @property
    def is_possible(self) -> bool:
        """Whether the network can be padded and cropped."""
        return bool(self.pad_at and self.crop_at)


def find_frame(model: Any) -> Frame:
    """Return the frame of a functional Keras model with one image input, (N, H, W, C), and one output."""
    own = _own_frame(model)
    if own is not None:
        return own
    # A crop that is not understood: one more around it would be another network than its builder meant.
    if _layers_of(model, "Cropping2D"):
        return Frame()
    first = [layer for layer in _layers_of(model, "Rescaling") if layer.input is model.inputs[0]]
    last = [layer for layer in model.layers if _answers_per_pixel(layer) and layer.output is model.outputs[0]]
    return Frame(first[0].name, last[0].name) if first and last else Frame()


def with_frame(frame: Frame, padding: Size) -> Layer:
    """Return a function that calls the layers of a network with another frame.

    Parameters
    ----------
    frame
        Where it goes.
    padding
        (bottom, right) in pixels; (0, 0) for no layers at all.

    Returns
    -------
    Callable
        For `call_function` of `keras.models.clone_model`.
    """
    pad, crop = _pad_and_crop(frame, padding)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name == frame.pad_at:
            return pad(args[0] if frame.is_own else layer(*args, **kwargs))
        if layer.name == frame.crop_at:
            return crop(args[0]) if frame.is_own else layer(crop(args[0]), **kwargs)
        return layer(*args, **kwargs)

    return call


def _own_frame(model: Any) -> Frame | None:
    """Return the one padding of the whole image that a crop of as much at the output answers, or None."""
    size = tuple(model.inputs[0].shape[1:3])
    pads = [layer for layer in _layers_of(model, "ZeroPadding2D") if tuple(layer.input.shape[1:3]) == size]
    crops = [layer for layer in _layers_of(model, "Cropping2D") if tuple(layer.output.shape[1:3]) == size]
    if len(pads) != 1 or len(crops) != 1 or pads[0].padding != crops[0].cropping:
        return None
    (top, bottom), (left, right) = pads[0].padding
    return None if top or left or not (bottom or right) else Frame(pads[0].name, crops[0].name, (bottom, right))


def _layers_of(model: Any, kind: str) -> list[Any]:
    return [layer for layer in model.layers if type(layer).__name__ == kind]


def _answers_per_pixel(layer: Any) -> bool:
    kind = type(layer).__name__
    if kind == "Conv2D":
        return tuple(layer.kernel_size) == tuple(layer.strides) == (1, 1)
    return kind == "Activation" or (kind == "Softmax" and layer.axis in (-1, 3))


def _pad_and_crop(frame: Frame, padding: Size) -> tuple[Layer, Layer]:
    from keras import layers

    if not any(padding):
        return _unchanged, _unchanged
    names = (frame.pad_at, frame.crop_at) if frame.is_own else ("resized_pad", "resized_crop")
    amounts = tuple((0, amount) for amount in padding)
    return layers.ZeroPadding2D(amounts, name=names[0]), layers.Cropping2D(amounts, name=names[1])


def _unchanged(tensor: Any) -> Any:
    return tensor
