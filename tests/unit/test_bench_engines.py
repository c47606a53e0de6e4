"""The parts of benchmarks/export_engines.py that need none of the engines."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from engines import summary, table
from engines.engine import Engine
from engines.latency import TIMED_RUNS, LatencySubject
from engines.macs import multiply_accumulates
from engines.throughput import open_batched, open_sessions
from engines.worker import Worker, take_turns

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="stops processes, as Linux does")


class Counter:
    """A subject that a worker can hold."""

    def __init__(self, start: int) -> None:
        self.value = start

    def turn(self, number: int) -> list[float]:
        """Return the number of the turn, and how often it was this one's turn."""
        self.value += 1
        return [float(number), float(self.value)]

    def processors(self) -> tuple[int, str]:
        """Return what the process was started with."""
        return len(os.sched_getaffinity(0)), os.environ["OMP_NUM_THREADS"]

    def fail(self) -> None:
        """Fail."""
        raise ValueError("on purpose")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@linux
def test_a_worker_is_pinned_and_stopped_but_for_its_turn() -> None:
    affinity, variable = os.sched_getaffinity(0), os.environ.get("OMP_NUM_THREADS")
    worker = Worker("counter", partial(Counter, 5), threads=1)
    pid = worker._pid
    try:
        assert worker.ask("processors") == (1, "1")
        assert worker.ask("turn", 3) == [3.0, 6.0]
        assert _state(pid) == "T"
    finally:
        worker.close()
    assert not Path(f"/proc/{pid}").exists()
    assert (os.sched_getaffinity(0), os.environ.get("OMP_NUM_THREADS")) == (affinity, variable)


@linux
def test_a_worker_that_fails_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    worker = Worker("counter", partial(Counter, 0), threads=1)
    with pytest.raises(SystemExit, match="counter failed"):
        worker.ask("fail")
    worker.close()
    assert "on purpose" in capfd.readouterr().err


