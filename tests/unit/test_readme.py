"""The README says what is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from segtool.cli import main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_figures_and_the_plots_are_those_of_the_results() -> None:
    call = [sys.executable, str(ROOT / "benchmarks" / "figures.py"), "--check"]
    result = subprocess.run(call, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_its_files_are_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("line", re.findall(r"^segtool (.+?)(?:\s+#.*)?$", README, re.MULTILINE))
def test_its_commands_parse(line: str) -> None:
    """Each command and option that the README names exists."""
    words = line.split()
    command = words[:2] if words[0] == "data" else words[:1]
    help_text = CliRunner().invoke(main, [*command, "--help"])
    assert help_text.exit_code == 0
    for option in (word for word in words if word.startswith("--")):
        assert option in help_text.output
