"""Nothing that segtool reads can run code: no call that unpickles stands in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "segtool"
# Modules that unpickle or run what they read, and functions that do.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
CALLS = {"eval", "exec", "compile", "load_pickle", "read_pickle", "genfromtxt", "fromregex"}


def findings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from (f"line {node.lineno}: imports {name}" for name in names if name.split(".")[0] in MODULES)
        if isinstance(node, ast.Call):
            yield from (f"line {node.lineno}: {found}" for found in _call(node))


def _call(node: ast.Call) -> Iterator[str]:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = getattr(function.value, "id", "") if isinstance(function, ast.Attribute) else ""
    options = {item.arg: item.value for item in node.keywords}
    if isinstance(function, ast.Name) and name in CALLS:
        yield f"calls {name}"
    allowed = options.get("allow_pickle")
    if allowed is not None and getattr(allowed, "value", None) is not False:
        yield "allows pickles"
    if owner in ("np", "numpy") and name in ("load", "lib.format.read_array") and allowed is None:
        yield "does not say allow_pickle=False"
    if name == "load_model" and getattr(options.get("safe_mode"), "value", None) is not True:
        yield "does not say safe_mode=True"


def test_no_line_of_the_source_unpickles() -> None:
    found = [f"{path.name}, {what}" for path in SOURCE.rglob("*.py") for what in findings(ast.parse(path.read_text()))]
    assert found == []


def test_the_search_finds_what_it_is_for() -> None:
    bad = (
        "import pickle", "from joblib import load", "np.load(p)", "np.load(p, allow_pickle=True)", "eval(x)",
        "np.load(p, allow_pickle=flag)", "keras.saving.load_model(p)", "load_model(p, safe_mode=False)",
    )  # fmt: skip
    assert [line for line in bad if not list(findings(ast.parse(line)))] == []
    assert (
        list(findings(ast.parse("np.load(p, allow_pickle=False); re.compile(x); load_model(p, safe_mode=True)"))) == []
    )
