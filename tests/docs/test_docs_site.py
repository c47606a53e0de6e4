"""The site builds without a warning, has every page, and loads nothing from elsewhere when it is read."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from doc_blocks import DOCS, PAGES

from segtool.cli import main

NEEDED = ("sphinx", "myst_parser", "furo", "sphinx_click", "sphinx_copybutton")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)\"|<link\b[^>]*\bhref=\"([^\"]+)\"")

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"the extra docs is not installed ({', '.join(MISSING)})")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning is an error, a link that leads nowhere among them."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    call = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(folder)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there_and_can_be_reached(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    for name in PAGES:
        assert (site / name).with_suffix(".html").is_file()
        assert name == "index.md" or f'href="{Path(name).stem}.html"' in index


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """No fonts, scripts or pictures of other hosts: who reads the page is told to nobody."""
    for page in site.rglob("*.html"):
        loaded = [src or href for src, href in LOADED.findall(page.read_text(encoding="utf-8"))]
        assert loaded or page.name == "search.html"
        assert [link for link in loaded if re.match(r"(?:https?:)?//", link)] == [], page.name
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"@import|url\(\s*[\"']?(?:https?:)?//", text), style.name


def test_the_reference_has_every_command_and_option(site: Path) -> None:
    text = (site / "commands.html").read_text(encoding="utf-8")
    for name, command in _commands():
        assert f"segtool {name}" in re.sub(r"<[^>]+>", "", text)
        for option in command.params:
            assert all(written in text for written in option.opts if written.startswith("--"))


def _commands() -> list[tuple[str, click.Command]]:
    context = click.Context(main)
    found = [(name, main.get_command(context, name)) for name in main.list_commands(context)]
    return [(name, command) for name, command in found if command is not None]
