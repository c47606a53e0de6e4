"""The facts about a data set that `segtool data info` shows."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from segtool.data.base import Dataset, show_size


def dataset_facts(dataset: Dataset) -> dict[str, Any]:
    """Return the facts of a data set, in plain Python types; every sample is decoded once.

    Returns
    -------
    dict
        ``name``, ``spec``, ``images``, ``size`` ("64 x 84", height x width, or "differing"), ``sizes`` (images of each
        size), ``channels``, ``num_classes``, ``background``, ``background_note`` (why that one, and how to change it),
        ``ignore_id``, ``ignored_pixel_share`` (of all pixels), ``classes`` ({id, name, pixel_share of the pixels that
        count, images that hold it}), ``splits`` (images of each predefined part, or None), ``fingerprint``,
        ``provenance`` and ``licence`` (None where it is not known).
    """
    sizes: Counter[str] = Counter()
    pixels, images = np.zeros((2, dataset.num_classes), np.int64)
    total = 0
    for index in range(len(dataset)):
        label = dataset.label(index)
        counts = dataset.classes.count(label)
        pixels += counts
        images += counts > 0
        total += label.size
        sizes[show_size(label.shape)] += 1
    counting = int(pixels.sum())
    return {
        "name": dataset.name,
        "spec": dataset.spec,
        "images": len(dataset),
        "size": next(iter(sizes)) if len(sizes) == 1 else "differing",
        "sizes": dict(sizes),
        "channels": dataset.channels,
        "num_classes": dataset.num_classes,
        "background": dataset.classes.background,
        "background_note": dataset.classes.background_note,
        "ignore_id": dataset.ignore_id,
        "ignored_pixel_share": (total - counting) / total,
        "classes": [
            {"id": index, "name": name, "pixel_share": count / max(1, counting), "images": held}
            for index, (name, count, held) in enumerate(
                zip(dataset.class_names, pixels.tolist(), images.tolist(), strict=True)
            )
        ],
        "splits": None if dataset.splits is None else {name: len(part) for name, part in dataset.splits.items()},
        "fingerprint": dataset.fingerprint(),
        "licence": dataset.provenance.get("licence"),
        "provenance": dict(dataset.provenance),
    }
