"""Findings of `segtool doctor`: what is wrong with a machine, the severity, and the remedy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segtool.telemetry import VARIABLE

if TYPE_CHECKING:
    from segtool.telemetry import State

Severity = Literal["broken", "warning", "note"]

BROKEN: Severity = "broken"
WARNING: Severity = "warning"
NOTE: Severity = "note"

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
# Secondary providers of a package, which auto never selects.
_OPTIONAL = ("TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider", "QNNExecutionProvider")
_INT8_SETS = {
    "x86_64": ("avx512_vnni", "avx_vnni", "amx_int8"),
    "AMD64": ("avx512_vnni", "avx_vnni", "amx_int8"),
    "aarch64": ("asimddp", "i8mm"),
}
_LEAST_FREE = 200e6


@dataclass(frozen=True)
class Finding:
    """One problem of the machine or the installation.

    Attributes
    ----------
    severity
        "broken": segtool fails or gives wrong results; "warning": it works, but not as well as possible; "note".
    finding
        The problem.
    remedy
        The action that fixes it.
    """

    severity: Severity
    finding: str
    remedy: str


def provider_findings(providers: Mapping[str, str | None], gpus: Sequence[str]) -> list[Finding]:
    """Return findings for listed providers that do not run, and for GPUs that no provider can use.

    Parameters
    ----------
    providers
        The reason why each one does not run a tiny model; None if it runs.
    gpus
        The NVIDIA GPUs whose driver responds.
    """
    findings = []
    for name, refusal in providers.items():
        if refusal is not None:
            finding = f"{name} is listed but does not start: {refusal}"
            findings.append(Finding(_severity(name, gpus), finding, _remedy(name, gpus)))
    if gpus and _CUDA not in providers:
        remedy = "pip uninstall -y onnxruntime, then pip install onnxruntime-gpu"
        findings.append(Finding(WARNING, f"this onnxruntime cannot use the GPU ({gpus[0]})", remedy))
    return findings


def _severity(provider: str, gpus: Sequence[str]) -> Severity:
    if provider in _OPTIONAL:
        return NOTE
    return BROKEN if provider == _CPU or (provider == _CUDA and gpus) else WARNING


def _remedy(provider: str, gpus: Sequence[str]) -> str:
    if provider == _CPU:
        return "pip install --force-reinstall onnxruntime"
    if provider == _CUDA and not gpus:
        return "no NVIDIA driver responds: install it, or the plain onnxruntime package; auto uses the next provider"
    return "install the libraries in the message; until then --provider auto uses the next provider"


def processor_findings(machine: Mapping[str, Any]) -> list[Finding]:
    """Return findings of `machine_info` that make this process slower than expected."""
    findings = []
    wanted = _INT8_SETS.get(machine["architecture"])
    if wanted and machine["instruction_sets"] and not set(wanted) & set(machine["instruction_sets"]):
        remedy = "measure with segtool benchmark; the FP32 file may be equally fast"
        findings.append(Finding(NOTE, f"this processor has no {' or '.join(wanted)}, which make INT8 fast", remedy))
    quota = machine["cgroup_quota"]
    if quota is not None and quota < 1:
        remedy = "expect throttling; raise the limit"
        findings.append(Finding(WARNING, f"the cgroup allows only {quota:g} processors", remedy))
    load = machine["load_average"]
    if load is not None and load[0] > (os.cpu_count() or 1):
        remedy = "do not trust latencies measured now; stop other programs"
        findings.append(Finding(WARNING, f"the machine is busy (load {load[0]:.1f})", remedy))
    return findings


def telemetry_findings(events: State) -> list[Finding]:
    """Return a finding if onnxruntime sends usage events; only a value set by the user causes this."""
    if events != "on":
        return []
    finding = f"{VARIABLE} is set to {os.environ.get(VARIABLE, '')!r}, so onnxruntime sends usage events"
    return [Finding(WARNING, finding, f"unset {VARIABLE}; segtool then sets it to 1")]


def thread_findings(threads: int | str, cpus: int) -> list[Finding]:
    """Return a finding for a wrong number of threads."""
    if isinstance(threads, str):
        return [Finding(BROKEN, threads, "unset OMP_NUM_THREADS, or set it to a positive integer")]
    if threads > cpus:
        finding = f"OMP_NUM_THREADS requests {threads} threads, but this process may use {cpus} processors"
        return [Finding(WARNING, finding, f"set it to {cpus} or less, or unset it")]
    return []


def folder_findings(folders: Mapping[str, Path | None]) -> list[Finding]:
    """Return findings for folders that are not writable; for a missing folder, its parent is checked."""
    import shutil  # imported here, because this module is imported with every prediction

    findings = []
    for name, folder in folders.items():
        where = None if folder is None else next((each for each in (folder, *folder.parents) if each.is_dir()), None)
        severity = BROKEN if name == "temporary" else WARNING
        if where is None or not _is_writable(where):
            remedy = _FOLDER_REMEDIES[name]
            findings.append(Finding(severity, f"the {name} folder ({folder or 'none'}) is not writable", remedy))
        elif (free := shutil.disk_usage(where).free) < _LEAST_FREE:
            finding = f"the disk of the {name} folder {folder} has only {free / 1e6:.0f} MB of free space"
            findings.append(Finding(WARNING, finding, "free disk space"))
    return findings


_FOLDER_REMEDIES = {
    "working": "run segtool in another folder, or pass a writable --out",
    "temporary": "set TMPDIR to a writable folder",
    "cache": "set XDG_CACHE_HOME to a writable folder (matplotlib keeps its fonts there)",
}


def working_folders() -> dict[str, Path | None]:
    """Return the folders that segtool and its libraries write to; None for a folder that is not defined."""
    import tempfile

    return {
        "working": _first_folder(Path.cwd),
        "temporary": _first_folder(lambda: Path(tempfile.gettempdir())),
        "cache": _first_folder(lambda: Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")),
    }


def _first_folder(ask: Any) -> Path | None:
    try:
        folder: Path = ask()
    except (OSError, RuntimeError):  # the folder was deleted, none is writable, or there is no home
        return None
    return folder


def _is_writable(folder: Path) -> bool:
    """Return whether a folder is writable, by creating a file: permissions alone are not sufficient."""
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def worst(findings: Iterable[Finding]) -> Severity | None:
    """Return the severity of the worst finding; None without findings."""
    found = {each.severity for each in findings}
    return next((severity for severity in (BROKEN, WARNING, NOTE) if severity in found), None)
