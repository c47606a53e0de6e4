"""What `segtool doctor` looks at: packages, providers that really start, the processor, and what to do about each."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

from segtool.errors import SegtoolError
from segtool.runtime.machine import machine_info, package_versions
from segtool.runtime.session import open_session

# b = a x a of 2 x 2 floats, as ONNX bytes (opset 13): the least that a provider must be able to run. It was made with
# onnx.helper, which the runtime does not have.
_PROBE_MODEL = base64.b64decode(
    "CAg6QAoRCgFhCgFhEgFiIgZNYXRNdWwSAWdaEwoBYRIOCgwIARIICgIIAgoCCAJiEwoBYhIOCgwIARIICgIIAgoCCAJCBAoAEA0="
)
# Runs calls to a cloud service, never a model: that it does not start says nothing.
_REMOTE = "AzureExecutionProvider"

_EXTRAS: Mapping[str, tuple[str, ...]] = {
    "train": ("tensorflow", "keras", "mlxtend", "matplotlib"),
    "export": ("tensorflow", "keras", "tf2onnx", "onnx", "onnx-ir", "sympy", "mlxtend"),
    "report": ("matplotlib",),
}
_INT8_SETS = {"x86_64": ("avx512_vnni", "avx_vnni"), "aarch64": ("asimddp", "i8mm")}


def examine() -> dict[str, Any]:
    """Look at this machine and this installation.

    Returns
    -------
    dict
        `facts`, one value by name for a table; `findings`, each a `finding` and an `advice`; `machine` as in
        `machine_info`; `providers`, for each that onnxruntime lists why it does not start, or null where it does;
        `packages`, the version of each, or null where it is not installed.
    """
    machine = machine_info()
    packages = _packages()
    providers = {name: _refusal(name) for name in ort.get_available_providers()}
    gpus = _nvidia_gpus()
    return {
        "facts": _facts(machine, providers, packages, gpus),
        "findings": [
            {"finding": finding, "advice": advice}
            for finding, advice in (
                *_package_findings(packages),
                *_provider_findings(providers, gpus),
                *_processor_findings(machine),
            )
        ],
        "machine": machine,
        "providers": providers,
        "packages": packages,
    }


def _packages() -> dict[str, str | None]:
    names = dict.fromkeys(
        ("segtool", "numpy", "pillow", "onnxruntime", "onnxruntime-gpu", *(n for e in _EXTRAS.values() for n in e))
    )
    return {**names, **package_versions(names)}


def _refusal(provider: str) -> str | None:
    """Return why a provider does not start on a model of one node; None where it does."""
    with tempfile.TemporaryDirectory(prefix="segtool-doctor-") as folder:
        path = Path(folder) / "probe.onnx"
        path.write_bytes(_PROBE_MODEL)
        try:
            open_session(path, provider=provider, threads=1)
        except SegtoolError as error:
            return str(error)
    return None


def _nvidia_gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs whose driver answers."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)  # noqa: S603 (fixed)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return finished.stdout.split("\n")[:-1] if finished.returncode == 0 else []


def _facts(
    machine: Mapping[str, Any],
    providers: Mapping[str, str | None],
    packages: Mapping[str, str | None],
    gpus: Sequence[str],
) -> dict[str, str]:
    """Return one line of text for each fact."""
    quota, load = machine["cgroup_quota"], machine["load_average"]
    return {
        "system": f"{machine['os']}, Python {machine['python']}",
        "processor": str(machine["cpu"]),
        "processors": f"{machine['available_cpus']} of {machine['cores']} may be used",
        "quota": "none" if quota is None else f"{quota:g} processors",
        "load": "unknown" if load is None else ", ".join(f"{value:.2f}" for value in load),
        "instruction sets": ", ".join(machine["instruction_sets"]) or "unknown",
        "GPU": ", ".join(gpus) or "no NVIDIA GPU answers",
        "providers that start": ", ".join(name for name, refusal in providers.items() if refusal is None),
        **{name: version or "not installed" for name, version in packages.items()},
    }


def _package_findings(packages: Mapping[str, str | None]) -> list[tuple[str, str]]:
    findings = []
    if packages["onnxruntime"] and packages["onnxruntime-gpu"]:
        findings.append(
            (
                "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files",
                "pip uninstall -y onnxruntime onnxruntime-gpu, then install the one you want",
            )
        )
    for extra, names in _EXTRAS.items():
        absent = [name for name in names if packages[name] is None]
        if absent:
            advice = f'pip install "segtool[{extra}]"'
            findings.append((f"the {extra} extra is not complete: no {', '.join(absent)}", advice))
    return findings


def _provider_findings(providers: Mapping[str, str | None], gpus: Sequence[str]) -> list[tuple[str, str]]:
    findings = [
        (f"{name} is listed and does not start", refusal)
        for name, refusal in providers.items()
        if refusal is not None and name != _REMOTE
    ]
    if gpus and "CUDAExecutionProvider" not in providers:
        advice = "pip uninstall -y onnxruntime, then pip install onnxruntime-gpu"
        findings.append((f"there is a GPU ({gpus[0]}) and this onnxruntime cannot use it", advice))
    return findings


def _processor_findings(machine: Mapping[str, Any]) -> list[tuple[str, str]]:
    findings = []
    wanted = _INT8_SETS.get(machine["architecture"])
    if wanted and machine["instruction_sets"] and not set(wanted) & set(machine["instruction_sets"]):
        advice = "measure with segtool benchmark; the FP32 file may be as fast"
        findings.append((f"this processor has none of {', '.join(wanted)}, which make INT8 fast", advice))
    quota = machine["cgroup_quota"]
    if quota is not None and quota < 1:
        findings.append((f"the cgroup allows {quota:g} of a processor", "expect throttling; raise the limit"))
    load = machine["load_average"]
    if load is not None and load[0] > (os.cpu_count() or 1):
        findings.append((f"the machine is busy (load {load[0]:.1f})", "do not trust latencies measured now"))
    return findings
