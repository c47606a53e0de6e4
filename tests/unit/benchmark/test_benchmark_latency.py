"""The benchmark's bookkeeping; no test asserts how long anything takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_contract, write_model

from segtool.benchmark import case as benchmark_case
from segtool.benchmark import latency
from segtool.benchmark.case import RUNS_A_TURN, STAGES, BenchmarkCase
from segtool.benchmark.cold_start import PHASES, measure_cold_start
from segtool.benchmark.latency import Length, compare_interleaved, measure_latency
from segtool.benchmark.statistics import Ratio
from segtool.benchmark.throughput import measure_throughput
from segtool.errors import DataError, ModelFileError
from segtool.machine.processors import available_cpus

MOST_THREADS = available_cpus()  # one session alone
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 84, 1), dtype=np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx")


def measured(*cases: BenchmarkCase, images: np.ndarray = IMAGES, **options: object) -> dict:
    return measure_latency(cases, images=images, length=Length(**{"runs": 7, "warmup": 2, **options}))


class TestMeasureLatency:
    def test_what_it_returns(self, model: Path, tmp_path: Path) -> None:
        other = write_model(tmp_path / "other.onnx", tiny_contract(head="probabilities"))
        cases = [BenchmarkCase(model, threads=1), BenchmarkCase(other, provider="cpu", threads=2, batch=4)]
        result = measured(*cases)
        first, second = result["models"]
        assert set(first) == {
            *("path", "provider", "threads", "batch", "precision", "head", "n", "latency_ms", "stages_ms"),
            *("images_per_second", "size_bytes"),
            *("provider_reason", "provider_options", "provider_nodes", "refused_providers"),
        }
        assert (first["n"], first["batch"], first["threads"], first["head"]) == (10, 1, 1, "labels")
        assert (second["batch"], second["threads"], second["head"]) == (4, 2, "probabilities")
        assert second["size_bytes"] == other.stat().st_size
        for entry in (first, second):
            times = entry["latency_ms"]
            assert 0 < times["min"] <= times["p50"] <= times["p90"] <= times["p99"] <= times["max"]
            assert times["p50_low"] <= times["p50"] <= times["p50_high"]
            assert times["p999"] is None
            assert list(entry["stages_ms"]) == list(STAGES)
            assert entry["images_per_second"] == pytest.approx(entry["batch"] * 1000 / times["mean"])
        assert result["warmup"]["rounds"] == 2
        json.dumps(result, allow_nan=False)

    def test_each_case_of_the_first_model_has_a_control(self, model: Path, tmp_path: Path) -> None:
        other = write_model(tmp_path / "other.onnx")
        cases = [BenchmarkCase(path, threads=count) for path in (model, other) for count in (1, 2)]
        controls = measured(*cases)["noise"]["controls"]
        assert [(each["path"], each["threads"]) for each in controls] == [(str(model), 1), (str(model), 2)]

    def test_every_run_is_kept(self, model: Path) -> None:
        images = np.zeros((1, 100, 90, 3), np.uint8)
        calls: list[tuple[float, float]] = []
        result = measure_latency(
            [BenchmarkCase(model)],
            images=images,
            length=Length(runs=12, warmup=1),
            samples=True,
            progress=lambda *call: calls.append(call),
        )
        (entry,) = result["models"]
        assert len(entry["samples_ms"]) == entry["n"] == 15  # whole turns
        assert max(entry["samples_ms"]) == entry["latency_ms"]["max"]
        assert calls == [(0, 12), (5, 12), (10, 12), (12, 12)]

    def test_by_seconds(self, model: Path) -> None:
        (entry,) = measured(BenchmarkCase(model), runs=None, seconds=0.05)["models"]
        assert entry["n"] >= 10
        assert entry["n"] % RUNS_A_TURN == 0

    def test_without_a_number_of_rounds_the_warm_up_has_a_length(
        self, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(latency, "_WARMUP_SECONDS", 0.05)
        warmup = measured(BenchmarkCase(model), warmup=None)["warmup"]
        assert warmup["rounds"] >= 3
        assert warmup["seconds"] >= 0.05

    def test_an_empty_batch(self, model: Path) -> None:
        with pytest.raises(DataError, match="at least 1"):
            BenchmarkCase(model, batch=0)


class TestMemory:
    """An image of 64 x 84 grey pixels takes three bytes a pixel: decoded, in the batch, and its label."""

    IMAGE = 3 * 64 * 84

    @pytest.fixture
    def left(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
        return lambda memory: monkeypatch.setattr(benchmark_case, "available_memory", lambda: memory)

    @pytest.mark.parametrize("measure", [measure_latency, measure_throughput])
    def test_a_batch_larger_than_the_memory_is_refused_before_anything_is_measured(
        self, model: Path, left: Callable[[int | None], None], measure: Callable[..., object]
    ) -> None:
        left(1000 * self.IMAGE - 1)
        cases = [BenchmarkCase(model, threads=MOST_THREADS, batch=batch) for batch in (1, 1000)]
        with pytest.raises(DataError, match=r"batch of 1000 needs 16 MB for its images and outputs alone.*--batch"):
            measure(cases, images=IMAGES, length=Length(runs=10**9))

    def test_the_batches_of_sessions_side_by_side_add_up(self, model: Path, left: Callable[[int | None], None]) -> None:
        case = BenchmarkCase(model, threads=1, batch=4)
        left(8 * self.IMAGE)
        case.require_memory(sessions=2)
        with pytest.raises(DataError, match="in each of 3 parallel sessions"):
            case.require_memory(sessions=3)

    def test_an_unknown_memory_refuses_nothing(self, model: Path, left: Callable[[int | None], None]) -> None:
        left(None)
        BenchmarkCase(model, threads=1, batch=10**9).require_memory()


class TestThroughput:
    def test_what_it_returns(self, model: Path) -> None:
        cases = [BenchmarkCase(model, threads=1, batch=2), BenchmarkCase(model, threads=available_cpus())]
        found = measure_throughput(cases, images=IMAGES, length=Length(runs=10))
        assert [entry["sessions"] for entry in found] == [available_cpus(), 1]
        for entry in found:
            rate = entry["images_per_second"]
            assert 0 < rate["low"] <= rate["median"] <= rate["high"]
            assert entry["n"] >= 10
            assert entry["turns"] >= 6
        json.dumps(found, allow_nan=False)


class TestColdStart:
    def test_its_phases_and_its_memory(self, model: Path) -> None:
        ballast = np.ones(400_000_000, np.uint8)
        found = measure_cold_start(BenchmarkCase(model, provider="cpu"), threads=1, repeats=2)
        assert 10 < found["peak_rss_mb"] < ballast.nbytes / 1e6  # the parent's memory is not counted
        cold = found["cold_start"]
        assert cold["n"] == 2
        assert 0 < cold["min_ms"] <= found["cold_start_ms"] <= cold["max_ms"]
        assert all(cold[f"{phase}_ms"] > 0 for phase in PHASES)
        json.dumps(found, allow_nan=False)

    def test_a_process_that_fails(self, tmp_path: Path) -> None:
        with pytest.raises(ModelFileError, match="does not exist"):
            measure_cold_start(BenchmarkCase(tmp_path / "none.onnx", provider="cpu"), threads=1)


class TestCompareInterleaved:
    def test_it_sees_which_is_slower(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0]  # a clock that the calls alone move: how busy this machine is does not count

        def takes(units: int) -> Callable[[], None]:
            return lambda: now.__setitem__(0, now[0] + units)

        monkeypatch.setattr(time, "perf_counter", lambda: now[0])
        ratio = compare_interleaved(takes(4), takes(1), rounds=15)
        assert ratio.low == ratio.median == ratio.high == 4

    def test_calls_alternate_and_so_does_who_begins(self) -> None:
        calls: list[str] = []
        compare_interleaved(lambda: calls.append("a"), lambda: calls.append("b"), rounds=4, warmup=0)
        assert "".join(calls) == "abbaabba"

    def test_one_round_has_no_spread(self) -> None:
        ratio = compare_interleaved(lambda: None, lambda: None, rounds=1)
        assert isinstance(ratio, Ratio)
        assert ratio.low == ratio.median == ratio.high

    def test_no_rounds(self) -> None:
        with pytest.raises(DataError, match="number of rounds is 0"):
            compare_interleaved(lambda: None, lambda: None, rounds=0)
