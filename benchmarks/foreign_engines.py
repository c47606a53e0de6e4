"""Networks of other tools on every engine: results/foreign_engines.json and results/foreign_engines.md.

    python benchmarks/foreign_engines.py FOLDER [--keras FILE --keras-data DATA] [--only NAME ...] [--rounds N]

FOLDER is what `torch_networks.py` and `keras_tutorial_network.py` wrote at 256x256; `--keras` adds a network of yours.
One raw uint8 image (H, W, C) goes in, and a uint8 label map of its size comes out. `--prepare-only` converts and
measures accuracy; `--time-only` measures the time of what was prepared. With --only, other networks keep their rows.

Every engine has its own process, pinned to as many processors as it has threads. The measurement is interleaved, and
all other processes are stopped. Each turn begins with runs that are not timed, because the previous engine has emptied
the caches. No outlier is removed. Calibration images are the same for all engines.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from commands import RESULTS, numbers, segtool_json, write_result
from engines import foreign_targets, summary
from engines.conversion import PACKAGES
from engines.foreign import Files, files_of, labels_of
from engines.foreign_network import Network
from engines.latency import LatencySubject
from engines.worker import take_turns, workers

import segtool
from segtool.machine.machine import instruction_sets, package_versions
from segtool.machine.processors import available_cpus

NAME = "foreign_engines"
WORK = Path(__file__).resolve().parents[1] / "build" / NAME
WARMUP_ROUNDS, WARM_RUNS, TIMED_RUNS = 2, 3, 5
NOT_MEASURED = {
    "LiteRT on networks of PyTorch": "not measured: LiteRT's own converter of PyTorch networks needs torch in the same "
    "environment, and TensorFlow's converter reads Keras networks alone"
}


def main() -> None:
    """Prepare and time each network, and write both results after each."""
    arguments = _arguments()
    earlier = RESULTS / f"{arguments.name}.json"
    rows = {row["name"]: row for row in json.loads(earlier.read_text())["networks"]} if earlier.is_file() else {}
    chosen = _networks(arguments)
    if not arguments.only and not arguments.time_only:
        rows = {name: row for name, row in rows.items() if name in {network.name for network in chosen}}
    for network in chosen:
        files = files_of(network, arguments.work)
        if arguments.export_again:
            shutil.rmtree(files.own, ignore_errors=True)
        if not arguments.time_only:
            rows[network.name] = _prepared(files)
        elif not files.is_complete or rows.get(network.name, {}).get("files") != _identity(files):
            sys.exit(f"{network.name} is not prepared with these files and versions; run with --prepare-only first.")
        if not arguments.prepare_only:
            rows[network.name]["time"] = _timed(files, rows[network.name], arguments)
        _write([rows[name] for name in sorted(rows)], arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keras", type=Path, help="another network, a .keras file")
    parser.add_argument("--keras-data", type=Path, help="its data")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--rounds", type=int, default=30, help="rounds in which every engine has a turn")
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="numbers of threads, with commas between")
    parser.add_argument("--prepare-only", action="store_true", help="convert and measure accuracy, no time")
    parser.add_argument("--time-only", action="store_true", help="measure the time of what was prepared")
    parser.add_argument("--export-again", action="store_true", help="repeat segtool's export, and so its speed gate")
    parser.add_argument("--work", type=Path, default=WORK, help="folder that keeps the converted models")
    parser.add_argument("--name", default=NAME, help="name of the JSON in results/")
    arguments = parser.parse_args()
    if arguments.prepare_only and arguments.time_only:
        parser.error("--prepare-only and --time-only exclude each other")
    if (arguments.keras is None) != (arguments.keras_data is None):
        parser.error("--keras and --keras-data belong together")
    if arguments.time_only and arguments.export_again:
        parser.error("--export-again changes files; it goes with --prepare-only")
    if max(arguments.threads) > available_cpus():
        parser.error(f"this process may use {available_cpus()} processors")
    return arguments


def _networks(arguments: argparse.Namespace) -> list[Network]:
    """Return the networks to measure."""
    found = []
    for path in sorted(arguments.folder.glob("*.json")):
        models = [model for suffix in (".onnx", ".keras") if (model := path.with_suffix(suffix)).is_file()]
        found += [Network(model, json.loads(path.read_text()), arguments.folder / "data") for model in models]
    if arguments.keras is not None:
        facts = {"name": arguments.keras.stem, "source": "given by --keras"}
        found.append(Network(arguments.keras.resolve(), facts, arguments.keras_data))
    names = {network.name for network in found}
    if unknown := set(arguments.only or ()) - names:
        sys.exit(f"There is no network {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}.")
    return [network for network in found if not arguments.only or network.name in arguments.only]


def _identity(files: Files) -> str:
    return f"{files.folder.name}/{files.own.name}"


def _prepared(files: Files) -> dict[str, Any]:
    """Convert one network, and return its row with the accuracy of every engine."""
    files.make()
    facts, failures, reference = files.facts(), files.failures(), files.reference()
    truth = files.sources.array("truth")
    expected = labels_of(reference, files, available_cpus())
    scored = _scores(expected, expected, truth, facts)
    engines = []
    for engine in files.engines():
        row: dict[str, Any] = {"engine": engine.key, "title": engine.title, "precision": engine.precision}
        reason = failures.get("ours" if engine.key.startswith("ours") else engine.path.parent.name)
        if not engine.path.is_file():
            engines.append({**row, "failed": reason or "no file was written"})
            continue
        print("scoring", files.network.name, engine.title, flush=True)
        found = _scores(labels_of(engine, files, available_cpus()), expected, truth, facts)
        drop = 100 * (scored["mean_iou"] - found["mean_iou"])
        engines.append(
            {**row, "how": engine.how, "size_bytes": engine.size_bytes(), **found, "mean_iou_drop_points": drop}
        )
    known = ("name", "source", "parameters", "exporter", "opset_asked")
    return {
        **{key: files.network.facts[key] for key in known if key in files.network.facts},
        **{key: facts[key] for key in ("image", "classes", "calibration_images", "validation_images")},
        "files": _identity(files),
        "reference": {"title": reference.title, "mean_iou": scored["mean_iou"]},
        "segtool": _advice(files),
        "engines": engines,
    }


def _scores(labels: Any, expected: Any, truth: Any, facts: dict[str, Any]) -> dict[str, float]:
    found = summary.accuracy(labels, truth=truth, keras=expected, facts=facts)
    return {key: found[key] for key in ("label_agreement", "mean_iou")}


def _advice(files: Files) -> dict[str, Any]:
    """Return what segtool says of its own files: which one to use, and why."""
    facts: dict[str, Any] = {"export": json.loads((files.own / "export.json").read_text())}
    int8 = files.own / "model.int8.onnx"
    if not int8.is_file():
        return {**facts, "recommended": "float32"}
    contract = segtool_json("info", str(int8), cwd=files.own)
    speed = contract["gates"]["speed"]
    return {
        **facts,
        "recommended": speed["recommendation"] or "float32",
        "speed": {key: speed[key] for key in ("verdict", "sentence") if key in speed},
        "accuracy": {key: contract["gates"]["accuracy"].get(key) for key in ("drop_points", "label_agreement")},
        "float_layers": len(contract["quantization"]["float_layers"]),
    }


def _timed(files: Files, row: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all engines of one network at all numbers of threads, in one interleaved run."""
    ready = {item["engine"] for item in row["engines"] if "failed" not in item}
    engines = [engine for engine in files.engines() if engine.key in ready]
    cases = {f"{engine.key}, {count} threads": (engine, count) for count in arguments.threads for engine in engines}
    subject = partial(LatencySubject, warm=WARM_RUNS, timed=TIMED_RUNS)
    makers = {name: partial(subject, *case, files.sources.images_file) for name, case in cases.items()}
    counts = {name: count for name, (_, count) in cases.items()}
    with workers(threads=counts, makers=makers) as team:
        times = take_turns(team, rounds=arguments.rounds, warmup=WARMUP_ROUNDS)
    row["segtool"]["int8_share_of_macs"] = _int8_share(files)
    own = foreign_targets.OURS
    ours = {**own, "recommended": own[row["segtool"]["recommended"]]}
    found: dict[str, Any] = {}
    for count in arguments.threads:
        turns = {engine.key: times[name] for name, (engine, number) in cases.items() if number == count}
        found[str(count)] = {
            "rounds": arguments.rounds,
            "engines": {
                key: {
                    "n": int(np.size(turn)),
                    "latency_ms": summary.latency_ms(turn),
                    "time_over_ours": {
                        name: summary.ratio(turn, turns[mine]) for name, mine in ours.items() if mine in turns
                    },
                }
                for key, turn in turns.items()
            },
            **foreign_targets.compared(turns, row["engines"], ours["recommended"]),
        }
    return found


