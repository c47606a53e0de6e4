"""Inputs and outputs that fsspec reaches: what is found, how outputs are named, that files appear whole."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_models import tiny_contract

from segtool.errors import DataError, OutputExistsError, OutputWriteError
from segtool.predict.finding import find_sources, is_url
from segtool.predict.naming import output_stems
from segtool.predict.ray_engine.inputs import find_inputs
from segtool.predict.ray_engine.outputs import OutputFolder, open_output
from segtool.predict.ray_engine.storage import Location, open_location
from segtool.runtime.sources import Source
from segtool.runtime.stream import Result

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")

NAMES = ("a.png", "b.png", "sub/a.png", "sub/deep/c.jpg")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / ".segtool-0123.png").write_bytes(b"unfinished")
    for hidden in (".ipynb_checkpoints/a.png", "sub/.cache/a.png", "sub/._a.png"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(b"what an editor keeps")
    return folder


@pytest.fixture
def memory(images: Path) -> Iterator[Any]:
    """A file system in memory with the images in /images."""
    fs = fsspec.filesystem("memory")
    fs.put(f"{images}/", "/images/", recursive=True)
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


class TestUrls:
    def test_what_is_one(self) -> None:
        assert all(map(is_url, ["s3://b/k", "file:///x", "zip://a.png::s3://b/x.zip"]))
        assert not any(map(is_url, ["images/a.png", "/x/a.png", "C:\\x\\a.png", "C:/x/a.png", "a:b"]))

    def test_an_unknown_protocol(self) -> None:
        with pytest.raises(DataError, match=r"nope://x cannot be opened \(Protocol not known"):
            open_location("nope://x")

    def test_a_password_is_in_no_message(self) -> None:
        with pytest.raises(DataError) as caught:
            open_location("nope://me:secret@host/x")
        assert "secret" not in str(caught.value)


@pytest.mark.usefixtures("memory")
class TestInputs:
    def stems(self, inputs: list[str], out: Path | Location = Path("/elsewhere")) -> list[str]:
        return [one.stem for one in find_inputs(inputs, out=out)[0]]

    @pytest.mark.parametrize("pattern", ["", "/*.png", "/**/*.png", "/a.png", "/notes.txt"])
    def test_urls_are_found_and_named_as_paths_are(self, images: Path, tmp_path: Path, pattern: str) -> None:
        sources, _ = find_sources([f"{images}{pattern}"], out=tmp_path / "out")
        # A pattern of paths leaves out hidden files by itself; of URLs we do.
        assert sorted(self.stems([f"memory://images{pattern}"])) == sorted(output_stems(sources))

    def test_a_file_url_is_a_path(self, images: Path) -> None:
        found, _ = find_inputs([f"file://{images}/sub"], out=Path("/elsewhere"))
        assert [one.name for one in found] == [f"{images}/sub/a.png", f"{images}/sub/deep/c.jpg"]
        assert open_output(f"file://{images}/out").place == images / "out"

    def test_a_relative_path_is_absolute_on_the_nodes(self, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(images)
        ((one,), _) = find_inputs(["a.png"], out=Path("/elsewhere"))
        assert (one.name, one.place) == ("a.png", Source(f"{images}/a.png", "."))

    def test_an_archive(self, images: Path, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name in NAMES:
                archive.write(images / name, name)
        found, _ = find_inputs([f"zip://*.png::file://{tmp_path}/x.zip"], out=Path("/elsewhere"))
        assert [one.stem for one in found] == ["a", "b"]
        assert isinstance(found[0].place, Location)
        found[0].place.fetch(tmp_path / "fetched.png")
        assert (tmp_path / "fetched.png").read_bytes() == (images / "a.png").read_bytes()

    def test_paths_and_urls_together(self, images: Path) -> None:
        inputs = ["memory://images/sub", f"{images}/a.png", "memory://none"]
        found, missing = find_inputs(inputs, out=Path("/elsewhere"))
        assert found[0].name == f"{images}/a.png"
        assert len({one.stem for one in found}) == 3
        assert missing == ["memory://none"]

    def test_twice_is_once(self) -> None:
        assert self.stems(["memory://images/a.png", "memory://images"]).count("a") == 1

    def test_the_output_folder_inside(self, memory: Any) -> None:
        assert self.stems(["memory://images"], out=Location(memory, "/images/sub")) == ["a", "b"]

    def test_a_stack_is_every_image_in_it(self, images: Path) -> None:
        np.save(images / "stack.npy", np.zeros((2, 8, 8), np.uint8))
        found, _ = find_inputs([f"{images}/stack.npy", f"{images}/a.png"], out=Path("/elsewhere"))
        assert [(one.name, one.stem) for one in found] == [
            (f"{images}/stack.npy[0]", "stack/000000"),
            (f"{images}/stack.npy[1]", "stack/000001"),
            (f"{images}/a.png", "a"),
        ]

    def test_a_stack_at_a_url_is_refused(self, memory: Any) -> None:
        memory.pipe("/images/stack.npy", b"an array")
        with pytest.raises(DataError, match=r"stack\.npy is a \.npy file, and these are not read from URLs"):
            find_inputs(["memory://images/stack.npy"], out=Path("/elsewhere"))

    def test_nothing(self) -> None:
        with pytest.raises(DataError, match="No image was found: none does not exist, memory://nowhere"):
            find_inputs(["none", "memory://nowhere"], out=Path("/elsewhere"))

    def test_a_key_that_would_leave_the_output_folder(self, memory: Any) -> None:
        memory.store["/bucket/../../evil.png"] = memory.open("/x", "wb")
        place = Location(memory, "/bucket/../../evil.png")
        assert place.is_file()
        with pytest.raises(DataError, match=r"contains \.\. in its name"):
            find_inputs(["memory://bucket/../../evil.png"], out=Path("/elsewhere"))


def write(folder: OutputFolder, labels: int = 0) -> None:
    """Write the label map of one image as an actor does."""
    result = Result(0, Path("a.png"), None, np.full((4, 4), labels, np.uint8), None, 0.0)
    folder.write(result, {"labels": "sub/a.png"}, tiny_contract())


def value(path: Path) -> int:
    with Image.open(path) as picture:
        return int(np.asarray(picture).max())


class TestFolder:
    @pytest.fixture
    def out(self, tmp_path: Path) -> Path:
        (tmp_path / "out[1]").mkdir()
        return tmp_path / "out[1]"

    def test_written_twice_and_nothing_beside(self, out: Path) -> None:
        with open_output(str(out)).with_scratch() as folder:
            for labels in (1, 2):
                write(folder, labels)
        assert [path.name for path in out.rglob("*")] == ["sub", "a.png"]
        assert value(out / "sub/a.png") == 2

    def test_what_a_lost_node_leaves_is_removed(self, out: Path) -> None:
        with open_output(str(out)).with_scratch() as folder:
            write(folder)
            assert folder.scratch is not None
            (folder.scratch / "unfinished.png").write_text("tw")
            (out / ".segtool-of-another-run.png").write_text("th")
        assert sorted(path.name for path in out.iterdir()) == [".segtool-of-another-run.png", "sub"]

    def test_a_node_that_was_taken_for_lost_writes_nothing(self, out: Path) -> None:
        with open_output(str(out)).with_scratch() as folder:
            pass
        with pytest.raises(OutputWriteError):
            write(folder)
        assert list(out.iterdir()) == []

    def test_a_node_that_writes_while_the_run_ends_leaves_nothing(self, out: Path) -> None:
        def fill(scratch: Path, begun: Event, ended: Event) -> None:
            for number in count():
                with suppress(OSError):
                    (scratch / f"{number}.png").write_text("unfinished")
                if number == 100:
                    begun.set()
                if ended.is_set():
                    return

        for _ in range(10):
            begun, ended = Event(), Event()
            with open_output(str(out)).with_scratch() as folder:
                assert folder.scratch is not None
                node = Thread(target=fill, args=(folder.scratch, begun, ended))
                node.start()
                begun.wait()
            ended.set()
            node.join()
        assert list(out.iterdir()) == []

    @pytest.mark.parametrize("name", ["sub", "sub/a.png"])
    def test_something_in_the_way(self, out: Path, name: str) -> None:
        if name == "sub":
            (out / "sub").write_text("a file in the place of a folder")
        else:
            (out / "sub/a.png").mkdir(parents=True)
        with (
            open_output(str(out)).with_scratch() as folder,
            pytest.raises(OutputWriteError, match=r"Could not write .*sub/a.png"),
        ):
            write(folder)

    def test_a_node_with_another_folder_of_that_name(self, out: Path) -> None:
        with open_output(str(out)).with_scratch() as folder:
            folder.require_shared()
            out.rename(out.parent / "elsewhere")
            with pytest.raises(OutputWriteError, match="not the same folder on every node"):
                folder.require_shared()

    def test_the_records_are_in_it(self, out: Path) -> None:
        with open_output(str(out)).records() as here:
            assert here == out


class TestRemoteOutputs:
    def test_where_there_is_no_rename(self, memory: Any) -> None:
        with OutputFolder(Location(memory, "/out")).with_scratch() as folder:
            write(folder)
        assert memory.find("/out") == ["/out/sub/a.png"]

    def test_what_is_there_is_refused(self, memory: Any) -> None:
        folder = OutputFolder(Location(memory, "/out"))
        folder.refuse_remote(["a.png"], [], overwrite=False)
        memory.pipe("/out/a.png", b"mine")
        folder.refuse_remote(["b.png"], [], overwrite=False)
        folder.refuse_remote(["a.png"], [], overwrite=True)
        with pytest.raises(OutputExistsError, match="--overwrite"):
            folder.refuse_remote(["a.png"], [], overwrite=False)

    def test_an_input_is_never_replaced(self, memory: Any) -> None:
        folder = OutputFolder(Location(memory, "/images"))
        found, _ = find_inputs(["memory://images"], out=folder.place)
        with pytest.raises(DataError, match="would replace an input"):
            folder.refuse_remote(["a.png"], [one.place for one in found], overwrite=True)

    @pytest.mark.parametrize("out", ["memory://x", "zip://::file:///x.zip"])
    def test_where_processes_cannot_write_together(self, out: str) -> None:
        with pytest.raises(DataError, match=r"several processes|cannot be opened"):
            open_output(out)

    def test_the_manifest_of_a_stopped_run_reaches_it(self, memory: Any) -> None:
        with pytest.raises(KeyboardInterrupt), OutputFolder(Location(memory, "/out")).records() as here:
            (here / "manifest.json").write_text("{}")
            raise KeyboardInterrupt
        assert memory.find("/out") == ["/out/manifest.json"]
