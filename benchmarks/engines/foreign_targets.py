"""From the figures of foreign networks to the targets: which engine is the best of each, and the geometric means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from engines import summary
from engines.summary import Turns
from segtool.text import counted

OURS = {"float32": "ours-fp32", "int8": "ours-int8"}
MAX_DROP_POINTS = 0.5
"""Mean IoU that a file may lose to be a file that others would deploy."""

_VNNI = {"avx_vnni", "avx512_vnni"}
_COMPARED = {
    "float32_over_best": "segtool FP32 / best true-FP32 engine",
    "recommended_over_best": f"segtool's recommended file / best file of another engine that loses at most "
    f"{MAX_DROP_POINTS} point of mean IoU",
    "recommended_over_other": "segtool's recommended file / its other file",
}


def compared(turns: Mapping[str, Turns], rows: Sequence[Mapping[str, Any]], recommended: str) -> dict[str, Any]:
    """Return segtool against the best other engine in FP32 and in any precision, for one number of threads.

    Parameters
    ----------
    turns
        By engine.
    rows
        The engines' `engine`, `precision` and `mean_iou_drop_points`; a row without the last one failed.
    recommended
        Key of segtool's recommended file.
    """
    others = [row for row in rows if row["engine"] in turns and row["engine"] not in OURS.values()]
    float32 = [row["engine"] for row in others if row["precision"] == "float32"]
    accurate = [row["engine"] for row in others if row["mean_iou_drop_points"] <= MAX_DROP_POINTS]
    own = [key for key in OURS.values() if key != recommended]
    pairs = {
        "float32_over_best": (OURS["float32"], float32),
        "recommended_over_best": (recommended, accurate),
        "recommended_over_other": (recommended, own),
    }
    return {
        name: _against_best(turns, ours, [key for key in keys if key in turns])
        for name, (ours, keys) in pairs.items()
        if ours in turns and any(key in turns for key in keys)
    }


def _against_best(turns: Mapping[str, Turns], ours: str, others: Sequence[str]) -> dict[str, Any]:
    ratios = {key: summary.ratio(turns[ours], turns[key]) for key in others}
    best = max(ratios, key=lambda key: ratios[key]["median"])
    return {"ours": ours, "best": best, **ratios[best]}


def geometric_means(networks: Sequence[Mapping[str, Any]], sets: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each comparison and number of threads the geometric mean over the networks, and its target.

    Parameters
    ----------
    networks
        Rows of the result; those without times are left out.
    sets
        Instruction sets of the processor: the limit of INT8 depends on VNNI.
    """
    vnni = bool(_VNNI & set(sets))
    limits = {
        "float32_over_best": (1.00, 1.05),
        "recommended_over_best": (0.90 if vnni else 1.00, None),
        "recommended_over_other": (None, 1.00),
    }
    found = []
    for threads in sorted({count for row in networks for count in row.get("time", {})}):
        for name, (limit, each) in limits.items():
            of = {row["name"]: row["time"][threads].get(name) for row in networks if threads in row.get("time", {})}
            ratios = {key: value["median"] for key, value in of.items() if value}
            if not ratios:
                continue
            mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
            worst = max(ratios, key=lambda key: ratios[key])
            found.append(
                {
                    "comparison": name,
                    "title": _COMPARED[name],
                    "threads": int(threads),
                    "networks": len(ratios),
                    "geometric_mean": mean,
                    "limit": limit,
                    "worst": {"network": worst, "ratio": ratios[worst]},
                    "limit_of_each": each,
                    "met": (limit is None or mean <= limit) and (each is None or ratios[worst] <= each),
                }
            )
    return found


def markdown(networks: Sequence[Mapping[str, Any]], means: Sequence[Mapping[str, Any]]) -> str:
    """Return the result as tables in Markdown."""
    parts = [_table(_MEAN, [_mean(item) for item in means])] if means else []
    for row in networks:
        size = "x".join(map(str, row["image"]))
        parts.append(f"### {row['name']}\n\n{row['source']}; {size}; recommended: {row['segtool']['recommended']}")
        counts = sorted(row.get("time", {}))
        head = ["engine", *(f"{counted(int(count), 'thread')}: p50, p90 ms" for count in counts), "/ recommended"]
        head += ["labels %", "mean IoU %", "loss", "MB"]
        parts.append(_table(head, [_engine(engine, row, counts) for engine in row["engines"]]))
    return "\n\n".join(parts) + "\n"


_MEAN = ("comparison", "threads", "networks", "geometric mean", "limit", "worst", "limit", "met")


def _mean(item: Mapping[str, Any]) -> list[str]:
    limits = ["" if item[key] is None else f"{item[key]:.2f}" for key in ("limit", "limit_of_each")]
    worst = f"{item['worst']['ratio']:.3f} ({item['worst']['network']})"
    counts = [str(item[key]) for key in ("threads", "networks")]
    mean = f"{item['geometric_mean']:.3f}"
    return [item["title"], *counts, mean, limits[0], worst, limits[1], "yes" if item["met"] else "no"]


def _engine(engine: Mapping[str, Any], row: Mapping[str, Any], counts: Sequence[str]) -> list[str]:
    if "failed" in engine:
        return [engine["title"], *[""] * (len(counts) + 4), f"failed: {engine['failed']}"]
    times = [row["time"][count]["engines"].get(engine["engine"], {}) for count in counts]
    over = [found["median"] for item in times if item and (found := item["time_over_ours"].get("recommended"))]
    return [
        engine["title"],
        *("{p50:.2f}, {p90:.2f}".format(**item["latency_ms"]) if item else "" for item in times),
        ", ".join(f"{value:.2f}" for value in over),
        f"{100 * engine['label_agreement']:.2f}",
        f"{100 * engine['mean_iou']:.2f}",
        f"{engine['mean_iou_drop_points']:.2f}",
        f"{engine['size_bytes'] / 1e6:.2f}",
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)
