"""Model files on emulated Arm processors, where benchmarks/aarch64.py has built its environment."""

import json
import os
import sys
from pathlib import Path

import pytest

from segtool.models.shipped import SHIPPED

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import aarch64
import arm

ENVIRONMENT = aarch64.Environment(Path(os.environ.get("SEGTOOL_AARCH64", aarch64.FOLDER)))

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not (ENVIRONMENT.folder / "install_size.json").is_file(),
        reason="needs the environment of benchmarks/aarch64.py, at build/aarch64 or in $SEGTOOL_AARCH64",
    ),
]


def verify(path: Path, processor: str) -> tuple[int, str]:
    finished = ENVIRONMENT.run(["-m", "segtool", "verify", path], processor=processor)
    return finished.returncode, finished.stdout + finished.stderr


@pytest.mark.parametrize("processor", list(arm.PROCESSORS))
def test_a_file_is_verified_and_a_damaged_one_is_found(tmp_path: Path, processor: str) -> None:
    assert verify(SHIPPED, processor)[0] == 0
    code, text = verify(arm.damaged(SHIPPED, tmp_path / "weights.onnx", "weights"), processor)
    assert code == 4
    assert "export it again" in text
    assert verify(arm.damaged(SHIPPED, tmp_path / "byte.onnx", "byte"), processor)[0] == 1


@pytest.mark.parametrize(("processor", "word"), [("cortex-a72", "asimddp"), ("cortex-a76", "")])
def test_doctor_says_where_int8_is_not_fast(processor: str, word: str) -> None:
    finished = ENVIRONMENT.run(["-m", "segtool", "doctor", "--json"], processor=processor)
    findings = json.loads(finished.stdout)["findings"]
    assert any("INT8" in each["finding"] for each in findings) == bool(word)
    assert not [each for each in findings if each["severity"] == "broken"]
