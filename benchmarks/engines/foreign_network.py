"""A network of another tool, and the images that all engines are calibrated and measured on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from engines.engine import Scaling

CALIBRATION_IMAGES = 100
VALIDATION_IMAGES = 100
HELD_OUT = 40  # as in torch_networks.py


@dataclass(frozen=True)
class Network:
    """A network, and the data that it was trained on.

    Attributes
    ----------
    file
        An .onnx file of PyTorch, or a .keras file.
    facts
        What the script that made it wrote: `name`, `source`, `mean` and `std` or `input_scale`.
    data
        Data as segtool reads them; without parts of their own, the last `HELD_OUT` images are for validation.
    """

    file: Path
    facts: dict[str, Any]
    data: Path

    @property
    def name(self) -> str:
        """Return its name."""
        return str(self.facts["name"])

    @property
    def is_keras(self) -> bool:
        """Return whether it is a .keras file."""
        return self.file.suffix == ".keras"

    @property
    def scaling(self) -> Scaling | None:
        """Return what has to be done to its pixels before it."""
        return Scaling(tuple(self.facts["mean"]), tuple(self.facts["std"])) if "mean" in self.facts else None

    @property
    def input_scale(self) -> str | None:
        """Return the scaling as `segtool export --input-scale` takes it; None where the network has its own."""
        if self.scaling is None:
            return self.facts.get("input_scale")
        return "/".join(",".join(f"{value:g}" for value in part) for part in (self.scaling.mean, self.scaling.std))


def save_images(network: Network, folder: Path) -> None:
    """Save the images for all engines, and the same ones as data for segtool: calibration is the training part.

    Images that are less high than the input get rows of zeros below, which count nowhere.
    """
    from segtool.data.loading import load_dataset

    dataset = load_dataset(str(network.data))
    if dataset.splits is not None:
        train, val = dataset.splits["train"], dataset.splits["val"]
    else:
        train, val = np.split(np.arange(len(dataset)), [-HELD_OUT])
    train, val = (_spread(*pair) for pair in ((train, CALIBRATION_IMAGES), (val, VALIDATION_IMAGES)))
    height = _input_height(network)
    ignored = 255 if dataset.ignore_id is None else dataset.ignore_id
    calibration, validation = (_padded(dataset.images(part), height, value=0) for part in (train, val))
    labels, truth = (_padded(dataset.labels(part), height, value=ignored) for part in (train, val))
    np.savez(folder / "images.npz", calibration=calibration, validation=validation, truth=truth)
    np.savez(
        folder / "data.npz",
        images=np.concatenate([calibration, validation]),
        labels=np.concatenate([labels, truth]),
    )
    size = {"calibration_images": len(train), "validation_images": len(val)}
    description = {
        "classes": list(dataset.class_names),
        "background": dataset.background_id,
        "ignore_id": dataset.ignore_id,
        "splits": {"train": [0, len(train)], "val": [len(train), len(train) + len(val)]},
    }
    (folder / "data.json").write_text(json.dumps(description))
    facts = {**size, "image": list(validation.shape[1:]), "classes": list(dataset.class_names)}
    facts |= {"background_id": dataset.background_id, "ignore_id": dataset.ignore_id}
    (folder / "facts.json").write_text(json.dumps(facts))


def _input_height(network: Network) -> int:
    if network.is_keras:
        from segtool.models.keras_file import load_keras_file

        return int(load_keras_file(network.file).input.shape[1])
    shape = onnx.load(network.file, load_external_data=False).graph.input[0].type.tensor_type.shape
    return int(shape.dim[2].dim_value)


def _spread(indices: Any, most: int) -> Any:
    count = min(most, len(indices))
    return indices[np.arange(count) * len(indices) // count]


def _padded(arrays: Any, height: int, *, value: int) -> Any:
    pads = [(0, 0), (0, height - arrays.shape[1]), *((0, 0) for _ in arrays.shape[2:])]
    return np.pad(arrays.astype(np.uint8), pads, constant_values=value)
