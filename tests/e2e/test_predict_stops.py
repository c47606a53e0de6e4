"""Stops, kills and watches of `segtool predict`: real processes, real signals, real files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_models import tiny_contract, write_model

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
JOURNAL = Path("out", "manifest.jsonl.part")
IMAGES = 600  # half a second and more of processor time
STOPS = (signal.SIGINT, signal.SIGTERM)
LIMIT = 600  # seconds; nothing takes so long that works, also where the machine is busy
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(Path("model.onnx"), tiny_contract(size_policy="tile"))


def write_images(count: int, folder: str = "images") -> None:
    """Write a few different images under many names, as links: what counts here is their number."""
    Path(folder).mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        target = Path(folder, f"{index:05d}.png")
        if index < 20:
            Image.fromarray(rng.integers(0, 256, (64, 84), dtype=np.uint8)).save(target)
        else:
            os.link(Path(folder, f"{index % 20:05d}.png"), target)


@contextmanager
def segtool(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start `segtool predict` into out/ with the usual handlers, whatever this process was started with."""

    def defaults() -> None:
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)

    call = [sys.executable, "-m", "segtool", "predict", "--model", "model.onnx", "--out", "out", *arguments]
    process = subprocess.Popen(call, **PIPES, text=True, preexec_fn=defaults)  # noqa: PLW1509
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process; return its exit code and what it said on stderr."""
    _, stderr = process.communicate(timeout=LIMIT)
    assert "Traceback" not in stderr
    return process.returncode, " ".join(stderr.split())


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def outputs() -> list[Path]:
    return sorted(Path("out").rglob("[!.]*.png"))


def manifest() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(Path("out/manifest.json").read_text())
    return value


def statuses() -> dict[str, str]:
    return {Path(entry["input"]).name: entry["status"] for entry in manifest()["entries"]}


@pytest.mark.parametrize("number", STOPS)
def test_a_stop_finishes_what_is_in_work_and_resume_does_the_rest(number: signal.Signals) -> None:
    write_images(IMAGES)
    with segtool("images") as process:
        wait_until(lambda: len(outputs()) > 5, process)
        process.send_signal(number)
        code, stderr = ended(process)
    assert code == 3
    assert "images not run" in stderr
    assert stderr.count("Stopped") == 1
    found = manifest()
    assert found["status"] == "interrupted"
    assert sum(found["counts"].values()) == IMAGES
    assert found["counts"]["not_run"] > 0
    assert found["counts"]["done"] == len(outputs())
    assert not list(Path("out").glob(".segtool-*"))
    with segtool("images", "--resume") as process:
        assert ended(process)[0] == 0
    assert len(outputs()) == IMAGES
    assert manifest()["counts"] == {
        "done": IMAGES - found["counts"]["done"], "skipped": found["counts"]["done"], "failed": 0, "not_run": 0
    }  # fmt: skip
    assert not JOURNAL.exists()


def status(process: subprocess.Popen[str]) -> dict[str, str]:
    """Return what Linux reports of a process."""
    lines = Path("/proc", str(process.pid), "status").read_text(encoding="ascii").splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def catches_sigterm(process: subprocess.Popen[str]) -> bool:
    """Return whether the process has a handler for SIGTERM. Python has none, segtool has one until the first stop."""
    return bool(int(status(process)["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1)


def processor_seconds(process: subprocess.Popen[str]) -> float:
    """Return the processor time of a process, which counts its progress also where the machine is busy."""
    fields = Path("/proc", str(process.pid), "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@needs_proc
@pytest.mark.parametrize("number", STOPS)
def test_a_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    Image.new("L", (10_000, 10_000)).save("huge.png")  # tens of seconds of tiles
    with segtool("huge.png") as process:
        wait_until(JOURNAL.exists, process)
        begun = processor_seconds(process)
        wait_until(lambda: processor_seconds(process) > begun + 0.5, process)
        process.send_signal(number)
        wait_until(lambda: not catches_sigterm(process), process)  # the first stop is noted, and the work goes on
        process.send_signal(number)
        assert process.wait(timeout=LIMIT) == -number  # 3 where it finished the image


def waits_for_input(process: subprocess.Popen[str]) -> bool:
    """Return whether the process catches SIGTERM and has slept for a while: it has started, and reads."""
    for _ in range(20):
        if not (catches_sigterm(process) and status(process)["State"].startswith("S")):
            return False
        time.sleep(0.01)
    return True


@needs_proc
def test_a_stop_before_anything_was_written() -> None:
    with segtool("-", "-v") as process:  # waits for a list that never comes
        wait_until(lambda: waits_for_input(process), process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=LIMIT) == 1
        _, stderr = ended(process)
    assert "nothing was written" in stderr
    assert not Path("out").exists()


STOPPED_WHILE_IMPORTING = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "segtool.models.resolve":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
signal.signal(signal.SIGINT, signal.default_int_handler)
from segtool.cli import main
main(["predict", "model.onnx", "--out", "out"])
"""


