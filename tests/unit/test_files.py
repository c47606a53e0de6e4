"""Writing: whole or not at all, and never over something unasked."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from segtool.errors import OutputExistsError, OutputWriteError
from segtool.files import (
    atomic_folder,
    atomic_path,
    lock_file,
    nan_to_none,
    refuse_existing,
    remove_unfinished,
    sha256_of,
    write_bytes,
    write_json,
    write_with,
)


class TestAtomicPath:
    def test_the_file_appears_when_the_block_ends(self, tmp_path: Path) -> None:
        target = tmp_path / "a" / "b.png"
        with atomic_path(target) as temporary:
            assert temporary.parent == target.parent
            assert temporary.suffix == ".png"
            temporary.write_text("whole")
            assert not target.exists()
        assert target.read_text() == "whole"
        assert list(target.parent.iterdir()) == [target]

    def test_a_failure_leaves_what_was_there_and_nothing_else(self, tmp_path: Path) -> None:
        target = tmp_path / "a.txt"
        target.write_text("old")
        with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError
        assert target.read_text() == "old"
        assert list(tmp_path.iterdir()) == [target]

    def test_an_error_of_the_system_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(OutputWriteError, match="Could not write"), atomic_path(tmp_path / "file" / "a.txt"):
            pass

    def test_a_full_disk(self, tmp_path: Path) -> None:
        with pytest.raises(OutputWriteError, match="No space left"), atomic_path(tmp_path / "a.txt"):
            raise OSError(28, "No space left on device")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
    def test_the_permissions_are_the_usual_ones(self, tmp_path: Path) -> None:
        (tmp_path / "plain.txt").touch()
        write_bytes(tmp_path / "a.txt", b"")
        modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain.txt", "a.txt")]
        assert modes[0] == modes[1]


class TestAtomicFolder:
    def test_it_appears_when_the_block_ends(self, tmp_path: Path) -> None:
        target = tmp_path / "a" / "b"
        with atomic_folder(target) as folder:
            (folder / "inner").mkdir()
            (folder / "inner" / "file").write_text("whole")
            assert not target.exists()
        assert (target / "inner" / "file").read_text() == "whole"
        assert list(target.parent.iterdir()) == [target]

    def test_a_failure_leaves_what_was_there(self, tmp_path: Path) -> None:
        target = tmp_path / "b"
        target.mkdir()
        (target / "old").touch()
        with pytest.raises(OutputWriteError, match="No space left"), atomic_folder(target, overwrite=True) as folder:
            (folder / "half").touch()
            raise OSError(28, "No space left on device")
        assert [path.name for path in target.iterdir()] == ["old"]
        assert list(tmp_path.iterdir()) == [target]

    def test_an_existing_one_is_replaced_only_on_request(self, tmp_path: Path) -> None:
        target = tmp_path / "b"
        target.mkdir()
        (target / "old").touch()
        with pytest.raises(OutputExistsError), atomic_folder(target):
            pass
        with atomic_folder(target, overwrite=True) as folder:
            (folder / "new").touch()
        assert [path.name for path in target.iterdir()] == ["new"]
        assert list(tmp_path.iterdir()) == [target]

    def test_the_old_one_comes_back_when_the_new_one_cannot_be_moved(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "b"
        target.mkdir()
        (target / "old").touch()
        rename = Path.rename

        def refused(path: Path, to: Path) -> Path:
            if path.name == "new":
                raise PermissionError(13, "Permission denied")
            return rename(path, to)

        monkeypatch.setattr(Path, "rename", refused)
        with pytest.raises(OutputWriteError, match="Permission denied"), atomic_folder(target, overwrite=True):
            pass
        assert [path.name for path in target.iterdir()] == ["old"]


class TestRefuseExisting:
    def test_nothing_there(self, tmp_path: Path) -> None:
        assert refuse_existing(tmp_path / "a", overwrite=False) == tmp_path / "a"

    def test_something_there(self, tmp_path: Path) -> None:
        (tmp_path / "a").touch()
        with pytest.raises(OutputExistsError, match="--overwrite"):
            refuse_existing(tmp_path / "a", overwrite=False)
        assert refuse_existing(str(tmp_path / "a"), overwrite=True) == tmp_path / "a"

    def test_a_link_to_nowhere_counts(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to(tmp_path / "gone")
        with pytest.raises(OutputExistsError):
            refuse_existing(tmp_path / "a", overwrite=False)


def test_write_bytes_and_write_with(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"one")
    write_with(tmp_path / "a", lambda path: path.write_bytes(b"two"))
    assert (tmp_path / "a").read_bytes() == b"two"


class TestRemoveUnfinished:
    def test_those_of_dead_processes_and_its_own_go_and_those_of_living_ones_stay(self, tmp_path: Path) -> None:
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        names = [f".segtool-{dead.pid}-a.png", f".segtool-{os.getpid()}-b.png", ".segtool-old.png"]
        left = [f".segtool-{os.getppid()}-c.png", "segtool.png", ".hidden.png"]
        for name in (*names, *left):
            (tmp_path / name).touch()
        assert remove_unfinished([tmp_path, tmp_path / "none"]) == 3
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(left)

    def test_what_a_kill_leaves_is_known_by_its_name(self, tmp_path: Path) -> None:
        code = "import os, sys; from segtool.files import atomic_path\n"
        code += "with atomic_path(sys.argv[1]) as path: path.write_text('half'); os.kill(os.getpid(), 9)"
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], check=False)
        assert len(list(tmp_path.iterdir())) == 1
        assert remove_unfinished([tmp_path]) == 1
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_a_kill_leaves_goes_too_and_that_of_a_running_process_stays(self, tmp_path: Path) -> None:
        code = "import os, sys; from segtool.files import TEMPORARY, temporary_folder\n"
        code += "with temporary_folder(TEMPORARY, beside=sys.argv[1]) as path:\n"
        code += "    (path / 'a.png').write_text('half'); print(path, flush=True); sys.stdin.read()"
        call = [sys.executable, "-c", code, str(tmp_path)]
        with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            folder = Path(other.stdout.readline().strip())
            assert remove_unfinished([tmp_path]) == 0
            other.kill()
            other.wait()
            assert folder.is_dir()
            assert remove_unfinished([tmp_path]) == 1
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")
def test_a_lock_is_held_by_one_process_and_released_by_a_kill(tmp_path: Path) -> None:
    code = "import sys, time; from segtool.files import lock_file\n"
    code += "file = open(sys.argv[1], 'w'); print(lock_file(file.fileno()), flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True)
    with other, (tmp_path / "a").open("a") as file:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not lock_file(file.fileno())
        other.kill()
        other.wait()
        assert lock_file(file.fileno())


def test_sha256_of(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_write_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "Größe", "values": [1.5, float("nan")]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"name": "Größe", "values": [1.5, None]}
    assert "Größe" in text
    assert text.endswith("\n")


def test_nan_to_none_goes_deep_and_leaves_the_rest() -> None:
    nan = float("nan")
    assert nan_to_none({"a": [nan, (nan, 1)], "b": "nan", "c": 0.0}) == {"a": [None, [None, 1]], "b": "nan", "c": 0.0}
