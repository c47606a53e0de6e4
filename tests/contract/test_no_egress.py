"""No byte leaves the machine, and no file is written but those that were asked for.

benchmarks/egress.py tries every command, and waits for what comes late; this is one of them, and the imports of the
training libraries, at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import strace
from commands import RESULTS

from segtool.models.shipped import SHIPPED
from segtool.telemetry import usage_events


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def environment(home: Path, **changes: str) -> dict[str, str]:
    """Return an environment that says nothing: variables of a CI switch usage events off as well."""
    temporary = home.parent / "temporary"
    temporary.mkdir(exist_ok=True)
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(temporary), **changes}


def trace_of(command: list[str], home: Path, **changes: str) -> strace.Trace:
    folder, work = home.parent / "trace", home.parent / "work"
    folder.mkdir()
    work.mkdir()
    Image.fromarray(np.zeros((64, 84), np.uint8)).save(work / "one.png")
    finished = subprocess.run(
        strace.call(command, folder),
        cwd=work,
        env=environment(home, **changes),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert finished.returncode == 0, finished.stderr
    return strace.read(folder, work)


needs_strace = pytest.mark.skipif(not strace.works(), reason="strace is not installed, or may not trace here")


@needs_strace
def test_a_prediction_opens_no_socket_and_writes_only_its_output(home: Path) -> None:
    command = [sys.executable, "-B", "-m", "segtool", "predict", "one.png", "--model", str(SHIPPED), "--out", "out"]
    trace = trace_of(command, home)
    asked_for = (home.parent / "work" / "out", home.parent / "temporary", Path(os.devnull))
    written = {path for _, path in trace.files}
    assert home.parent / "work" / "out" / "manifest.json" in written
    assert [path for path in written if not any(path.is_relative_to(place) for place in asked_for)] == []
    assert strace.not_local(trace) == []
    assert [*home.iterdir(), *(home.parent / "temporary").iterdir()] == []


@needs_strace
def test_the_trace_sees_what_it_is_there_to_see(home: Path) -> None:
    code = (
        "import os, socket\n"
        "open('a', 'w').close(); os.rename('a', 'b'); os.mkdir('c'); os.unlink('b'); open('one.png').close()\n"
        "try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 443))\n"
        "except OSError: pass\n"
        "try: socket.socket(socket.AF_INET6).bind(('::1', 0))\n"
        "except OSError: pass\n"
        "socket.socket(socket.AF_INET)\n"
    )
    trace = trace_of([sys.executable, "-B", "-c", code], home)
    work = home.parent / "work"
    assert {(name, path) for name, path in trace.files if path.is_relative_to(work)} == {
        ("openat", work / "a"),
        ("rename", work / "a"),
        ("rename", work / "b"),
        ("mkdir", work / "c"),
        ("unlink", work / "b"),
    }
    assert strace.not_local(trace) == ["another machine, port 443"]


def test_the_result_is_of_versions_with_and_without_usage_events() -> None:
    runs = json.loads((RESULTS / "egress.json").read_bytes())["runs"]
    assert {usage_events(version, {}) for version in runs} == {"none", "on"}
    assert [command for run in runs.values() for command in run["failed"]] == []
    seen = {usage_events(version, {}): bool(run["control"]["not_named"]) for version, run in runs.items()}
    assert seen == {"none": False, "on": True}  # with usage events switched on by the user


class TestTrainingLibraries:
    def run(self, code: str, home: Path, **changes: str) -> list[str]:
        finished = subprocess.run(
            [sys.executable, "-c", code],
            env=environment(home, CUDA_VISIBLE_DEVICES="-1", **changes),
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout.splitlines()

    def test_they_leave_an_empty_home_empty_and_the_environment_as_it_was(self, home: Path) -> None:
        pytest.importorskip("tf2onnx", reason='the extras are not installed: pip install "segtool[all]"')
        code = (
            "import os\n"
            "from segtool.cli.extras import need_all; need_all()\n"
            "import keras.src.backend.config as config, segtool.report.style as style\n"
            "print(sorted(name for name in os.environ if name.startswith(('KERAS', 'MPL'))))\n"
            "print(config.keras_home())\n"
            "with style.style():\n"
            "    axes = style.new_figure(90, 90).subplots()\n"
            "    axes.set_title('text')\n"
            "    axes.figure.draw_without_rendering()\n"
            "print(axes.get_title(loc='left'))\n"
        )
        assert self.run(code, home) == ["[]", str(home / ".keras"), "text"]
        assert [*home.iterdir(), *(home.parent / "temporary").iterdir()] == []

    SHOWN = (
        "import os; from segtool.models.backend import no_files_at_home\n"
        "with no_files_at_home(): print(os.environ.get('KERAS_HOME'), os.environ.get('MPLCONFIGDIR'))\n"
        "print(os.environ.get('KERAS_HOME'), os.environ.get('MPLCONFIGDIR'))"
    )

    def test_what_the_user_set_for_them_stays(self, home: Path) -> None:
        assert self.run(self.SHOWN, home, KERAS_HOME="here", MPLCONFIGDIR="there") == ["here there"] * 2

    @pytest.mark.parametrize("own", [".config/matplotlib", ".cache/matplotlib"])
    def test_what_the_user_has_is_used(self, home: Path, own: str) -> None:
        (home / own).mkdir(parents=True)
        (home / ".keras").mkdir()
        (home / ".keras" / "keras.json").write_text("{}")
        assert self.run(self.SHOWN, home) == ["None None"] * 2

    def test_a_user_without_a_home_is_no_error(self, home: Path) -> None:
        assert self.run(self.SHOWN, home / "absent")[1] == "None None"