def _int8_share(files: Files) -> float | None:
    """Return the share of the multiply-accumulates, 0..1, of segtool's INT8 file that are of integers."""
    int8 = files.own / "model.int8.onnx"
    if not int8.is_file():
        return None
    layers = segtool_json("info", str(int8), "--layers", cwd=files.own)["layers"]["layers"]
    macs = {True: 0, False: 0}
    for layer in layers:
        macs[layer["kernel"] != "float"] += layer["macs"] or 0
    return macs[True] / sum(macs.values())


def _write(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    means = foreign_targets.geometric_means(rows, instruction_sets())
    text = foreign_targets.markdown(rows, means)
    write_result(
        arguments.name,
        {
            "versions": {"segtool": segtool.__version__, **package_versions(PACKAGES)},
            "method": {
                "description": " ".join((__doc__ or "").split("\n\n")[3].split()),
                "runs_of_a_turn": {"not_timed": WARM_RUNS, "timed": TIMED_RUNS},
                "warmup_rounds": WARMUP_ROUNDS,
                "ratios": "median over the rounds of the ratio of the medians of two turns, with a bootstrap 95 % "
                "interval; time_over_ours is the engine's time over that of segtool's file",
                "accuracy": "mean IoU over all classes, and labels equal to the reference, on the validation images",
                "not_measured": NOT_MEASURED,
            },
            "geometric_means": means,
            "networks": rows,
        },
    )
    (RESULTS / f"{arguments.name}.md").write_text(text, encoding="utf-8")
    print(text, flush=True)


if __name__ == "__main__":
    main()
