"""The time of each step of a model, by onnxruntime's profiler.

A step is a node of the graph as onnxruntime runs it, after its own fusions. Its time is the shortest of several runs,
because other load on the machine only adds time. Several files run interleaved, so that a change of the clock affects
all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtool.array_types import UInt8Array
from segtool.errors import ModelFileError
from segtool.files import temporary_folder
from segtool.runtime.model_file import check_model_file
from segtool.runtime.session import cpu_session
from segtool.runtime.session_options import quieten, session_options_for

THREADS = 1
"""Threads of a run, so that the steps do not wait for each other."""

RUNS = 20
"""Timed runs of each file."""

_WARMUP = 3
_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class Tensor:
    """The type of a value, by onnxruntime's name, and its shape."""

    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes
    ----------
    name, operator
        Of the node, as onnxruntime runs it.
    microseconds
        The shortest of the runs.
    inputs, outputs
        Its values. Weights that onnxruntime rearranged when it opened the file are missing.
    """

    name: str
    operator: str
    microseconds: float
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def profile_files(paths: Sequence[Path], *, runs: int = RUNS) -> list[list[Step]]:
    """Run each file on one random image and return the steps of each, in the order of a run.

    Parameters
    ----------
    paths
        ONNX files with one uint8 input; the batch is 1.
    runs
        Timed runs of each file, after three that are not counted.

    Raises
    ------
    ModelFileError
        A file cannot be run, or its input is not uint8 of a fixed size.
    """
    quieten()
    with temporary_folder() as folder:
        sessions = [_session(path, folder / str(number)) for number, path in enumerate(paths)]
        feeds = [_feed(session, path) for session, path in zip(sessions, paths, strict=True)]
        for _ in range(_WARMUP + runs):
            for session, feed in zip(sessions, feeds, strict=True):
                session.run(None, feed)
        events = [json.loads(Path(session.end_profiling()).read_bytes()) for session in sessions]
    return [_steps(found) for found in events]


def _session(path: Path, prefix: Path) -> Any:
    options = session_options_for(THREADS)
    options.enable_profiling = True
    options.profile_file_prefix = str(prefix)
    return cpu_session(check_model_file(path).path, options)


def _feed(session: Any, path: Path) -> dict[str, UInt8Array]:
    first = session.get_inputs()[0]
    size = first.shape[1:]
    if len(session.get_inputs()) != 1 or first.type != "tensor(uint8)" or not all(isinstance(n, int) for n in size):
        raise ModelFileError(
            f"{path} has the input {first.name!r} of type {first.type} and shape {first.shape}, expected one uint8 "
            "input of a fixed size; export it with `segtool export`."
        )
    return {first.name: np.random.default_rng(0).integers(0, 256, (1, *size), np.uint8)}


def _steps(events: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Return the steps in the events of all runs, with their shortest times; the first runs do not count."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            # Nodes may share a name, or have none; their numbers differ.
            found.setdefault((event["name"], event["args"].get("node_index", "")), []).append(event)
    return [
        Step(
            name.removesuffix(_SUFFIX),
            runs[0]["args"]["op_name"],
            float(min(run["dur"] for run in runs[_WARMUP:])),
            _tensors(runs[0]["args"].get("input_type_shape", ())),
            _tensors(runs[0]["args"].get("output_type_shape", ())),
        )
        for (name, _), runs in found.items()
    ]


def _tensors(values: Sequence[Mapping[str, Sequence[int]]]) -> tuple[Tensor, ...]:
    return tuple(Tensor(kind, tuple(shape)) for value in values for kind, shape in value.items())
