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


RESTRICTED = SOURCE / "train" / "torch_file.py"
"""The one module that unpickles, with a class that knows no function but its own; its tests try others."""


def test_no_line_of_the_source_unpickles() -> None:
    paths = [path for path in SOURCE.rglob("*.py") if path != RESTRICTED]
    assert [f"{path.name}, {what}" for path in paths for what in findings(ast.parse(path.read_text()))] == []


def test_the_restricted_unpickler_is_the_only_one_of_its_module() -> None:
    tree = ast.parse(RESTRICTED.read_text())
    assert list(findings(tree)) == [f"line {line}: imports pickle" for line in _lines_of_import(tree)]
    (restricted,) = [item for item in tree.body if isinstance(item, ast.ClassDef) and item.bases]
    assert [ast.unparse(base) for base in restricted.bases] == ["pickle.Unpickler"]
    assert "find_class" in [item.name for item in restricted.body if isinstance(item, ast.FunctionDef)]
    used = {ast.unparse(item) for item in ast.walk(tree) if isinstance(item, ast.Attribute)}
    assert {name for name in used if name.startswith("pickle.")} == {"pickle.Unpickler", "pickle.UnpicklingError"}


def _lines_of_import(tree: ast.AST) -> list[int]:
    nodes = [item for item in ast.walk(tree) if isinstance(item, ast.Import)]
    return [item.lineno for item in nodes if item.names[0].name == "pickle"]


def test_the_search_finds_what_it_is_for() -> None:
    bad = (
        "import pickle", "from joblib import load", "np.load(p)", "np.load(p, allow_pickle=True)", "eval(x)",
        "np.load(p, allow_pickle=flag)", "keras.saving.load_model(p)", "load_model(p, safe_mode=False)",
    )  # fmt: skip
    assert [line for line in bad if not list(findings(ast.parse(line)))] == []
    assert (
        list(findings(ast.parse("np.load(p, allow_pickle=False); re.compile(x); load_model(p, safe_mode=True)"))) == []
    )