def test_a_stop_while_it_starts() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_WHILE_IMPORTING], check=False, capture_output=True, text=True, timeout=LIMIT
    )
    assert (done.returncode, "nothing was written" in done.stderr) == (1, True), done.stderr


def _check_whole() -> None:
    for path in outputs():
        with Image.open(path) as picture:
            assert picture.size == (84, 64)
            picture.load()


@pytest.mark.parametrize(("images", "kills"), [(150, 3), pytest.param(2000, 20, marks=pytest.mark.heavy)])
def test_kill_9_at_any_moment(images: int, kills: int) -> None:
    write_images(images)
    with segtool("images", "--color") as process:
        assert ended(process)[0] == 0
    shutil.move("out", "whole")
    rng = np.random.default_rng(7)
    for count in sorted(rng.integers(1, 2 * images - 20, kills).tolist()):
        with segtool("images", "--color", "--resume") as process:
            wait_until(lambda count=count: len(outputs()) >= count, process)
            time.sleep(rng.uniform(0, 0.005))
        _check_whole()
    with segtool("images", "--color", "--resume") as process:
        assert ended(process)[0] == 0
    ours, theirs = (
        {path.name: path.read_bytes() for path in Path(folder).iterdir() if "manifest" not in path.name}
        for folder in ("out", "whole")
    )
    assert ours == theirs
    assert len(ours) == 2 * images
    assert set(statuses().values()) <= {"done", "skipped"}
    whole = json.loads(Path("whole/manifest.json").read_text())
    assert _facts(manifest()) == _facts(whole)


def _facts(value: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: entry[key] for key in entry if key not in ("status", "seconds")} for entry in value["entries"]]


