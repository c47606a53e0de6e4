"""Bad inputs end in one sentence; benchmarks/bad_inputs.py tries the whole table in processes, this most of it here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from segtool.cli import main

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

import bad_inputs
from bad.case import Case, prepare
from bad.table import cases
from commands import RESULTS

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="makes pipes and links, as Linux has them")
TABLE = list(cases())
# Those that write or run something large.
SLOW = ("times the memory", "300 MB", "texts of 1 MB", "benchmark")


@pytest.mark.parametrize(
    "case", [case for case in TABLE if not any(word in case.what for word in SLOW)], ids=lambda case: case.what
)
def test_it_ends_in_one_sentence(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bad_inputs, "_run", lambda arguments, _: in_this_process(arguments))
    assert bad_inputs.tried(case, tmp_path)["problems"] == []


def in_this_process(arguments: tuple[str, ...]) -> bad_inputs.Outcome:
    result = CliRunner().invoke(main, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return bad_inputs.Outcome(result.exit_code, result.stdout, result.stderr)


def test_a_case_that_does_not_hold_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = bad_inputs.Outcome(0, "", "Traceback (most recent call last):\n\x1b[31mKeyError: 3")

    def run(_: tuple[str, ...], folder: Path) -> bad_inputs.Outcome:
        (folder / "good.png").write_bytes(b"changed")
        (folder / "pwned").mkdir()
        return outcome

    monkeypatch.setattr(bad_inputs, "_run", run)
    found = " ".join(bad_inputs.tried(Case("x", ("predict", "good.png"), 3, "words"), tmp_path)["problems"])
    for part in ("exit code 0", "traceback", "escape code", "good.png was changed", "pwned", "not done", "'words'"):
        assert part in found


def test_what_is_good_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare()
    for line in ("predict good.png --model model.onnx", "data info good.npz", "verify model.onnx"):
        assert in_this_process(tuple(line.split())).code == 0


def test_the_committed_table_is_that_of_its_results() -> None:
    found = json.loads((RESULTS / "bad_inputs.json").read_text(encoding="utf-8"))
    assert (RESULTS / "bad_inputs.md").read_text(encoding="utf-8") == bad_inputs.table(found["cases"])
    assert found["failed"] == []
    assert [row["what"] for row in found["cases"]] == [case.what for case in TABLE]
