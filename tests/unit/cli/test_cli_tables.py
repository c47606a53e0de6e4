"""Tables of numbers in a narrow terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import STEP, tiny_contract, write_model

from segtool.cli.tables import emit_table

COLUMNS = ["name", "first", "two\nlines", "third"]
ROWS = [["a", "1.00", "12345678", "3"], ["b", "2", "3", "4"]]
WIDE = 3 * 4 + 1 + len("name" + "first" + "12345678" + "third")


@pytest.mark.parametrize(
    ("width", "parts"),
    [
        (WIDE, [["name", "first", "lines", "third"]]),
        (WIDE - 1, [["name", "first", "lines"], ["name", "third"]]),
        (20, [["name", "first"], ["name", "lines"], ["name", "third"]]),
    ],
)
def test_what_does_not_fit_goes_on_below_in_order(
    width: int, parts: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    emit_table(COLUMNS, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert [line.strip("┃").replace("┃", " ").split() for line in lines if "name" in line] == parts
    assert sum("12345678" in line for line in lines) == 1


def test_long_names_wrap_before_numbers_move(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    emit_table(["name", "number"], [["a long name of many words", "1"]])
    text = capsys.readouterr().out
    assert "number" in text
    assert text.count("name") == 2  # the heading, and the name itself: one table


def test_a_cell_too_wide_for_the_terminal_is_whole_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    emit_table(["name", "number"], [["a", "1234567890" * 9]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    assert "".join(line.split("│")[2].strip() for line in lines if line[0] == "│") == "1234567890" * 9


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals here")
@pytest.mark.parametrize("models", [("model.onnx",), ("model.onnx", "other.onnx")])
def test_evaluate_breaks_no_number_in_80_columns(tmp_path: Path, models: tuple[str, ...]) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (4, 16, 20)).astype(np.uint8)
    labels[0] = 2
    np.savez(tmp_path / "data.npz", images=(labels * STEP).astype(np.uint8), labels=labels)
    names = ("one", "a class of many words", "background")
    for number, model in enumerate(models):
        size = {"height": 16 - 8 * number, "width": 20 - 10 * number}
        write_model(tmp_path / model, tiny_contract(**size, class_names=names))
    lines = in_terminal(tmp_path, "evaluate", *models, "--data", "data.npz", "--resamples", "100")
    rows = [line for line in lines if line.startswith(("│", "┃"))]
    assert max(map(len, rows)) <= 80
    cells = [cell.strip() for row in rows if row.startswith("│") for cell in row.strip("│").split("│")[1:]]
    number = r"[+-]?\d+(\.\d+)?|0|-|better|worse|neither"
    assert [cell for cell in cells if cell and not re.fullmatch(f"({number})( to ({number}))?", cell)] == []
    words = " ".join(" ".join(rows).replace("┃", " ").split())
    assert "95 % interval" in words
    assert len(models) > 1 or "interval" in words


def in_terminal(folder: Path, *arguments: str) -> list[str]:
    """Run a command with stdout in a terminal of 80 columns; return the lines without colours."""
    master, slave = os.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "segtool", *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=slave, stderr=subprocess.DEVNULL) as process:
        os.close(slave)
        text = b""
        while part := _read(master):
            text += part
    os.close(master)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).splitlines()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's end of a terminal
        return b""


def test_a_name_that_is_not_utf_8_shows_its_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    emit_table(["name"], [[os.fsdecode(b"caf\xe9\x1b.png")]])
    assert r"caf\xe9\x1b.png" in capsys.readouterr().out
