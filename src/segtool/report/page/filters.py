"""Filters of the templates: they format figures of the report's JSON as rows and text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from segtool.files import nan_to_none
from segtool.report.confusion import cell_text, shares_of
from segtool.report.model_charts import SHAPES, interval_of
from segtool.report.page.scoring import largest_confusions
from segtool.report.style import SERIES
from segtool.text import NONE, figures, megabytes, percent, points, threads, whole

Facts = Mapping[str, Any]

_CLASS_COLUMNS = {"precision": "precision %", "recall": "recall %", "boundary_iou": "boundary IoU %"}
_PERCENTILES = ("min", "p50", "p90", "p99", "p999", "max", "mean")
_MAX_CLASSES = 40  # a larger matrix is unreadable on the page; the JSON has it
_STRONGEST = 0.5  # opacity limit of the heat colour, so that numbers on it stay readable


def _confusion(model: Facts) -> dict[str, Any]:
    """Return the largest entries of a model's matrix, the class names, and the rows as text (none for many classes)."""
    evaluation = model["evaluation"]
    names = [str(item["name"]) for item in evaluation["classes"]]
    matrix = np.asarray(evaluation["confusion_matrix"], np.int64)
    largest = [
        {**item, "share": item["pixels"] / int(matrix[item["from_id"]].sum())}
        for item in largest_confusions(matrix, names, most=6)
    ]
    shares = shares_of(matrix, len(names))
    rows = [
        (name, [_cell(count, share) for count, share in zip(*row, strict=True)])
        for name, *row in zip(names, matrix.tolist(), shares.tolist(), strict=True)
    ]
    return {"largest": largest, "names": names, "rows": rows if len(names) <= _MAX_CLASSES else []}


def _cell(count: int, share: float) -> dict[str, str]:
    # A confusion of one percent matters, but would be invisible on a linear scale.
    heat = "" if math.isnan(share) or not share else f"{_STRONGEST * math.sqrt(share):.3f}"
    return {"share": cell_text(share), "pixels": f"{count:,}" if count else "", "heat": heat}


def _class_columns(model: Facts) -> dict[str, str]:
    classes = model["evaluation"]["classes"]
    return {key: name for key, name in _CLASS_COLUMNS.items() if any(item.get(key) is not None for item in classes)}


def _weakest_iou(model: Facts) -> float | None:
    known = [item["iou"] for item in model["evaluation"]["classes"] if not math.isnan(item["iou"])]
    return min(known, default=None)


def _both_ious(models: tuple[Facts, Facts]) -> Iterator[tuple[Facts, Facts]]:
    """Yield the pairs of classes of two models that have an IoU in both."""
    for pair in zip(*(model["evaluation"]["classes"] for model in models), strict=True):
        if all(item["iou"] is not None and not math.isnan(item["iou"]) for item in pair):
            yield pair


def _latency_columns(models: Sequence[Facts]) -> dict[str, str]:
    rows = [model["benchmark"]["latency_ms"] for model in models]
    return {key: f"{key} ms" for key in _PERCENTILES if any(row.get(key) is not None for row in rows)}


def _cold_phases(cold: Facts) -> dict[str, str]:
    kept = [key for key in cold if key not in ("n", "min_ms", "max_ms")]
    return {key: f"{key.removesuffix('_ms').replace('_', ' ')} ms" for key in kept}


def _graph(graph: Facts) -> str | None:
    if not graph:
        return None
    share = f", {percent(graph['int8_share'], 1)} % of them in INT8" if graph.get("int8_share") else ""
    nodes, work = sum(graph["nodes"].values()), graph["macs"] / 1e6
    return f"{nodes} nodes, {graph['parameters']:,} parameters, {work:.1f} million multiply-adds per image{share}"


def _gates(gates: Facts) -> str:
    passed = [name for name, gate in gates.items() if not gate.get("waived")]
    waived = [name for name, gate in gates.items() if gate.get("waived")]
    words = [f"passed: {', '.join(passed)}" if passed else "", f"WAIVED: {', '.join(waived)}" if waived else ""]
    return "; ".join(word for word in words if word) or "none recorded"


def _joined(parts: Sequence[object]) -> str | None:
    return ", ".join(str(part) for part in parts if part not in (None, "")) or None


FILTERS = {
    "percent": lambda share, digits=2: percent(share, digits, none=NONE),
    "points": points,
    "figures": figures,
    "megabytes": megabytes,
    "whole": whole,
    "threads": threads,
    "fixed": lambda value, digits=2: f"{value:.{digits}f}",
    "list_of_fixed": lambda values: ", ".join(f"{value:.2f}" for value in values or ()),
    "joined": _joined,
    "versions": lambda found: _joined([f"{name} {version}" for name, version in found.items()]),
    "parts": lambda splits: _joined([f"{name} {count:,}" for name, count in (splits or {}).items()]),
    "as_json": lambda contract: json.dumps(nan_to_none(contract), indent=2, ensure_ascii=False),
    "apply": lambda value, macro: macro(value),
    "shape": lambda number: SHAPES[number % len(SHAPES)],
    "series": lambda number: SERIES[number % len(SERIES)],
    "interval_of": interval_of,
    "has_figure": lambda models, key: any(model["evaluation"].get(key) is not None for model in models),
    "confusion": _confusion,
    "class_columns": _class_columns,
    "weakest_iou": _weakest_iou,
    "both_ious": _both_ious,
    "latency_columns": _latency_columns,
    "cold_phases": _cold_phases,
    "graph": _graph,
    "gates": _gates,
}
