"""Inputs and outputs that fsspec reaches: what is found, how outputs are named, that files appear whole."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segtool.errors import DataError, OutputExistsError, OutputWriteError
from segtool.predict.finding import find_sources, is_url
from segtool.predict.naming import output_stems
from segtool.predict.ray_engine.inputs import find_inputs
from segtool.predict.ray_engine.outputs import OutputFolder, open_output
from segtool.predict.ray_engine.predict import _folder_of_records
from segtool.predict.ray_engine.storage import Location, open_location

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
def memory() -> Iterator[Any]:
    fs = fsspec.filesystem("memory")
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


class TestInputs:
    def stems(self, inputs: list[str], out: str = "/elsewhere") -> list[str]:
        return [one.stem for one in find_inputs(inputs, out=out)[0]]

    @pytest.mark.parametrize("pattern", ["", "/*.png", "/**/*.png", "/a.png", "/notes.txt"])
    def test_urls_are_found_and_named_as_paths_are(self, images: Path, tmp_path: Path, pattern: str) -> None:
        sources, _ = find_sources([f"{images}{pattern}"], out=tmp_path / "out")
        # A pattern of paths leaves out hidden files by itself; of URLs we do.
        assert sorted(self.stems([f"file://{images}{pattern}"])) == sorted(output_stems(sources))

    def test_an_archive(self, images: Path, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name in NAMES:
                archive.write(images / name, name)
        found, _ = find_inputs([f"zip://*.png::file://{tmp_path}/x.zip"], out="/elsewhere")
        assert [one.stem for one in found] == ["a", "b"]
        assert isinstance(found[0].place, Location)
        found[0].place.fetch(tmp_path / "fetched.png")
        assert (tmp_path / "fetched.png").read_bytes() == (images / "a.png").read_bytes()

    def test_paths_and_urls_together(self, images: Path) -> None:
        found, missing = find_inputs([f"file://{images}/sub", f"{images}/a.png", "file:///none"], out="/elsewhere")
        assert found[0].name == f"{images}/a.png"
        assert len({one.stem for one in found}) == 3
        assert missing == ["file:///none"]

    def test_twice_is_once(self, images: Path) -> None:
        assert self.stems([f"file://{images}/a.png", f"file://{images}"]).count("a") == 1

    def test_the_output_folder_inside(self, images: Path) -> None:
        assert self.stems([f"file://{images}"], out=f"file://{images}/sub") == ["a", "b"]

    def test_a_stack_is_every_image_in_it(self, images: Path) -> None:
        np.save(images / "stack.npy", np.zeros((2, 8, 8), np.uint8))
        found, _ = find_inputs([f"{images}/stack.npy", f"{images}/a.png"], out="/elsewhere")
        assert [(one.name, one.stem, one.index) for one in found] == [
            (f"{images}/stack.npy[0]", "stack/000000", 0),
            (f"{images}/stack.npy[1]", "stack/000001", 1),
            (f"{images}/a.png", "a", None),
        ]

    def test_a_stack_at_a_url_is_refused(self, images: Path) -> None:
        np.save(images / "stack.npy", np.zeros((2, 8, 8), np.uint8))
        with pytest.raises(DataError, match=r"stack\.npy is a \.npy file, and these are not read from URLs"):
            find_inputs([f"file://{images}/stack.npy"], out="/elsewhere")

    def test_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="No image was found in none, file://"):
            find_inputs(["none", f"file://{tmp_path}"], out="/elsewhere")

    def test_a_key_that_would_leave_the_output_folder(self, memory: Any) -> None:
        memory.store["/bucket/../../evil.png"] = memory.open("/x", "wb")
        place = Location(memory, "/bucket/../../evil.png")
        assert place.is_file()
        with pytest.raises(DataError, match=r"contains \.\. in its name"):
            find_inputs(["memory://bucket/../../evil.png"], out="/elsewhere")


def write(folder: OutputFolder, name: str, text: str) -> None:
    """Write one output as an actor does."""

    def fill(scratch: Path) -> None:
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).write_text(text)

    folder.write([name], fill)


class TestOutputs:
    @pytest.mark.parametrize("prefix", ["", "file://"])
    def test_written_twice_and_nothing_beside(self, tmp_path: Path, prefix: str) -> None:
        with open_output(f"{prefix}{tmp_path}/out[1]").with_scratch() as folder:
            for text in ("one", "two"):
                write(folder, "sub/a.png", text)
        assert [path.name for path in (tmp_path / "out[1]").rglob("*")] == ["sub", "a.png"]
        assert (tmp_path / "out[1]/sub/a.png").read_text() == "two"

    def test_where_there_is_no_rename(self, memory: Any) -> None:
        with OutputFolder(Location(memory, "/out")).with_scratch() as folder:
            write(folder, "sub/a.png", "one")
        assert memory.find("/") == ["/out/sub/a.png"]

    @pytest.mark.parametrize("prefix", ["", "file://"])
    def test_what_a_lost_node_leaves_is_removed(self, tmp_path: Path, prefix: str) -> None:
        with open_output(f"{prefix}{tmp_path}/out").with_scratch() as folder:
            write(folder, "a.png", "one")
            (tmp_path / "out" / folder.scratch / "unfinished.png").write_text("tw")
            (tmp_path / "out/.segtool-of-another-run.png").write_text("th")
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".segtool-of-another-run.png", "a.png"]

    @pytest.mark.parametrize("prefix", ["", "file://"])
    def test_a_node_that_was_taken_for_lost_writes_nothing(self, tmp_path: Path, prefix: str) -> None:
        with open_output(f"{prefix}{tmp_path}/out").with_scratch() as folder:
            pass
        with pytest.raises(OutputWriteError):
            write(folder, "a.png", "late")
        assert list((tmp_path / "out").iterdir()) == []

    @pytest.mark.parametrize("prefix", ["", "file://"])
    def test_a_file_in_the_way(self, tmp_path: Path, prefix: str) -> None:
        with open_output(f"{prefix}{tmp_path}/out").with_scratch() as folder:
            (tmp_path / "out").mkdir(exist_ok=True)
            (tmp_path / "out/sub").write_text("in the way")
            with pytest.raises(OutputWriteError, match=r"Could not write .*out/sub/a.png"):
                write(folder, "sub/a.png", "one")

    @pytest.mark.parametrize("prefix", ["", "file://"])
    def test_what_is_there_is_refused(self, tmp_path: Path, prefix: str) -> None:
        folder = open_output(f"{prefix}{tmp_path}/out")
        folder.refuse_outputs(["a.png"], [], overwrite=False)
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a.png").write_text("mine")
        folder.refuse_outputs(["b.png"], [], overwrite=False)
        folder.refuse_outputs(["a.png"], [], overwrite=True)
        with pytest.raises(OutputExistsError, match="--overwrite"):
            folder.refuse_outputs(["a.png"], [], overwrite=False)

    @pytest.mark.parametrize("prefix", ["", "file://"])
    def test_an_input_is_never_replaced(self, images: Path, prefix: str) -> None:
        folder = open_output(f"{prefix}{images}")
        found, _ = find_inputs([f"{prefix}{images}"], out=folder.place.name)
        with pytest.raises(DataError, match="would replace an input"):
            folder.refuse_outputs(["a.png"], [one.place for one in found], overwrite=True)

    @pytest.mark.parametrize("prefix", ["", "file://"])
    def test_an_input_behind_a_link_is_never_replaced(self, images: Path, tmp_path: Path, prefix: str) -> None:
        (tmp_path / "linked").symlink_to(images)
        folder = open_output(f"{prefix}{tmp_path}/linked")
        found, _ = find_inputs([f"{prefix}{images}"], out="/elsewhere")
        with pytest.raises(DataError, match="would replace an input"):
            folder.refuse_outputs(["a.png"], [one.place for one in found], overwrite=True)

    @pytest.mark.parametrize("prefix", ["", "file://"])
    def test_a_folder_in_the_place_of_an_output(self, tmp_path: Path, prefix: str) -> None:
        (tmp_path / "out/a.png").mkdir(parents=True)
        with (
            open_output(f"{prefix}{tmp_path}/out").with_scratch() as folder,
            pytest.raises(OutputWriteError, match=r"Could not write .*a\.png"),
        ):
            write(folder, "a.png", "one")
        assert not list((tmp_path / "out/a.png").iterdir())

    @pytest.mark.parametrize("out", ["memory://x", "zip://::file:///x.zip"])
    def test_where_processes_cannot_write_together(self, out: str) -> None:
        with pytest.raises(DataError, match=r"several processes|cannot be opened"):
            open_output(out)

    @pytest.mark.parametrize("prefix", ["", "file://"])
    def test_a_node_with_another_folder_of_that_name(self, tmp_path: Path, prefix: str) -> None:
        with open_output(f"{prefix}{tmp_path}/out").with_scratch() as folder:
            folder.require_shared()
            (tmp_path / "out").rename(tmp_path / "elsewhere")
            with pytest.raises(OutputWriteError, match="not the same folder on every node"):
                folder.require_shared()

    def test_the_manifest_of_a_stopped_run_reaches_a_remote_place(self, memory: Any) -> None:
        with pytest.raises(KeyboardInterrupt), _folder_of_records(OutputFolder(Location(memory, "/out"))) as here:
            (here / "manifest.json").write_text("{}")
            raise KeyboardInterrupt
        assert memory.find("/") == ["/out/manifest.json"]

    @pytest.mark.parametrize("prefix", ["", "file://"])
    def test_the_records_of_a_local_folder_are_in_it(self, tmp_path: Path, prefix: str) -> None:
        with _folder_of_records(open_output(f"{prefix}{tmp_path}/out")) as here:
            assert here == tmp_path / "out"
