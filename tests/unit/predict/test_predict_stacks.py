"""Inputs that are not image files: .npy stacks, and lists of paths."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_models import expected_labels, tiny_contract, write_model

from segtool.cli import main
from segtool.images.image_io import read_mask
from segtool.predict.finding import find_sources, parse_path_list
from segtool.predict.manifest import Manifest, read_manifest
from segtool.predict.naming import output_stems
from segtool.predict.predict import PredictOptions, predict_paths
from segtool.runtime.opening import load
from segtool.runtime.segmenter import Segmenter


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return load(write_model(tmp_path / "model.onnx"), threads=1)


def predicted(segmenter: Segmenter, *inputs: Path) -> Manifest:
    return predict_paths(
        segmenter, [str(path) for path in inputs], options=PredictOptions(out=inputs[0].parent / "out")
    )


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


class TestStacks:
    @pytest.mark.parametrize(("shape", "order"), [((13, 64, 84), "C"), ((13, 64, 84, 1), "C"), ((3, 50, 60), "F")])
    def test_each_image_is_an_entry_of_its_own(
        self, segmenter: Segmenter, tmp_path: Path, shape: tuple[int, ...], order: str
    ) -> None:
        stack = np.array(pixels(*shape), order=order)
        np.save(tmp_path / "stack.npy", stack)
        entries = predicted(segmenter, tmp_path / "stack.npy").entries
        assert [entry.input for entry in entries] == [f"{tmp_path}/stack.npy[{index}]" for index in range(shape[0])]
        assert entries[2].outputs == {"labels": "stack/000002.png"}
        for index, entry in enumerate(entries):
            labels = expected_labels(stack[index].reshape(*shape[1:3], 1))
            if shape[1:3] == (64, 84):
                np.testing.assert_array_equal(read_mask(tmp_path / "out" / entry.outputs["labels"]), labels)
            assert entry.sha256 == hashlib.sha256(stack[index].tobytes()).hexdigest()
            assert entry.bytes == (tmp_path / "stack.npy").stat().st_size

    @pytest.mark.parametrize("shape", [(50, 60), (3, 50, 60), (3, 50, 60, 3)])
    def test_the_limit_of_pixels_counts_for_them_too(
        self, segmenter: Segmenter, tmp_path: Path, shape: tuple[int, ...]
    ) -> None:
        np.save(tmp_path / "x.npy", pixels(*shape))
        for limit, status in ((2999, "failed"), (3000, "done")):
            options = PredictOptions(out=tmp_path / f"out{limit}", max_pixels=limit)
            entries = predict_paths(segmenter, [str(tmp_path / "x.npy")], options=options).entries
            assert {entry.status for entry in entries} == {status}
            assert status == "done" or "60 x 50 pixels, but the limit is 2999" in entries[0].error

    @pytest.mark.parametrize("shape", [(64, 84), (64, 84, 1), (64, 84, 3), (64, 84, 4)])
    def test_one_image(self, segmenter: Segmenter, tmp_path: Path, shape: tuple[int, ...]) -> None:
        np.save(tmp_path / "one.npy", pixels(*shape))
        (entry,) = predicted(segmenter, tmp_path / "one.npy").entries
        assert (entry.status, entry.outputs) == ("done", {"labels": "one.png"})

    def test_colour_goes_the_way_of_files(self, tmp_path: Path) -> None:
        segmenter = load(write_model(tmp_path / "rgb.onnx", tiny_contract(channels=3)))
        stack = pixels(2, 64, 84, 3)
        np.save(tmp_path / "stack.npy", stack)
        predicted(segmenter, tmp_path / "stack.npy")
        np.testing.assert_array_equal(read_mask(tmp_path / "out/stack/000001.png"), expected_labels(stack[1]))

    @pytest.mark.parametrize(
        ("array", "words"),
        [
            (np.zeros((2, 64, 84), np.float32), "expected uint8"),
            (np.zeros((2, 64, 84, 7), np.uint8), "expected a non-empty"),
            (np.zeros((0, 64, 84), np.uint8), "expected a non-empty"),
            (np.zeros(5, np.uint8), "expected a non-empty"),
        ],
    )
    def test_what_is_no_image_is_said(
        self, segmenter: Segmenter, tmp_path: Path, array: np.ndarray, words: str
    ) -> None:
        np.save(tmp_path / "x.npy", array)
        manifest = predicted(segmenter, tmp_path / "x.npy")
        assert manifest.counts["done"] == 0
        assert all(words in entry.error for entry in manifest.entries)

    def test_objects_are_never_unpickled(self, segmenter: Segmenter, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.mkdir, (str(tmp_path / "unpickled"),)

        np.save(tmp_path / "objects.npy", np.array([Evil()], dtype=object), allow_pickle=True)
        (tmp_path / "bare.npy").write_bytes(pickle.dumps(Evil()))
        manifest = predicted(segmenter, tmp_path / "objects.npy", tmp_path / "bare.npy")
        assert manifest.counts["failed"] == 2
        assert all("never unpickled" in entry.error for entry in manifest.entries)
        assert not (tmp_path / "unpickled").exists()

    def test_a_cut_off_stack_fails_alone(self, segmenter: Segmenter, tmp_path: Path) -> None:
        np.save(tmp_path / "good.npy", pixels(2, 64, 84))
        (tmp_path / "cut.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:-100])
        manifest = predicted(segmenter, tmp_path / "cut.npy", tmp_path / "good.npy")
        assert (manifest.counts["done"], manifest.counts["failed"]) == (2, 1)

    def test_names_never_collide_with_files(self, tmp_path: Path) -> None:
        np.save(tmp_path / "stack.npy", pixels(2, 8, 8))
        (tmp_path / "stack").mkdir()
        (tmp_path / "stack/000001.png").touch()
        inputs = [str(tmp_path / "stack.npy"), str(tmp_path / "stack/000001.png"), str(tmp_path / "stack.npy")]
        sources, _ = find_sources(inputs, out=tmp_path / "out")
        assert output_stems(sources) == ["stack/000000", "stack/000001.npy", "stack/000001.png"]

    def test_hidden_names_in_a_folder_are_left_out(self, tmp_path: Path) -> None:
        for name in ("a.png", "sub/b.png", "._a.png", ".ipynb_checkpoints/a-checkpoint.png", "sub/.cache/c.png"):
            path = tmp_path / ".data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        sources, _ = find_sources([str(tmp_path / ".data")], out=tmp_path / "out")
        assert [Path(source.file).name for source in sources] == ["a.png", "b.png"]
        named, _ = find_sources([str(tmp_path / ".data/._a.png")], out=tmp_path / "out")
        assert len(named) == 1, "a file that is named is taken whatever its name"


PEAK = """
import sys
from pathlib import Path
import segtool
from segtool.predict.finding import find_sources
segmenter = segtool.load(sys.argv[1], threads=1)
small = list(find_sources([sys.argv[2]], out=Path("out"))[0])
def peak(): return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) * 1024
list(segmenter.stream(small[:8]))
before = peak()
count = sum(result.error is None for result in segmenter.stream(small))
assert count == len(small), count
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak memory from /proc")
def test_a_stack_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    write_model(tmp_path / "model.onnx")
    stack = np.lib.format.open_memmap(tmp_path / "stack.npy", "w+", np.uint8, (100, 1000, 1000))
    stack.flush()
    call = [sys.executable, "-c", PEAK, str(tmp_path / "model.onnx"), str(tmp_path / "stack.npy")]
    grown = int(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
    assert grown < stack.nbytes / 3


class TestPathLists:
    @pytest.mark.parametrize(
        ("data", "paths"),
        [
            (b"", []),
            (b"a.png\nb c.png\n", ["a.png", "b c.png"]),
            (b"a.png\r\n\r\nb.png", ["a.png", "b.png"]),
            (b"a\nb.png\0c.png\0", ["a\nb.png", "c.png"]),
            ("Größe.png\n".encode(), ["Größe.png"]),
        ],
    )
    def test_parsing(self, data: bytes, paths: list[str]) -> None:
        assert parse_path_list(data) == paths

    @pytest.mark.parametrize("separator", ["\n", "\0"])
    def test_a_dash_reads_stdin(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str) -> None:
        monkeypatch.chdir(tmp_path)
        write_model(Path("model.onnx"))
        for name in ("a b.npy", "b.npy", "c.npy"):
            np.save(name, pixels(8, 8))
        listed = io.BytesIO(separator.join(["a b.npy", "b.npy", "none.png", ""]).encode())
        result = CliRunner().invoke(main, ["predict", "c.npy", "-", "--model", "model.onnx"], input=listed)
        assert result.exit_code == 3, result.output
        entries = read_manifest(Path("predictions/manifest.json")).entries
        assert [entry.input for entry in entries] == ["c.npy", "a b.npy", "b.npy", "none.png"]

    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [(["-"], 1, "stdin"), (["-", "-"], 2, "one stdin"), (["-", "--watch-idle", "1"], 2, "--watch")],
    )
    def test_mistakes(self, arguments: list[str], code: int, words: str) -> None:
        result = CliRunner().invoke(main, ["predict", *arguments], input=b"")
        assert result.exit_code == code
        assert words in result.stderr
