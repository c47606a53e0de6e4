"""Accuracy against INT8 latency over the family: results/family.json, from which `figures.py` draws docs/family.svg.

`python benchmarks/family.py RUN... --data DATA` scores finished, exported runs (`segtool export RUN --quantize`) on the
test images of their own split. Training, the choice of the epoch, calibration and the gates do not use these images.
The INT8 files are measured interleaved, one thread, with `segtool benchmark`. Runs of the same --seed and splits have
the same test images.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from commands import segtool_json, write_result

INT8 = "model.int8.onnx"
FIGURES = ("pixel_accuracy", "foreground_mean_iou", "foreground_mean_dice")


def main() -> None:
    """Score, time, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="exported run folders")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test", choices=["test", "val"])
    parser.add_argument("--seconds", type=float, default=15.0, help="of timed turns for each member")
    parser.add_argument("--note", default="", help="what a reader should know of the runs")
    arguments = parser.parse_args()
    runs = [run.resolve() for run in arguments.runs]
    if missing := [str(run) for run in runs if not (run / INT8).is_file()]:
        sys.exit(f"Not exported in INT8: {', '.join(missing)}; run segtool export --quantize on each.")
    members = [_member(run, arguments) for run in runs]
    with tempfile.TemporaryDirectory() as folder:
        options = ("--mode", "latency", "--threads", "1", "--provider", "cpu", "--seconds", str(arguments.seconds))
        measured = segtool_json("benchmark", *(str(run / INT8) for run in runs), *options, cwd=Path(folder))
    for member, row in zip(members, measured["models"], strict=True):
        member |= {key: row[key] for key in ("n", "latency_ms", "cold_start_ms", "peak_rss_mb", "size_bytes")}
    for control in measured["noise"]["controls"]:  # no folders of this machine
        control["path"] = "/".join(Path(control["path"]).parts[-2:])
    result = {"split": arguments.split, "note": arguments.note, "members": members}
    write_result("family", {**result, **{key: measured[key] for key in ("noise", "ranking", "warmup")}})


def _member(run: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    data = str(arguments.data.resolve())
    with tempfile.TemporaryDirectory() as folder:
        score = segtool_json("evaluate", str(run / INT8), "--data", data, "--split", arguments.split, cwd=Path(folder))
    return {
        **{key: info[key] for key in ("arch", "recipe", "epochs", "seed", "parameters")},
        "splits": info["data"]["splits"],
        "images": score["images"],
        **{key: score[key] for key in FIGURES},
    }


if __name__ == "__main__":
    main()
