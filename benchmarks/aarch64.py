"""An aarch64 environment on an x86 machine: Debian's packages, unpacked without root, run by qemu-user.

`Environment.build(folder)` makes it once; it needs Linux on x86, apt-get, dpkg, Debian's keyring and network access. It
downloads Debian 13 packages with a configuration of apt of its own: qemu-user 10 for this machine (7.2 of Debian 12
crashes on onnxruntime 1.32), and Python for aarch64. `bin/python` is a script that starts this Python in qemu-user, and
its folder is a virtual environment. pip runs in it, and therefore selects the wheels for aarch64.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from install_size import ROOT, sizes

FOLDER = ROOT / "build" / "aarch64"
SUITE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = ("python3:arm64", "libstdc++6:arm64")  # with what they depend on
# For benchmarks/kernel_classes.py; not in the environment, which has the base install alone.
TOOLS = ("onnx", "ml_dtypes", "typing_extensions")

# The bits of an instruction that say what it is, and their values; NEON, and SVE where onnxruntime uses it.
INSTRUCTIONS = {
    "SMLAL": ((0xBFE0FC00, 0x0E208000), (0xBFE0FC00, 0x0E20C000)),  # SMULL, which begins a sum, among them
    "SDOT": ((0xBFE0FC00, 0x0E809400), (0xBFC0F400, 0x0F80E000), (0xFFE0FC00, 0x44800000)),
    "UDOT": ((0xBFE0FC00, 0x2E809400), (0xBFC0F400, 0x2F80E000), (0xFFE0FC00, 0x44800400)),
    "SMMLA": ((0xFFE0FC00, 0x4E80A400), (0xFFE0FC00, 0x45009800)),
    "UMMLA": ((0xFFE0FC00, 0x6E80A400), (0xFFE0FC00, 0x45C09800)),
}
_TRANSLATED = re.compile(r"^0x[0-9a-f]+:\s+([0-9a-f]{8})\s", re.MULTILINE)

_APT = """\
Dir "{apt}"; Dir::State "{apt}"; Dir::State::status "{apt}/status"; Dir::Cache "{apt}"; Dir::Etc "{apt}";
APT::Architecture "arm64"; APT::Architectures {{ "arm64"; "amd64"; }};
APT::Install-Recommends "false"; APT::Sandbox::User "root"; Acquire::Languages "none";
"""
_PYTHON = """\
#!/bin/sh
exec "{qemu}" -L "{root}" -0 "$0" "{python}" "$@"
"""


@dataclass(frozen=True)
class Environment:
    """An environment in a folder."""

    folder: Path

    @property
    def python(self) -> Path:
        """The interpreter: a script, which qemu-user runs as the processor in `QEMU_CPU`."""
        return self.folder / "bin" / "python"

    @property
    def qemu(self) -> Path:
        """The emulator, a static program."""
        return self.folder / "qemu" / "usr" / "bin" / "qemu-aarch64"

    def build(self) -> None:
        """Download, unpack and install; exit with a sentence where something is missing.

        Where it is there, only segtool is installed again, if it has changed.
        """
        if (self.folder / "install_size.json").is_file():
            self._update()
            return
        if missing := _missing():
            sys.exit(f"The aarch64 environment cannot be built: {missing}.")
        shutil.rmtree(self.folder, ignore_errors=True)
        self._download()
        root = self.folder / "root"
        for package in sorted((self.folder / "apt" / "archives").glob("*.deb")):
            target = self.qemu.parents[2] if package.name.startswith("qemu-user") else root
            subprocess.run(["dpkg", "-x", package, target], check=True)
        (root / "lib").symlink_to("usr/lib")  # Debian's package base-files has this link, which the loader is found by
        (interpreter,) = (root / "usr/bin").glob("python3.*[0-9]")
        self.python.parent.mkdir()
        self.python.write_text(_PYTHON.format(qemu=self.qemu, root=root, python=interpreter), encoding="utf-8")
        self.python.chmod(0o755)
        config = f"home = {interpreter.parent}\ninclude-system-site-packages = false\n"
        (self.folder / "pyvenv.cfg").write_text(config, encoding="utf-8")
        (self.folder / "lib" / interpreter.name / "site-packages").mkdir(parents=True)
        self._pip(str(_wheel(self.folder / "wheel")))
        installed = sizes(str(self.python))
        self._pip("--no-deps", "--target", str(self.folder / "tools"), *TOOLS)
        (self.folder / "install_size.json").write_text(json.dumps(installed), encoding="utf-8")

    def run(
        self, arguments: Sequence[str | Path], *, processor: str, log: Path | None = None, tools: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with some arguments on a processor of qemu-user.

        Parameters
        ----------
        arguments
            Of Python.
        processor
            A name that `qemu-aarch64 -cpu help` lists.
        log
            Where qemu writes each instruction that it translates, as text and in hex.
        tools
            Whether the packages in `TOOLS` can be imported.
        """
        environment = {**os.environ, "QEMU_CPU": processor}
        environment |= {"QEMU_LOG": "in_asm", "QEMU_LOG_FILENAME": str(log)} if log else {}
        environment |= {"PYTHONPATH": str(self.folder / "tools")} if tools else {}
        return subprocess.run([self.python, *arguments], env=environment, capture_output=True, text=True, check=False)

    def installed(self) -> list[dict[str, Any]]:
        """Return the packages of the base install with their sizes, largest first."""
        rows: list[dict[str, Any]] = json.loads((self.folder / "install_size.json").read_bytes())
        return rows

    def _update(self) -> None:
        (installed,) = (self.folder / "wheel").glob("*.whl")
        with tempfile.TemporaryDirectory() as folder:
            new = _wheel(Path(folder))
            if contents(new) != contents(installed):
                self._pip("--force-reinstall", "--no-deps", str(new))
                shutil.copy(new, installed)

    def _download(self) -> None:
        apt = self.folder / "apt"
        for name in ("lists/partial", "archives/partial", "apt.conf.d", "preferences.d"):
            (apt / name).mkdir(parents=True)
        (apt / "status").touch()
        (apt / "apt.conf").write_text(_APT.format(apt=apt), encoding="utf-8")
        source = f"deb [signed-by={KEYRING}] {_mirror()} {SUITE} main\n"
        (apt / "sources.list").write_text(source, encoding="utf-8")
        environment = {**os.environ, "APT_CONFIG": str(apt / "apt.conf")}
        for arguments in (
            ["update"],
            ["--yes", "--download-only", "install", *PACKAGES],
            ["download", "qemu-user:amd64"],
        ):
            subprocess.run(["apt-get", "-qq", *arguments], cwd=apt / "archives", env=environment, check=True)

    def _pip(self, *arguments: str) -> None:
        options = ("--quiet", "--no-compile", "--only-binary", "numpy,onnxruntime,pillow,onnx,ml_dtypes")
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", *options, *arguments]
        subprocess.run(command, check=True)


