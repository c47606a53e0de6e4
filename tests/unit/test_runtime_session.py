"""Sessions: processors that may be used, providers that really start."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import onnxruntime as ort
import pytest
from tiny_models import write_model

from segtool.errors import ProviderError
from segtool.runtime import session as session_module
from segtool.runtime.processors import available_cpus, cgroup_quota
from segtool.runtime.session import CPU, open_session, provider_name


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class TestProcessors:
    """A proc and a cgroup tree of our own stand in for the system's."""

    @pytest.fixture
    def roots(self, tmp_path: Path) -> dict[str, Path]:
        return {"proc": tmp_path / "proc", "cgroups": tmp_path / "cgroup"}

    def test_without_cgroups_the_affinity_decides(self, roots: dict[str, Path]) -> None:
        assert cgroup_quota(**roots) is None
        assert available_cpus(**roots) == len(os.sched_getaffinity(0))

    def test_version_2(self, roots: dict[str, Path]) -> None:
        write(roots["proc"] / "self/cgroup", "0::/system/job\n")
        write(roots["cgroups"] / "system/job/cpu.max", "150000 100000\n")
        assert cgroup_quota(**roots) == 1.5
        assert available_cpus(**roots) == 1

    def test_version_2_the_least_of_all_levels_counts(self, roots: dict[str, Path]) -> None:
        write(roots["proc"] / "self/cgroup", "0::/system/job\n")
        write(roots["cgroups"] / "system/job/cpu.max", "max 100000\n")
        write(roots["cgroups"] / "system/cpu.max", "200000 100000\n")
        write(roots["cgroups"] / "cpu.max", "400000 100000\n")
        assert cgroup_quota(**roots) == 2

    def test_version_1(self, roots: dict[str, Path]) -> None:
        write(roots["proc"] / "self/cgroup", "5:memory:/job\n4:cpu,cpuacct:/job\n")
        write(roots["cgroups"] / "cpu,cpuacct/job/cpu.cfs_quota_us", "50000\n")
        write(roots["cgroups"] / "cpu,cpuacct/job/cpu.cfs_period_us", "100000\n")
        assert cgroup_quota(**roots) == 0.5
        assert available_cpus(**roots) == 1

    def test_version_1_without_a_limit(self, roots: dict[str, Path]) -> None:
        write(roots["proc"] / "self/cgroup", "4:cpu:/\n")
        write(roots["cgroups"] / "cpu/cpu.cfs_quota_us", "-1\n")
        write(roots["cgroups"] / "cpu/cpu.cfs_period_us", "100000\n")
        assert cgroup_quota(**roots) is None

    def test_a_container_whose_own_group_appears_as_the_root(self, roots: dict[str, Path]) -> None:
        write(roots["proc"] / "self/cgroup", "0::/docker/somewhere/outside\n")
        write(roots["cgroups"] / "cpu.max", "100000 100000\n")
        assert cgroup_quota(**roots) == 1

    def test_files_that_make_no_sense_are_no_limit(self, roots: dict[str, Path]) -> None:
        write(roots["proc"] / "self/cgroup", "0::/\n")
        write(roots["cgroups"] / "cpu.max", "\n")
        assert cgroup_quota(**roots) is None

    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
    def test_the_affinity_of_this_process(self, roots: dict[str, Path]) -> None:
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert available_cpus(**roots) == 1
        finally:
            os.sched_setaffinity(0, before)


class TestProviderName:
    AVAILABLE = ("CUDAExecutionProvider", "CPUExecutionProvider")

    @pytest.mark.parametrize("name", ["cuda", "CUDA", "CUDAExecutionProvider", "cudaexecutionprovider"])
    def test_short_and_long(self, name: str) -> None:
        assert provider_name(name, self.AVAILABLE) == "CUDAExecutionProvider"

    @pytest.mark.parametrize("name", ["", "gpu", "CUDAExecution"])
    def test_unknown(self, name: str) -> None:
        with pytest.raises(ProviderError, match="cuda, cpu"):
            provider_name(name, self.AVAILABLE)


class TestOpenSession:
    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        return write_model(tmp_path / "model.onnx")

    def test_auto_says_what_it_took_and_why(self, model: Path) -> None:
        opened = open_session(model)
        assert opened.provider == opened.session.get_providers()[0]
        assert opened.threads == available_cpus()
        assert opened.provider in opened.reason

    def test_by_name(self, model: Path) -> None:
        opened = open_session(model, provider="cpu", threads=1)
        assert (opened.provider, opened.threads) == (CPU, 1)
        assert opened.session.get_session_options().intra_op_num_threads == 1

    @pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="CUDA is in this onnxruntime")
    def test_a_provider_that_is_not_built_in(self, model: Path) -> None:
        with pytest.raises(ProviderError, match="onnxruntime-gpu"):
            open_session(model, provider="cuda")

    @pytest.mark.skipif("AzureExecutionProvider" not in ort.get_available_providers(), reason="needs Azure's provider")
    def test_a_provider_that_starts_but_leaves_everything_to_the_cpu(self, model: Path) -> None:
        # Azure's runs remote calls alone: a real provider that takes no node of this graph.
        with pytest.raises(ProviderError, match="leaves every node"):
            open_session(model, provider="azure")

    def test_a_session_made_without_the_provider_is_refused(self) -> None:
        # onnxruntime makes one, with a line in its log, where CUDA's libraries are missing: not to be had on demand.
        fallen_back = SimpleNamespace(get_providers=lambda: [CPU])
        with pytest.raises(ProviderError, match="fell back to CPU"):
            session_module._refuse_fallback(fallen_back, "CUDAExecutionProvider")

    def test_stderr_stays_quiet(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        path = write_model(tmp_path / "model.onnx")
        open_session(path)
        assert capfd.readouterr().err == ""
