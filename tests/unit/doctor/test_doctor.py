"""What doctor finds, on this machine and on others that it is told of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from segtool.doctor import packages
from segtool.doctor.environment import examine
from segtool.doctor.findings import (
    Finding,
    processor_findings,
    provider_findings,
    thread_findings,
)
from segtool.doctor.provider_probe import probe_providers
from segtool.machine.machine import machine_info

DOCTOR = [sys.executable, "-m", "segtool", "doctor"]


def run_doctor(*options: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DOCTOR, *options], capture_output=True, text=True, check=False, env={**os.environ, **changes}
    )


def install(folder: Path, name: str, *files: str) -> None:
    """Put a package's metadata and files into a folder as pip does."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("")


def machine(**changes: Any) -> dict[str, Any]:
    values = {
        "architecture": "x86_64",
        "instruction_sets": ["avx2", "avx512_vnni"],
        "cgroup_quota": None,
        "load_average": [0.0, 0.0, 0.0],
    }
    return {**values, **changes}


def test_this_machine() -> None:
    report = examine()
    assert report["providers"]["CPUExecutionProvider"] is None
    assert set(ort.get_available_providers()) - {"AzureExecutionProvider"} <= set(report["providers"])
    assert report["facts"]["numpy"] == np.__version__
    assert "CPUExecutionProvider" in report["facts"]["providers that start"]
    assert all(set(item) == {"severity", "finding", "remedy"} for item in report["findings"])
    assert report["status"] == "ok"
    json.dumps(report, allow_nan=False)


class TestCommand:
    def test_json(self) -> None:
        finished = run_doctor("--json")
        assert finished.returncode == 0, finished.stdout
        report = json.loads(finished.stdout)
        assert report["status"] == "ok"

    def test_no_process_is_started_but_nvidia_smi(self) -> None:
        code = (
            "import sys; starts = ('subprocess.Popen', 'os.fork', 'os.posix_spawn', 'os.exec', 'os.system')\n"
            "sys.addaudithook(lambda event, details: event in starts and sys.stderr.write(f'started {details}'))\n"
            "from segtool.doctor.environment import examine; examine()"
        )
        finished = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, "PATH": ""}
        )
        assert finished.returncode == 0, finished.stderr
        assert "started" not in finished.stderr

    def test_what_is_broken_is_exit_code_1(self) -> None:
        finished = run_doctor("--json", OMP_NUM_THREADS="many")
        assert finished.returncode == 1
        (finding,) = [item for item in json.loads(finished.stdout)["findings"] if item["severity"] == "broken"]
        assert "OMP_NUM_THREADS is 'many'" in finding["finding"]

    def test_a_temporary_folder_that_cannot_be_written(self) -> None:
        if not Path("/proc/self").is_dir():
            pytest.skip("there is no folder in which even root cannot write")
        code = (
            "import tempfile; tempfile.tempdir = '/proc/self'; from segtool.cli import main; main(['doctor', '--json'])"
        )
        finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert finished.returncode == 1, finished.stderr
        (finding,) = [item for item in json.loads(finished.stdout)["findings"] if item["severity"] == "broken"]
        assert "TMPDIR" in finding["remedy"]

    def test_an_onnxruntime_that_is_only_a_shell(self, tmp_path: Path) -> None:
        # What is left when one of two packages is uninstalled: a folder of the right name, ahead of any other here.
        install(tmp_path, "onnxruntime", "onnxruntime/__init__.py", "onnxruntime/capi/gone.py")
        (tmp_path / "onnxruntime/capi/gone.py").unlink()
        path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
        finished = run_doctor("--json", PYTHONPATH=path)
        assert finished.returncode == 1, finished.stderr
        text = finished.stdout
        assert "onnxruntime lacks 1 file," in text
        assert "onnxruntime cannot be used" in text
        assert "Traceback" not in finished.stderr


