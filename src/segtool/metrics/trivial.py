"""The baseline without a model: predict the most frequent class everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def most_frequent(classes: Sequence[Mapping[str, Any]]) -> tuple[str, float] | None:
    """Return the most frequent class of the truth and its fraction of the pixels: the accuracy of this baseline.

    Parameters
    ----------
    classes
        As in an evaluation's JSON: the `name` of each and its `support`, the number of its true pixels.

    Returns
    -------
    tuple of str and float, or None
        The name and the fraction, above 0 to 1; None without any counted pixel.
    """
    pixels = sum(item["support"] for item in classes)
    if not pixels:
        return None
    usual = max(classes, key=lambda item: item["support"])
    return str(usual["name"]), usual["support"] / pixels
