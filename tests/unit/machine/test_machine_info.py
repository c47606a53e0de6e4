"""The facts about this machine are read without another program: a stop could leave that running."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

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
    from segtool.machine.machine import machine_info

    assert machine_info()["os"] == platform.platform()
