"""Opening any segmentation network for the export: what is asked for, found out, or refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import onnx

from segtool.array_types import AnyArray, FloatArray, UInt8Array
from segtool.data.base import Size, show_size
from segtool.errors import DataError, ExportError, first_line
from segtool.export.data import ExportData
from segtool.export.heads import end_of
from segtool.export.network.inside import scale_inside
from segtool.export.network.interface import ImageInput, ScoreOutput, Tensor, image_input, named_output, score_output
from segtool.export.network.measured_scale import measured_scale
from segtool.export.network.reference import network_input, reference
from segtool.export.network.scaling import UNIT, InputScale, read_scale
from segtool.export.network.uniform import Reading, laid_out, uniform
from segtool.export.options import ExportOptions
from segtool.export.resize.rebuild import check_size
from segtool.runtime.session import ORT_ERRORS

logger = logging.getLogger(__name__)
FAILURES: tuple[type[Exception], ...] = (*ORT_ERRORS, ValueError, TypeError, RuntimeError)
"""What Keras and onnxruntime raise for an image of a size that they cannot run."""

_ROUNDING = 1e-3  # of probabilities that add up to 1


class Raw(Protocol):
    """A network as it came."""

    @property
    def source(self) -> str:
        """Its name, for messages."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Its inputs, with their shapes, as far as they are known."""

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Its outputs, likewise."""

    @property
    def dtype(self) -> str:
        """Of its input: "float32", "uint8", ..."""

    def class_axis(self, output: str, /) -> int | None:
        """Return the axis of the classes of an output, where the network shows it."""

    def runner(self, output: str, size: Size, /) -> Callable[[AnyArray], AnyArray]:
        """Return a function from images in the network's own layout and scaling to one output."""

    def graph(self, output: str, size: Size) -> onnx.ModelProto:
        """Return the graph of one output, at one size, with a symbolic batch."""


@dataclass(frozen=True)
class Network:
    """A network that is ready to export.

    Attributes
    ----------
    graph
        Input ``image`` uint8 (N, H, W, C); output ``probabilities`` float32 (N, H, W, K), which ends in a softmax or
        in logits.
    probabilities
        The network as its authors run it: raw pixels uint8 (N, H, W, C) to float32 (N, H, W, K).
    reading
        What it takes and gives.
    facts
        The same for the contract; empty for a network that takes raw pixels and gives scores at their size.
    """

    graph: onnx.ModelProto
    probabilities: Callable[[UInt8Array], FloatArray]
    reading: Reading
    facts: Mapping[str, Any]


def open_network(raw: Raw, data: ExportData, options: ExportOptions) -> Network:
    """Find out what a network takes and gives, and bring it into the export's form.

    Parameters
    ----------
    raw
        The network.
    data
        Images and masks: its size where the network takes any, and what scalings are tried on.
    options
        `input_scale`, `output`, `size` and `threshold` are used here.

    Raises
    ------
    ExportError
        Something has to be known that neither the file nor the data say, or the network is none that is supported.
    DataError
        The data have images of another number of channels.
    """
    taken = image_input(raw.inputs, source=raw.source)
    _check_channels(raw, taken, data)
    at = _size(raw, taken, options.size, data)
    output = named_output(raw.source, raw.outputs, options.output)
    scale, found = _known_scale(raw, options, taken), "given"
    run, images = raw.runner(output, at), data.few_images(2, at)
    given = _read_output(raw, output, _run(run, images, taken, scale, raw, at), taken, at, data)
    graph = raw.graph(output, at)
    inside = scale_inside(graph) if raw.dtype == "float32" else None
    if raw.dtype == "float32" and scale is None:
        scale, found = inside, "read from the network"
    elif inside is not None and scale is not None and scale.name != inside.name:
        logger.warning(
            "The first operations of %s scale the pixels already, for an input of %s: with --input-scale %s they are "
            "scaled twice.",
            raw.source,
            inside.name,
            scale.name,
        )
    if given.classes > 1 and options.threshold is not None:
        raise ExportError(
            f"--threshold is for a network of one score, and {raw.source} scores {given.classes} classes; leave it out."
        )
    reading = Reading(taken, given, at, scale, "logits", 0.5 if options.threshold is None else options.threshold)
    reading = replace(reading, end=end_of(laid_out(graph, reading)))
    if raw.dtype == "float32" and scale is None:
        scale = measured_scale(lambda one: reference(run, replace(reading, scale=one)), taken, data, at)
        reading, found = replace(reading, scale=scale), "measured"
    reading = replace(reading, end=_seen_end(run(network_input(images, taken, scale)), reading))
    _say(raw, output, reading)
    return Network(uniform(graph, reading), reference(run, reading), reading, _facts(raw, output, reading, found=found))


