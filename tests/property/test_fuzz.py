"""Some hundred damaged files end in a result or a SegtoolError; benchmarks/fuzz_inputs.py tries thousands."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import fuzz_inputs
from fuzzing import watch
from fuzzing.cases import case_file
from fuzzing.seeds import KINDS, valid_files
from fuzzing.watch import Limits, outcomes

CASES = 80

# A worker that behaves: case 2 takes all memory, 4 crashes, 6 hangs, 8 raises what is no SegtoolError.
BAD_WORKER = """
import json, os, sys, time
for number in range(int(sys.argv[3]), int(sys.argv[4])):
    print(json.dumps({"begin": number}), flush=True)
    if number == 4:
        os.abort()
    if number == 6:
        time.sleep(60)
    outcome = "unexpected KeyError" if number == 8 else "DataError"
    row = {"number": number, "outcome": outcome, "words": "", "seconds": 0, "peak_bytes": 10**12 * (number == 2)}
    print(json.dumps(row), flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory and signals as Linux has them")
class TestFuzzing:
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_case_ends_well(self, kind: str, tmp_path: Path) -> None:
        rows = list(outcomes(kind, seed=7, count=CASES, folder=tmp_path, limits=Limits(seconds=300)))
        assert [row["number"] for row in rows] == list(range(CASES))
        # Where onnxruntime itself aborts on a rewired graph, segtool.load(sandbox=True) is what helps.
        wrong = [row for row in rows if fuzz_inputs.is_finding(row["outcome"])]
        assert [row for row in wrong if kind != "rewired_onnx" or not row["outcome"].startswith("crash")] == []
        assert any(row["outcome"] != "result" for row in rows)

    def test_what_goes_wrong_is_seen_and_the_rest_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker = tmp_path / "worker.py"
        worker.write_text(BAD_WORKER)
        monkeypatch.setattr(watch, "WORKER", worker)
        limits = Limits(seconds=5)
        rows = list(outcomes("png", seed=0, count=10, folder=tmp_path, limits=limits))
        assert [row["number"] for row in rows] == list(range(10))
        found = {row["number"]: row["outcome"] for row in rows if fuzz_inputs.is_finding(row["outcome"])}
        assert [words.split()[0] for words in found.values()] == ["memory", "crash,", "hang", "unexpected"]
        assert list(found) == [2, 4, 6, 8]


@pytest.mark.parametrize("kind", KINDS)
def test_cases_are_the_same_each_time_and_differ(kind: str) -> None:
    cases = [case_file(kind, number, 3) for number in range(30)]
    assert cases == [case_file(kind, number, 3) for number in range(30)]
    assert len(set(cases)) > 25
    assert cases != [case_file(kind, number, 4) for number in range(30)]


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "gif", "webp", "bmp"])
def test_what_is_damaged_was_valid(kind: str) -> None:
    for data in valid_files(kind):
        image = Image.open(io.BytesIO(data))
        image.load()
        assert image.format is not None
        assert image.format.lower() == kind
