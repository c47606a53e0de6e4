"""The architectures by name; the command line's choices come from `ARCHITECTURES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from segtool.errors import TrainingError

if TYPE_CHECKING:
    import keras


def _fcn8(height: int, width: int, channels: int, num_classes: int) -> Any:
    from segtool.train.architectures.fcn8 import build_fcn8

    return build_fcn8(height, width, channels, num_classes)


def _fcn8_edge(multiplier: float) -> Callable[[int, int, int, int], Any]:
    def build_at(height: int, width: int, channels: int, num_classes: int) -> Any:
        from segtool.train.architectures.fcn8_edge import build_fcn8_edge

        return build_fcn8_edge(height, width, channels, num_classes, multiplier=multiplier)

    return build_at


ARCHITECTURES: Mapping[str, Callable[[int, int, int, int], Any]] = {
    "fcn8-edge": _fcn8_edge(1.0),
    "fcn8-edge-half": _fcn8_edge(0.5),
    "fcn8-edge-double": _fcn8_edge(2.0),
    "fcn8": _fcn8,
}
"""Name -> builder (height, width, channels, num_classes) -> keras.Model; keras is imported when one is called."""


def build(name: str, *, size: tuple[int, int], channels: int, num_classes: int) -> keras.Model:
    """Build an architecture by name for images of `size` (height, width) pixels.

    Raises
    ------
    TrainingError
        The name is not in the registry.
    """
    if name not in ARCHITECTURES:
        raise TrainingError(f"There is no architecture {name!r}; choose one of {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name](*size, channels, num_classes)
