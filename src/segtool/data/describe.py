"""What a data set is: the facts that `segtool data info` shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from segtool.data.base import Dataset, show_size


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return the facts of a data set, in plain Python types; every sample is decoded once.

    Returns
    -------
    dict
        ``name``, ``spec``, ``images``, ``size`` ("64 x 84", height x width, or "differing"), ``sizes`` (images of each
        size), ``channels``, ``num_classes``, ``background``, ``background_note`` (a sentence: why that one, and how to
        say otherwise), ``ignore_id``, ``ignored_pixel_share`` (of all pixels), ``classes`` ({id, name, pixel_share of
        the pixels that count, images that hold it}), ``splits`` (images of each predefined part, or None),
        ``fingerprint``, ``provenance`` and ``licence`` (None where it is not known).
    """
    sizes: dict[str, int] = {}
    pixels = np.zeros(dataset.num_classes, np.int64)
    images = np.zeros(dataset.num_classes, np.int64)
    total = 0
    for index in range(len(dataset)):
        label = dataset.label(index)
        counts = np.bincount(label.ravel(), minlength=dataset.num_classes)[: dataset.num_classes]
        pixels += counts
        images += counts > 0
        total += label.size
        size = show_size(label.shape)
        sizes[size] = sizes.get(size, 0) + 1
    return {
        "name": dataset.name,
        "spec": dataset.spec,
        "images": len(dataset),
        "size": next(iter(sizes)) if len(sizes) == 1 else "differing",
        "sizes": sizes,
        "channels": dataset.channels,
        "num_classes": dataset.num_classes,
        "background": None if dataset.background_id is None else dataset.class_names[dataset.background_id],
        "background_note": dataset.classes.background_note,
        "ignore_id": dataset.ignore_id,
        "ignored_pixel_share": (total - int(pixels.sum())) / total,
        "classes": _classes(dataset, pixels.tolist(), images.tolist()),
        "splits": None if dataset.splits is None else {name: len(part) for name, part in dataset.splits.items()},
        "fingerprint": dataset.fingerprint(),
        "licence": dataset.provenance.get("licence"),
        "provenance": dict(dataset.provenance),
    }


def _classes(dataset: Dataset, pixels: list[int], images: list[int]) -> list[dict[str, Any]]:
    counted = max(1, sum(pixels))
    return [
        {"id": index, "name": name, "pixel_share": pixels[index] / counted, "images": images[index]}
        for index, name in enumerate(dataset.class_names)
    ]
