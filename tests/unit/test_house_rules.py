"""The house's own checks, so that one command runs everything."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src/segtool"
BY_NAME = {"import_quietly", "import_extra"}  # functions that import the module of their first argument


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


def test_benchmarks_name_only_what_there_is() -> None:
    """They run seldom, so a function that got another name or another argument would not be noticed."""
    own = ["--config-file=", "--python-version=3.11", "--ignore-missing-imports", "--check-untyped-defs"]
    folder = ROOT / "benchmarks"
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.py"))
    call = [sys.executable, "-m", "mypy", *own, *files]
    result = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_array_types_are_named_in_one_file() -> None:
    named = re.compile(r"^\w+ = npt\.NDArray\[.*\]$", re.MULTILINE)
    found = {path.name for path in SOURCE.rglob("*.py") if named.search(path.read_text())}
    assert found == {"array_types.py"}


def test_each_folder_imports_the_libraries_that_the_architecture_page_names() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    converters = set()
    for path in SOURCE.rglob("*.py"):
        libraries = set(_libraries(ast.parse(path.read_text())))
        found[path.relative_to(SOURCE).parts[0]] |= libraries
        if "tf2onnx" in libraries:
            converters.add(path.name)
    page = (ROOT / "docs/architecture.md").read_text()
    table = page[page.index("| in `src/segtool` |") : page.index("## The layers")]
    named: dict[str, set[str]] = {name: set() for name in found}
    for row in table.splitlines()[2:]:
        if row.startswith("|"):
            folders, _, libraries = row.strip("|").split("|")
            for folder in re.findall(r"`(.+?)/?`", folders):
                named[folder] = set(re.findall(r"\w+", libraries))
    assert named.keys() - {"__init__.py", "__main__.py"} <= {item.name for item in SOURCE.iterdir()}
    assert {name: sorted(libraries) for name, libraries in named.items()} == {
        name: sorted(libraries) for name, libraries in found.items()
    }
    assert converters == {"conversions.py", "keras_to_onnx.py", "extras.py"}


def _libraries(tree: ast.Module) -> Iterator[str]:
    """Yield the libraries that a file imports, anywhere in it, except for the types alone."""
    unread: set[int] = set()
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        names: list[str] = []
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            unread |= {id(item) for item in ast.walk(node)}
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BY_NAME:
            names = [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
        for name in names:
            library = name.partition(".")[0]
            if library not in {"segtool", *sys.stdlib_module_names}:
                yield library
