"""What a start leaves out: rich where nobody looks, and Python's search for garbage until the work begins."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tiny_models import write_model

from segtool.cli.common import table_of
from segtool.cli.plain import is_plain, plain_table
from segtool.garbage import no_search_for_garbage

# Runs the command line as the script does, and says at the end of the process what is loaded and what is on.
PROGRAM = """
import atexit, gc, json, sys
from segtool.__main__ import run
def tell():
    print(json.dumps([gc.isenabled(), [name for name in ("rich", "tempfile") if name in sys.modules]]), file=sys.stderr)
atexit.register(tell)
run()
"""


def file_of(encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def by_rich(columns: list[str], rows: list[list[str]], *, text: bool, width: int) -> str:
    console = Console(file=io.StringIO(), highlight=False, emoji=False, width=width, force_terminal=False)
    console.print(table_of(columns, rows, text=text))
    return console.file.getvalue().rstrip("\n")


class TestTables:
    @pytest.mark.parametrize("seed", range(40))
    def test_they_are_those_of_rich(self, seed: int) -> None:
        random = np.random.default_rng(seed)

        def word(longest: int) -> str:
            letters = random.integers(32, 127, int(random.integers(0, longest + 1)))
            return "".join(map(chr, letters)).strip() if random.random() < 0.9 else ""

        columns = [word(12) or "x" for _ in range(int(random.integers(1, 7)))]
        rows = [[word(18) for _ in columns] for _ in range(int(random.integers(1, 5)))]
        text = bool(random.integers(2))
        plain = plain_table(columns, rows, text=text, width=120)
        wide = sum(max(map(len, column)) + 3 for column in zip(columns, *rows, strict=True)) + 1 > 120
        assert (plain is None) == wide
        assert plain is None or plain == by_rich(columns, rows, text=text, width=120)

    @pytest.mark.parametrize("cell", ["\u58eb", "e\u0301", "\x1b[1m", "a\nb", "a\tb", "x" * 120])
    def test_what_is_more_than_letters_side_by_side_is_left_to_rich(self, cell: str) -> None:
        assert plain_table(["a"], [[cell]], text=False, width=120) is None

    def test_no_rows_are_left_to_rich(self) -> None:
        assert plain_table(["a"], [], text=False, width=120) is None


class TestStreams:
    def test_a_file_is_plain(self) -> None:
        assert is_plain(file_of())
        assert not is_plain(file_of("latin-1"))
        assert not is_plain(None)

    @pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
    def test_a_terminal_is_not(self) -> None:
        import pty

        ends = pty.openpty()
        with open(ends[0], "rb", buffering=0), open(ends[1], "w", encoding="utf-8") as terminal:  # noqa: PTH123
            assert not is_plain(terminal)

    def test_nor_what_is_to_be_taken_for_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert not is_plain(file_of())


class TestProgram:
    @pytest.fixture
    def call(self, tmp_path: Path) -> list[str]:
        write_model(tmp_path / "model.onnx")
        Image.fromarray(np.zeros((64, 84), np.uint8)).save(tmp_path / "one.png")
        arguments = ["predict", "one.png", "--model", "model.onnx", "--overwrite"]
        return [sys.executable, "-c", PROGRAM, *arguments]

    def test_it_imports_no_rich_into_a_pipe_and_searches_for_garbage_again(
        self, call: list[str], tmp_path: Path
    ) -> None:
        result = subprocess.run(call, cwd=tmp_path, check=True, capture_output=True, text=True)
        assert json.loads(result.stderr.splitlines()[-1]) == [True, []]
        assert result.stderr.startswith("model.onnx: CPUExecutionProvider, ")

    def test_it_says_the_same_with_rich(self, call: list[str], tmp_path: Path) -> None:
        plain = subprocess.run(call, cwd=tmp_path, check=True, capture_output=True, text=True)
        # Its presence is enough for rich to be asked; that it is empty or 0 says no.
        environment = {**os.environ, "TTY_COMPATIBLE": "0"}
        rich = subprocess.run(call, cwd=tmp_path, check=True, capture_output=True, text=True, env=environment)
        assert json.loads(rich.stderr.splitlines()[-1])[1] == ["rich"]
        assert rich.stdout == plain.stdout
        assert rich.stderr.splitlines()[:-1] == plain.stderr.splitlines()[:-1]


def test_the_search_for_garbage_is_left_as_it_was() -> None:
    assert gc.isenabled()
    with no_search_for_garbage():
        assert not gc.isenabled()
        with no_search_for_garbage():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
