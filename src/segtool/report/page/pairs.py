"""An FP32 file and the INT8 file made from it: the labels that differ, the accuracy and the speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from segtool.array_types import Int64Array, IntegerArray
from segtool.benchmark.case import RUNS_A_TURN
from segtool.benchmark.statistics import ratio_of_turns
from segtool.metrics import confusion_matrix
from segtool.report.page.models import Model

Facts = Mapping[str, Any]
_LISTED = 12  # images with the most changed labels


@dataclass
class Pair:
    """An FP32 file and the INT8 file made from it, by their ids, and the differences between their labels."""

    float32: int
    int8: int
    moves: Int64Array
    """(K, K): pixels by the label of the FP32 and of the INT8 file."""
    images: list[Facts] = field(default_factory=list)
    """The images with a change: index, name, number of changed pixels."""

    def add(self, index: int, name: str, first: IntegerArray, second: IntegerArray) -> None:
        """Count the labels (h, w) of both files for one image."""
        moves = confusion_matrix(first, second, len(self.moves))
        self.moves += moves
        if changed := _off_diagonal(moves):
            self.images.append({"index": index, "image": name, "changed_pixels": changed})

    def to_dict(self, models: Sequence[Facts], names: Sequence[str]) -> dict[str, Any]:
        """Return the entry of ``pairs``."""
        first, second = models[self.float32], models[self.int8]
        keys = ("foreground_mean_iou", "foreground_mean_dice", "pixel_accuracy")
        pixels, changed = int(self.moves.sum()), _off_diagonal(self.moves)
        return {
            "float32": self.float32,
            "int8": self.int8,
            "drop_points": {key: 100 * (first["evaluation"][key] - second["evaluation"][key]) for key in keys},
            "pixels": pixels,
            "changed_pixels": changed,
            "agreement": 1 - changed / pixels,
            "changed_images": len(self.images),
            "images": sorted(self.images, key=lambda each: (-each["changed_pixels"], each["index"]))[:_LISTED],
            "moves": largest_confusions(self.moves, names),
            "speed": _speed_ratio(first["benchmark"], second["benchmark"]),
        }


def find_pairs(models: Sequence[Model], digests: Sequence[str]) -> list[Pair]:
    """Return the pairs of an FP32 file and the INT8 file whose contract names it by its digest."""
    pairs = []
    for int8, model in enumerate(models):
        contract = model.predictor.contract
        made_from = contract.quantization.get("float32_sha256")
        if made_from in digests:
            moves = np.zeros((contract.num_classes, contract.num_classes), np.int64)
            pairs.append(Pair(digests.index(made_from), int8, moves))
    return pairs


def largest_confusions(matrix: Int64Array, class_names: Sequence[str], *, most: int = 8) -> list[dict[str, Any]]:
    """Return the pairs of different classes with the most pixels, the largest first: from, to, pixels."""
    off = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    order = np.argsort(-off, axis=None, kind="stable")[:most].tolist()
    found = [(*divmod(at, len(matrix)), int(off.flat[at])) for at in order]
    return [
        {"from": class_names[row], "to": class_names[column], "from_id": row, "to_id": column, "pixels": pixels}
        for row, column, pixels in found
        if pixels
    ]


def _off_diagonal(matrix: Int64Array) -> int:
    return int(matrix.sum() - np.trace(matrix))


def _speed_ratio(float32: Facts | None, int8: Facts | None) -> dict[str, float] | None:
    """Return the speed-up of INT8 with its 95 % interval, from two interleaved entries; None if one is missing."""
    if not float32 or not int8:
        return None
    cuts = range(RUNS_A_TURN, float32["n"], RUNS_A_TURN)
    return asdict(ratio_of_turns(*(np.split(np.asarray(row["samples_ms"]), cuts) for row in (float32, int8))))
