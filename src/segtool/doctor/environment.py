"""The checks of `segtool doctor`: packages, providers, processor, folders, with a remedy for each finding."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from segtool.doctor.findings import (
    Finding,
    folder_findings,
    processor_findings,
    provider_findings,
    telemetry_findings,
    thread_findings,
    working_folders,
)
from segtool.doctor.packages import installed_packages, onnxruntime_packages, package_findings
from segtool.errors import ProviderError, SegtoolError
from segtool.machine.machine import machine_info
from segtool.machine.processors import default_threads
from segtool.stopping import run_process
from segtool.telemetry import usage_events


def examine() -> dict[str, Any]:
    """Check this machine and this installation.

    Returns
    -------
    dict
        `status`, "broken" or "ok"; `facts`, one value by name for a table; `findings`, each with a `severity`
        ("broken", "warning", "note"), a `finding` and a `remedy`; `machine` as in `machine_info`; `threads`, the
        default; `providers`, for each one in onnxruntime the reason why it does not start, or null if it does;
        `packages`, the version of each, or null if it is not installed; `usage_events`, "none", "off" or "on", as
        in `segtool.telemetry.usage_events`; `gpus`; `folders`.
    """
    machine, packages, gpus = machine_info(), installed_packages(), nvidia_gpus()
    providers, failures = _providers()
    threads, folders = _threads(), working_folders()
    events = usage_events(next((packages[name] for name in onnxruntime_packages()), None))
    findings = [
        *package_findings(packages),
        *telemetry_findings(events),
        *failures,
        *provider_findings(providers, gpus),
        *thread_findings(threads, machine["available_cpus"]),
        *processor_findings(machine),
        *folder_findings(folders),
    ]
    return {
        "status": "broken" if any(finding.severity == "broken" for finding in findings) else "ok",
        "facts": _facts(machine, providers, packages, gpus)
        | {
            "default threads": str(threads),
            "onnxruntime's usage events": "not in this version" if events == "none" else events,
        }
        | {f"{name} folder": str(folder or "none") for name, folder in folders.items()},
        "findings": [vars(finding) for finding in findings],
        "machine": machine,
        "threads": threads if isinstance(threads, int) else None,
        "providers": providers,
        "packages": packages,
        "usage_events": events,
        "gpus": gpus,
        "folders": {name: str(folder) if folder else None for name, folder in folders.items()},
    }


def _providers() -> tuple[dict[str, str | None], list[Finding]]:
    """Return the reason why each provider does not run, and findings if none could be tested."""
    try:
        from segtool.doctor.provider_probe import probe_providers

        return probe_providers(), []
    except SegtoolError as error:
        return {}, [Finding("broken", str(error), "reinstall the onnxruntime package")]
    except OSError as error:
        return {}, [Finding("broken", f"no provider could be tested ({error})", "fix the temporary folder first")]


def _threads() -> int | str:
    """Return the default number of threads, or the error in it."""
    try:
        return default_threads()
    except ProviderError as error:
        return str(error)


def nvidia_gpus() -> list[str]:
    """Return the name, driver and memory of each NVIDIA GPU whose driver responds."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        finished = run_process(command, seconds=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return finished.stdout.splitlines() if finished.returncode == 0 else []


def _facts(
    machine: Mapping[str, Any],
    providers: Mapping[str, str | None],
    packages: Mapping[str, str | None],
    gpus: Sequence[str],
) -> dict[str, str]:
    """Return one line of text for each fact."""
    quota, load = machine["cgroup_quota"], machine["load_average"]
    refused = [name for name, refusal in providers.items() if refusal is not None]
    return {
        "system": f"{machine['os']}, Python {machine['python']}",
        "processor": str(machine["cpu"]),
        "processors": f"{machine['available_cpus']} of {machine['cores']} available",
        "quota": "none" if quota is None else f"{quota:g} processors",
        "load": "unknown" if load is None else ", ".join(f"{value:.2f}" for value in load),
        "instruction sets": ", ".join(machine["instruction_sets"]) or "unknown",
        "GPU": "; ".join(gpus) or "no NVIDIA driver responds",
        "providers that start": ", ".join(name for name in providers if name not in refused) or "none",
        "providers that do not": ", ".join(refused) or "none",
        **{name: version or "not installed" for name, version in packages.items()},
    }
