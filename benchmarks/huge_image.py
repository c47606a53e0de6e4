"""Memory and time for images far larger than the model: results/huge_image.json.

A grey image of SIDE x SIDE pixels is generated and predicted by `segtool predict`: refused at the default limit, in
tiles, and resized with both pictures. Then follows the largest colour image that the default limit allows. Memory is
the peak of the full process (VmHWM of Linux).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from commands import write_result

import segtool
from segtool.images.arrays import row_bands
from segtool.images.decoding import MAX_PIXELS
from segtool.images.png import write_png

# Runs the command line in this process and says at its end how much memory the process held at most, in kB.
_MEASURED = """
import sys
from pathlib import Path
from segtool.cli import main
try:
    main(sys.argv[1:])
finally:
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM")), file=sys.stderr)
"""


def main() -> None:
    """Draw the images, predict them, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="an exported .onnx")
    parser.add_argument("--side", type=int, default=20_000, help="height and width of the huge image in pixels")
    options = parser.parse_args()
    contract = segtool.load(options.model).contract
    tile = f"{contract.height}x{contract.width}"
    pixels = options.side**2
    legal = (12_000, MAX_PIXELS // 12_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder / "huge.png", (options.side, options.side), channels=1)
        draw(folder / "legal.png", legal, channels=3)
        limit = ("--max-pixels", str(pixels))
        calls = [
            ("huge.png",),
            ("huge.png", *limit, "--tile", tile),
            ("huge.png", *limit, "--tile", "never", "--overlay", "--color"),
            ("legal.png", "--tile", "never"),
        ]
        runs = [predict(folder, options.model.resolve(), *call) for call in calls]
    sizes = {"huge.png": [options.side, options.side, 1], "legal.png": [*legal, 3]}
    write_result("huge_image", {"model": {"tile": tile, "head": contract.head}, "images": sizes, "runs": runs})


def draw(path: Path, size: tuple[int, int], *, channels: int) -> None:
    """Write a PNG of bright discs on dark noise."""
    with path.open("wb") as stream:
        write_png(stream, _bands(size, channels), height=size[0], width=size[1], channels=channels)


def _bands(size: tuple[int, int], channels: int) -> Iterator[npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    columns = np.arange(size[1]) % 61 - 30
    for rows in row_bands(*size):
        lines = np.arange(rows.start, rows.stop) % 47 - 23
        discs = lines[:, np.newaxis] ** 2 + columns**2 < 15**2
        noise = rng.integers(0, 40, (*discs.shape, channels), dtype=np.uint8)
        yield noise + discs[..., np.newaxis].astype(np.uint8) * np.uint8(200)


def predict(folder: Path, model: Path, image: str, *arguments: str) -> dict[str, Any]:
    """Run `segtool predict` on one image; return the command, its exit code, its peak memory and its seconds."""
    call = ["predict", image, "--model", str(model), *arguments, "--overwrite", "--json"]
    shown = " ".join(["segtool", "predict", image, "--model", model.name, *arguments])
    print("$", shown, flush=True)
    started = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", _MEASURED, *call], cwd=folder, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    *said, peak = result.stderr.strip().splitlines()
    entry = json.loads(result.stdout)["entries"][0]
    run = {
        "command": shown,
        "exit_code": result.returncode,
        "status": entry["status"],
        "error": entry.get("error"),
        "peak_memory_mb": round(int(peak) * 1024 / 1e6, 1),
        "seconds": round(seconds, 1),
        "seconds_to_labels": entry.get("seconds"),
    }
    print(json.dumps(run), *said[1:], sep="\n", flush=True)
    return run


if __name__ == "__main__":
    main()
