"""The benchmark's bookkeeping; no test asserts how long anything takes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_contract, write_model

from segtool.errors import DataError, ModelFileError
from segtool.runtime.fresh_process import measure_cold_start
from segtool.runtime.latency import STAGES, BenchmarkCase, Ratio, benchmark, compare_interleaved, machine_info
from segtool.runtime.processors import available_cpus

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 84, 1), dtype=np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx")


class TestBenchmark:
    def test_what_it_returns(self, model: Path, tmp_path: Path) -> None:
        other = write_model(tmp_path / "other.onnx", tiny_contract(head="probabilities"))
        cases = [BenchmarkCase(model, threads=1), BenchmarkCase(other, provider="cpu", threads=2, batch=4)]
        first, second = benchmark(cases, images=IMAGES, runs=7, warmup=2)
        assert set(first) == {
            *("path", "provider", "threads", "batch", "precision", "head", "n", "latency_ms", "stages_ms"),
            *("throughput_ips", "cold_start_ms", "peak_rss_mb", "size_bytes"),
            *("provider_reason", "provider_options", "provider_nodes", "refused_providers"),
        }
        assert (first["n"], first["batch"], first["threads"], first["head"]) == (7, 1, 1, "labels")
        assert (second["batch"], second["threads"], second["head"]) == (4, 2, "probabilities")
        assert second["size_bytes"] == other.stat().st_size
        for entry in (first, second):
            latency = entry["latency_ms"]
            assert 0 < latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"]
            assert list(entry["stages_ms"]) == list(STAGES)
            assert entry["throughput_ips"] == pytest.approx(entry["batch"] * 1000 / latency["mean"])
            assert entry["cold_start_ms"] > latency["min"]
            assert 10 < entry["peak_rss_mb"] < 1000
        json.dumps([first, second], allow_nan=False)

    def test_images_of_another_size_and_kind(self, model: Path) -> None:
        calls: list[tuple[int, int]] = []
        images = np.zeros((1, 100, 90, 3), np.uint8)
        options = {"runs": 2, "warmup": 1, "progress": lambda *call: calls.append(call)}
        (entry,) = benchmark([BenchmarkCase(model)], images=images, **options)
        assert entry["n"] == 2
        assert calls == [(1, 3), (2, 3), (3, 3)]

    @pytest.mark.parametrize("options", [{"runs": 0}, {"warmup": -1}, {"images": IMAGES[:0]}])
    def test_nothing_to_measure(self, model: Path, options: dict[str, object]) -> None:
        with pytest.raises(DataError, match="needs at least one"):
            benchmark([BenchmarkCase(model)], **{"images": IMAGES, **options})


class TestColdStart:
    def test_the_parents_memory_is_not_counted(self, model: Path) -> None:
        ballast = np.ones(400_000_000, np.uint8)
        _, peak = measure_cold_start(model, provider="cpu", threads=1, batch=1)
        assert peak < ballast.nbytes / 1e6

    def test_a_process_that_fails(self, tmp_path: Path) -> None:
        with pytest.raises(ModelFileError, match="does not exist"):
            measure_cold_start(tmp_path / "none.onnx", provider="cpu", threads=1, batch=1)


class TestCompareInterleaved:
    def test_it_sees_which_is_slower(self) -> None:
        ratio = compare_interleaved(lambda: time.sleep(0.004), lambda: time.sleep(0.001), rounds=15)
        assert 1 < ratio.low <= ratio.median <= ratio.high

    def test_calls_alternate_and_so_does_who_begins(self) -> None:
        calls: list[str] = []
        compare_interleaved(lambda: calls.append("a"), lambda: calls.append("b"), rounds=4, warmup=0)
        assert "".join(calls) == "abbaabba"

    def test_one_round_has_no_spread(self) -> None:
        ratio = compare_interleaved(lambda: None, lambda: None, rounds=1)
        assert isinstance(ratio, Ratio)
        assert ratio.low == ratio.median == ratio.high

    def test_no_rounds(self) -> None:
        with pytest.raises(DataError, match="at least one round"):
            compare_interleaved(lambda: None, lambda: None, rounds=0)


class TestMachineInfo:
    def test_this_machine(self) -> None:
        info = machine_info()
        assert info["available_cpus"] == available_cpus()
        assert info["packages"]["numpy"] == np.__version__
        json.dumps(info, allow_nan=False)

    def test_instruction_sets_of_x86_and_arm(self, tmp_path: Path) -> None:
        cpuinfo = tmp_path / "cpuinfo"
        cpuinfo.write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 avx512_vnni\n\nmodel name\t: Other\n")
        info = machine_info(proc=tmp_path)
        assert (info["cpu"], info["instruction_sets"]) == ("Some CPU", ["avx2", "avx512_vnni"])
        cpuinfo.write_text("BogoMIPS\t: 50\nFeatures\t: fp asimd asimddp i8mm\n")
        assert machine_info(proc=tmp_path)["instruction_sets"] == ["asimd", "asimddp", "i8mm"]
