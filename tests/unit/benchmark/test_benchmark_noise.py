"""What is claimed of times: percentiles, intervals, noise, ranks, and "slower than before"."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from segtool.benchmark.case import BenchmarkCase
from segtool.benchmark.latency import NOISE_LIMIT, noise_of
from segtool.benchmark.regression import (
    LEAST_BAND,
    SCHEMA_VERSION,
    compare,
    judge,
    read_benchmark,
    require_comparable,
)
from segtool.benchmark.statistics import Ratio, median_interval, percentiles, rank, ratio_of_turns
from segtool.cli import common
from segtool.errors import DataError

RNG = np.random.default_rng(0)


def turns(median: float, *, rounds: int = 60, spread: float = 0.02) -> list[np.ndarray]:
    return [median * (1 + spread * RNG.standard_normal(5)) for _ in range(rounds)]


class TestStatistics:
    def test_percentiles_of_all_values(self) -> None:
        values = np.arange(1, 2002, dtype=float)
        found = percentiles(values)
        assert [found[key] for key in ("p50", "p90", "p99", "min", "max")] == [1001, 1801, 1981, 1, 2001]
        assert found["p999"] == pytest.approx(1999)

    def test_too_few_for_the_last_percentile(self) -> None:
        assert percentiles(np.ones(999))["p999"] is None
        assert percentiles(np.ones(1000))["p999"] == 1

    def test_neighbours_that_resemble_each_other_widen_the_interval(self) -> None:
        """Values that come in steps of 100 are 10 independent ones, not 1,000."""
        steps = np.repeat(RNG.standard_normal(10), 100)
        low, high = median_interval(steps)
        alone_low, alone_high = median_interval(RNG.permutation(steps))
        assert high - low > 3 * (alone_high - alone_low)

    def test_ratio_of_turns(self) -> None:
        ratio = ratio_of_turns(turns(2.0), turns(1.0))
        assert 1.97 < ratio.low <= ratio.median <= ratio.high < 2.03

    def test_what_slows_all_alike_changes_no_ratio(self) -> None:
        drift = np.linspace(1, 3, 60)
        pair = [[turn * slow for turn, slow in zip(turns(each), drift, strict=True)] for each in (1.5, 1.0)]
        ratio = ratio_of_turns(*pair)
        assert 1.47 < ratio.low <= ratio.high < 1.53


class TestNoise:
    @pytest.mark.parametrize(("high", "quiet"), [(1 + NOISE_LIMIT / 2, True), (1 + 2 * NOISE_LIMIT, False)])
    def test_how_far_a_model_is_from_itself(self, high: float, quiet: bool) -> None:
        controls = [(BenchmarkCase(Path("a.onnx")), Ratio(1.0, 0.99, bound)) for bound in (1.01, high)]
        found = noise_of(controls)
        assert found["quiet"] is quiet
        assert found["band"] == pytest.approx(high - 1)

    def test_ranks_by_batch_with_ties(self) -> None:
        rows = [{"batch": 1, "latency_ms": {"p50": value}} for value in (2.0, 1.0, 1.02)]
        rows.append({"batch": 8, "latency_ms": {"p50": 9.0}})
        times = [turns(row["latency_ms"]["p50"]) for row in rows]
        ranking = rank(rows, times, band=0.03)
        assert [(entry["model"], entry["batch"], entry["rank"]) for entry in ranking] == [
            (1, 1, 1),
            (2, 1, 1),
            (0, 1, 3),
            (3, 8, 1),
        ]
        assert ranking[2]["over_fastest"]["median"] == pytest.approx(2, rel=0.02)


def benchmark_of(p50: float, *, band: float = 0.01, name: str = "a/model.onnx", **machine: object) -> dict:
    row = {
        "path": name,
        "provider": "CPUExecutionProvider",
        "threads": 1,
        "batch": 1,
        "latency_ms": {"p50": p50, "p50_low": 0.99 * p50, "p50_high": 1.01 * p50},
    }
    facts = {"cpu": "A", "available_cpus": 2, **machine}
    return {
        "schema_version": SCHEMA_VERSION,
        "command": "benchmark",
        "models": [row],
        "noise": {"band": band},
        "machine": facts,
    }


class TestRegression:
    @pytest.mark.parametrize(
        ("now", "band", "verdict"),
        [
            (1.0, 0.01, "same"),
            (1.05, 0.01, "same"),  # within what processes differ by
            (1.2, 0.01, "slower"),
            (0.8, 0.01, "faster"),
            (1.2, 0.3, "undecided"),
            (2.0, 0.3, "slower"),
        ],
    )
    def test_verdicts(self, now: float, band: float, verdict: str) -> None:
        (row,) = compare(benchmark_of(now, band=band, name="b/model.onnx"), benchmark_of(1.0))["rows"]
        assert row["verdict"] == verdict
        assert row["ratio"] == pytest.approx(now)
        assert row["band"] == max(band, LEAST_BAND)

    def test_the_band_of_either_measurement_counts(self) -> None:
        (row,) = compare(benchmark_of(1.2), benchmark_of(1.0, band=0.3))["rows"]
        assert row["verdict"] == "undecided"

    def test_the_edges_of_the_band(self) -> None:
        assert judge(1.0501, 2, 0.05) == "slower"
        assert judge(1.05, 2, 0.05) == "same"
        assert judge(0.5, 0.95, 0.05) == "faster"
        assert judge(0.5, 0.97, 0.05) == "same"

    def test_throughput_is_compared_as_time(self) -> None:
        old, new = benchmark_of(1.0), benchmark_of(1.0)
        for each, rate in ((old, 100.0), (new, 50.0)):
            each["models"][0]["throughput"] = {
                "images_per_second": {"median": rate, "low": rate, "high": rate},
                "band": 0.0,
            }
        latency, throughput = compare(new, old)["rows"]
        assert (latency["verdict"], throughput["verdict"], throughput["ratio"]) == ("same", "slower", 2.0)

    def test_cases_of_one_alone_are_named(self) -> None:
        old, new = benchmark_of(1.0), benchmark_of(1.0)
        old["models"].append(old["models"][0] | {"threads": 2})
        new["models"].append(new["models"][0] | {"batch": 8})
        found = compare(new, old)
        assert len(found["rows"]) == 1
        assert found["only_new"] == ["model.onnx (CPU, threads 1, batch 8)"]
        assert found["only_old"] == ["model.onnx (CPU, threads 2, batch 1)"]

    def test_nothing_in_common(self) -> None:
        old = benchmark_of(1.0)
        rows = old["models"]
        require_comparable(old, old["machine"], benchmark_of(2.0, name="b/model.onnx")["models"])
        for row in (benchmark_of(1.0, name="other.onnx")["models"][0], rows[0] | {"batch": 8}):
            with pytest.raises(DataError, match="none of these cases"):
                require_comparable(old, old["machine"], [row])
        with pytest.raises(DataError, match="none of these cases"):
            require_comparable(old, old["machine"], rows, quantities=["throughput"])

    def test_another_machine(self) -> None:
        old, new = benchmark_of(1.0), benchmark_of(1.0, cpu="B")
        with pytest.raises(DataError, match=r"another machine .cpu: A then, B now"):
            require_comparable(old, new["machine"], new["models"])

    def test_another_provider(self) -> None:
        old, new = benchmark_of(1.0), benchmark_of(1.0)
        require_comparable(old, old["machine"], new["models"])
        new["models"][0]["provider"] = "CUDAExecutionProvider"
        with pytest.raises(DataError, match=r"this one has model.onnx .CUDA, "):
            require_comparable(old, old["machine"], new["models"])

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "{}", "\0", '{"command": "benchmark", "schema_version": 1, "models": [], "machine": {}}'],
    )
    def test_no_benchmark(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "old.json"
        path.write_text(text)
        with pytest.raises(DataError, match="expected a file of `segtool benchmark --out`"):
            read_benchmark(path)

    @pytest.mark.parametrize(
        "latency",
        [None, {}, {"p50": None}, {"p50": 0}, {"p50": "fast"}, {"p50": math.inf}, {"p50": 1, "p50_low": -1}, [1.0]],
    )
    def test_without_times_it_is_none(self, tmp_path: Path, latency: object) -> None:
        value = benchmark_of(1.0)
        value["models"][0]["latency_ms"] = latency
        (path := tmp_path / "old.json").write_text(json.dumps(value))
        with pytest.raises(DataError, match=r"old\.json .*`.*--out`"):
            read_benchmark(path)

    @pytest.mark.parametrize("noise", ["missing", {"band": "wide"}, 3])
    def test_without_a_noise_that_can_be_read_it_is_none(self, tmp_path: Path, noise: object) -> None:
        value = benchmark_of(1.0) | {"noise": noise}
        if noise == "missing":
            del value["noise"]
        (path := tmp_path / "old.json").write_text(json.dumps(value))
        with pytest.raises(DataError, match=r"old\.json .*`.*--out`"):
            read_benchmark(path)

    def test_a_file_of_another_version_is_refused(self, tmp_path: Path) -> None:
        assert SCHEMA_VERSION == common.SCHEMA_VERSION
        for version in (99, None, 0):
            (path := tmp_path / "old.json").write_text(json.dumps(benchmark_of(1.0) | {"schema_version": version}))
            with pytest.raises(DataError, match=rf"version {version}, .* reads 1; measure again"):
                read_benchmark(path)

    def test_a_case_without_the_times_that_the_other_has_is_not_compared(self) -> None:
        old, new = benchmark_of(1.0), benchmark_of(1.0)
        old["models"].append(old["models"][0] | {"threads": 2, "latency_ms": {}})
        new["models"].append(new["models"][0] | {"threads": 2})
        found = compare(new, old)
        assert [row["threads"] for row in found["rows"]] == [1]
        assert found["only_new"] == found["only_old"] == ["model.onnx (CPU, threads 2, batch 1)"]
        with pytest.raises(DataError, match="none of these cases"):
            require_comparable(old, old["machine"], [new["models"][1]])

    def test_one_that_is(self, tmp_path: Path) -> None:
        path = tmp_path / "old.json"
        path.write_text(json.dumps(benchmark_of(1.0)))
        assert read_benchmark(path) == benchmark_of(1.0)
