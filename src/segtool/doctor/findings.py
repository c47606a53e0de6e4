"""Findings of `segtool doctor`: what is wrong with a machine, the severity, and the remedy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from segtool.machine.machine import VNNI
from segtool.telemetry import VARIABLE
from segtool.text import counted

if TYPE_CHECKING:
    from segtool.telemetry import State

Severity = Literal["broken", "warning", "note"]

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
# Secondary providers of a package, which auto never selects.
_OPTIONAL = ("TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider", "QNNExecutionProvider")
_INT8_SETS = {"x86_64": sorted(VNNI), "AMD64": sorted(VNNI), "aarch64": ("asimddp", "i8mm")}


@dataclass(frozen=True)
class Finding:
    """One problem of the machine or the installation, and the action that fixes it."""

    severity: Severity
    """"broken": segtool fails or gives wrong results; "warning": it works, but not as well as possible."""
    finding: str
    remedy: str


def provider_findings(providers: Mapping[str, str | None], gpus: Sequence[str]) -> list[Finding]:
    """Return findings for listed providers that do not run, and for GPUs that no provider can use.

    `providers` has the reason why each one does not run a tiny model, None if it runs; `gpus` the NVIDIA GPUs whose
    driver responds.
    """
    findings = []
    for name, refusal in providers.items():
        if refusal is not None:
            severity, remedy = _refused_provider(name, gpus)
            findings.append(Finding(severity, f"{name} is listed but does not start: {refusal}", remedy))
    if gpus and _CUDA not in providers:
        remedy = "pip uninstall -y onnxruntime, then pip install onnxruntime-gpu"
        findings.append(Finding("warning", f"this onnxruntime cannot use the GPU ({gpus[0]})", remedy))
    return findings


def _refused_provider(name: str, gpus: Sequence[str]) -> tuple[Severity, str]:
    """Return the severity and the remedy for a provider that does not start."""
    if name == _CPU:
        return "broken", "pip install --force-reinstall onnxruntime"
    if name == _CUDA and not gpus:
        return "warning", (
            "no NVIDIA driver responds: install it, or the plain onnxruntime package; auto uses the next provider"
        )
    severity: Severity = "note" if name in _OPTIONAL else "broken" if name == _CUDA else "warning"
    return severity, "install the libraries in the message; until then --provider auto uses the next provider"


def processor_findings(machine: Mapping[str, Any]) -> list[Finding]:
    """Return findings of `machine_info` that make this process slower than expected."""
    findings = []
    wanted = _INT8_SETS.get(machine["architecture"])
    if wanted and machine["instruction_sets"] and not set(wanted) & set(machine["instruction_sets"]):
        remedy = "measure with segtool benchmark; the FP32 file may be equally fast"
        findings.append(Finding("note", f"this processor has no {' or '.join(wanted)}, which make INT8 fast", remedy))
    quota = machine["cgroup_quota"]
    if quota is not None and quota < 1:
        remedy = "expect throttling; raise the limit"
        findings.append(Finding("warning", f"the cgroup allows only {counted(quota, 'processor')}", remedy))
    load = machine["load_average"]
    if load is not None and load[0] > (os.cpu_count() or 1):
        remedy = "do not trust latencies measured now; stop other programs"
        findings.append(Finding("warning", f"the machine is busy (load {load[0]:.1f})", remedy))
    return findings


def telemetry_findings(events: State) -> list[Finding]:
    """Return a finding if onnxruntime sends usage events; only a value set by the user causes this."""
    if events != "on":
        return []
    finding = f"{VARIABLE} is set to {os.environ.get(VARIABLE, '')!r}, so onnxruntime sends usage events"
    return [Finding("warning", finding, f"unset {VARIABLE}; segtool then sets it to 1")]


def thread_findings(threads: int, cpus: int) -> list[Finding]:
    """Return a finding for more threads by default than this process may use."""
    if threads <= cpus:
        return []
    finding = f"OMP_NUM_THREADS requests {threads} threads, but this process may use {counted(cpus, 'processor')}"
    return [Finding("warning", finding, f"set it to {cpus} or less, or unset it")]
