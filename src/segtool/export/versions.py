"""The library versions that export was tested with: those of the package's own extra "export", written nowhere else."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

from segtool.errors import ExportError
from segtool.models.backend import import_quietly

_EXTRA = "export"


def check_versions() -> None:
    """Refuse libraries outside the tested range, before they are imported.

    What is not installed is left to the import, whose error names the extra to install.

    Raises
    ------
    ExportError
        Libraries are older or newer than tested; the message has the pip line that fixes it.
    MissingExtraError
        The package `packaging` is not installed.
    """
    try:
        requirements = importlib.metadata.requires("segtool") or []
    except importlib.metadata.PackageNotFoundError:  # run from its source without an installation
        return
    if wrong := list(_outside(requirements)):
        found = ", ".join(f"{name} {version} (tested: {tested})" for name, version, tested in wrong)
        wanted = " ".join(f'"{name}{tested}"' for name, _, tested in wrong)
        raise ExportError(f"segtool export was not tested with {found}; run pip install {wanted}.")


def _outside(requirements: Iterable[str]) -> Iterable[tuple[str, str, str]]:
    """Yield (name, installed version, tested range) of the extra's packages that are outside their range."""
    parse = import_quietly("packaging.requirements", extra=_EXTRA).Requirement
    for requirement in map(parse, requirements):
        # What names no extra is the base, which pip holds to its range for every command.
        if requirement.marker is None or not requirement.marker.evaluate({"extra": _EXTRA}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield requirement.name, version, str(requirement.specifier)
