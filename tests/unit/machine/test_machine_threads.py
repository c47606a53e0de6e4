"""How many threads a new process starts, in real processes: affinity, a cgroup's quota, OMP_NUM_THREADS, --threads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import write_model

from segtool.errors import ProviderError
from segtool.machine.processors import environment_threads

PREDICT = [sys.executable, "-m", "segtool", "predict"]
THREADS = "import sys, segtool; print(segtool.load(sys.argv[1], provider='cpu').threads)"


def environment(**changes: str) -> dict[str, str]:
    return {**{key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}, **changes}


def run(command: list[str], **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment(**changes))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx")


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for path in paths:
        Image.fromarray(np.zeros((64, 84), np.uint8)).save(path)
    return [str(path) for path in paths]


def predicted_threads(model: Path, images: list[str], *options: str, **changes: str) -> int:
    out = model.parent / "out"
    finished = run([*PREDICT, *images, "--model", str(model), "--out", str(out), "--overwrite", *options], **changes)
    assert finished.returncode == 0, finished.stderr
    return json.loads((out / "manifest.json").read_text())["threads"]


@pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset is not installed")
def test_affinity(model: Path) -> None:
    first = str(min(os.sched_getaffinity(0)))
    finished = run(["taskset", "-c", first, sys.executable, "-c", THREADS, str(model)])
    assert finished.stdout == "1\n", finished.stderr


def test_omp_num_threads_is_the_default_of_all_commands(model: Path, images: list[str]) -> None:
    assert run([sys.executable, "-c", THREADS, str(model)], OMP_NUM_THREADS="3").stdout == "3\n"
    assert predicted_threads(model, images[:1], OMP_NUM_THREADS="3") == 3
    assert predicted_threads(model, images, OMP_NUM_THREADS="3,2") == 3
    assert predicted_threads(model, images) == 1


def test_threads_goes_before_omp_num_threads(model: Path, images: list[str]) -> None:
    assert predicted_threads(model, images, "--threads", "2", OMP_NUM_THREADS="3") == 2
    assert predicted_threads(model, images, "--threads", "2", OMP_NUM_THREADS="nonsense") == 2


def test_a_bad_omp_num_threads_is_one_sentence(model: Path, images: list[str]) -> None:
    finished = run([*PREDICT, *images, "--model", str(model)], OMP_NUM_THREADS="many")
    assert finished.returncode == 1
    assert "OMP_NUM_THREADS is 'many', expected a positive integer" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "2,", "two", "²"])
def test_bad_values(text: str) -> None:
    with pytest.raises(ProviderError, match="expected a positive integer"):
        environment_threads({"OMP_NUM_THREADS": text})


@pytest.mark.parametrize(("text", "threads"), [("", None), (" ", None), ("4", 4), (" 4 , 2", 4)])
def test_good_values(text: str, threads: int | None) -> None:
    assert environment_threads({"OMP_NUM_THREADS": text}) == threads
    assert environment_threads({}) is None


@pytest.fixture
def quota_group() -> Iterator[Path]:
    """A real cgroup that pays for 0.6 of a processor."""
    name = f"segtool-test-{os.getpid()}"
    for root, file, text in (
        (Path("/sys/fs/cgroup"), "cpu.max", "60000 100000"),
        (Path("/sys/fs/cgroup/cpu"), "cpu.cfs_quota_us", "60000"),
    ):
        group = root / name
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / file).exists():
                (group / file).write_text(text)
                yield group
                return
        except OSError:
            continue
        finally:
            group.rmdir()
    pytest.skip("this process may not make cgroups with a quota")


def test_a_real_cgroup(quota_group: Path) -> None:
    program = "from segtool.machine.processors import available_cpus, cgroup_quota as q; print(available_cpus(), q())"
    script = f'echo $$ > {quota_group}/cgroup.procs && exec "$0" -c "{program}"'
    finished = run(["sh", "-c", script, sys.executable])
    assert finished.stdout == "1 0.6\n", finished.stderr
