"""Run the readers on thousands of damaged images and models: results/fuzz_inputs.json."""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from commands import call, write_result
from fuzzing.cases import case_file
from fuzzing.seeds import GOLDEN, IMAGE_KINDS, KINDS, MODEL_KINDS
from fuzzing.watch import Limits, outcomes

import segtool

_BATCH = 50
CAUGHT = "onnxruntime aborts, a ModelFileError with sandbox=True"


def main() -> None:
    """Run every case, the images of each kind in some whole predictions as well, and write what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=4000, help="cases of each image format")
    parser.add_argument("--models", type=int, default=4000, help="cases of each kind of model")
    parser.add_argument("--batches", type=int, default=6, help="predictions of 50 files each, of each image format")
    parser.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS)
    parser.add_argument("--keep", type=Path, help="folder for the files of the findings")
    options = parser.parse_args()
    limits = Limits()
    kinds = {kind: _kind(kind, options, limits) for kind in options.kinds}
    runs = [(kind, number) for kind in kinds if kind in IMAGE_KINDS for number in range(options.batches)]
    wrong = [problem for kind, number in runs for problem in _predicted(kind, number, options.seed)]
    write_result(
        "fuzz_inputs",
        {
            "seed": options.seed,
            "cases": sum(item["cases"] for item in kinds.values()),
            "limits": vars(limits),
            "findings": sum(len(item["findings"]) for item in kinds.values()) + len(wrong),
            "kinds": kinds,
            "predict": {"runs": len(runs), "files": _BATCH * len(runs), "findings": wrong},
        },
    )


def _kind(kind: str, options: argparse.Namespace, limits: Limits) -> dict[str, Any]:
    """Run all cases of one kind."""
    count = options.images if kind in IMAGE_KINDS else options.models
    counts: Counter[str] = Counter()
    findings, slowest, peak, began = [], 0.0, 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for row in outcomes(kind, seed=options.seed, count=count, folder=Path(folder), limits=limits):
            if kind in MODEL_KINDS and row["outcome"].startswith("crash"):
                row["outcome"] = _with_trial(kind, row, options.seed)
            counts[row["outcome"]] += 1
            slowest, peak = max(slowest, row["seconds"]), max(peak, row["peak_bytes"])
            if is_finding(row["outcome"]):
                findings.append({key: row[key] for key in ("number", "outcome", "words")})
                _keep(kind, row["number"], options)
    result = {
        "cases": count,
        "outcomes": dict(counts.most_common()),
        "findings": findings,
        "slowest_case_seconds": round(slowest, 3),
        "peak_mb": round(peak / 1e6),
        "seconds": round(time.perf_counter() - began, 1),
    }
    print(kind, json.dumps({**result, "findings": findings[:5]}, indent=1), flush=True)
    return result


def is_finding(outcome: str) -> bool:
    """Return whether an outcome is neither a result nor a plain SegtoolError."""
    plain = outcome.endswith("Error") and " " not in outcome
    return not plain and outcome not in ("result", CAUGHT)


def _with_trial(kind: str, row: dict[str, Any], seed: int) -> str:
    """Return `CAUGHT` where a model that ends its process is an error with `segtool.load(..., sandbox=True)`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(case_file(kind, row["number"], seed))
        try:
            segtool.load(path, provider="cpu", threads=1, sandbox=True)
        except segtool.ModelFileError as error:
            return CAUGHT if "in the sandbox" in str(error) else str(row["outcome"])
    return str(row["outcome"])


def _keep(kind: str, number: int, options: argparse.Namespace) -> None:
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        (options.keep / f"{kind}-{number}").write_bytes(case_file(kind, number, options.seed))


def _predicted(kind: str, batch: int, seed: int) -> list[str]:
    """Run `segtool predict` on a batch; return what is wrong with how it ended."""
    numbers = range(batch * _BATCH, (batch + 1) * _BATCH)
    with tempfile.TemporaryDirectory() as name:
        for number in numbers:
            Path(name, f"{number}.{kind}").write_bytes(case_file(kind, number, seed))
        images = [f"{number}.{kind}" for number in numbers]
        command = call("predict", *images, "--model", str(GOLDEN / "tiny_v1.onnx"), "--provider", "cpu")
        done = subprocess.run(command, cwd=name, capture_output=True, check=False, timeout=300)
        problems = [] if done.returncode in (0, 1, 3) else [f"{kind} {batch}: exit code {done.returncode}"]
        if b"Traceback" in done.stderr:
            problems.append(f"{kind} {batch}: a traceback")
        manifest = json.loads(Path(name, "predictions", "manifest.json").read_text(encoding="utf-8"))
        if len(manifest["entries"]) != _BATCH or manifest["counts"]["not_run"]:
            problems.append(f"{kind} {batch}: the manifest lacks some of the images")
    return problems


if __name__ == "__main__":
    main()
