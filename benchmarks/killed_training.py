"""A training killed with SIGKILL in the middle of an epoch, twice, then resumed: results/killed_training.json."""

from __future__ import annotations

import csv
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from commands import call, segtool, write_result

EPOCHS = 8
FIRST = ("train", "--data", "m2nist-synthetic:400", "--epochs", str(EPOCHS), "--out", "run")
RESUME = ("train", "--resume", "--out", "run")


def main() -> None:
    """Kill after the second and after the fifth epoch, half an epoch in; compare with a run that nothing killed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kills = [
            _kill(FIRST, folder, after=2),
            _kill(RESUME, folder, after=5),
        ]
        last = segtool(*RESUME, cwd=folder)
        segtool(*FIRST[:-1], "whole", cwd=folder)
        ours, whole = _history(folder / "run"), _history(folder / "whole")
        epochs = [int(row["epoch"]) for row in ours]
        rates = [[row["learning_rate"] for row in rows] for rows in (ours, whole)]
        write_result(
            "killed_training",
            {
                "kills": kills,
                "last": last,
                "epochs": epochs,
                "every_epoch_once": epochs == list(range(1, EPOCHS + 1)),
                "same_learning_rates_as_uninterrupted": rates[0] == rates[1],
                "history": ours,
                "uninterrupted_history": whole,
            },
        )


def _kill(arguments: tuple[str, ...], folder: Path, *, after: int) -> dict[str, Any]:
    """Start a training, wait for epoch `after` and half of the next one, kill it; return what it left."""
    process = subprocess.Popen(call(*arguments, "-q"), cwd=folder)
    while len(_history(folder / "run")) < after:
        if process.poll() is not None:
            raise SystemExit(f"the training ended with {process.returncode} before epoch {after}")
        time.sleep(0.05)
    time.sleep(float(_history(folder / "run")[-1]["seconds"]) / 2)
    process.send_signal(signal.SIGKILL)
    code = process.wait()
    return {
        "command": " ".join(["segtool", *arguments]),
        "exit_code": code,
        "epochs_in_history": [int(row["epoch"]) for row in _history(folder / "run")],
    }


def _history(run: Path) -> list[dict[str, str]]:
    path = run / "history.csv"
    if not path.exists():
        return []
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


if __name__ == "__main__":
    main()
