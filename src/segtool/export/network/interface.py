"""What a network takes and gives, read from the shapes of its tensors.

Nothing is assumed that the shapes do not show. What they do not fit is refused in one sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from segtool.errors import ExportError

Layout = Literal["NHWC", "NCHW"]
Form = Literal["map", "pixels", "plane"]
Shape = tuple[int | None, ...]
_STRIDES = (1, 2, 4, 8, 16, 32)
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Tensor:
    """A named input or output of a network; None in its shape for what is free."""

    name: str
    shape: Shape

    def __str__(self) -> str:
        return f"{self.name} ({', '.join('free' if side is None else str(side) for side in self.shape)})"


@dataclass(frozen=True)
class ImageInput:
    """The input of a network.

    Attributes
    ----------
    layout
        The order of its axes.
    channels
        1 or 3.
    size
        (height, width); None for a side that is free.
    """

    layout: Layout
    channels: int
    size: tuple[int | None, int | None]


@dataclass(frozen=True)
class ScoreOutput:
    """The output of a network that holds the scores of the classes.

    Attributes
    ----------
    layout
        Where the class axis is: last, or in front of the pixels.
    form
        "map": (N, h, w, K) or (N, K, h, w). "pixels": (N, h * w, K) or (N, K, h * w). "plane": (N, h, w), K is 1.
    classes
        Its number of channels: K, or 1 for a network that scores one class against the background.
    size
        (h, w) of its maps.
    """

    layout: Layout
    form: Form
    classes: int
    size: tuple[int, int]


def image_input(inputs: Sequence[Tensor], *, source: str) -> ImageInput:
    """Return what the only input of a network takes.

    Raises
    ------
    ExportError
        There are several inputs, or the one is no image of 1 or 3 channels.
    """
    shown = "; ".join(map(str, inputs))
    if len(inputs) != 1:
        raise ExportError(
            f"{source} has {len(inputs)} inputs ({shown}), expected one image; export a model with the image as its "
            "only input."
        )
    shape = inputs[0].shape
    if len(shape) != 4:
        raise ExportError(f"{source} takes {shown}, expected an image (N, H, W, C) or (N, C, H, W).")
    if shape[3] in _CHANNELS:
        return ImageInput("NHWC", int(shape[3] or 0), (shape[1], shape[2]))
    if shape[1] in _CHANNELS:
        return ImageInput("NCHW", int(shape[1] or 0), (shape[2], shape[3]))
    raise ExportError(
        f"{source} takes {shown}, expected an image of 1 or 3 channels, (N, H, W, C) or (N, C, H, W); segtool reads "
        "grey and RGB images only. Save the model with a fixed number of channels."
    )


def named_output(source: str, outputs: Sequence[Tensor], name: str | None) -> str:
    """Return the name of the output that the user chose, or of the only one.

    Raises
    ------
    ExportError
        There is none of that name, or there are several and none was chosen.
    """
    names = [item.name for item in outputs]
    listed = "; ".join(map(str, outputs))
    if name is not None and name not in names:
        raise ExportError(f"{source} has no output {name!r}; it has {listed}.")
    if name is None and len(names) > 1:
        raise ExportError(
            f"{source} has {len(names)} outputs ({listed}); choose the one with the scores of the classes, such as "
            f"--output {names[0]}."
        )
    return name or names[0]


def score_output(shape: Sequence[int], taken: ImageInput, size: tuple[int, int], *, classes: int) -> ScoreOutput | None:
    """Return how an output holds the scores of the classes of each pixel; None where it does not.

    Parameters
    ----------
    shape
        Of the output for one image, with the batch.
    taken
        The network's input.
    size
        (height, width) of that image.
    classes
        How many classes there are: an output of so many channels is preferred, and one of 1 where there are 2.
    """
    found = list(_readings(tuple(shape[1:]), size))
    wanted = (classes, 1) if classes == 2 else (classes,)
    return min(
        found,
        key=lambda item: (item.classes not in wanted, item.layout != taken.layout, -item.size[0]),
        default=None,
    )


def _readings(shape: tuple[int, ...], size: tuple[int, int]) -> Iterable[ScoreOutput]:
    """Yield all readings of a shape without the batch as maps of an image of `size`, or of a part of it."""
    if len(shape) == 3:
        if _divides(shape[:2], size):
            yield ScoreOutput("NHWC", "map", shape[2], (shape[0], shape[1]))
        if _divides(shape[1:], size):
            yield ScoreOutput("NCHW", "map", shape[0], (shape[1], shape[2]))
    elif len(shape) == 1:
        if shape[0] == size[0] * size[1]:
            yield ScoreOutput("NCHW", "plane", 1, size)
    elif len(shape) == 2:
        if _divides(shape, size):
            yield ScoreOutput("NCHW", "plane", 1, (shape[0], shape[1]))
        for stride in _STRIDES:
            height, width = (-(-side // stride) for side in size)
            if shape[0] == height * width:
                yield ScoreOutput("NHWC", "pixels", shape[1], (height, width))
            if shape[1] == height * width:
                yield ScoreOutput("NCHW", "pixels", shape[0], (height, width))


def _divides(small: Sequence[int], size: tuple[int, int]) -> bool:
    """Return whether maps of a size are those of an image of `size` at one of the usual strides."""
    return any(all(-(-big // stride) == side for big, side in zip(size, small, strict=True)) for stride in _STRIDES)