def _check_channels(raw: Raw, taken: ImageInput, data: ExportData) -> None:
    if data.dataset.channels != taken.channels:
        raise DataError(
            f"{data.dataset.name} has images of {data.dataset.channels} channel(s), {raw.source} expects "
            f"{taken.channels}; give the data it was trained on."
        )


def _size(raw: Raw, taken: ImageInput, asked: Size | None, data: ExportData) -> Size:
    """Return the size to export at: the network's own, the one asked for, or that of the data."""
    own = taken.size
    if own[0] and own[1]:
        if asked not in (None, own):
            raise ExportError(
                f"{raw.source} takes images of {own[0]}x{own[1]} only; leave --size out, or save the model for a free "
                "size."
            )
        return own[0], own[1]
    found = asked or data.dataset.image_size
    if found is None:
        raise ExportError(
            f"{raw.source} takes images of any size, and {data.dataset.name} has several; choose one with --size "
            "HEIGHTxWIDTH."
        )
    if any(side not in (None, wanted) for side, wanted in zip(own, found, strict=True)):
        raise ExportError(
            f"{raw.source} takes images of {own[0] or 'any'}x{own[1] or 'any'}, not {show_size(found)}; choose another "
            "--size."
        )
    check_size(found)
    if asked is None:
        logger.info("%s takes any size; it is exported for that of the data, %s.", raw.source, show_size(found))
    return found


def _known_scale(raw: Raw, options: ExportOptions, taken: ImageInput) -> InputScale | None:
    """Return the scaling that the user gave."""
    if raw.dtype not in ("uint8", "float32"):
        raise ExportError(f"{raw.source} takes {raw.dtype}, expected float32 or uint8; save it in float32.")
    if options.input_scale is None:
        return None
    if raw.dtype == "uint8":
        raise ExportError(f"{raw.source} takes raw pixels (uint8) and scales them itself; leave --input-scale out.")
    return read_scale(options.input_scale, taken.channels)


def _run(
    run: Callable[[AnyArray], AnyArray],
    images: UInt8Array,
    taken: ImageInput,
    scale: InputScale | None,
    raw: Raw,
    size: Size,
) -> AnyArray:
    """Run the network on raw images, to see the shape of its output; of any scaling, where that is not known yet."""
    try:
        found = run(network_input(images, taken, None if raw.dtype == "uint8" else scale or UNIT))
    except MemoryError as error:
        raise ExportError(
            f"{raw.source} needs more memory than there is for images of {show_size(size)}; give a smaller --size."
        ) from error
    except FAILURES as error:
        near = "x".join(str(max(32, round(side / 32) * 32)) for side in size)
        raise ExportError(
            f"{raw.source} does not run on images of {show_size(size)} ({first_line(error)[:200]}); choose another "
            f"size, such as --size {near}."
        ) from error

    if np.issubdtype(found.dtype, np.floating) and not np.isfinite(found).all():
        raise ExportError(
            f"{raw.source} gives NaN or infinite values on images of the data; export a network that was trained well."
        )
    return found


