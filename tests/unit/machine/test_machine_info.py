"""The facts about this machine. They are read without another program: a stop could leave that running."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segtool.machine.machine import machine_info
from segtool.machine.processors import available_cpus

STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "os.system")
PROBE = f"""
import json, sys
started = []
sys.addaudithook(lambda event, details: started.append(repr((event, details))) if event in {STARTS} else None)
from pathlib import Path
from segtool.machine.machine import machine_info
info = machine_info(proc=Path(sys.argv[1]))
print(json.dumps([started, info]))
"""


@pytest.mark.parametrize("has_proc", [True, False], ids=["proc", "no proc"])
def test_no_process_is_started(tmp_path: Path, has_proc: bool) -> None:
    proc = "/proc" if has_proc else str(tmp_path)
    finished = subprocess.run(
        [sys.executable, "-c", PROBE, proc], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    started, info = json.loads(finished.stdout)
    assert started == []
    assert info["cpu"]
    assert info["architecture"] == platform.machine()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have other names")
def test_the_system_is_named_as_python_names_it() -> None:
    assert machine_info()["os"] == platform.platform()


class TestMachineInfo:
    def test_this_machine(self) -> None:
        info = machine_info()
        assert info["available_cpus"] == available_cpus()
        assert info["packages"]["numpy"] == np.__version__
        json.dumps(info, allow_nan=False)

    def test_instruction_sets_of_x86_and_arm(self, tmp_path: Path) -> None:
        cpuinfo = tmp_path / "cpuinfo"
        cpuinfo.write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 avx512_vnni\n\nmodel name\t: Other\n")
        info = machine_info(proc=tmp_path)
        assert (info["cpu"], info["instruction_sets"]) == ("Some CPU", ["avx2", "avx512_vnni"])
        cpuinfo.write_text("BogoMIPS\t: 50\nFeatures\t: fp asimd asimddp i8mm\n")
        assert machine_info(proc=tmp_path)["instruction_sets"] == ["asimd", "asimddp", "i8mm"]

    def test_a_board_is_named_by_its_device_tree_and_its_core(self, tmp_path: Path) -> None:
        text = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"
        (tmp_path / "cpuinfo").write_text(text)
        assert machine_info(proc=tmp_path)["cpu"] == "core 0x41 0xd0b"
        (tmp_path / "device-tree").mkdir()
        (tmp_path / "device-tree" / "model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
        assert machine_info(proc=tmp_path)["cpu"] == "Raspberry Pi 5 Model B Rev 1.0, core 0x41 0xd0b"

    def test_a_machine_that_says_nothing(self, tmp_path: Path) -> None:
        info = machine_info(proc=tmp_path)
        assert info["virtual"] is info["memory_bytes"] is None
