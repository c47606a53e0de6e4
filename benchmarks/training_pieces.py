"""The time that each piece of `segtool.train.faster`, and oneDNN, save of a training step: training_pieces.json.

The script measures training steps of `segtool train` with all pieces, and without each of them. Each subject has its
own process, pinned to as many processors as it has threads; one of fcn8-lite takes 3 GB. They run interleaved, in
another order each round, and the others are stopped. Ratios are computed per round, for wall time and for processor
time of the full process, which other load disturbs less. A piece that saves less than a tenth of the step is not kept.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from commands import write_result
from engines.worker import workers
from training.subjects import ONEDNN, PIECES, TIMED_STEPS, WARM_STEPS, OursSubject, Work

from segtool.machine.machine import package_versions
from segtool.machine.processors import available_cpus

ALL = "all pieces"
REMOVABLE = (*PIECES, ONEDNN)


class PieceSubject(OursSubject):
    """A training without one of the pieces."""

    def turn_seconds(self, number: int) -> tuple[float, float]:
        """Return wall and processor seconds of a step: the median of the timed ones, and the mean of all."""
        before = _processor_seconds()
        wall = statistics.median(self.turn(number))
        return wall, (_processor_seconds() - before) / (WARM_STEPS + TIMED_STEPS)


def main() -> None:
    """Measure each network, and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", help="what to train on, as for `segtool train`")
    parser.add_argument("--networks", nargs="+", default=["fcn8-edge:16", "fcn8:32"], help="ARCH:IMAGES A STEP")
    parser.add_argument("--precision", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=min(2, available_cpus()))
    parser.add_argument("--only", action="append", choices=REMOVABLE, help="a piece; may be repeated")
    parser.add_argument("--name", default="training_pieces", help="name of the JSON in results/")
    arguments = parser.parse_args()
    networks = [_measured(network, arguments) for network in arguments.networks]
    write_result(
        arguments.name,
        {
            "versions": package_versions(("tensorflow", "keras", "numpy")),
            "method": {
                "description": (__doc__ or "").split("\n\n")[1],
                **vars(arguments),
                "data": Path(arguments.data).name,
            },
            "networks": networks,
        },
    )


def _measured(network: str, arguments: argparse.Namespace) -> dict[str, Any]:
    arch, batch = network.split(":")
    work = Work(arch, arguments.data, int(batch), arguments.precision, Path(tempfile.gettempdir(), "unused"))
    pieces = arguments.only or REMOVABLE
    makers = {name: partial(PieceSubject, work, without=name if name in pieces else "") for name in (ALL, *pieces)}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in makers}
    with workers(threads=dict.fromkeys(makers, arguments.threads), makers=makers) as team:
        for number in range(arguments.rounds + 1):
            for name in random.Random(number).sample(list(team), len(team)):  # noqa: S311
                found = team[name].ask("turn_seconds", number)
                times[name] += [found] if number else []  # the first round warms up
    return {
        "arch": arch,
        "batch_size": int(batch),
        "step_ms": {kind: 1e3 * _quartiles([one[k] for one in times[ALL]])[1] for k, kind in enumerate(_KINDS)},
        "time_without_over_time_with": {
            name: {
                kind: _quartiles([one[k] / all_[k] for one, all_ in zip(times[name], times[ALL], strict=True)])
                for k, kind in enumerate(_KINDS)
            }
            for name in pieces
        },
    }


_KINDS = ("wall", "processor")


def _quartiles(values: list[float]) -> list[float]:
    return [round(value, 4) for value in statistics.quantiles(values, n=4)]


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
