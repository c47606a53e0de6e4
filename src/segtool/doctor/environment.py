"""The checks of `segtool doctor`: packages, providers, processor, threads, with a remedy for each finding."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from segtool.doctor.findings import (
    Finding,
    processor_findings,
    provider_findings,
    telemetry_findings,
    thread_findings,
)
from segtool.doctor.packages import installed_packages, onnxruntime_packages, package_findings
from segtool.errors import ProviderError, SegtoolError
from segtool.machine.machine import machine_info
from segtool.machine.processors import default_threads
from segtool.stopping import run_process
from segtool.telemetry import usage_events
from segtool.text import counted


def examine() -> dict[str, Any]:
    """Check this machine and this installation.

    Returns
    -------
    dict
        `status`, "broken" or "ok"; `facts`, one value by name for a table; `findings`, each with a `severity`
        ("broken", "warning", "note"), a `finding` and a `remedy`; `machine` as in `machine_info`; `threads`, the
        default, or null; `providers`, for each one in onnxruntime the reason why it does not start, or null if it does;
        `packages`, the version of each, or null if it is not installed; `usage_events`, "none", "off" or "on", as
        in `segtool.telemetry.usage_events`; `gpus`.
    """
    machine, packages, gpus = machine_info(), installed_packages(), nvidia_gpus()
    events = usage_events(next((packages[name] for name in onnxruntime_packages()), None))
    providers, failures = _providers()
    threads, wrong_threads = _threads(machine["available_cpus"])
    findings = [
        *package_findings(packages),
        *telemetry_findings(events),
        *failures,
        *provider_findings(providers, gpus),
        *wrong_threads,
        *processor_findings(machine),
    ]
    return {
        "status": "broken" if any(finding.severity == "broken" for finding in findings) else "ok",
        "facts": {
            **_facts(machine, providers, packages, gpus),
            "default threads": str(threads or "unknown"),
            "onnxruntime's usage events": "not in this version" if events == "none" else events,
        },
        "findings": [vars(finding) for finding in findings],
        "machine": machine,
        "threads": threads,
        "providers": providers,
        "packages": packages,
        "usage_events": events,
        "gpus": gpus,
    }


def _providers() -> tuple[dict[str, str | None], list[Finding]]:
    """Return the reason why each provider does not run, and a finding if none could be tested."""
    try:
        from segtool.doctor.provider_probe import probe_providers

        return probe_providers(), []
    except SegtoolError as error:
        return {}, [Finding("broken", str(error), "reinstall the onnxruntime package")]
    except OSError as error:
        remedy = "set TMPDIR to a writable folder"
        return {}, [Finding("broken", f"no provider could be tested ({error})", remedy)]


def _threads(cpus: int) -> tuple[int | None, list[Finding]]:
    """Return the default number of threads, and a finding if it is wrong or too high."""
    try:
        threads = default_threads()
    except ProviderError as error:
        return None, [Finding("broken", str(error), "unset OMP_NUM_THREADS, or set it to a positive integer")]
    return threads, thread_findings(threads, cpus)


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
        "quota": "none" if quota is None else counted(quota, "processor"),
        "load": "unknown" if load is None else ", ".join(f"{value:.2f}" for value in load),
        "instruction sets": ", ".join(machine["instruction_sets"]) or "unknown",
        "GPU": "; ".join(gpus) or "no NVIDIA driver responds",
        "providers that start": ", ".join(name for name in providers if name not in refused) or "none",
        "providers that do not": ", ".join(refused) or "none",
        **{name: version or "not installed" for name, version in packages.items()},
    }
