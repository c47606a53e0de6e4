"""Ctrl-C and SIGTERM: one line says what was stopped, and what it left behind. Real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from segtool.cli import _COMMANDS
from segtool.cli.common import Command
from segtool.cli.train import Request, _stopped
from segtool.errors import SegtoolError
from segtool.train.options import TrainOptions

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
SHIPPED = str(Path(__file__).resolve().parents[3] / "src" / "segtool" / "shipped" / "m2nist.int8.onnx")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def defaults() -> None:
    """What a terminal gives a process, whatever the tests themselves were started with."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)


def alone() -> None:
    """The same, in a process group of its own."""
    defaults()
    os.setsid()


def has_begun(process: subprocess.Popen[str]) -> bool:
    """Whether the process catches SIGTERM, which a command does when it begins."""
    lines = Path("/proc", str(process.pid), "status").read_text(encoding="ascii").splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def stopped(*arguments: str, number: signal.Signals, after: float) -> tuple[int, str]:
    """Start a command, stop it some seconds after it began; return its exit code and what it said on stderr."""
    call = [sys.executable, "-m", "segtool", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(call, **pipes, text=True, preexec_fn=defaults) as process:  # noqa: PLW1509
        deadline = time.monotonic() + 60
        while not has_begun(process):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(after)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
    return process.returncode, " ".join(stderr.split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "arguments",
    [
        ("benchmark", SHIPPED, "--seconds", "600", "--out", "out.json"),
        ("evaluate", SHIPPED, "--data", "m2nist-synthetic:2000", "--resamples", "100000000", "--per-image", "out.csv"),
        ("train", "--data", "m2nist-synthetic:2000", "--out", "run"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_stop_says_in_one_line_that_nothing_was_written(arguments: tuple[str, ...], number: signal.Signals) -> None:
    code, stderr = stopped(*arguments, number=number, after=0.3)
    assert code == 1
    assert f"Stopped: `segtool {arguments[0]}` did not finish; nothing was written." in stderr
    assert "Abort" not in stderr
    assert "Traceback" not in stderr
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("epochs", "resume", "words"),
    [
        (None, False, "before the training began; no model was written."),
        (None, True, "before the training began; the run is unchanged."),
        (0, False, "in the first epoch: no model was written; `segtool train --resume --out run` starts it again."),
        (1, False, "The finished epoch is kept: `segtool train --resume --out run` continues from there."),
        (7, True, "The 7 finished epochs are kept"),
    ],
)
def test_a_stopped_training_says_what_is_kept(epochs: int | None, resume: bool, words: str) -> None:
    request = Request(options=None if resume else TrainOptions(), expected={}, out=Path("run"))
    assert words in _stopped(epochs, request)


def test_a_file_that_was_written_before_the_stop_is_named() -> None:
    @click.command(cls=Command, name="make")
    @click.option("--given", type=click.Path(path_type=Path))
    @click.option("--out", type=click.Path(path_type=Path))
    def make(given: Path, out: Path) -> None:
        out.write_text("whole")
        signal.raise_signal(signal.SIGTERM)

    Path("given").write_text("of before")
    os.utime("given", (0, 0))
    result = CliRunner().invoke(make, ["--given", "given", "--out", "out"])
    assert result.exit_code == 1
    assert result.stderr == "Stopped: `make` did not finish; out was written.\n"


@pytest.mark.parametrize("made", [ImportError, SegtoolError])
def test_a_stop_of_which_a_library_made_an_error_is_a_stop(made: type[Exception]) -> None:
    """What onnxruntime says of a Ctrl-C in the middle of its import is "initialization failed"."""

    @click.command(cls=Command, name="start")
    def start() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise made("initialization failed") from None

    result = CliRunner().invoke(start)
    assert result.exit_code == 1
    assert result.stderr == "Stopped: `start` did not finish; nothing was written.\n"


# In short sleeps: a signal between Python's last look and the system call would not end a long one.
BLOCKED = """
import pathlib, time
pathlib.Path("importing").touch()
for _ in range(12000):
    time.sleep(0.05)
"""


@pytest.mark.parametrize(("module", "number"), [("click", signal.SIGINT), ("numpy", signal.SIGTERM)])
@pytest.mark.parametrize("name", _COMMANDS)
def test_a_stop_in_the_middle_of_an_import_is_one_sentence(name: str, module: str, number: signal.Signals) -> None:
    """Every command, in the import of a library that is needed before (click) and after (numpy) it is known."""
    Path(f"{module}.py").write_text(BLOCKED)
    call = [sys.executable, "-m", "segtool", name, *(["made"] if name == "verify" else [])]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(call, **pipes, text=True, env=environment, preexec_fn=defaults) as process:  # noqa: PLW1509
        while not Path("importing").exists() and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
    if process.returncode == 2:
        pytest.skip(f"`segtool {name}` needs no {module} to refuse its arguments")
    assert process.returncode == 1
    assert stderr.startswith(f"Stopped: `segtool {name}` did not finish; ")
    assert stderr.count("\n") == 1


PROGRAM = """
import gc, signal, sys, time, weakref
from segtool.stopping import handle_signals
handle_signals(starting=True)
import click
from segtool.cli.common import Command

def stop():
    signal.raise_signal(signal.{number})

def wait():
    for _ in range(1200):
        time.sleep(0.05)

class Cyclic:
    pass

@click.command(cls=Command, name="work")
def work():
{body}

"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    "body",
    [
        # CPython forgets the exec at the next one, of which the import of rich has many: rich is imported before.
        "import rich.text, rich.console as c; c.Console(stderr=True).print('', end='')\n exec('stop()')",
        "cyclic = Cyclic(); weak = weakref.ref(cyclic, lambda _: stop()); del cyclic; wait()",
        "try:\n  stop()\n except BaseException:\n  pass\n wait()",
        "try:\n  stop()\n except BaseException as error:\n  raise RuntimeError('lost') from error",
        "try:\n  stop()\n except BaseException:\n  pass\n raise RuntimeError('lost')",
    ],
    ids=["exec", "weakref callback", "dropped", "another error", "another error, dropped"],
)
def test_a_stop_ends_the_command_wherever_it_comes(body: str, number: str) -> None:
    result = run_python(PROGRAM.format(number=number, body=f" {body}") + "work(prog_name='work')")
    assert result.stderr == "Stopped: `work` did not finish; nothing was written.\n"
    assert result.returncode == 1


LAST = """
class Last:
    def __del__(self, stop=signal.raise_signal):
        stop(15)
last = Last()
"""


@pytest.mark.parametrize(
    "after",
    [
        "try:\n work(prog_name='work')\nfinally:\n stop()",
        "import atexit; atexit.register(stop); work(prog_name='work')",
        f"{LAST}work(prog_name='work')",
    ],
    ids=["program", "exit function", "teardown"],
)
def test_a_stop_after_the_result_changes_nothing(after: str) -> None:
    result = run_python(PROGRAM.format(number="SIGTERM", body=" click.echo('result')") + after)
    assert (result.returncode, result.stdout, result.stderr) == (0, "result\n", "")


STARTS = """
 import os, pathlib
 from segtool.stopping import run_process
 pathlib.Path("pid").write_text(str(os.getpid()))
 def after_fork(frame, event, what):
  if event == "c_return" and what.__name__ == "fork_exec":
   sys.setprofile(None)
   stop()
 sys.setprofile(after_fork)
 run_process([sys.executable, "-c", "import time; time.sleep(600)"])
"""


IN_A_FOLDER = """
 import pathlib, shutil, tempfile
 from segtool.files import temporary_folder
 tempfile.tempdir = str(pathlib.Path("scratch").absolute())
 pathlib.Path("scratch").mkdir()
 real_{call} = {module}.{call}
 def stopped(*args, **options):
  stop()
  return real_{call}(*args, **options)
 def made(*args, **options):
  found = real_{call}(*args, **options)
  stop()
  return found
 {module}.{call} = {when}
 with temporary_folder() as folder:
  (folder / "file").write_text("content")
"""


@pytest.mark.parametrize(("module", "call", "when"), [("shutil", "rmtree", "stopped"), ("tempfile", "mkdtemp", "made")])
def test_a_stop_leaves_no_temporary_folder(module: str, call: str, when: str) -> None:
    """The signal comes right before the folder is removed, and right after it is created."""
    body = IN_A_FOLDER.format(module=module, call=call, when=when)
    result = run_python(PROGRAM.format(number="SIGTERM", body=body) + "work(prog_name='work')")
    assert result.returncode == 1
    assert result.stderr == "Stopped: `work` did not finish; nothing was written.\n"
    assert not any(Path("scratch").iterdir())


def test_a_stop_ends_a_process_that_is_being_started() -> None:
    """The signal comes when the other process is there, and `Popen` has not returned it yet."""
    result = run_python(PROGRAM.format(number="SIGTERM", body=STARTS) + "work(prog_name='work')")
    assert result.returncode == 1
    assert result.stderr == "Stopped: `work` did not finish; nothing was written.\n"
    group = int(Path("pid").read_text())
    with pytest.raises(ProcessLookupError):
        for _ in range(50):  # the system takes away what has ended
            os.killpg(group, 0)
            time.sleep(0.1)
        os.killpg(group, signal.SIGKILL)


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program as `python -m`, which is where CPython looks for a KeyboardInterrupt that went through an exec."""
    Path("program.py").write_text(program)
    call = [sys.executable, "-m", "program"]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=30, preexec_fn=alone)


def test_a_host_program_gets_its_handlers_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    @click.command(cls=Command, name="work")
    def work() -> None:
        assert signal.getsignal(signal.SIGTERM) not in before

    assert CliRunner().invoke(work).exit_code == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_little_is_imported_before_signals_are_handled() -> None:
    source = str(Path(__file__).resolve().parents[3] / "src")
    program = (
        f"import sys; sys.path.insert(0, {source!r}); before = set(sys.modules); import segtool.stopping; "
        "print(*sorted({'typing', 're', 'click', 'importlib.metadata', 'logging'} & (set(sys.modules) - before)))"
    )
    call = [sys.executable, "-S", "-c", program]
    assert subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip() == ""


STOPPED_IN_ONNX = """
import enum, signal
from segtool.stopping import Stop, begin, end, handle_signals
from segtool.models.backend import import_quietly

class Stopping(enum.EnumMeta):
    def __call__(cls, *arguments, **options):
        signal.raise_signal(signal.SIGTERM)
        return super().__call__(*arguments, **options)

import numpy
enum.IntEnum.__class__ = Stopping  # onnx's native code makes its enumerations by a call of this
handle_signals()
begin()
try:
    import_quietly("onnx", extra="export")
except Stop:
    end()
    import sys
    print("stopped", "onnx" in sys.modules)
"""


def test_a_stop_in_the_native_import_of_onnx_waits_for_its_end() -> None:
    """An exception there ends the process with SIGABRT."""
    pytest.importorskip("onnx", reason="the extra export is not installed")
    done = subprocess.run([sys.executable, "-c", STOPPED_IN_ONNX], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "stopped True\n"), done.stderr[-2000:]