def _wheel(folder: Path) -> Path:
    """Write segtool's wheel into a folder and return it."""
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT], check=True)
    (path,) = folder.glob("*.whl")
    return path


def contents(wheel: Path) -> dict[str, int]:
    """Return the checksum of each file in a wheel; two of the same files differ in times alone."""
    with zipfile.ZipFile(wheel) as opened:
        return {each.filename: each.CRC for each in opened.infolist()}


def translated(log: Path) -> dict[str, int]:
    """Return how many instructions of each kind in `INSTRUCTIONS` qemu translated, and remove its log."""
    counts: Counter[str] = Counter()
    with log.open(encoding="utf-8", errors="replace") as lines:
        for found in map(_TRANSLATED.match, lines):
            if found is not None:
                counts.update(_kinds(int(found[1], 16)))
    log.unlink()
    return dict(counts)


def _kinds(word: int) -> Iterator[str]:
    for name, patterns in INSTRUCTIONS.items():
        if any(word & mask == value for mask, value in patterns):
            yield name


def _missing() -> str:
    """Return what this machine lacks for building the environment; empty if nothing."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return f"it needs Linux on x86_64, and this is {sys.platform} on {platform.machine()}"
    tools = [name for name in ("apt-get", "dpkg") if shutil.which(name) is None]
    if tools:
        return f"{' and '.join(tools)} not found; it needs Debian, or a container of it"
    if not KEYRING.is_file():
        return f"{KEYRING} not found; run apt-get install debian-archive-keyring"
    return "" if _mirror() else "apt knows no mirror of Debian; run apt-get update"


def _mirror() -> str:
    """Return the address of the mirror of Debian that this machine uses; empty if it has none."""
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")
    return next((line.split()[1] for line in found if line.startswith("Debian ") and "security" not in line), "")
