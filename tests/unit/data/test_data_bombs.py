"""Archives that would take the memory away are refused before a byte of their arrays is unpacked."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

from bad import arrays

from segtool.data import array_files
from segtool.data.loading import load_dataset
from segtool.errors import DataError
from segtool.machine.memory import available_memory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.npz"


def test_a_good_archive_passes(path: Path) -> None:
    path.write_bytes(arrays.good_npz())
    assert len(load_dataset(str(path))) == 6


def test_more_than_the_memory_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(arrays.good_npz())
    needed = 6 * 16 * 20 * 2
    monkeypatch.setattr(array_files, "available_memory", lambda: needed)
    assert len(load_dataset(str(path))) == 6
    monkeypatch.setattr(array_files, "available_memory", lambda: needed - 1)
    with pytest.raises(DataError, match=rf"unpack to {needed:,} bytes and this machine has {needed - 1:,} left"):
        load_dataset(str(path))
    monkeypatch.setattr(array_files, "available_memory", lambda: None)
    assert len(load_dataset(str(path))) == 6


@pytest.mark.parametrize("shape", [(10**9, 1000, 1000), (2, 16, 21), (1, 1, 1)])
def test_a_shape_that_is_not_what_the_archive_holds(path: Path, shape: tuple[int, ...]) -> None:
    body = arrays.huge_header(shape) + bytes(2 * 16 * 20)
    path.write_bytes(arrays.npz_of({"images.npy": body, "labels.npy": body}))
    with pytest.raises(DataError, match=r"but holds 640"):
        load_dataset(str(path))


def test_python_objects_stay_packed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    path.write_bytes(arrays.object_npz())
    with pytest.raises(DataError, match="never unpickled"):
        load_dataset(str(path))
    path.write_bytes(arrays.good_npz(class_names=np.array([arrays.Boom()], object)))
    with pytest.raises(DataError, match="never unpickled"):
        load_dataset(str(path))
    assert not Path("pwned").exists()


class TestAvailableMemory:
    def test_the_machine(self, tmp_path: Path) -> None:
        (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:     3 kB\n")
        assert available_memory(proc=tmp_path, cgroups=tmp_path) == 3072

    @pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
    def test_a_container_may_have_less(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "meminfo").write_text("MemAvailable: 3 kB\n")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        for text, expected in (("1000\n", 1000), ("9223372036854771712", 3072), ("max\n", 3072)):
            (tmp_path / name).write_text(text)
            assert available_memory(proc=tmp_path, cgroups=tmp_path) == expected

    @pytest.mark.parametrize(
        ("of_process", "folder", "name"),
        [
            ("0::/system/job", "", "memory.max"),
            ("0::/system/job", "unified", "memory.max"),
            ("4:cpu:/other\n7:memory:/system/job", "memory", "memory.limit_in_bytes"),
            ("7:hugetlb,memory:/system/job", "hugetlb,memory", "memory.limit_in_bytes"),
        ],
    )
    @pytest.mark.parametrize("level", ["", "system", "system/job"])
    def test_the_least_limit_of_nested_groups_counts(
        self, tmp_path: Path, of_process: str, folder: str, name: str, level: str
    ) -> None:
        proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
        (proc / "self").mkdir(parents=True)
        (proc / "meminfo").write_text("MemAvailable: 3 kB\n")
        (proc / "self" / "cgroup").write_text(of_process + "\n")
        for each, limit in (("", "3000"), ("system", "max"), ("system/job", "2500"), ("system/job/below", "1")):
            (cgroups / folder / each).mkdir(parents=True, exist_ok=True)
            (cgroups / folder / each / name).write_text(f"{limit}\n")
        (cgroups / folder / level / name).write_text("2000\n")
        assert available_memory(proc=proc, cgroups=cgroups) == 2000

    def test_a_system_that_does_not_say(self, tmp_path: Path) -> None:
        assert available_memory(proc=tmp_path, cgroups=tmp_path) is None
