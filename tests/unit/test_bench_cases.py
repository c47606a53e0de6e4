"""The table of failing inputs: what is right comes from its README, what a command says from its own output."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import cases

README = """# cases
| case | what it is | right |
| --- | --- | --- |
| 01-a, 02-b | two of a kind | refused |
| legacy.h5 | an old file | exported |
"""


def test_every_case_of_a_row_has_what_is_right() -> None:
    right = cases.what_is_right(README)
    assert (right["01-a"], right["02-b"], right["legacy"]) == ("refused", "refused", "exported")


def test_the_sentence_is_the_traceback_the_error_or_the_report() -> None:
    assert (
        cases.key_sentence("", "Traceback (most recent call last):\n  x\nValueError: y") == "TRACEBACK: ValueError: y"
    )
    assert cases.key_sentence("", "Warning: a b\nError: c d.") == "Warning: a b c d."
    problem = {"message": "m", "kind": "k"}
    assert cases.key_sentence(json.dumps({"problems": [problem, problem], "images": 2}), "") == "m (1 more rows)"
    assert cases.key_sentence(json.dumps({"problems": [], "images": 2}), "") == "2 images, nothing wrong found"


def test_a_case_with_all_its_runs_is_a_block_of_the_table() -> None:
    runs = [
        {"command": f"segtool data {name} cases/data/a", "exit_code": 0, "seconds": 1, "sentence": "x | " + "y" * 400}
        for name in ("check", "info")
    ]
    table = cases.table([{"name": "a", "side": "data", "right": "read", "runs": runs}])
    check, info = (line for line in table.splitlines() if "`data" in line)
    assert check.startswith("| a | read | `data check` | 0 | x \\| yyy")
    assert info.startswith("|  |  | `data info` | 0 | x ")


def test_cases_are_found_beside_a_hidden_file(tmp_path: Path) -> None:
    for name in ("data/b", "data/a", "data/.cache", "models"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "models" / "m.keras").write_bytes(b"")
    assert [(side, path.name) for side, path in cases.all_cases(tmp_path)] == [
        ("data", "a"), ("data", "b"), ("models", "m.keras")
    ]  # fmt: skip
