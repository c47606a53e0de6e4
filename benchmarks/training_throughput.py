"""The same network, data and batches trained by segtool and in PyTorch: results/training_throughput.json.

Every subject has its own process, pinned to as many processors as it has threads. The measurement is interleaved, and
all other processes are stopped. Each turn begins with steps that are not timed. segtool's steps are those of `segtool
train`: `keras.Model.fit` with its batches, augmentation, loss, accuracy and optimizer. PyTorch uses the same weights
and batches (from a thread that is two batches ahead), channels_last, autocast for bfloat16, and the same optimizer. It
computes no accuracy. No outlier is removed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from commands import write_result
from engines import summary
from engines.worker import in_fresh_process, take_turns, workers
from training.subjects import TIMED_STEPS, WARM_STEPS, OursSubject, TorchSubject, Work, write_network

import segtool
from segtool.machine.machine import package_versions
from segtool.machine.processors import available_cpus

OURS, READY = "segtool", "segtool, batches made beforehand"
TARGETS = {"fcn8": 1.0, "fcn8-edge": 1.2}
WARMUP_ROUNDS = 1


def main() -> None:
    """Let the subjects of each network take turns, and write what came out."""
    arguments = _arguments()
    networks = []
    for arch in arguments.arch:
        with tempfile.TemporaryDirectory() as folder:
            work = Work(
                arch, str(arguments.data.resolve()), arguments.batch, arguments.precision, Path(folder, "network.npz")
            )
            networks.append(_measured(work, arguments))
    result = {
        "versions": {"segtool": segtool.__version__, **package_versions(("tensorflow", "keras", "torch", "numpy"))},
        "method": {
            "description": " ".join((__doc__ or "").split("\n\n")[1].split()),
            "threads": arguments.threads,
            "precision": arguments.precision,
            "batch_size": arguments.batch,
            "rounds": arguments.rounds,
            "warmup_rounds": WARMUP_ROUNDS,
            "steps_of_a_turn": {"not_timed": WARM_STEPS, "timed": TIMED_STEPS},
            "ratios": "median over the rounds of the ratio of the medians of two turns, with a bootstrap 95 % interval",
        },
        "networks": networks,
    }
    write_result(arguments.name, result)
    for network in networks:
        print(network["arch"], *network["subjects"], *network["targets"], sep="\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="what to train on, as for `segtool train`")
    parser.add_argument("--arch", nargs="+", default=list(TARGETS), help="the networks")
    parser.add_argument("--precision", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--batch", type=int, default=32, help="images a step")
    parser.add_argument("--rounds", type=int, default=8, help="rounds in which every subject has a turn")
    parser.add_argument("--threads", type=int, default=min(2, available_cpus()))
    parser.add_argument("--compiled", action="store_true", help="torch.compile too: its compiling takes a minute")
    parser.add_argument("--name", default="training_throughput", help="name of the JSON in results/")
    return parser.parse_args()


def _measured(work: Work, arguments: argparse.Namespace) -> dict[str, Any]:
    in_fresh_process(write_network, work)
    makers: dict[str, Callable[[], Any]] = {
        OURS: partial(OursSubject, work),
        READY: partial(OursSubject, work, ready=True),
        "PyTorch": partial(TorchSubject, work),
        "PyTorch, fused Adam": partial(TorchSubject, work, fused=True),
    }
    if arguments.compiled:
        makers["PyTorch, fused Adam, torch.compile"] = partial(TorchSubject, work, fused=True, compiled=True)
    with workers(threads=dict.fromkeys(makers, arguments.threads), makers=makers) as team:
        turns = take_turns(team, rounds=arguments.rounds, warmup=WARMUP_ROUNDS)
    ratios = {name: summary.ratio(turns[name], turns[OURS]) for name in makers}
    found = ratios["PyTorch"]
    return {
        "arch": work.arch,
        "subjects": [
            {
                "subject": name,
                "n": sum(map(len, turns[name])),
                "step_ms": (times := summary.latency_ms(turns[name])),
                "steps_per_second": 1e3 / times["p50"],
                "time_over_segtool": ratios[name],
            }
            for name in makers
        ],
        "targets": [
            {
                "target": f"segtool at least {limit:.1f} times PyTorch's throughput",
                "ratio": found,
                "met": found["median"] >= limit,
            }
            for limit in [TARGETS.get(work.arch, 1.0)]
        ],
    }


if __name__ == "__main__":
    main()
