"""Every block of every page does what the page says: shell and Python are run, JSON is read, outputs are compared."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from doc_blocks import DOCS, PAGES, Block, blocks_of, prose

from segtool.cli import main

ROOT = DOCS.parent
SESSION = Path(__file__).with_name("session.py")
RUN = ("sh", "python")
MEASURED = re.compile(
    r"\b\d[\d.,]* ?(?:ms|MB|GB|seconds|minutes|images a second)\b|\b\d[\d.]*(?:x| times) (?:as )?fast"
)


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment whose `segtool` and `python` are those under test."""
    tools = folder / "bin"
    tools.mkdir()
    for name, call in (("segtool", f"{sys.executable} -m segtool"), ("python", sys.executable)):
        (tools / name).write_text(f'#!/bin/sh\nexec {call} "$@"\n')
        (tools / name).chmod(0o755)
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": path}


def _step(block: Block) -> dict[str, str] | None:
    """Return what the session does with a block; None where there is nothing to run."""
    if block.mark == "file":
        return {"kind": "file", "path": block.value, "text": block.text, "where": block.where}
    if block.language not in RUN or block.mark == "not run":
        return None
    text = block.value + "\n" if block.mark == "ci runs" else block.text
    return {"kind": "sh" if block.mark == "ci runs" else block.language, "text": text, "where": block.where}


def _walk(page: str, tmp_path: Path, *, heavy: bool) -> None:
    """Run the blocks of a page in an empty folder, and compare the outputs that it shows."""
    blocks = [block for block in blocks_of(page) if heavy or block.mark != "heavy"]
    steps = [step for block in blocks if (step := _step(block))]
    folder = tmp_path / "page"
    folder.mkdir()
    results = _session(steps, folder, _environment(tmp_path))
    for step, result in zip(steps, results, strict=False):
        assert result["code"] == 0, f"{step['where']} failed:\n{step['text']}\n{result['out']}\n{result['err']}"
    by_place = {step["where"]: result for step, result in zip(steps, results, strict=True)}
    for shown, made in _shown(page):
        if made.where in by_place:
            result = by_place[made.where]
            _compare(shown, result["out"] + "\n" + result["err"])


def _session(steps: list[dict[str, str]], folder: Path, environment: dict[str, str]) -> list[dict[str, Any]]:
    """Run steps in a process of their own; return what each gave, up to the first that failed."""
    call = [sys.executable, str(SESSION)]
    done = subprocess.run(
        call, input=json.dumps(steps), cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def _shown(page: str) -> list[tuple[Block, Block]]:
    """Return each block of output with the block that gave it."""
    blocks = blocks_of(page)
    pairs = zip(blocks[1:], blocks, strict=False)
    return [(shown, made) for shown, made in pairs if shown.language == "text" and not shown.mark]


def _compare(shown: Block, output: str) -> None:
    """Fail unless the lines that a page shows are in the output, in order; numbers and frames do not count."""
    lines = iter(_plain(output))
    for line in _plain(shown.text):
        assert line in lines, f"{shown.where} shows a line that did not come:\n{line}\n\n{output}"


def _plain(text: str) -> list[str]:
    """Return the words of each line: no digits, signs, frames and blanks, which are of the day and the machine."""
    words = (re.sub(r"[^A-Za-z%/_]+", " ", re.sub(r"[─-╿]", " ", line)).strip() for line in text.splitlines())
    return [line for line in words if line and line != "..."]


@pytest.mark.parametrize("page", [page for page in PAGES if any(_step(block) for block in blocks_of(page))])
def test_the_blocks_of_a_page_run(page: str, tmp_path: Path) -> None:
    _walk(page, tmp_path, heavy=False)


@pytest.mark.heavy
@pytest.mark.parametrize("page", [page for page in PAGES if any(b.mark == "heavy" for b in blocks_of(page))])
def test_the_long_blocks_of_a_page_run_too(page: str, tmp_path: Path) -> None:
    _walk(page, tmp_path, heavy=True)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_tested(page: str) -> None:
    """A block is run, read, or compared; what is not run says why."""
    for block in blocks_of(page):
        assert block.language in (*RUN, "json", "text"), f"{block.where} is {block.language!r}"
        if block.language == "json":
            json.loads(block.text)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_exist(page: str) -> None:
    """Also those that no test runs: each command and each option is one of today's."""
    for block in blocks_of(page):
        text = block.text.replace("\\\n", " ") if block.language == "sh" else ""
        for line in re.findall(r"\bsegtool ([a-z][^|&;#\n)]*)", text):
            words = line.split()
            command = words[:2] if words[0] == "data" else words[:1]
            told = CliRunner().invoke(main, [*command, "--help"])
            assert told.exit_code == 0, f"{block.where}: segtool {line}"
            for option in (word.partition("=")[0] for word in words if word.startswith("--")):
                assert re.search(rf"{option}\b", told.output), f"{block.where}: {option}"


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", prose(page)):
        assert (DOCS / link).exists(), f"{page} links to {link}"


@pytest.mark.parametrize("page", [*PAGES, "../CONTRIBUTING.md"])
def test_the_code_that_a_page_points_to_is_there(page: str) -> None:
    """Paths from the root exist, and so does a name of which a page says "`name` in `path`"."""
    text = prose(page)
    for path in re.findall(r"`((?:src|tests|benchmarks)/[\w./*-]+)`", text):
        assert list(ROOT.glob(path)), f"{page} points to {path}"
    for name, path in re.findall(r"`([\w.]+)`\s+in\s+`((?:src|tests|benchmarks)/[\w/]+\.py)`", text):
        source = (ROOT / path).read_text(encoding="utf-8")
        for part in name.split("."):
            assert re.search(rf"^\s*(?:def|class) {part}\b|^{part}\b.* = ", source, re.MULTILINE), (
                f"{page}: {name} in {path}"
            )


@pytest.mark.parametrize("page", PAGES)
def test_no_measured_figure_is_typed_by_hand(page: str) -> None:
    """Times, sizes and speeds come from benchmarks/results, between the marks."""
    assert MEASURED.findall(prose(page)) == []


@pytest.mark.parametrize(("kind", "text"), [("sh", "false\necho late"), ("sh", "false | cat"), ("python", "1 / 0")])
def test_a_block_that_fails_is_noticed_and_ends_the_page(kind: str, text: str, tmp_path: Path) -> None:
    steps = [{"kind": kind, "text": text, "where": "here"}, {"kind": "sh", "text": "echo next", "where": "there"}]
    (result,) = _session(steps, tmp_path, dict(os.environ))
    assert result["code"] != 0
    assert "late" not in result["out"]


def test_an_output_that_did_not_come_is_noticed() -> None:
    shown = Block("x.md", 1, "text", "| part | images |\n| val | 800 |\n...\n", "", "")
    _compare(shown, "more\n┃ part ┃ images ┃\n│ val  │     40 │\n")
    for output in ("| part | images |\n| test | 800 |", "| val | 800 |\n| part | images |", ""):
        with pytest.raises(AssertionError, match="did not come"):
            _compare(shown, output)


def test_a_figure_typed_by_hand_is_noticed() -> None:
    assert all(MEASURED.search(text) for text in ("in 3.5 ms", "took 12 minutes", "2.1x faster", "3 times as fast"))
    assert not MEASURED.search("64 x 84 pixels, 99.99 % of the labels, a crop of 192x192")
