"""Speed and memory of the metrics: `python benchmarks/metrics_speed.py [--rounds 15]`.

Time: 5,000 pairs of label maps of 64 x 84 pixels with 11 classes, interleaved with a bare `numpy.bincount` of the same
pixels, at once and image by image (the faster of the two is the baseline). Three parts are measured separately: the
confusion matrix with the scores from it, everything with boundaries and image-level figures, and the intervals.

Memory: the peak of a fresh process that evaluates 100 and 1,000 images of 1024 x 1024, generated on the fly.
Writes results/metrics_speed.json.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from commands import write_result

from segtool.benchmark.statistics import percentiles, ratio_of
from segtool.data.base import Dataset, Origin
from segtool.data.classes import Classes
from segtool.data.generator import generate
from segtool.evaluate.scoring import Scored, tally
from segtool.metrics import Bootstrap, Scores, confusion_matrix, count_images, default_width
from segtool.metrics.figures import figures_of_all, figures_per_image

Labels = npt.NDArray[np.uint8]
CLASSES, BACKGROUND = 11, 10
FOREGROUND = np.arange(CLASSES) != BACKGROUND
SIDE = 1024
LIMIT = 1.3

# Evaluates images that are made one by one, and says how much memory the process held at most, in kB.
_MEMORY = """
import sys
from pathlib import Path
from metrics_speed import evaluate_generated
evaluate_generated(int(sys.argv[1]))
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


def main() -> None:
    """Measure interleaved and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=5000)
    arguments = parser.parse_args()
    truths, predictions = label_maps(arguments.images)
    write_result(
        "metrics_speed",
        {
            "versions": {"numpy": np.__version__},
            "images": {"count": arguments.images, "size": [64, 84], "classes": CLASSES},
            "time": times(truths, predictions, arguments.rounds),
            "memory": [peak(100), peak(1000)],
        },
    )


def label_maps(count: int) -> tuple[Labels, Labels]:
    """Return label maps of digits, uint8 (N, 64, 84), and predictions that are wrong where a model would be.

    A prediction is the truth moved by a pixel, with every seventh image's digits taken for others.
    """
    data = generate(500, seed=0)
    made = data.labels(np.arange(500))
    truths: Labels = np.concatenate([made] * -(-count // 500))[:count].astype(np.uint8)
    predictions = np.roll(truths, 1, axis=2)
    predictions[::7] = np.where(predictions[::7] < BACKGROUND, (predictions[::7] + 1) % BACKGROUND, BACKGROUND)
    return truths, predictions


def times(truths: Labels, predictions: Labels, rounds: int) -> dict[str, Any]:
    """Time all ways of counting interleaved; each ratio is from one turn."""
    counted = count_images(truths, predictions, CLASSES, boundary_width=default_width(64, 84))
    calls: dict[str, Callable[[], Any]] = {
        "bincount_whole": lambda: bincount(truths, predictions),
        "bincount_by_image": lambda: sum(bincount(*pair) for pair in zip(truths, predictions, strict=True)),
        "scores": lambda: scores_of(confusion_matrix(truths, predictions, CLASSES), len(truths)),
        "scores_boundaries_and_per_image": lambda: everything(truths, predictions),
        "intervals_of_1000_resamples": lambda: Bootstrap().figures(counted, FOREGROUND),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 2):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if turn >= 2:  # the first two fill the caches and the allocator
                seconds[name].append(time.perf_counter() - started)
    bare = np.minimum(seconds["bincount_whole"], seconds["bincount_by_image"])
    ratios = {name: ratio_of(np.array(seconds[name]) / bare) for name in list(calls)[2:]}
    return {
        "milliseconds": {name: percentiles(np.array(values) * 1e3) for name, values in seconds.items()},
        "over_the_faster_bincount": {
            name: {"median": ratio.median, "low": ratio.low, "high": ratio.high} for name, ratio in ratios.items()
        },
        "limit": LIMIT,
        "met": {name: ratios[name].median < LIMIT for name in list(calls)[2:4]},
    }


def bincount(truths: Labels, predictions: Labels) -> npt.NDArray[np.intp]:
    """Return the confusion matrix in the barest numpy: 11 x 11 codes fit in 8 bits, and nothing is checked."""
    return np.bincount((truths * np.uint8(CLASSES) + predictions).reshape(-1), minlength=CLASSES**2)


def scores_of(matrix: npt.NDArray[np.int64], images: int) -> Scores:
    names = tuple(map(str, range(CLASSES)))
    return Scores.from_matrix(matrix, class_names=names, background_id=BACKGROUND, images=images)


def everything(truths: Labels, predictions: Labels) -> Any:
    """Return what `segtool evaluate` shows of label maps, but for the intervals."""
    counts = count_images(truths, predictions, CLASSES, boundary_width=default_width(64, 84))
    return (
        scores_of(counts.matrix, len(counts)),
        figures_of_all(counts, FOREGROUND),
        figures_per_image(counts, FOREGROUND),
    )


class Striped(Dataset):
    """Images of 1024 x 1024 pixels that are made when they are asked for: stripes of every class."""

    def __init__(self, count: int) -> None:
        names = tuple(map(str, range(CLASSES)))
        super().__init__(classes=Classes(names, background_id=BACKGROUND), source=Origin("striped"))
        self.sample_names = [f"image_{index}" for index in range(count)]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of all images in pixels."""
        return SIDE, SIDE

    def label(self, index: int) -> Labels:
        """Return label map `index`."""
        down, across = np.arange(SIDE) // (60 + index % 40), np.arange(SIDE) // 70
        stripes: Labels = (np.add.outer(down, across) % CLASSES).astype(np.uint8)
        return stripes

    def image(self, index: int) -> Labels:
        """Return image `index`: its own truth, so that a model needs no network."""
        return self.label(index)[..., np.newaxis]


def noisy(images: Labels) -> tuple[Labels, None]:
    """Answer as a model that takes a quarter of the pixels for others."""
    noise = np.random.default_rng(int(images[:, -1].sum())).integers(0, 4 * CLASSES, images.shape[:3], np.uint8)
    return np.where(noise < CLASSES, noise, images[..., 0]), None


def evaluate_generated(count: int) -> dict[str, Any]:
    """Score so many large images as `segtool evaluate` does, and return the figures of all resamples."""
    [found] = tally([Scored(noisy, (SIDE, SIDE))], Striped(count), np.arange(count))
    return Bootstrap().figures(found.counts, FOREGROUND)[0]


def peak(images: int) -> dict[str, Any]:
    """Return the peak memory of a fresh process that evaluates so many images, in MB, and its seconds."""
    started = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(images)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parent,
    )
    seconds = time.perf_counter() - started
    found = {
        "images": images,
        "size": [SIDE, SIDE],
        "peak_memory_mb": round(int(result.stdout) * 1024 / 1e6, 1),
        "seconds": round(seconds, 1),
    }
    print(found, flush=True)
    return found


if __name__ == "__main__":
    main()
