"""Disk size of the base install in a fresh environment, by package: results/install_size.json."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands import write_result

ROOT = Path(__file__).resolve().parents[1]

# Run by the fresh environment's own interpreter: the size of every file that a package's RECORD names, as it lies on
# the disk, without the bytecode that Python writes later.
_SIZES = """
import importlib.metadata, json
rows = []
for item in importlib.metadata.distributions():
    files = [path for path in item.files or () if path.suffix != ".pyc" and path.locate().is_file()]
    size = sum(path.locate().stat().st_size for path in files)
    rows.append({"package": item.metadata["Name"], "version": item.version, "files": len(files), "bytes": size})
print(json.dumps(rows))
"""


def main() -> None:
    """Install, weigh, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extra", action="append", default=[], help="an extra to install as well; may be repeated")
    extras = parser.parse_args().extra
    rows = weighed(extras)
    result = {"extras": extras, "packages": rows, "total_bytes": sum(row["bytes"] for row in rows)}
    write_result("_".join(["install_size", *extras]), result)


def weighed(extras: list[str]) -> list[dict[str, Any]]:
    """Return the packages of a fresh environment, largest first; pip itself is left out."""
    spec = str(ROOT) + (f"[{','.join(extras)}]" if extras else "")
    with tempfile.TemporaryDirectory() as folder:
        return sizes(fresh_environment(Path(folder), [spec]))


def fresh_environment(folder: Path, specs: Sequence[str]) -> str:
    """Install into a new environment in `folder`; return its Python."""
    venv.create(folder, with_pip=True)
    python = str(folder / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-compile", *specs], check=True)
    return python


def sizes(python: str) -> list[dict[str, Any]]:
    """Return what is installed for this Python, largest first; pip itself is left out."""
    found = subprocess.run([python, "-c", _SIZES], check=True, capture_output=True, text=True)
    rows: list[dict[str, Any]] = json.loads(found.stdout)
    return sorted((row for row in rows if row["package"] not in ("pip", "setuptools")), key=lambda row: -row["bytes"])


if __name__ == "__main__":
    main()
