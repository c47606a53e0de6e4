"""What each exact rewrite gives: results/rewrites.json, and the table of docs/add-a-pass.md.

    python benchmarks/rewrites.py NAME MODEL SPEC [NAME MODEL SPEC ...] [--rounds 30] [--prepare-only]

MODEL is what `segtool export` takes: a run, .keras or .onnx, or one of torch_networks.py with its facts.
SPEC has the images that INT8 is calibrated on and that labels are compared on, IMAGES of each. Each network is
converted once. Its FP32 and INT8 graphs are then made with all rewrites, and, for each rewrite that changes something,
with all but this one. The two files are timed interleaved, one image, one thread: a time below 1 is what the rewrite
gives, with what later rewrites can do because of it. Winograd's form has its own script. `--prepare-only` makes the
files in --work; the same command without it times them, which needs a quiet machine. Results of other networks and
other processors are kept.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from commands import RESULTS, in_threes, write_result
from engines.foreign_network import Network
from plots.results import processor

from segtool.benchmark.latency import compare_interleaved
from segtool.errors import ExportError
from segtool.export import passes
from segtool.export.heads import with_head
from segtool.export.job import Job
from segtool.export.options import ExportOptions
from segtool.export.pipeline import _open
from segtool.export.quantize import calibrate_for, quantize
from segtool.export.running import label_agreement, onnx_runner, save
from segtool.export.stages import silent
from segtool.machine.machine import machine_info

IMAGES, PRECISIONS, CHANGES = 8, ("float32", "int8"), "changes.json"
REWRITES = {
    name.lower(): item
    for name, item in vars(passes).items()
    if isinstance(item, passes.Rewrite) and item not in passes.WINOGRAD_REWRITES
}


def main() -> None:
    """Make the files of each network, time them, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", metavar="NAME MODEL SPEC")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--work", type=Path, default=Path("rewrites_work"))
    parser.add_argument("--prepare-only", action="store_true")
    asked = parser.parse_args()
    named = in_threes(parser, asked.networks, "NAME MODEL SPEC")
    for name, model, spec in named:
        prepare(model, spec, asked.work.resolve() / name)
    if not asked.prepare_only:
        rows = [row for name, _, _ in named for row in measured(asked.work.resolve() / name, asked.rounds)]
        write_result("rewrites", {"rounds": asked.rounds, "threads": 1, "rows": with_earlier(rows)})


def prepare(model: str, spec: str, folder: Path) -> None:
    """Make the files of a network, with all rewrites and without each one that changes something, if not done yet."""
    if (folder / CHANGES).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    options = ExportOptions(quantize=True, data=spec, input_scale=scale_of(Path(model)), out=folder / "unused.onnx")
    job = _open(model, options, folder, silent)
    np.save(folder / "images.npy", job.data.real_images(IMAGES, job.contract))
    found: dict[str, dict[str, Any]] = {}
    for precision in PRECISIONS:
        with watched() as changes:
            make(job, precision, folder / f"{precision}.onnx")
        found[precision] = {}
        for name, count in changes.items():
            try:
                with watched(left_out=name):
                    make(job, precision, folder / f"{precision}.{name}.onnx")
            except ExportError as error:  # a map without channels has no range, and so no INT8
                print(folder.name, precision, name, f"cannot be left out: {error}", flush=True)
                continue
            found[precision][name] = count
            print(folder.name, precision, name, count, flush=True)
    (folder / CHANGES).write_text(json.dumps(found, indent=1), encoding="utf-8")


def scale_of(model: Path) -> str | None:
    """Return the scaling that the script which made a network wrote beside it; None where there is none."""
    facts = model.with_suffix(".json")
    return Network(model, json.loads(facts.read_bytes()), model).input_scale if facts.is_file() else None


@contextmanager
def watched(left_out: str = "") -> Iterator[Counter[str]]:
    """Give the number of changes of each rewrite in the block, where one of them changes nothing."""
    changes: Counter[str] = Counter()

    def counting(name: str, apply: Callable[[ir.Node], str | None], node: ir.Node) -> str | None:
        found = None if name == left_out else apply(node)
        changes[name] += found is not None
        return found

    before = {name: item.apply for name, item in REWRITES.items()}
    for name, item in REWRITES.items():
        object.__setattr__(item, "apply", partial(counting, name, item.apply))
    try:
        yield changes
    finally:
        for name, item in REWRITES.items():
            object.__setattr__(item, "apply", before[name])
        for name in [name for name, count in changes.items() if not count]:
            del changes[name]


def make(job: Job, precision: str, path: Path) -> None:
    """Write the FP32 or INT8 file of a network, as `segtool export` makes it, without gates and contract."""
    shared = (passes.SHARED_REWRITES, passes.UPSAMPLING_REWRITES)
    graph = with_head(job.network.graph, "labels")
    for rewrites in shared if precision == "int8" else (*shared, (*passes.FLOAT_REWRITES, *passes.CPU_REWRITES)):
        graph, _ = passes.rewrite(graph, rewrites)
    if precision == "int8":
        batches = partial(job.data.calibration, IMAGES, job.contract)
        graph = quantize(calibrate_for(job.preset, graph, batches, calibration="min-max", strengths=(0.0,))).model
    save(graph, path)


def measured(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each rewrite that changed something in a file of a network."""
    changes, images = json.loads((folder / CHANGES).read_bytes()), np.load(folder / "images.npy")
    here, rows = processor(machine_info()), []
    for precision, found in changes.items():
        with_all, _ = onnx_runner(folder / f"{precision}.onnx", threads=1)
        labels = [with_all(images[index : index + 1]) for index in range(len(images))]
        for name, places in found.items():
            without, _ = onnx_runner(folder / f"{precision}.{name}.onnx", threads=1)
            same = label_agreement(labels, [without(images[index : index + 1]) for index in range(len(images))])
            ratio = compare_interleaved(partial(with_all, images[:1]), partial(without, images[:1]), rounds=rounds)
            time = {"median": ratio.median, "low": ratio.low, "high": ratio.high}
            row = {"rewrite": name, "network": folder.name, "precision": precision, "places": places}
            rows.append({**row, "size": list(images.shape[1:]), "time": time, "same_labels": same, "processor": here})
            print(f"{folder.name} {precision} {name}: {ratio.median:.3f}, labels {same:.4%}", flush=True)
    return rows


def with_earlier(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return these rows behind those of other networks and processors in the results."""
    path = RESULTS / "rewrites.json"
    earlier = json.loads(path.read_bytes())["rows"] if path.is_file() else []
    new = {(row["network"], row["processor"]) for row in rows}
    return [row for row in earlier if (row["network"], row["processor"]) not in new] + rows


if __name__ == "__main__":
    main()
