"""A trained network, rebuilt for another input size with the very same weights.

Every layer is built again from its configuration, so that nothing depends on the old size, and gets the old layer's
weights. What a network takes is asked of the network: a copy without a frame (see `frame`) and without a size works
out, from the shapes alone, what comes out for what goes in. The frame is the least that makes a size fit. For fcn8
that is the padding up to a multiple of 32 that it is built with, so the rebuilt network is bit for bit the one that
`build_fcn8` gives for that size and those weights; a test holds it to that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from segtool.errors import ExportError, first_line
from segtool.export.resize.frame import Frame, Layer, Size, find_frame, with_frame
from segtool.models.keras_file import as_functional, with_plain_ends

MAX_PIXELS = 2**21
"""Largest input, such as 1024 x 2048. The parity gate runs two images at once: fcn8 took Keras 2.8 GB for two of
1024 x 1024, so some 6 GB for two of these."""

_REACH = 512  # pixels up to which a size that fits is looked for; twice the stride of any network known here


def rebuild(model: Any, size: Size) -> Any:
    """Rebuild a network for another input size.

    Parameters
    ----------
    model
        keras.Model, functional or sequential: one input (N, H, W, C), one output (N, H, W, K) of the same size.
        It is left as it is.
    size
        (height, width) in pixels, at most `MAX_PIXELS` in all.

    Returns
    -------
    keras.Model
        Input (N, height, width, C), output (N, height, width, K), with copies of the weights.

    Raises
    ------
    ExportError
        The network does not take that size; the message says why and, where there are, which it takes.
    """
    check_size(size)
    network = with_plain_ends(model)
    frame, sizes = _survey(network)
    padded = sizes.least(size)
    if padded is None or (padded != size and not frame.is_possible):
        raise ExportError(_refusal(network, sizes, size))
    padding = (padded[0] - size[0], padded[1] - size[1])
    rebuilt = _rebuild(network, size, with_frame(frame, padding))
    if tuple(rebuilt.outputs[0].shape[1:3]) != size:
        raise ExportError(_refusal(network, sizes, size))
    return _with_weights(rebuilt, network)


def check_size(size: Size) -> None:
    """Refuse a size that no network is rebuilt for."""
    height, width = size
    if height < 1 or width < 1:
        raise ExportError(f"The size {height}x{width} has no pixels; give a height and a width of at least 1.")
    if height * width > MAX_PIXELS:
        raise ExportError(
            f"A size of {height}x{width} was asked for, {height * width:,} pixels, and at most {MAX_PIXELS:,} "
            "(such as 1024x2048) are exported; choose a smaller one."
        )


@dataclass(frozen=True)
class _Sizes:
    """What sizes a network takes, without its frame.

    Attributes
    ----------
    free
        The network without sizes, keras.Model.
    known
        (height, width) that it takes: those it was built for, with its padding.
    """

    free: Any
    known: Size

    def take(self, height: int, width: int) -> bool:
        """Whether the output for that input has its size."""
        try:
            shape = self.free.compute_output_shape((1, height, width, self.free.inputs[0].shape[3]))
        except (ValueError, TypeError):  # what Keras raises where maps do not fit each other or nothing is left
            return False
        return tuple(shape[1:3]) == (height, width)

    def along(self, axis: int, lengths: range) -> int | None:
        """Return the first of the lengths of one axis that is taken, or None."""
        other = self.known[1 - axis]
        return next((n for n in lengths if self.take(*((n, other) if axis == 0 else (other, n)))), None)

    def least(self, size: Size) -> Size | None:
        """Return the least size from `size` on that is taken, or None."""
        height, width = (self.along(axis, range(n, n + _REACH)) for axis, n in enumerate(size))
        return (height, width) if height and width and self.take(height, width) else None

    def nearest(self, axis: int, length: int) -> list[int]:
        """Return the length itself where it is taken, else those next below and above it that are."""
        if self.along(axis, range(length, length + 1)):
            return [length]
        below = range(length - 1, max(0, length - _REACH), -1)
        found = (self.along(axis, lengths) for lengths in (below, range(length, length + _REACH)))
        return [n for n in found if n]


def _survey(network: Any) -> tuple[Frame, _Sizes]:
    """Return the network's frame and the sizes it takes without it."""
    old = tuple(network.inputs[0].shape[1:3])
    frame = find_frame(network)
    padded = (old[0] + frame.padding[0], old[1] + frame.padding[1])
    sizes = _Sizes(_rebuild(network, (None, None), with_frame(frame, (0, 0))), padded)
    if not frame.is_own or sizes.least(old) == padded:
        return frame, sizes
    # Padded by another rule than the least that fits, which other sizes would need: its layers stay as they are.
    return Frame(), _Sizes(_rebuild(network, (None, None), with_frame(Frame(), (0, 0))), old)


def _rebuild(network: Any, size: tuple[int | None, int | None], call: Layer) -> Any:
    """Return the network with new layers, and new weights, for a size; None for any."""
    import keras

    old = network.inputs[0]
    image = keras.Input((*size, old.shape[3]), dtype=old.dtype, name=old.name)
    inputs = keras.tree.map_structure(lambda _: image, network.input)
    return keras.models.clone_model(
        network, input_tensors=inputs, clone_function=_anew, call_function=_explained(call, network)
    )


def _anew(layer: Any) -> Any:
    """Return a layer made from another's configuration; a model inside the model as one for any size."""
    import keras

    if not isinstance(layer, keras.Model):
        return type(layer).from_config(layer.get_config())
    inner = as_functional(layer)
    inputs = keras.tree.map_structure(_any_size, inner.input)
    return keras.models.clone_model(
        inner, input_tensors=inputs, clone_function=_anew, call_function=_explained(with_frame(Frame(), (0, 0)), inner)
    )


def _any_size(tensor: Any) -> Any:
    import keras

    shape = tensor.shape[1:] if len(tensor.shape) != 4 else (None, None, tensor.shape[3])
    return keras.Input(shape, dtype=tensor.dtype, name=tensor.name)


def _explained(call: Layer, network: Any) -> Callable[..., Any]:
    """Return `call` with Keras's errors in words that name the layer."""

    def explained(layer: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return call(layer, *args, **kwargs)
        except (ValueError, TypeError) as error:
            raise ExportError(
                f"Layer {layer.name} ({type(layer).__name__}) of {network.name} takes only the size that it was built "
                f"for ({first_line(error)}), and --size needs layers that take any; leave --size out, or train at that "
                "size."
            ) from error

    return explained


def _refusal(network: Any, sizes: _Sizes, size: Size) -> str:
    old = tuple(network.inputs[0].shape[1:3])
    near = [sizes.nearest(axis, length) for axis, length in enumerate(size)]
    names = [" or ".join(str(n) for n in lengths) for lengths in near]
    useful = all(near) and near not in ([[n] for n in size], [[n] for n in old])
    advice = f"choose a height of {names[0]} and a width of {names[1]}" if useful else "leave --size out"
    return (
        f"A size of {size[0]}x{size[1]} was asked for, and {network.name}, built for {old[0]}x{old[1]}, would not "
        f"return scores of that size (its maps would not fit each other or the image); {advice}, or train at that size."
    )


def _with_weights(rebuilt: Any, network: Any) -> Any:
    """Give a rebuilt network copies of the weights, layer by layer."""
    for layer in network.layers:
        if layer.weights:
            rebuilt.get_layer(layer.name).set_weights(layer.get_weights())
    return rebuilt