def _read_output(
    raw: Raw, output: str, found: AnyArray, taken: ImageInput, size: Size, data: ExportData
) -> ScoreOutput:
    """Return how the output holds the scores of the classes."""
    shape = tuple(int(side) for side in found.shape)
    shown = f"{output} of shape ({', '.join(('N', *map(str, shape[1:])))})"
    if not np.issubdtype(found.dtype, np.floating):
        raise ExportError(
            f"{raw.source} gives {shown} in {found.dtype}, expected the scores of the classes in float32; end the "
            "model before its arg-max."
        )
    given = score_output(shape, taken, size, classes=data.dataset.num_classes)
    if given is None:
        what = "one answer an image, so it is a classifier" if len(shape) == 2 else "no scores of each pixel"
        raise ExportError(
            f"{raw.source} gives {shown} for an image of {show_size(size)}: {what}. segtool exports networks that give "
            "scores (N, h, w, K) or (N, K, h, w) at the size of the image or at 1/2 to 1/32 of it."
        )
    axis = raw.class_axis(output)
    if axis is not None and axis % len(shape) != (len(shape) - 1 if given.layout == "NHWC" else 1):
        raise ExportError(
            f"{raw.source} takes the arg-max of {shown} over axis {axis}, which is not that of the classes; end the "
            "model with the scores of the classes."
        )
    classes = data.dataset.num_classes
    if given.classes != classes and (given.classes, classes) != (1, 2):
        raise DataError(
            f"{data.dataset.name} has {classes} classes, {raw.source} scores {given.classes} ({shown}); give the data "
            "it was trained on, or another --output."
        )
    return given


def _seen_end(output: AnyArray, reading: Reading) -> Any:
    """Return what the output is, also where no softmax or sigmoid was found in the graph."""
    if reading.end != "logits":
        return reading.end
    axis = -1 if reading.given.layout == "NHWC" else 1
    if reading.given.classes == 1 and output.min() >= 0 and output.max() > 1 + _ROUNDING:
        raise ExportError(
            f"The network gives one score of 0 to {output.max():.3g} a pixel, which is neither a probability nor a "
            "logit; end the model with its sigmoid, or before it."
        )
    if output.min() < 0 or output.max() > 1 + _ROUNDING:
        return "logits"
    if reading.given.classes > 1 and np.abs(output.sum(axis, dtype=np.float64) - 1).max() < _ROUNDING:
        return "probabilities"
    return "sigmoid"


def _say(raw: Raw, output: str, reading: Reading) -> None:
    """Log what was found out and is not plain."""
    given = reading.given
    if given.classes == 1:
        logger.warning(
            "%s scores one class: a pixel is of class 1 where its probability is above %g (--threshold), else of "
            "class 0.",
            raw.source,
            reading.threshold,
        )
    elif reading.end == "sigmoid":
        logger.warning(
            "%s ends in a sigmoid for each class: a pixel is of the class with the largest, and its probabilities are "
            "scaled to add up to 1.",
            raw.source,
        )
    if given.size != reading.size:
        logger.info("%s gives maps of %s; they are resized in the graph.", output, show_size(given.size))


def _facts(raw: Raw, output: str, reading: Reading, *, found: str) -> dict[str, Any]:
    """Return what the contract says of a network whose reading is not that of segtool's own."""
    given, facts = reading.given, dict[str, Any]()
    if reading.scale is not None:
        facts["input_scale"] = {**reading.scale.facts(), "found": found}
    if reading.taken.layout == "NCHW":
        facts["layout"] = reading.taken.layout
    if len(raw.outputs) > 1:
        facts["output"] = output
    if given.size != reading.size:
        facts["output_size"] = list(given.size)
    if given.classes == 1:
        facts["threshold"] = reading.threshold
    if reading.end == "sigmoid" or given.classes == 1:
        facts["ends_in"] = "one score" if given.classes == 1 else "a sigmoid for each class"
    return facts
