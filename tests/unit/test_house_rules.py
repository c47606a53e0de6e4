"""The house's own checks, so that one command runs everything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["importlinter.cli"],
    ],
    ids=lambda command: command[0] + (command[1] if len(command) > 1 else ""),
)
def test_the_tree_is_clean(command: list[str]) -> None:
    """Ruff (style, docstrings, security), mypy strict, and the layers."""
    if command[0] == "importlinter.cli":
        call = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    else:
        call = [sys.executable, "-m", *command]
    result = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_array_types_are_named_in_one_file() -> None:
    source = ROOT / "src/segtool"
    named = re.compile(r"^\w+ = npt\.NDArray\[.*\]$", re.MULTILINE)
    found = {path.name for path in source.rglob("*.py") if named.search(path.read_text())}
    assert found == {"array_types.py"}
