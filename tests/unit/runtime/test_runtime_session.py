"""Sessions: processors that may be used, providers that really start."""

from __future__ import annotations

import os
from pathlib import Path

import onnxruntime as ort
import pytest
from tiny_models import write_model

from segtool.errors import ModelFileError, ProviderError
from segtool.machine.processors import available_cpus, cgroup_quota
from segtool.runtime.assignment import refuse_fallback
from segtool.runtime.providers import DIRECTML, OPENVINO, QNN, XNNPACK, available_providers, provider_settings
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

    def test_version_1_mounted_under_the_short_name(self, roots: dict[str, Path]) -> None:
        write(roots["proc"] / "self/cgroup", "4:cpuacct,cpu:/job\n")
        write(roots["cgroups"] / "cpu/job/cpu.cfs_quota_us", "250000\n")
        write(roots["cgroups"] / "cpu/job/cpu.cfs_period_us", "100000\n")
        assert cgroup_quota(**roots) == 2.5

    def test_both_versions_mounted(self, roots: dict[str, Path]) -> None:
        write(roots["proc"] / "self/cgroup", "1:cpu:/\n0::/job\n")
        write(roots["cgroups"] / "unified/job/cpu.max", "50000 100000\n")
        assert cgroup_quota(**roots) == 0.5

    @pytest.mark.parametrize("period", ["", "0", "soon"])
    def test_a_period_that_makes_no_sense_is_no_limit(self, roots: dict[str, Path], period: str) -> None:
        write(roots["proc"] / "self/cgroup", "4:cpu:/\nnonsense\n")
        write(roots["cgroups"] / "cpu/cpu.cfs_quota_us", "50000\n")
        write(roots["cgroups"] / "cpu/cpu.cfs_period_us", period)
        assert cgroup_quota(**roots) is None

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

    @pytest.mark.parametrize(
        ("available", "words"),
        [
            (
                ["AzureExecutionProvider", CPU],
                "has cpu: use --provider cpu, or replace this onnxruntime by onnxruntime-gpu",
            ),
            ([OPENVINO, "AzureExecutionProvider", CPU], "it has openvino, cpu: choose one of them, or replace this"),
        ],
    )
    def test_only_providers_that_run_models_are_advised(self, available: list[str], words: str) -> None:
        with pytest.raises(ProviderError, match=words):
            provider_name("cuda", available)

    @pytest.mark.skipif("AzureExecutionProvider" not in ort.get_available_providers(), reason="needs Azure's provider")
    def test_a_provider_that_starts_but_leaves_everything_to_the_cpu(self, model: Path) -> None:
        # Azure's runs remote calls alone: a real provider that takes no node of this graph.
        with pytest.raises(ProviderError, match="leaves all nodes"):
            open_session(model, provider="azure")

    def test_a_session_made_without_the_provider_is_refused(self, model: Path) -> None:
        # Made by onnxruntime itself without CUDA, as where its libraries are missing (which test_gpu_package sees).
        with pytest.raises(ProviderError, match=r"fell back to CPUExecutionProvider \(no libcublas\)"):
            refuse_fallback(open_session(model, provider="cpu").session, "CUDAExecutionProvider", why="no libcublas")

    def test_the_cpu_takes_no_options(self, model: Path) -> None:
        # onnxruntime ignores whatever it is given for the CPU.
        with pytest.raises(ProviderError, match="silently ignore the option 'use_arena'"):
            open_session(model, provider="cpu", provider_options={"use_arena": 1})

    def test_options_without_a_provider(self, model: Path) -> None:
        with pytest.raises(ProviderError, match=r"options \(device_type\) .* name it"):
            open_session(model, provider_options={"device_type": "GPU"})

    def test_a_file_that_is_no_model_is_not_blamed_on_the_provider(self, tmp_path: Path) -> None:
        (path := tmp_path / "text.onnx").write_text("no model")
        for name in available_providers():
            with pytest.raises(ModelFileError, match="is not an ONNX file"):
                open_session(path, provider=name)

    def test_the_report(self, model: Path) -> None:
        report = open_session(model, provider="cpu", threads=1).report()
        assert report["provider"] == CPU
        assert (report["threads"], report["provider_options"], report["refused_providers"]) == (1, {}, [])


class TestProviderSettings:
    """The options and threads that a provider is started with; that they arrive is seen in test_provider_openvino."""

    @pytest.mark.parametrize(
        ("provider", "key"),
        [(XNNPACK, "intra_op_num_threads"), (OPENVINO, "num_of_threads")],
        ids=["xnnpack", "openvino"],
    )
    def test_a_provider_with_its_own_pool_is_told_the_threads(self, provider: str, key: str) -> None:
        assert provider_settings(provider, None, threads=3) == ({key: "3"}, 3)
        assert provider_settings(provider, {key: 2}, threads=None) == ({key: "2"}, 2)
        assert provider_settings(provider, {key: 2}, threads=2) == ({key: "2"}, 2)
        with pytest.raises(ProviderError, match=f"threads is 3, but the provider option {key} is 2"):
            provider_settings(provider, {key: 2}, threads=3)
        for bad in ("0", "-1", "two", ""):
            with pytest.raises(ProviderError, match="expected a positive integer"):
                provider_settings(provider, {key: bad}, threads=None)

    def test_openvino_on_a_gpu_has_no_threads(self) -> None:
        assert provider_settings(OPENVINO, {"device_type": "GPU"}, threads=3) == ({"device_type": "GPU"}, 3)
        assert provider_settings(OPENVINO, {"device_type": "AUTO:GPU,CPU"}, threads=3)[0]["num_of_threads"] == "3"

    @pytest.mark.parametrize("provider", [CPU, XNNPACK, DIRECTML, QNN])
    def test_an_option_that_a_provider_would_ignore(self, provider: str) -> None:
        with pytest.raises(ProviderError, match="silently ignore the option 'nonsense'"):
            provider_settings(provider, {"nonsense": 1}, threads=1)


class TestStderr:
    def test_it_stays_quiet(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        path = write_model(tmp_path / "model.onnx")
        open_session(path)
        assert capfd.readouterr().err == ""