class Recorder:
    """A worker without a process."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def ask(self, method: str, number: int) -> list[float]:
        assert method == "turn"
        self.log.append(self.name)
        return [float(number)]


def test_turns_are_interleaved_and_the_warm_up_does_not_count() -> None:
    log: list[str] = []
    team: dict[str, Any] = {name: Recorder(name, log) for name in "abc"}
    times = take_turns(team, rounds=2, warmup=1)
    assert times == {name: [[1.0], [2.0]] for name in "abc"}
    assert "".join(log) == "cab" + "abc" + "bca"


def test_a_turn_times_some_runs_and_labels_are_those_of_the_timed_call(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 1), np.uint8)
    np.savez(tmp_path / "images.npz", validation=images)
    engine = Engine("one", "One", "float32", "", tmp_path, lambda _path, _threads: lambda batch: batch[..., 0] // 2)
    subject = LatencySubject(engine, 1, tmp_path / "images.npz")
    np.testing.assert_array_equal(subject.labels(), images[..., 0] // 2)
    assert len(subject.turn(0)) == TIMED_RUNS
    wide = Engine("one", "One", "float32", "", tmp_path, lambda _path, _threads: lambda batch: batch)
    with pytest.raises(ValueError, match="expected uint8"):
        LatencySubject(wide, 1, tmp_path / "images.npz").labels()


@pytest.mark.parametrize("opened", [partial(open_sessions), partial(open_batched, size=2)])
def test_throughput_modes_keep_the_order(opened: Any, tmp_path: Path) -> None:
    engine = Engine("one", "One", "int8", "", tmp_path, lambda _path, _threads: lambda batch: batch[..., 0])
    images = np.random.default_rng(1).integers(0, 256, (7, 2, 3, 1), np.uint8)
    np.testing.assert_array_equal(opened(tmp_path, 2, engine=engine)(images), images[..., 0])


def test_multiply_accumulates_of_every_layer(tmp_path: Path) -> None:
    weights = {"w": (8, 3, 3, 3), "t": (8, 2, 4, 4), "m": (5, 7)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["c", "t"], ["y"], strides=[4, 4]),
        helper.make_node("MatMul", ["y", "m"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 5])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()],
    )
    onnx.save(helper.make_model(graph), tmp_path / "wrong.onnx")
    with pytest.raises(Exception, match=r"(?i)shape|incompatible|MatMul"):  # 20 columns do not meet 5 rows
        multiply_accumulates(tmp_path / "wrong.onnx")
    graph.initializer[2].CopyFrom(numpy_helper.from_array(np.zeros((20, 7), np.float32), "m"))
    onnx.save(helper.make_model(graph), tmp_path / "layers.onnx")
    convolution = 8 * 6 * 5 * 3 * 9
    transposed = 8 * 6 * 5 * 2 * 16
    product = 2 * 24 * 20 * 7
    assert multiply_accumulates(tmp_path / "layers.onnx") == convolution + transposed + product


def test_percentiles_are_of_every_run_and_ratios_are_paired() -> None:
    slow, fast = [[2.0, 2.0, 90.0], [4.0, 4.0, 4.0]], [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    assert summary.latency_ms(slow)["p50"] == 4e3
    assert summary.latency_ms(slow)["min"] == 2e3
    assert summary.latency_ms(slow)["mean"] == pytest.approx(106e3 / 6)
    assert summary.ratio(slow, fast) == {"median": 2.0, "low": 2.0, "high": 2.0}
    with pytest.raises(ValueError, match="zip"):
        summary.ratio(slow, fast[:1])


def test_the_best_product_and_the_share_of_it() -> None:
    names = [("int8", "slow", (10, 10, 10)), ("int8", "fast", (100, 100, 100)), ("float32", "only", (10, 10, 10))]
    best = summary.best_products(names, [[1e-6, 5e-4, 1e-5], [1e-6, 5e-4, 1e-5], [1.0, 5e-4, 1e-5]])
    assert best["int8"] == {"gmacs_per_second": pytest.approx(2.0), "library": "fast", "m_k_n": [100, 100, 100]}
    assert best["float32"]["gmacs_per_second"] == pytest.approx(0.1)
    share = summary.share_of_peak({"network": 10**6, "ours": 5 * 10**5}, {"int8": 1.0}, {"int8": best["int8"]})
    assert share["int8"] == {"gmacs_per_second": 1.0, "share": pytest.approx(0.5), "share_done": pytest.approx(0.25)}


def test_accuracy_is_against_the_truth_and_agreement_against_keras() -> None:
    facts = {"classes": ["one", "background"], "background_id": 1, "ignore_id": None}
    truth = np.array([[[0, 0, 1, 1]]], np.uint8)
    found = summary.accuracy(np.array([[[0, 1, 1, 1]]], np.uint8), truth=truth, keras=truth, facts=facts)
    assert found == {
        "label_agreement": 0.75,
        "mean_iou": pytest.approx(7 / 12),
        "foreground_mean_iou": 0.5,
        "pixel_accuracy": 0.75,
    }


def test_targets_are_met_or_not() -> None:
    turns = {("ours-int8", 1): [[1.0]] * 3, ("stock-fp32", 1): [[4.0]] * 3, ("stock-int8", 1): [[1.5]] * 3}
    met = {item["target"]: item["met"] for item in summary.speed_targets(turns)}
    assert met == {
        "ours-int8 at most 0.25 of stock-fp32, 1 thread(s)": True,
        "ours-int8 at most 0.65 of stock-int8, 1 thread(s)": False,
    }
    rows = [
        {"engine": "ours-fp32", "size_bytes": 19_000_000, "foreground_mean_iou": 0.9, "label_agreement": 1.0},
        {"engine": "ours-int8", "size_bytes": 5_000_001, "foreground_mean_iou": 0.898, "label_agreement": 0.99},
    ]
    assert [item["met"] for item in summary.other_targets(rows)] == [True, False, True, False]
    rows.append({**rows[1], "engine": "ours-int8-pruned", "size_bytes": 10**6, "label_agreement": 0.9987})
    assert [item["met"] for item in summary.other_targets(rows)][4:] == [True, True, True]


def test_the_table_shows_every_part() -> None:
    ratio = {"median": 1.0, "low": 0.9, "high": 1.1}
    row = {
        "title": "Engine X",
        "threads": 1,
        "size_bytes": 5_000_000,
        "latency_ms": {"p50": 1.5, "p90": 2.0, "p99": 3.0},
        "time_over_ours": {"float32": ratio, "int8": ratio},
        "label_agreement": 0.999,
        "foreground_mean_iou": 0.8,
    }
    best = {"gmacs_per_second": 4.0, "library": "BLAS", "m_k_n": [1, 2, 3]}
    text = table.text(
        {
            "method": {"threads": [1]},
            "engines": [row],
            "throughput": [{"title": "Two sessions", "median": 854.2, "low": 850.0, "high": 860.0}],
            "peak": {"int8": {"best": best, "ours": {"gmacs_per_second": 2.0, "share": 0.5, "share_done": 0.4}}},
            "targets": [{"target": "T1", "ratio": ratio, "met": True}, {"target": "T2", "found": 3.0, "met": False}],
        }
    )
    for part in ("1 thread\n", "Engine X", "1.000 (0.900-1.100)", "5.00", "99.900", "80.00", "854", "BLAS, 1 x 2 x 3"):
        assert part in text
    assert text.splitlines()[-1].split() == ["T2", "3.000", "NO"]
