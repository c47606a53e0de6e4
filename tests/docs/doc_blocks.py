"""The pages of docs/ as a test sees them: their fenced blocks, and how each says that it is to be run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
DIRECTIVE = "{"  # of Sphinx: no block of the reader's

_FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (ci runs|not run|heavy|file): (.+?) -->\n(?:\n)?\Z")
_GENERATED = re.compile(r"<!-- figures: (\S+) -->\n.*?<!-- /figures -->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes
    ----------
    page, line
        Where it begins.
    language
        What is behind the fence: sh, python, json, text, ...
    text
        Its lines.
    mark, value
        The comment in front of it: "ci runs" (what the tests run in its place), "not run" (why), "heavy" (why it is
        left to the long tests), "file" (where its text is written); empty where there is none.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str
    value: str

    @property
    def where(self) -> str:
        """The place, as an editor opens it."""
        return f"docs/{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page, in order; Sphinx's own directives are left out."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [block for found in _FENCE.finditer(text) if (block := _block(page, text, found)) is not None]


def _block(page: str, text: str, found: re.Match[str]) -> Block | None:
    if found[1].startswith(DIRECTIVE):
        return None
    mark = _MARK.search(text[: found.start()])
    line = text.count("\n", 0, found.start()) + 1
    return Block(page, line, found[1], found[2], mark[1] if mark else "", mark[2] if mark else "")


def prose(page: str) -> str:
    """Return a page without its blocks and without what is generated."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return _FENCE.sub("", _GENERATED.sub("", text))
