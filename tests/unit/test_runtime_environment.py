"""What doctor finds, on this machine and on others that it is told of."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnxruntime as ort

from segtool.runtime import environment


def complete() -> dict[str, str | None]:
    return {**dict.fromkeys(environment._packages(), "1.0"), "onnxruntime-gpu": None}


def machine(**changes: Any) -> dict[str, Any]:
    values = {
        "architecture": "x86_64",
        "instruction_sets": ["avx2", "avx512_vnni"],
        "cgroup_quota": None,
        "load_average": [0.0, 0.0, 0.0],
    }
    return {**values, **changes}


def test_this_machine() -> None:
    report = environment.examine()
    assert report["providers"]["CPUExecutionProvider"] is None
    assert set(report["providers"]) == set(ort.get_available_providers())
    assert report["facts"]["numpy"] == np.__version__
    assert "CPUExecutionProvider" in report["facts"]["providers that start"]
    assert all(set(item) == {"finding", "advice"} for item in report["findings"])
    json.dumps(report, allow_nan=False)


def test_both_onnxruntimes() -> None:
    assert environment._package_findings(complete()) == []
    ((finding, advice),) = environment._package_findings({**complete(), "onnxruntime-gpu": "1.0"})
    assert "overwrite each other" in finding
    assert "uninstall" in advice


def test_a_missing_extra_gives_the_pip_line() -> None:
    findings = environment._package_findings({**complete(), "tf2onnx": None})
    assert findings == [("the export extra is not complete: no tf2onnx", 'pip install "segtool[export]"')]


def test_a_provider_that_does_not_start() -> None:
    providers = {"CUDAExecutionProvider": "no device", "CPUExecutionProvider": None}
    assert environment._provider_findings(providers, []) == [
        ("CUDAExecutionProvider is listed and does not start", "no device")
    ]


def test_a_gpu_that_onnxruntime_cannot_use() -> None:
    ((finding, _),) = environment._provider_findings({"CPUExecutionProvider": None}, ["NVIDIA H200"])
    assert "NVIDIA H200" in finding


def test_the_processor() -> None:
    assert environment._processor_findings(machine()) == []
    for changes, word in [
        ({"instruction_sets": ["avx2"]}, "INT8"),
        ({"architecture": "aarch64", "instruction_sets": ["asimd"]}, "INT8"),
        ({"cgroup_quota": 0.5}, "cgroup"),
        ({"load_average": [1000.0, 0.0, 0.0]}, "busy"),
    ]:
        ((finding, _),) = environment._processor_findings(machine(**changes))
        assert word in finding
