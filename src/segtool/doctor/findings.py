"""What doctor finds wrong with a machine, how bad that is, and what to do about it."""

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
# Built into a package beside the provider that people install it for, and never taken by auto.
_OPTIONAL = ("TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider", "QNNExecutionProvider")
_INT8_SETS = {
    "x86_64": ("avx512_vnni", "avx_vnni", "amx_int8"),
    "AMD64": ("avx512_vnni", "avx_vnni", "amx_int8"),
    "aarch64": ("asimddp", "i8mm"),
}
_LEAST_FREE = 200e6


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes
    ----------
    severity
        "broken": segtool fails or gives other results; "warning": it works, and worse than it could; "note".
    finding
        What was found.
    remedy
        What to do about it.
    """

    severity: Severity
    finding: str
    remedy: str


def provider_findings(providers: Mapping[str, str | None], gpus: Sequence[str]) -> list[Finding]:
    """Return the providers that are listed and do not run, and the GPUs that none can use.

    Parameters
    ----------
    providers
        Why each does not run a tiny model; None where it does.
    gpus
        The NVIDIA GPUs whose driver answers.
    """
    findings = []
    for name, refusal in providers.items():
        if refusal is not None:
            finding = f"{name} is listed and does not start: {refusal}"
            findings.append(Finding(_severity(name, gpus), finding, _remedy(name, gpus)))
    if gpus and _CUDA not in providers:
        remedy = "pip uninstall -y onnxruntime, then pip install onnxruntime-gpu"
        findings.append(Finding(WARNING, f"there is a GPU ({gpus[0]}) and this onnxruntime cannot use it", remedy))
    return findings


def _severity(provider: str, gpus: Sequence[str]) -> Severity:
    if provider in _OPTIONAL:
        return NOTE
    return BROKEN if provider == _CPU or (provider == _CUDA and gpus) else WARNING


def _remedy(provider: str, gpus: Sequence[str]) -> str:
    if provider == _CPU:
        return "pip install --force-reinstall onnxruntime"
    if provider == _CUDA and not gpus:
        return "no NVIDIA driver answers: install it, or the plain onnxruntime package; auto uses the next provider"
    return "install what the message names; until then --provider auto uses the next provider"


def processor_findings(machine: Mapping[str, Any]) -> list[Finding]:
    """Return what of `machine_info` makes this process slower than one would think."""
    findings = []
    wanted = _INT8_SETS.get(machine["architecture"])
    if wanted and machine["instruction_sets"] and not set(wanted) & set(machine["instruction_sets"]):
        remedy = "measure with segtool benchmark; the FP32 file may be as fast"
        findings.append(Finding(NOTE, f"this processor has none of {', '.join(wanted)}, which make INT8 fast", remedy))
    quota = machine["cgroup_quota"]
    if quota is not None and quota < 1:
        remedy = "expect throttling; raise the limit"
        findings.append(Finding(WARNING, f"the cgroup allows {quota:g} of a processor", remedy))
    load = machine["load_average"]
    if load is not None and load[0] > (os.cpu_count() or 1):
        remedy = "do not trust latencies measured now"
        findings.append(Finding(WARNING, f"the machine is busy (load {load[0]:.1f})", remedy))
    return findings


def telemetry_findings(events: State) -> list[Finding]:
    """Return what lets onnxruntime send usage events: only the user's own value of the variable does."""
    if events != "on":
        return []
    finding = f"{VARIABLE} is set to {os.environ.get(VARIABLE, '')!r}, so onnxruntime sends usage events"
    return [Finding(WARNING, finding, f"unset {VARIABLE}; segtool then sets it to 1")]


def thread_findings(threads: int | str, cpus: int) -> list[Finding]:
    """Return what is wrong with the number of threads, or with what was said instead of one."""
    if isinstance(threads, str):
        return [Finding(BROKEN, threads, "unset OMP_NUM_THREADS, or set it to a positive whole number")]
    if threads > cpus:
        finding = f"OMP_NUM_THREADS asks for {threads} threads and this process may use {cpus} processors"
        return [Finding(WARNING, finding, f"set it to {cpus} or less, or unset it")]
    return []


def folder_findings(folders: Mapping[str, Path | None]) -> list[Finding]:
    """Return the folders in which nothing can be written; one that is not there is judged by the one it would be in."""
    import shutil  # with every prediction this module is imported, and that not

    findings = []
    for name, folder in folders.items():
        where = None if folder is None else next((each for each in (folder, *folder.parents) if each.is_dir()), None)
        severity = BROKEN if name == "temporary" else WARNING
        if where is None or not _is_writable(where):
            remedy = _FOLDER_REMEDIES[name]
            findings.append(
                Finding(severity, f"the {name} folder ({folder or 'there is none'}) cannot be written", remedy)
            )
        elif (free := shutil.disk_usage(where).free) < _LEAST_FREE:
            finding = f"the disk of the {name} folder {folder} has {free / 1e6:.0f} MB left"
            findings.append(Finding(WARNING, finding, "make room"))
    return findings


_FOLDER_REMEDIES = {
    "working": "run segtool elsewhere, or give an --out that can be written",
    "temporary": "set TMPDIR to a folder that can be written",
    "cache": "set XDG_CACHE_HOME to a folder that can be written (matplotlib keeps its fonts there)",
}


def working_folders() -> dict[str, Path | None]:
    """Return the folders that segtool and its libraries write into; None for one that there is not."""
    import tempfile

    return {
        "working": _first_folder(Path.cwd),
        "temporary": _first_folder(lambda: Path(tempfile.gettempdir())),
        "cache": _first_folder(lambda: Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")),
    }


def _first_folder(ask: Any) -> Path | None:
    try:
        folder: Path = ask()
    except (OSError, RuntimeError):  # deleted under us, nowhere to write, or no home
        return None
    return folder


def _is_writable(folder: Path) -> bool:
    """Tell whether a file can be made in a folder, by making one: permissions alone do not tell."""
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def worst(findings: Iterable[Finding]) -> Severity | None:
    """Return the severity of the worst finding; None where there is none."""
    found = {each.severity for each in findings}
    return next((severity for severity in (BROKEN, WARNING, NOTE) if severity in found), None)
