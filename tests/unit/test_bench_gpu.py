"""benchmarks/gpu.py: it ends in a sentence without a GPU, and takes all of its steps on a CPU."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there may be a GPU here")
def test_without_a_gpu_one_sentence_and_its_exit_code() -> None:
    result = run()
    assert result.returncode == 77
    assert result.stdout.startswith("nvidia-smi finds no GPU here")
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.heavy
def test_all_steps_on_the_cpu(tmp_path: Path) -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: pip install jax")
    out = tmp_path / "gpu.json"
    result = run("--allow-cpu", "--epochs", "2", "--seconds", "3000", "--out", str(out), JAX_PLATFORMS="cpu")
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [row["arch"] for row in found["training"]] == ["fcn8", "fcn8-lite"]
    for row in found["training"]:
        assert row["device"] == "CPU (jax)"
        assert row["loss_falls"]
        assert row["epochs_per_second"] > 0
    assert [row["file"] for row in found["inference"]["files"]] == ["shipped", "fcn8", "fcn8-lite"]
    assert all(row["passed"] for row in found["inference"]["files"])
