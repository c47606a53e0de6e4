"""The same trained network on every engine, raw uint8 pixels in and uint8 class ids out: results/export_engines.json.

Every engine has its own process, pinned to as many processors as it has threads. The measurement is interleaved, and
all other processes are stopped. Each turn begins with runs that are not timed, because the previous engine has emptied
the caches. No outlier is removed.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from commands import numbers, write_result
from engines import summary, throughput
from engines.conversion import PACKAGES, Comparison, prepare
from engines.latency import TIMED_RUNS, WARM_RUNS, LatencySubject
from engines.macs import multiply_accumulates
from engines.matrix_products import PeakSubject
from engines.table import text
from engines.worker import take_turns, workers

import segtool
from segtool.machine.machine import package_versions
from segtool.machine.processors import available_cpus

WARMUP_ROUNDS = 3
PEAK = "matrix products"
OURS = {"float32": "ours-fp32", "int8": "ours-int8"}
WORK = Path(__file__).resolve().parents[1] / "build" / "export_engines"


def main() -> None:
    """Convert, let the engines take turns, and write what came out."""
    arguments = _arguments()
    comparison = prepare(arguments.run, arguments.data, arguments.work, ours=_own(arguments))
    result = {
        **_method(arguments),
        **comparison.facts,
        **_latency(comparison, arguments.threads, arguments.rounds),
        "throughput": _throughput(comparison, max(arguments.rounds // 4, 5)),
    }
    write_result(arguments.name, result)
    print(text(result))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path, help="the folder that `segtool train` wrote")
    parser.add_argument("--data", required=True, help="its data")
    parser.add_argument("--rounds", type=int, default=60, help="rounds in which every engine has a turn")
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="numbers of threads, with commas between")
    parser.add_argument("--ours-fp32", type=Path, help="a file to take in place of a fresh export")
    parser.add_argument("--ours-int8", type=Path, help="the same, INT8")
    parser.add_argument("--ours-pruned", type=Path, help="the same, INT8 exported with --prune")
    parser.add_argument("--work", type=Path, default=WORK, help="folder that keeps the converted models")
    parser.add_argument("--name", default="export_engines", help="name of the JSON in results/")
    arguments = parser.parse_args()
    if len({path is None for path in _own(arguments)}) > 1:
        parser.error("give all of --ours-fp32, --ours-int8 and --ours-pruned, or none")
    if max(arguments.threads) > available_cpus():
        parser.error(f"this process may use {available_cpus()} processors")
    return arguments


def _own(arguments: argparse.Namespace) -> tuple[Path | None, Path | None, Path | None]:
    return arguments.ours_fp32, arguments.ours_int8, arguments.ours_pruned


def _method(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "versions": {"segtool": segtool.__version__, **package_versions(PACKAGES)},
        "method": {
            "description": " ".join((__doc__ or "").split("\n\n")[1].split()),
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "warmup_rounds": WARMUP_ROUNDS,
            "runs_of_a_turn": {"not_timed": WARM_RUNS, "timed": TIMED_RUNS},
            "ratios": "median over the rounds of the ratio of the medians of two turns, with a bootstrap 95 % interval",
            "accuracy": "of the very calls that are timed, on every validation image",
        },
    }


def _latency(comparison: Comparison, threads: list[int], rounds: int) -> dict[str, Any]:
    """Measure all engines at all numbers of threads, and the matrix products, in one interleaved run."""
    file = comparison.sources.images_file
    cases = {f"{engine.key}, {count} threads": (engine, count) for count in threads for engine in comparison.engines}
    makers = {name: partial(LatencySubject, *case, file) for name, case in cases.items()}
    counts = {name: count for name, (_, count) in cases.items()}
    with workers(threads={**counts, PEAK: 1}, makers={**makers, PEAK: PeakSubject}) as team:
        products = team[PEAK].ask("names")
        labels = {name: team[name].ask("labels") for name in cases}
        times = take_turns(team, rounds=rounds, warmup=WARMUP_ROUNDS)
    turns = {(engine.key, count): times[name] for name, (engine, count) in cases.items()}
    truth, keras = comparison.sources.array("truth"), labels[f"keras, {threads[0]} threads"]
    rows = [
        {
            "engine": engine.key,
            "title": engine.title,
            "precision": engine.precision,
            "threads": count,
            "how": engine.how,
            "size_bytes": engine.size_bytes(),
            "n": sum(map(len, times[name])),
            "latency_ms": summary.latency_ms(times[name]),
            "time_over_ours": {key: summary.ratio(times[name], turns[ours, count]) for key, ours in OURS.items()},
            **summary.accuracy(labels[name], truth=truth, keras=keras, facts=comparison.facts),
        }
        for name, (engine, count) in cases.items()
    ]
    return {
        "engines": rows,
        **_peak(comparison, rows, summary.best_products(products, times[PEAK])),
        "targets": [*summary.speed_targets(turns), *summary.other_targets(rows)],
    }


def _peak(comparison: Comparison, rows: list[dict[str, Any]], best: dict[str, Any]) -> dict[str, Any]:
    """Return the multiply-accumulates and what share of the best matrix product ours reaches, on one thread."""
    p50 = {
        key: row["latency_ms"]["p50"]
        for key, ours in OURS.items()
        for row in rows
        if row["engine"] == ours and row["threads"] == 1
    }
    macs = {name: multiply_accumulates(path) for name, path in _graphs(comparison).items()}
    ours = summary.share_of_peak(macs, p50, {key: best[key] for key in p50})
    return {
        "multiply_accumulates": macs,
        "peak": {key: {"best": best[key], "ours": ours[key]} for key in ours},
    }


def _graphs(comparison: Comparison) -> dict[str, Path]:
    """Return the float graphs whose multiply-accumulates count: the network's own, and what ours makes of it."""
    paths = {engine.key: engine.path for engine in comparison.engines}
    return {"network": paths["stock-fp32"], "ours": paths["ours-fp32"]}


def _throughput(comparison: Comparison, rounds: int) -> list[dict[str, Any]]:
    """Measure images per second on all processors, with the modes interleaved."""
    processors = available_cpus()
    modes = throughput.modes(comparison.engines)
    makers = {
        name: partial(throughput.ThroughputSubject, mode, processors, comparison.sources.images_file)
        for name, mode in modes.items()
    }
    with workers(threads=dict.fromkeys(modes, processors), makers=makers) as team:
        times = take_turns(team, rounds=rounds, warmup=1)
    return [
        {
            "mode": name,
            "title": modes[name].title,
            "processors": processors,
            "images": throughput.IMAGES_PER_TURN,
            "rounds": rounds,
            **summary.images_per_second(np.concatenate(times[name]), throughput.IMAGES_PER_TURN),
        }
        for name in modes
    ]


if __name__ == "__main__":
    main()
