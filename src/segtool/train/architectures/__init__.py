"""The registry of architectures; the command line takes its choices from `ARCHITECTURES`.

To add one: a module with its builder beside this file, and an entry in the registry (docs/add-an-architecture.md).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from segtool.errors import TrainingError
from segtool.train.architectures.encoders import ENCODERS

if TYPE_CHECKING:
    import keras


Builder = Callable[..., Any]


def _builder(module: str, factor: float = 1.0) -> Builder:
    """Return the function `build_<module>` of the module beside this file, with `factor` times its channels.

    The module, and with it Keras, is imported when the function is called.
    """

    def build_at(*shape: int, multiplier: float = 1.0, **options: Any) -> Any:
        found = importlib.import_module(f"{__name__}.{module}")
        return getattr(found, f"build_{module}")(*shape, multiplier=factor * multiplier, **options)

    return build_at


ARCHITECTURES: Mapping[str, Builder] = {
    "fcn8-edge": _builder("fcn8_edge"),
    "fcn8-edge-half": _builder("fcn8_edge", 0.5),
    "fcn8-edge-double": _builder("fcn8_edge", 2.0),
    "fcn8": _builder("fcn8"),
    "fcn8-lite": _builder("fcn8_lite"),
}
"""Name -> builder (height, width, channels, num_classes) -> keras.Model.

For a non-default width the builder also receives `multiplier=`, a factor on the number of channels of each layer, and
for an encoder `encoder=`. A builder imports Keras when it is called.
"""

WITH_ENCODER: Mapping[str, tuple[str, int]] = {"fcn8-lite": ("mix8_relu", 8)}
"""The architectures that take an encoder of `ENCODERS`.

For each, the layer that gets coarse scores in training, and its stride; see `segtool.train.auxiliary`.
"""


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
        A name is not in its registry.
    """
    if name not in ARCHITECTURES:
        raise TrainingError(f"There is no architecture {name!r}; choose one of {', '.join(ARCHITECTURES)}.")
    if encoder is not None and encoder not in ENCODERS:
        raise TrainingError(f"There is no encoder {encoder!r}; choose one of {', '.join(ENCODERS)}.")
    options: dict[str, Any] = {} if width == 1 else {"multiplier": width}
    if encoder is not None:
        options["encoder"] = encoder
    return ARCHITECTURES[name](*size, channels, num_classes, **options)
