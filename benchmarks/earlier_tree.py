"""Files that an earlier commit and this tree export of the same trained networks: results/earlier_tree.json.

    python benchmarks/earlier_tree.py COMMIT NAME RUN DATA [NAME RUN DATA ...] [--rounds 60]

Both trees run `segtool export --quantize` on each RUN. The accuracy of the four files is that on the validation part of
DATA, by this tree; their time is that of one image on one thread, files of one precision interleaved. A ratio below 1
is what this tree gives. The time needs a quiet machine: `--prepare-only` makes the files, the same command without it
scores and times them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from commands import call, in_threes, segtool_json, write_result

from segtool.benchmark.latency import compare_interleaved
from segtool.export.running import onnx_runner

ROOT = Path(__file__).resolve().parents[1]
FILES = {"float32": "model.onnx", "int8": "model.int8.onnx"}
SCORES = ("mean_iou", "pixel_accuracy")


def main() -> None:
    """Make the files of both trees, score and time them, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("networks", nargs="+", metavar="NAME RUN DATA")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--work", type=Path, default=Path("earlier_tree_work"))
    parser.add_argument("--prepare-only", action="store_true")
    asked = parser.parse_args()
    work, named = asked.work.resolve(), in_threes(parser, asked.networks, "NAME RUN DATA")
    trees = {"before": checked_out(asked.commit, work / "tree"), "now": ROOT}
    for name, run, data in named:
        for tree, root in trees.items():
            export(root, Path(run).resolve(), data, work / name / tree)
    if not asked.prepare_only:
        networks = {name: compared(work / name, data, asked.rounds) for name, _, data in named}
        write_result("earlier_tree", {"commit": asked.commit, "rounds": asked.rounds, "networks": networks})


def checked_out(commit: str, folder: Path) -> Path:
    """Return a folder with the files of a commit."""
    if not folder.is_dir():
        subprocess.run(["git", "worktree", "add", "--detach", folder, commit], cwd=ROOT, check=True)
    return folder


def export(root: Path, run: Path, data: str, folder: Path) -> None:
    """Write both files of a run by the package of a tree, if not done yet."""
    if (folder / FILES["int8"]).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--quantize", "--data", data, "--waive", "speed", "--out", str(folder / FILES["float32"])]
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    subprocess.run(call("export", str(run), *arguments), env=environment, check=True)


def compared(folder: Path, data: str, rounds: int) -> dict[str, Any]:
    """Return size and accuracy of the files of both trees, and the time of this tree's over the earlier one's."""
    found: dict[str, Any] = {}
    for precision, name in FILES.items():
        paths = {tree: folder / tree / name for tree in ("now", "before")}
        row: dict[str, Any] = {}
        for tree, path in paths.items():
            scores = segtool_json("evaluate", str(path), "--data", data, cwd=folder)
            row[tree] = {"bytes": path.stat().st_size, **{key: scores[key] for key in SCORES}}
        now, before = (onnx_runner(path, threads=1)[0] for path in paths.values())
        _, *size = (dim.dim_value for dim in onnx.load(paths["now"]).graph.input[0].type.tensor_type.shape.dim)
        image = np.random.default_rng(0).integers(0, 256, (1, *size), np.uint8)
        ratio = compare_interleaved(partial(now, image), partial(before, image), rounds=rounds)
        row["time"] = {"median": ratio.median, "low": ratio.low, "high": ratio.high}
        found[precision] = row
        print(folder.name, precision, row, flush=True)
    return found


if __name__ == "__main__":
    main()
