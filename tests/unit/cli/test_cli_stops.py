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

from segtool.cli.common import Command
from segtool.cli.train import _stopped
from segtool.errors import SegtoolError

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
SHIPPED = str(Path(__file__).resolve().parents[3] / "src" / "segtool" / "shipped" / "m2nist.int8.onnx")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def has_begun(process: subprocess.Popen[str]) -> bool:
    """Whether the process catches SIGTERM, which a command does when it begins."""
    lines = Path("/proc", str(process.pid), "status").read_text(encoding="ascii").splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def stopped(*arguments: str, number: signal.Signals, after: float) -> tuple[int, str]:
    """Start a command, stop it some seconds after it began; return its exit code and what it said on stderr."""

    def defaults() -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)

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
    assert f"Stopped: `segtool {arguments[0]}` did not come to its end; nothing was written." in stderr
    assert "Abort" not in stderr
    assert "Traceback" not in stderr
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("epochs", "resume", "words"),
    [
        (None, False, "before the training began; no model was written."),
        (None, True, "before the training began; the run is as it was."),
        (0, False, "in the first epoch: no model was written; `segtool train --resume --out run` begins it again."),
        (1, False, "The finished epoch is kept: `segtool train --resume --out run` goes on from there."),
        (7, True, "The 7 finished epochs are kept"),
    ],
)
def test_a_stopped_training_says_what_is_kept(epochs: int | None, resume: bool, words: str) -> None:
    assert words in _stopped(epochs, Path("run"), resume=resume)


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
    assert result.stderr == "Stopped: `make` did not come to its end; out was written.\n"


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
    assert result.stderr == "Stopped: `start` did not come to its end; nothing was written.\n"
