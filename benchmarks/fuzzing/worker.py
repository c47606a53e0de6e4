"""A process that reads damaged files one after the other, and says of each what came of it: JSON lines on stdout.

It is started as `python worker.py KIND SEED START STOP FOLDER`; a native crash ends it, and the line that it wrote last
says at which case.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import segtool
from fuzzing.cases import case_file
from fuzzing.seeds import GOLDEN, MODEL_KINDS
from segtool.images.image_io import read_image
from segtool.runtime.segmenter import Segmenter


def main() -> None:
    """Read the cases of one kind."""
    kind, folder = sys.argv[1], Path(sys.argv[5])
    seed, start, stop = map(int, sys.argv[2:5])
    segmenter = segtool.load(GOLDEN / "tiny_v1.onnx", provider="cpu", threads=1)
    path = folder / f"{kind}-{start}"
    for number in range(start, stop):
        path.write_bytes(case_file(kind, number, seed))
        print(json.dumps({"begin": number}), flush=True)
        print(json.dumps({"number": number, **_judged(kind, path, segmenter)}), flush=True)


def _judged(kind: str, path: Path, segmenter: Segmenter) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        _read(kind, path, segmenter)
        outcome, words = "result", ""
    except segtool.SegtoolError as error:
        outcome, words = type(error).__name__, str(error)
        if "\n" in words or len(words) > 2000:
            outcome = f"{outcome} of more than one short line"
    except Exception as error:  # noqa: BLE001 (what is looked for)
        outcome, words = f"unexpected {type(error).__name__}", str(error)
    seconds = time.perf_counter() - began
    return {"outcome": outcome, "words": words[:200], "seconds": seconds, "peak_bytes": _peak_bytes()}


def _peak_bytes() -> int:
    """Return this process's peak; ru_maxrss of a child would start at what its parent held."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _read(kind: str, path: Path, segmenter: Segmenter) -> None:
    """Do what a user's program does with the file."""
    if kind in MODEL_KINDS:
        opened = segtool.load(path, provider="cpu", threads=1)
        opened(segmenter.golden().images[0])
        opened.verify()
        return
    for channels in (1, 3):
        image = read_image(path, channels=channels)
    if image.size < 10**7:
        segmenter(image)


if __name__ == "__main__":
    main()
