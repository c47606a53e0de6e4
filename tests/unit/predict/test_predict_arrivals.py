"""What a watch keeps of the files that it saw; real folders, no waiting."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from segtool.errors import DataError
from segtool.predict.arrivals import Arrivals
from segtool.predict.manifest import MANIFEST_NAME, Entry, Manifest

OLD = 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "incoming"
    (path / "sub" / "deep").mkdir(parents=True)
    return path


def arrivals(folder: Path, **options: float) -> Arrivals:
    return Arrivals(folder, folder.parent / "out", **{"settle": 0.0, "patience": 0.0, **options})


def write(path: Path) -> Path:
    path.write_bytes(b"anything")
    return path


def test_files_that_are_gone_are_forgotten(folder: Path) -> None:
    seen = arrivals(folder)
    for number in range(30):
        done, failed = write(folder / f"{number}.png"), write(folder / "sub" / f"{number}.png")
        assert seen.whole() == [done, failed]
        seen.settle(done)
        seen.give_up(failed)
        assert seen.whole() == []
        done.unlink()
        failed.unlink()
    assert seen.whole() == []
    assert seen.known == set()


def test_a_file_is_done_as_long_as_it_is_there(folder: Path) -> None:
    seen = arrivals(folder)
    path = write(folder / "a.png")
    seen.whole()
    seen.settle(path)
    path.write_bytes(b"something else")
    assert seen.whole() == []
    path.unlink()
    assert seen.whole() == []
    write(path)
    assert seen.whole() == [path]


def test_a_folder_of_the_done_that_cannot_be_listed_forgets_nothing(folder: Path) -> None:
    seen = arrivals(folder)
    path = write(folder / "sub" / "a.png")
    seen.whole()
    seen.settle(path)
    away = folder.parent / "sub"
    (folder / "sub").rename(away)
    (folder / "sub").symlink_to(away)  # not listed, and the file is there
    assert seen.whole() == []
    assert seen.known == {path}


def test_a_waiting_file_is_seen_to_change(folder: Path) -> None:
    path = write(folder / "a.png")
    os.utime(path, (OLD, OLD))
    seen = arrivals(folder, settle=3600)
    assert seen.whole() == [path]  # as old as it says
    path.write_bytes(b"longer than before")
    assert seen.whole() == []
    assert seen.waiting


@pytest.mark.parametrize("below", ["", "sub", "sub/deep"])
def test_an_arrival_is_listed(folder: Path, below: str) -> None:
    seen = arrivals(folder)
    assert seen.whole() == []
    path = write(folder / below / "a.png")
    assert seen.whole() == [path]
    seen.settle(path)
    other = write(folder / below / "b.png")
    assert seen.whole() == [other]


def test_a_new_folder_is_listed(folder: Path) -> None:
    seen = arrivals(folder)
    (folder / "new").mkdir()
    path = write(folder / "new" / "a.png")
    assert seen.whole() == [path]


def test_outputs_of_an_earlier_run_do_not_arrive(folder: Path) -> None:
    out = folder / "predictions"
    (out / "sub").mkdir(parents=True)
    image = write(folder / "a.png")
    new = write(out / "sub" / "b.png")
    write(out / "sub" / "a.png")
    entry = Entry("a.png", "done", {"labels": "sub/a.png"})
    Manifest(out / MANIFEST_NAME, entries=[entry]).write()
    (folder / "manifest.json").write_text('{"name": "of another program"}')
    assert arrivals(folder).whole() == [image, new]


def test_a_folder_that_is_gone_is_an_error(folder: Path) -> None:
    seen = arrivals(folder)
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="does not exist; create it first"):
        seen.whole()
