"""The registry of architectures; the command line takes its choices from `ARCHITECTURES`.

To add one: a module with its builder beside this file, a function here that imports it, and an entry in the registry
(docs/add-an-architecture.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from segtool.errors import TrainingError
from segtool.train.architectures.encoders import DEFAULT, ENCODERS

if TYPE_CHECKING:
    import keras


Builder = Callable[..., Any]


def _fcn8(height: int, width: int, channels: int, num_classes: int, *, multiplier: float = 1.0) -> Any:
    from segtool.train.architectures.fcn8 import build_fcn8

    return build_fcn8(height, width, channels, num_classes, multiplier=multiplier)


def _fcn8_edge(own: float) -> Builder:
    def build_at(height: int, width: int, channels: int, num_classes: int, *, multiplier: float = 1.0) -> Any:
        from segtool.train.architectures.fcn8_edge import build_fcn8_edge

        return build_fcn8_edge(height, width, channels, num_classes, multiplier=own * multiplier)

    return build_at


def _fcn8_lite(
    height: int, width: int, channels: int, num_classes: int, *, multiplier: float = 1.0, encoder: str = DEFAULT
) -> Any:
    from segtool.train.architectures.fcn8_lite import build_fcn8_lite

    return build_fcn8_lite(height, width, channels, num_classes, multiplier=multiplier, encoder=encoder)


ARCHITECTURES: Mapping[str, Builder] = {
    "fcn8-edge": _fcn8_edge(1.0),
    "fcn8-edge-half": _fcn8_edge(0.5),
    "fcn8-edge-double": _fcn8_edge(2.0),
    "fcn8": _fcn8,
    "fcn8-lite": _fcn8_lite,
}
"""Name -> builder (height, width, channels, num_classes) -> keras.Model.

For a non-default width the builder also receives `multiplier=`, a factor on the number of channels of each layer, and
for an encoder `encoder=`. A builder imports Keras when it is called.
"""

MIDDLE_LAYERS = {"fcn8-lite": ("mix8_relu", 8)}
"""The layer that gets coarse scores in training, and its stride; see `segtool.train.auxiliary`."""

WITH_ENCODER = frozenset({"fcn8-lite"})
"""The architectures that take an encoder of `ENCODERS`."""


def build(
    name: str,
    *,
    size: tuple[int, int],
    channels: int,
    num_classes: int,
    width: float = 1.0,
    encoder: str | None = None,
) -> keras.Model:
    """Build an architecture by name for images of `size` (height, width) pixels, with random weights.

    `width` is a factor on the number of channels of each layer. `encoder` is a name from `ENCODERS`, for the
    architectures in `WITH_ENCODER`; None for their default.

    Raises
    ------
    TrainingError
        A name is not in its registry, or the architecture has no encoder.
    """
    if name not in ARCHITECTURES:
        raise TrainingError(f"There is no architecture {name!r}; choose one of {', '.join(ARCHITECTURES)}.")
    if encoder is not None and name not in WITH_ENCODER:
        raise TrainingError(
            f"The architecture {name} has no encoder to choose, found --encoder {encoder}; use --arch "
            f"{' or '.join(sorted(WITH_ENCODER))}, or remove --encoder."
        )
    if encoder is not None and encoder not in ENCODERS:
        raise TrainingError(f"There is no encoder {encoder!r}; choose one of {', '.join(ENCODERS)}.")
    options: dict[str, Any] = {} if width == 1 else {"multiplier": width}
    if encoder is not None:
        options["encoder"] = encoder
    return ARCHITECTURES[name](*size, channels, num_classes, **options)