class TestPackages:
    def test_two_onnxruntimes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        install(tmp_path, "onnxruntime", "onnxruntime/__init__.py")
        install(tmp_path, "onnxruntime-openvino", "onnxruntime/__init__.py", "onnxruntime/capi/openvino.py")
        install(tmp_path, "onnxruntime-extensions", "onnxruntime_extensions/__init__.py")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        assert packages.onnxruntime_packages() == ["onnxruntime", "onnxruntime-openvino"]
        (finding,) = packages.onnxruntime_findings(packages.onnxruntime_packages())
        assert finding.severity == "broken"
        assert "onnxruntime and onnxruntime-openvino are installed together" in finding.finding
        assert "pip uninstall -y onnxruntime onnxruntime-openvino" in finding.remedy

    def test_one_onnxruntime_with_files_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        install(tmp_path, "onnxruntime", "onnxruntime/__init__.py", "onnxruntime/capi/a.py")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        assert packages.onnxruntime_findings(["onnxruntime"]) == []
        (tmp_path / "onnxruntime/capi/a.py").unlink()
        (finding,) = packages.onnxruntime_findings(["onnxruntime"])
        assert finding.severity == "broken"
        assert "onnxruntime lacks 1 file," in finding.finding

    def test_no_onnxruntime(self) -> None:
        assert packages.onnxruntime_findings([])[0].severity == "broken"

    def test_a_missing_extra_gives_the_pip_line(self) -> None:
        found = packages.package_findings({**dict.fromkeys(packages.installed_packages(), "1.0"), "tf2onnx": None})
        assert found == [
            Finding(
                "note",
                "the extra export is incomplete: tf2onnx not installed",
                'pip install "segtool[export]", if you need it',
            )
        ]


class TestProviders:
    def test_cuda_without_a_driver(self) -> None:
        (finding,) = provider_findings({"CUDAExecutionProvider": "no device", "CPUExecutionProvider": None}, [])
        assert finding.severity == "warning"
        assert "CUDAExecutionProvider is listed but does not start: no device" in finding.finding
        assert "no NVIDIA driver responds" in finding.remedy

    def test_cuda_that_does_not_start_although_there_is_a_gpu(self) -> None:
        (finding,) = provider_findings({"CUDAExecutionProvider": "no library"}, ["NVIDIA H200"])
        assert finding.severity == "broken"

    def test_a_gpu_that_onnxruntime_cannot_use(self) -> None:
        (finding,) = provider_findings({"CPUExecutionProvider": None}, ["NVIDIA H200"])
        assert "NVIDIA H200" in finding.finding

    @pytest.mark.skipif("AzureExecutionProvider" not in ort.get_available_providers(), reason="needs Azure's provider")
    def test_a_provider_of_remote_calls_is_not_tried(self) -> None:
        assert set(probe_providers()) == {*ort.get_available_providers()} - {"AzureExecutionProvider"}

    def test_severities(self) -> None:
        assert provider_findings({"TensorrtExecutionProvider": "no library"}, [])[0].severity == "note"
        assert provider_findings({"CPUExecutionProvider": "wrong values"}, [])[0].severity == "broken"


class TestProcessor:
    def test_findings(self) -> None:
        assert processor_findings(machine()) == []
        assert processor_findings(machine(architecture="aarch64", instruction_sets=["asimd", "asimddp"])) == []
        for changes, word in [
            ({"instruction_sets": ["avx2"]}, "INT8"),
            ({"architecture": "aarch64", "instruction_sets": ["asimd"]}, "INT8"),
            ({"cgroup_quota": 0.5}, "cgroup"),
            ({"load_average": [1000.0, 0.0, 0.0]}, "busy"),
        ]:
            (finding,) = processor_findings(machine(**changes))
            assert word in finding.finding
            assert finding.remedy

    def test_an_arm_processor(self, tmp_path: Path) -> None:
        # As a Raspberry Pi 5 writes it.
        features = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
        (tmp_path / "cpuinfo").write_text(
            f"processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: {features}\n\nprocessor\t: 1\n"
        )
        assert machine_info(proc=tmp_path)["instruction_sets"] == ["asimd", "asimdhp", "asimddp"]

    def test_threads(self) -> None:
        assert thread_findings(2, 2) == []
        assert thread_findings(8, 2)[0].severity == "warning"
