"""Writing: whole or not at all, and never over something unasked."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from segtool.errors import OutputExistsError, OutputWriteError
from segtool.files import atomic_path, nan_to_none, refuse_existing, write_bytes, write_json, write_with


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


def test_write_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "Größe", "values": [1.5, float("nan")]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"name": "Größe", "values": [1.5, None]}
    assert "Größe" in text
    assert text.endswith("\n")


def test_nan_to_none_goes_deep_and_leaves_the_rest() -> None:
    nan = float("nan")
    assert nan_to_none({"a": [nan, (nan, 1)], "b": "nan", "c": 0.0}) == {"a": [None, [None, 1]], "b": "nan", "c": 0.0}
