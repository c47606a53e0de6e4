"""2,000 images predicted with 20 kills (SIGKILL) at random moments, resumed each time: results/killed_predict.json."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from commands import call, segtool, write_result
from PIL import Image

from segtool.data.loading import load_dataset
from segtool.data.make import write_samples
from segtool.files import TEMPORARY
from segtool.models.resolve import latest_exported
from segtool.predict.journal import JOURNAL_NAME

IMAGES = 2000
KILLS = 20
# So many of them at a random time after the start of the process, when it may still be importing or planning; the
# others when a random number of label maps is there.
KILLS_WHILE_STARTING = 4
SEED = 0
PREDICT = ("predict", "images", "--color", "--model", "model.onnx")


def main() -> None:
    """Kill and resume; compare the outputs and the manifest with those of a run that nothing killed."""
    model = Path(sys.argv[1]) if len(sys.argv) > 1 else latest_exported()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(model, folder / "model.onnx")
        write_samples(load_dataset(f"m2nist-synthetic:{IMAGES}"), np.arange(IMAGES), folder / "images")
        whole = segtool(*PREDICT, "--out", "whole", cwd=folder)
        kills = [_kill(folder, **moment) for moment in _moments()]
        last = segtool(*PREDICT, "--out", "out", "--resume", cwd=folder)
        ours, theirs = (_entries(folder / out) for out in ("out", "whole"))
        write_result(
            "killed_predict",
            {
                "images": IMAGES,
                "outputs_per_image": 2,
                "model_sha256": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest(),
                "uninterrupted": whole,
                "kills": kills,
                "last": last,
                "every_file_whole_after_every_kill": all(kill["files_damaged"] == 0 for kill in kills),
                "outputs_byte_identical_to_uninterrupted": _outputs(folder / "out") == _outputs(folder / "whole"),
                "manifest_entries": len(ours),
                "manifest_same_but_for_status_and_seconds": ours == theirs,
                "files_left_over": sum(1 for path in (folder / "out").iterdir() if _is_left_over(path)),
            },
        )


def _moments() -> list[dict[str, Any]]:
    """Draw the moments: numbers of label maps in ascending order, and among them some times after the start."""
    rng = np.random.default_rng(SEED)
    counts = np.sort(rng.integers(1, IMAGES, KILLS - KILLS_WHILE_STARTING)).tolist()
    moments: list[dict[str, Any]] = [
        {"count": count, "wait": round(float(rng.uniform(0, 0.01)), 4)} for count in counts
    ]
    for _ in range(KILLS_WHILE_STARTING):
        moment = {"count": 0, "wait": round(float(rng.uniform(0, 1)), 4)}
        moments.insert(int(rng.integers(len(moments) + 1)), moment)
    return moments


def _kill(folder: Path, *, count: int, wait: float) -> dict[str, Any]:
    """Resume, kill `wait` seconds after `count` label maps are there, and look at every file."""
    out = folder / "out"
    process = subprocess.Popen(
        call(*PREDICT, "--out", "out", "--resume"), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while count and len(_label_maps(out)) < count:
        if process.poll() is not None:
            raise SystemExit(f"the prediction ended with {process.returncode} before {count} label maps")
        time.sleep(0.002)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    code = process.wait()
    pictures = [path for path in out.glob("*.png") if not path.name.startswith(".")]
    return {
        "label_maps_waited_for": count,
        "seconds_waited_then": wait,
        "exit_code": code,
        "files": len(pictures),
        "files_damaged": sum(not _is_whole(path) for path in pictures),
        "temporary_files_left": sum(path.name.startswith(TEMPORARY) for path in out.glob(".*")),
        "images_in_journal": _done(out / JOURNAL_NAME),
    }


def _label_maps(out: Path) -> list[Path]:
    return [path for path in out.glob("*.png") if not path.name.startswith(".") and ".color." not in path.name]


def _is_whole(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture.size == (84, 64)
    except (OSError, SyntaxError, ValueError):
        return False


def _done(journal: Path) -> int:
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    return sum(json.loads(line).get("status") == "done" for line in lines)


def _outputs(out: Path) -> dict[str, str]:
    pictures = [path for path in out.iterdir() if path.suffix == ".png"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures}


def _is_left_over(path: Path) -> bool:
    return path.name.startswith(TEMPORARY) or path.name == JOURNAL_NAME


def _entries(out: Path) -> list[dict[str, Any]]:
    entries = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["entries"]
    return [{key: entry[key] for key in entry if key not in ("status", "seconds")} for entry in entries]


if __name__ == "__main__":
    main()