class TestWatch:
    @pytest.fixture(autouse=True)
    def _incoming(self) -> None:
        Path("incoming/sub").mkdir(parents=True)

    def write(self, name: str, value: int = 100) -> None:
        Image.fromarray(np.full((64, 84), value, np.uint8)).save(name)

    @pytest.mark.parametrize("number", STOPS)
    def test_files_are_taken_as_they_arrive(self, number: signal.Signals) -> None:
        self.write("incoming/there.png")
        self.write("moved.png", 50)
        with segtool("--watch", "incoming") as process:
            wait_until(lambda: len(outputs()) == 1, process)
            Path("moved.png").rename("incoming/sub/moved.png")
            wait_until(lambda: len(outputs()) == 2, process)
            self.write("incoming/there.bmp", 75)
            wait_until(lambda: len(outputs()) == 3, process)
            self.write("incoming/there.png", 25)  # each file once
            time.sleep(1.6)
            process.send_signal(number)
            code, _ = ended(process)
        assert code == 0
        assert [path.relative_to("out").as_posix() for path in outputs()] == [
            "sub/moved.png", "there.bmp.png", "there.png"
        ]  # fmt: skip
        assert [int(np.asarray(Image.open(path)).max()) for path in outputs()] == [2, 3, 4]
        assert statuses() == {"there.png": "done", "moved.png": "done", "there.bmp": "done"}
        assert manifest()["status"] == "complete"

    def test_a_file_that_is_still_written_is_waited_for(self) -> None:
        self.write("whole.bmp")
        data = Path("whole.bmp").read_bytes()
        with segtool("--watch", "incoming", "--watch-idle", "1") as process:
            wait_until(JOURNAL.exists, process)
            with Path("incoming/slow.bmp").open("wb") as stream:
                stream.write(data[:2000])
                stream.flush()
                time.sleep(2)  # longer than it takes to settle: it was tried, and could not be read
                stream.write(data[2000:])
            code, stderr = ended(process)
        assert (code, statuses()) == (0, {"slow.bmp": "done"})
        assert "slow.bmp" not in stderr

    def test_what_never_becomes_an_image_fails(self) -> None:
        self.write("incoming/good.png")
        Path("incoming/bad.png").write_bytes(b"no image")
        os.utime("incoming/bad.png", (1, 1))  # nobody is writing it
        with segtool("--watch", "incoming", "--watch-idle", "0.5") as process:
            code, stderr = ended(process)
        assert code == 3
        assert stderr.count("is not an image") == 1
        assert statuses() == {"bad.png": "failed", "good.png": "done"}

    def test_it_resumes_and_tries_again_what_failed(self) -> None:
        self.write("incoming/a.png")
        Path("incoming/b.png").write_bytes(b"no image")
        os.utime("incoming/b.png", (1, 1))
        with segtool("--watch", "incoming", "--watch-idle", "0.5") as process:
            assert ended(process)[0] == 3
        Path("incoming/a.png").unlink()
        self.write("incoming/b.png")
        self.write("incoming/a.tif")
        with segtool("--watch", "incoming", "--watch-idle", "0.5", "--resume") as process:
            assert ended(process)[0] == 0
        assert statuses() == {"a.tif": "done", "b.png": "done", "a.png": "skipped"}
        assert [path.name for path in outputs()] == ["a.png", "a.tif.png", "b.png"]

    def created_again(self, process: subprocess.Popen[str], content: Callable[[], object]) -> None:
        """Remove a done file, wait until that is seen, and create it again."""
        wait_until(lambda: "a.png" in {path.name for path in outputs()}, process)
        Path("incoming/a.png").unlink()
        time.sleep(1)
        content()

    @pytest.mark.parametrize("resumed", [False, True])
    def test_a_file_that_is_created_again_replaces_its_outputs(self, resumed: bool) -> None:
        self.write("incoming/a.png", 25)
        if resumed:
            with segtool("--watch", "incoming", "--watch-idle", "0.5") as process:
                assert ended(process)[0] == 0
        with segtool("--watch", "incoming", "--watch-idle", "3", *(["--resume"] if resumed else [])) as process:
            time.sleep(2 if resumed else 0)
            self.created_again(process, lambda: self.write("incoming/a.png", 100))
            assert ended(process)[0] == 0
        assert [path.name for path in outputs()] == ["a.png"]
        assert int(np.asarray(Image.open("out/a.png")).max()) == 4
        assert [entry["status"] for entry in manifest()["entries"]] == ["done"]

    def test_a_file_that_is_created_again_and_damaged_leaves_no_old_output(self) -> None:
        self.write("incoming/a.png")
        with segtool("--watch", "incoming", "--watch-idle", "3") as process:
            self.created_again(process, lambda: Path("incoming/a.png").write_bytes(b"no image"))
            code, stderr = ended(process)
        assert (code, statuses(), outputs()) == (3, {"a.png": "failed"}, [])
        assert stderr.count("is not an image") == 1

    def test_it_names_the_option_that_adds_to_an_earlier_run(self) -> None:
        self.write("incoming/a.png")
        with segtool("--watch", "incoming", "--watch-idle", "0.5") as process:
            assert ended(process)[0] == 0
        with segtool("--watch", "incoming", "--watch-idle", "0.5") as process:
            code, stderr = ended(process)
        assert code == 1
        assert "--resume" in stderr

    def test_an_output_that_is_there_fails_alone(self) -> None:
        self.write("incoming/a.png")
        self.write("incoming/b.png")
        Path("out").mkdir()
        Path("out/a.png").write_text("mine")
        with segtool("--watch", "incoming", "--watch-idle", "0.5") as process:
            assert ended(process)[0] == 3
        assert Path("out/a.png").read_text() == "mine"
        assert statuses() == {"a.png": "failed", "b.png": "done"}

    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (["--watch", "incoming", "--out", "incoming"], 1, "watched folder"),
            (["--watch", "incoming", "x.png"], 2, "exclude each other"),
            (["--watch", "nowhere"], 2, "nowhere"),
        ],
    )
    def test_mistakes(self, arguments: list[str], code: int, words: str) -> None:
        with segtool(*arguments) as process:
            found, stderr = ended(process)
        assert found == code
        assert words in stderr

    def test_a_watched_folder_that_goes_away(self) -> None:
        with segtool("--watch", "incoming") as process:
            wait_until(JOURNAL.exists, process)
            shutil.rmtree("incoming")
            code, stderr = ended(process)
        assert code == 1
        assert "folder incoming to watch does not exist" in " ".join(stderr.split())
