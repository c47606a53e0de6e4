"""Training time against the number of images, on generated data: results/training_time.json.

`python benchmarks/training_time.py` runs the real `segtool train` for a few epochs on 250, 500, 1000 and 2000 images
and reads the seconds of each epoch from its history.csv, except the first, which also compiles.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from commands import history, numbers, segtool, write_result

COUNTS = (250, 500, 1000, 2000)


def main() -> None:
    """Train and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="fcn8-edge")
    parser.add_argument("--images", type=numbers, default=COUNTS, help="numbers of images, with commas between")
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [_row(count, arguments, Path(folder)) for count in arguments.images]
    write_result("training_time", {"arch": arguments.arch, "epochs": arguments.epochs, "rows": rows})


def _row(count: int, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    out = folder / str(count)
    options = ("--arch", arguments.arch, "--epochs", str(arguments.epochs), "--out", str(out))
    step = segtool("train", "--data", f"m2nist-synthetic:{count}", *options, cwd=folder)
    if step["exit_code"]:
        sys.exit("segtool train failed; its message is above.")
    epochs = [float(row["seconds"]) for row in history(out)]
    later = epochs[1:] or epochs
    return {
        "images": count,
        "trained_on": round(0.8 * count),
        "first_epoch_seconds": epochs[0],
        "epoch_seconds": {"median": statistics.median(later), "min": min(later), "max": max(later), "n": len(later)},
        "command_seconds": step["seconds"],
    }


if __name__ == "__main__":
    main()
