"""Facts for the pages of docs/: fields, presets, gates, recipes and layers of the code, rewrites and what they give."""

from __future__ import annotations

import ast
import inspect
import json
import re
import statistics
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from plots.results import read

ROOT = Path(__file__).resolve().parents[1]
PASSES = ROOT / "src" / "segtool" / "export" / "passes"


def presets() -> str:
    """Return the INT8 presets as a table."""
    from segtool.export.presets import PRESETS

    rows = [
        (
            f"`{item.name}`",
            "int8" if item.signed_activations else "uint8",
            "7 bits" if item.largest_weight == 64 else "8 bits",
        )
        for item in PRESETS.values()
    ]
    return _table(("preset", "activations", "weights (always int8)"), rows)


def gates() -> str:
    """Return what each gate asks for, with its limits."""
    from segtool.export.gates import MAX_DIFFERENCE, MIN_AGREEMENT, MIN_TRAINED_AGREEMENT
    from segtool.export.options import ExportOptions

    rows = [
        ("parity", "the trained network with the exported graph, on real images, one at a time and as one batch",
         f"probabilities within {MAX_DIFFERENCE:g}, {MIN_AGREEMENT:.2%} of the labels equal"),
        ("trained", "INT8 with the network as `train --qat` trained it, on real images",
         f"{MIN_TRAINED_AGREEMENT:.1%} of the labels equal"),
        ("accuracy", "INT8 with FP32, on all validation images",
         f"at most {ExportOptions().max_drop:g} points of foreground mean IoU lost (`--max-drop`)"),
        ("speed", "INT8 with FP32, one image, interleaved, on this machine",
         "not slower with confidence, where this machine is of the preset's kind"),
    ]  # fmt: skip
    return _table(("gate", "compares", "asks for"), rows)


def recipes() -> str:
    """Return the recipes by name."""
    from segtool.train.recipes import RECIPES

    rows = [(f"`{name}`", item.epochs, item.batch_size, item.summary) for name, item in RECIPES.items()]
    return _table(("recipe", "epochs", "batch", "what it does"), rows)


def contract() -> str:
    """Return the fields of the contract: what each means, and what the shipped model says."""
    from segtool.contract import ModelContract
    from segtool.models.shipped import SHIPPED
    from segtool.runtime.model_file import check_model_file

    said = json.loads(check_model_file(SHIPPED).metadata["segtool"])
    meaning = _attributes(ModelContract)
    meaning["version"] = "Of the contract itself; a newer one than this segtool knows is refused."
    derived = "Derived from the fields above, for those who read the JSON without segtool."
    names = [item.name for item in fields(ModelContract)]
    rows = [(f"`{name}`", meaning[name], _short(said.get(name))) for name in names]
    rows += [(f"`{name}`", derived, _short(said[name])) for name in sorted(said.keys() - set(names))]
    return _table(("field", "meaning", "in the shipped model"), rows)


def layers() -> str:
    """Return the layers that import-linter checks, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    found = next(item["layers"] for item in settings["contracts"] if item["type"] == "layers")
    rows = [
        (number, ", ".join(f"`{name.strip()}`" for name in layer.split("|"))) for number, layer in enumerate(found, 1)
    ]
    return _table(("layer", "may import only what is below it"), rows)


def passes() -> str:
    """Return the rewrites in the order of their use: the first sentence of the file, its list, and what it gives."""
    tree = ast.parse((PASSES / "__init__.py").read_text(encoding="utf-8"))
    found = {name.name: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names}
    lists = {
        target.id: [item.id for item in node.value.elts if isinstance(item, ast.Name)]
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    order = (
        "SHARED_REWRITES",
        "UPSAMPLING_REWRITES",
        "FLOAT_REWRITES",
        "WINOGRAD_REWRITES",
        "PADDING_REWRITES",
        "INT8_REWRITES",
        "QUANTIZED_REWRITES",
        "CPU_REWRITES",
    )
    measured = read("rewrites")
    rows = [
        (
            _first_sentence(PASSES / f"{stem}.py"),
            f"`{stem}.py`",
            f"`{key}`",
            *(_gain(measured["rows"], stem, precision) for precision in ("float32", "int8")),
        )
        for key in order
        for stem in (str(found[name]).rpartition(".")[2] for name in lists[key])
    ]
    networks = list(dict.fromkeys(row["network"] for row in measured["rows"]))
    processors = list(dict.fromkeys(row["processor"] for row in measured["rows"]))
    note = (
        "FP32 and INT8: the time of the file with the rewrite over that of the file without it, on one thread, as "
        f"geometric mean over those of {len(networks)} networks that it changes, in brackets the least and the most. "
        "The networks were trained briefly; their labels matter to the time of labels_per_cell alone. A "
        f"rewrite counts with what it opens the way for. Networks: {', '.join(networks)}; {', '.join(processors)} "
        "(`rewrites.py`, `rewrites.json`; Winograd's form: `winograd.json`)."
    )
    return f"{_table(('rewrite', 'file', 'list', 'FP32', 'INT8'), rows)}\n\n{note}"


def _gain(rows: Sequence[Mapping[str, Any]], name: str, precision: str) -> str:
    """Return the times with a rewrite over those without it, and of how many networks."""
    found = [row["time"]["median"] for row in rows if (row["rewrite"], row["precision"]) == (name, precision)]
    if not found:
        return ""
    several = f" ({min(found):.2f} to {max(found):.2f} of {len(found)})" if len(found) > 1 else ""
    return f"{statistics.geometric_mean(found):.2f}{several}"


def graph_helpers() -> str:
    """Return the public functions of the rewrites' `graph.py`, each with the first sentence of its docstring."""
    tree = ast.parse((PASSES / "graph.py").read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    return _table(
        ("function", "what it does"), [(f"`{node.name}`", _sentence(ast.get_docstring(node))) for node in found]
    )


def _first_sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring, without importing it."""
    return _sentence(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))))


def _sentence(docstring: str | None) -> str:
    """Return the first sentence of a docstring, on one line and without its full stop."""
    text = docstring or ""
    return re.split(r"\.\s", " ".join(text.split("\n\n", maxsplit=1)[0].split()) + " ")[0]


def _attributes(owner: type) -> dict[str, str]:
    """Return the text of each attribute in a class's NumPy-style docstring, by name."""
    section = inspect.cleandoc(owner.__doc__ or "").split("Attributes\n----------\n")[1]
    found: dict[str, str] = {}
    for item in re.finditer(r"^(\S.*)\n((?:    .*\n?)+)", section, re.MULTILINE):
        text = " ".join(item[2].split())
        found.update(dict.fromkeys(item[1].split(", "), text.replace("``", "`")))
    return found


def _short(value: Any) -> str:
    """Return a value as JSON that fits into a cell; of an object its keys."""
    if isinstance(value, dict):
        return ", ".join(f"`{key}`" for key in value) or "empty"
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text if len(text) <= 40 else text[:37] + '...'}`"


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    columns = [str(item) for item in head]
    lines = [columns, ["---"] * len(columns), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
