"""What a watch keeps of the files that it saw; real folders, no waiting."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from segtool.errors import DataError
from segtool.predict.arrivals import Arrivals, Status
from segtool.predict.manifest import MANIFEST_NAME, Entry, Manifest

OLD = 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "incoming"
    (path / "sub" / "deep").mkdir(parents=True)
    return path


def arrivals(folder: Path, **options: float) -> Arrivals:
    return Arrivals(folder, folder.parent / "out", **{"settle": 0.0, "patience": 0.0, **options})


def complete(seen: Arrivals) -> list[Path]:
    return [file.path for file in seen.poll()[0]]


def end(seen: Arrivals, status: Status) -> list[Path]:
    """Give the complete files a status, as the watch does."""
    files, _ = seen.poll()
    for file in files:
        file.status = status
    return [file.path for file in files]


def write(path: Path) -> Path:
    path.write_bytes(b"anything")
    return path


def test_files_that_are_gone_are_forgotten_and_reported_once(folder: Path) -> None:
    seen = arrivals(folder)
    for number in range(30):
        done, failed = write(folder / f"{number}.png"), write(folder / "sub" / f"{number}.png")
        files, removed = seen.poll()
        assert ([file.path for file in files], removed) == ([done, failed], [])
        files[0].status, files[1].status = "done", "failed"
        assert seen.poll() == ([], [])
        done.unlink()
        failed.unlink()
        files, removed = seen.poll()
        assert not files
        assert {file.path for file in removed} == {done, failed}
    assert seen.poll() == ([], [])


def test_a_waiting_file_that_is_gone_is_reported(folder: Path) -> None:
    seen = arrivals(folder, settle=3600)
    path = write(folder / "a.png")
    assert seen.poll() == ([], [])
    assert [file.path for file in seen.waiting] == [path]
    path.unlink()
    assert [file.path for file in seen.poll()[1]] == [path]
    assert not seen.waiting


def test_a_file_is_done_as_long_as_it_is_there(folder: Path) -> None:
    seen = arrivals(folder)
    path = write(folder / "a.png")
    assert end(seen, "done") == [path]
    path.write_bytes(b"something else")
    assert complete(seen) == []
    path.unlink()
    assert complete(seen) == []
    write(path)
    assert complete(seen) == [path]


def test_a_failed_file_is_read_again_after_a_change(folder: Path) -> None:
    seen = arrivals(folder)
    path = write(folder / "a.png")
    assert end(seen, "failed") == [path]
    assert complete(seen) == []
    path.write_bytes(b"something else")
    assert complete(seen) == [path]


def test_a_second_failure_of_one_state_is_the_last(folder: Path) -> None:
    seen = arrivals(folder, patience=3600)
    write(folder / "a.png")
    (file,), _ = seen.poll()
    assert seen.try_later(file)
    assert seen.poll() == ([], [])  # not before its patience has passed
    assert seen.waiting == [file]
    assert not seen.try_later(file)
    assert (file.status, seen.waiting) == ("failed", [])


@pytest.mark.parametrize("status", ["done", "failed"])
def test_a_folder_of_files_that_cannot_be_listed_forgets_none_of_them(folder: Path, status: Status) -> None:
    seen = arrivals(folder)
    path = write(folder / "sub" / "a.png")
    assert end(seen, status) == [path]
    away = folder.parent / "sub"
    (folder / "sub").rename(away)
    (folder / "sub").symlink_to(away)  # not listed, and the file is there
    assert seen.poll() == ([], [])
    (folder / "sub").unlink()
    away.rename(folder / "sub")
    assert complete(seen) == []


def test_a_waiting_file_is_seen_to_change(folder: Path) -> None:
    path = write(folder / "a.png")
    os.utime(path, (OLD, OLD))
    seen = arrivals(folder, settle=3600)
    assert complete(seen) == [path]  # as old as it says
    path.write_bytes(b"longer than before")
    assert complete(seen) == []
    assert seen.waiting


@pytest.mark.parametrize("below", ["", "sub", "sub/deep"])
def test_an_arrival_is_listed(folder: Path, below: str) -> None:
    seen = arrivals(folder)
    assert complete(seen) == []
    path = write(folder / below / "a.png")
    assert end(seen, "done") == [path]
    other = write(folder / below / "b.png")
    assert complete(seen) == [other]


def test_a_new_folder_is_listed(folder: Path) -> None:
    seen = arrivals(folder)
    (folder / "new").mkdir()
    path = write(folder / "new" / "a.png")
    assert complete(seen) == [path]


def test_outputs_of_an_earlier_run_do_not_arrive(folder: Path) -> None:
    out = folder / "predictions"
    (out / "sub").mkdir(parents=True)
    image = write(folder / "a.png")
    new = write(out / "sub" / "b.png")
    write(out / "sub" / "a.png")
    entry = Entry("a.png", "done", {"labels": "sub/a.png"})
    Manifest(out / MANIFEST_NAME, entries=[entry]).write()
    (folder / "manifest.json").write_text('{"name": "of another program"}')
    assert complete(arrivals(folder)) == [image, new]


def test_a_folder_that_is_gone_is_an_error(folder: Path) -> None:
    seen = arrivals(folder)
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="does not exist; create it first"):
        seen.poll()
