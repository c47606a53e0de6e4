"""Many images: memory stays below about 1 kB for each, and the manifest of all is complete and in order."""

from __future__ import annotations

import json
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import write_model

from segtool.errors import DataError
from segtool.predict.finding import find_sources
from segtool.predict.journal import open_journal
from segtool.predict.manifest import Entry, Manifest, read_manifest
from segtool.predict.naming import Namer
from segtool.predict.predict import PredictOptions, predict_paths
from segtool.predict.predict_run import PredictRun
from segtool.predict.resume import earlier_entries
from segtool.runtime.opening import load
from segtool.runtime.segmenter import Segmenter

FEW, MANY = 1000, 9000
STRANGE = os.fsdecode(b"caf\xe9.png")


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return load(write_model(tmp_path / "model.onnx"), threads=1)


def make_files(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        (folder / f"a-name-of-some-length-{index:06d}.png").touch()
    return folder


def entry_of(name: str) -> Entry:
    outputs = {"labels": name}
    return Entry(name, "done", outputs, {"labels": "0" * 64}, None, None, 64, 84, 5000, 1, "f" * 64, "CPU", 0.1)


class Traced:
    """What is allocated in a block: at its end, and at most; in bytes."""

    held = 0
    peak = 0

    def __enter__(self) -> Traced:
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.held, self.peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()


class TestMemory:
    def test_of_planning_a_folder(self, segmenter: Segmenter, tmp_path: Path) -> None:
        traced = {}
        for count in (FEW, MANY):
            folder = make_files(tmp_path / str(count), count)
            options = PredictOptions(out=tmp_path / "out")
            with open_journal(options.out) as journal:
                run = PredictRun(segmenter, options, journal, header={}, earlier={})
                with Traced() as traced[count]:
                    sources, _ = find_sources([str(folder)], out=options.out)
                    jobs = run.plan(sources, Namer(source.folder for source in sources))
                    run.refuse_outputs(jobs)
                assert len(jobs) == len(sources) == count
        names = MANY - FEW
        assert traced[MANY].held - traced[FEW].held < 700 * names
        assert traced[MANY].peak - traced[FEW].peak < 900 * names

    def test_of_a_journal(self, tmp_path: Path) -> None:
        with open_journal(tmp_path) as journal:
            journal.begin({}, continues=False)
            with Traced() as traced:
                for index in range(FEW):
                    journal.append(entry_of(f"{index}.png"))
        assert traced.held < 10 * FEW

    @pytest.mark.parametrize("has_journal", [True, False])
    def test_of_taking_up_an_earlier_run(self, tmp_path: Path, has_journal: bool) -> None:
        traced = {}
        header = {"model_sha256": "0", "kinds": ["labels"], "tile": "auto", "folder": str(Path.cwd())}
        for count in (FEW, MANY):
            options = PredictOptions(out=tmp_path / str(count), resume=True)
            entries = (entry_of(f"{index}.png") for index in range(count))
            with open_journal(options.out) as journal:
                journal.begin(header, continues=False)
                if has_journal:
                    for entry in entries:
                        journal.append(entry)
                else:
                    Manifest(options.out / "manifest.json", header, list(entries)).write()
                    journal.remove()
            with open_journal(options.out) as journal, Traced() as traced[count]:
                assert len(earlier_entries(journal, header, options)) == count
        assert traced[MANY].peak - traced[FEW].peak < 1500 * (MANY - FEW)

    def test_of_an_output_folder_that_is_full(self, segmenter: Segmenter, tmp_path: Path) -> None:
        traced = {}
        for count in (FEW, MANY):
            options = PredictOptions(out=make_files(tmp_path / str(count), count))
            with open_journal(options.out) as journal, Traced() as traced[count]:
                PredictRun(segmenter, options, journal, header={}, earlier={}).begin()
        assert traced[MANY].peak - traced[FEW].peak < 10 * (MANY - FEW)


class TestRun:
    def test_the_manifest_of_many_is_complete_and_in_order_and_resumed(
        self, segmenter: Segmenter, tmp_path: Path
    ) -> None:
        folder = tmp_path / "images"
        folder.mkdir()
        Image.fromarray(np.zeros((64, 84), np.uint8)).save(folder / "0000.png")
        for index in range(1, 600):
            os.link(folder / "0000.png", folder / f"{index:04d}.png")
        names = [str(path) for path in sorted(folder.iterdir())]
        dealt: list[int] = []
        options = PredictOptions(out=tmp_path / "out", workers=2)
        inputs = [str(folder), str(tmp_path / "none.png")]
        stopped = predict_paths(
            segmenter,
            inputs,
            options=options,
            progress=lambda done, _: dealt.append(done),
            stop=lambda: len(dealt) > 300,
        )
        assert stopped.interrupted
        assert stopped.counts["done"] > 256
        before = [(entry.input, entry.status) for entry in stopped.entries]
        assert [name for name, _ in before] == [*names, inputs[1]]
        whole = predict_paths(segmenter, inputs, options=replace(options, resume=True))
        assert whole.counts == {
            "done": 600 - stopped.counts["done"],
            "skipped": stopped.counts["done"],
            "failed": 1,
            "not_run": 0,
        }
        expected = {"not run": "done", "done": "skipped", "failed": "failed"}
        assert [(entry.input, entry.status) for entry in whole.entries] == [
            (name, expected[status]) for name, status in before
        ]
        assert [entry.outputs["labels"] for entry in whole.entries[:-1]] == [Path(name).name for name in names]


class TestFinding:
    def test_the_folder_that_we_are_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "sub").mkdir()
        for name in ("b.png", "a.png", "sub/c.png"):
            (tmp_path / name).touch()
        monkeypatch.chdir(tmp_path)
        for text in (".", "./"):
            sources, _ = find_sources([text], out=Path("out"))
            assert [source.file for source in sources] == ["a.png", "b.png", str(Path("sub/c.png"))]
        assert list(Namer(source.folder for source in sources).stems(sources)) == ["a", "b", "sub/c"]

    @pytest.mark.skipif(os.name == "nt", reason="needs links")
    def test_links(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "x.png").touch()
        (tmp_path / "a/y.png").symlink_to(tmp_path / "b/x.png")
        (tmp_path / "a/in").symlink_to(tmp_path / "b")
        (tmp_path / "a/circle").symlink_to(tmp_path / "a/circle")
        (tmp_path / "again").symlink_to(tmp_path / "b")
        inputs = [str(tmp_path / name) for name in ("a", "again", "b")]
        sources, missing = find_sources(inputs, out=tmp_path / "out")
        assert [source.file for source in sources] == [str(tmp_path / "a/x.png"), str(tmp_path / "a/y.png")]
        assert missing == []

    def test_a_stack_is_all_its_images(self, tmp_path: Path) -> None:
        np.lib.format.open_memmap(tmp_path / "stack.npy", "w+", np.uint8, (100_000, 8, 8)).flush()
        sources, _ = find_sources([str(tmp_path / "stack.npy")], out=tmp_path / "out")
        assert [source.index for source in sources] == list(range(100_000))


class TestJournal:
    def test_the_last_line_of_a_name_counts_at_the_place_of_its_first(self, tmp_path: Path) -> None:
        header = {"model_sha256": "0", "kinds": ["labels"], "tile": "auto", "folder": str(Path.cwd())}
        with open_journal(tmp_path) as journal:
            journal.begin(header, continues=False)
            for number, name in enumerate("abcab"):
                journal.append(replace(entry_of(name), bytes=number))
            journal.append(Entry(STRANGE, "failed", error="no"))
        with open_journal(tmp_path) as journal:
            found = earlier_entries(journal, header, PredictOptions(out=tmp_path, resume=True))
        assert list(found) == [str(Path.cwd() / name) for name in ("a", "b", "c", STRANGE)]
        assert [(entry.input, entry.bytes) for entry in found.values()] == [
            ("a", 3), ("b", 4), ("c", 2), (STRANGE, None)
        ]  # fmt: skip


class TestManifestFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        entries = [entry_of("a.png"), Entry(STRANGE, "failed", error="no")]
        manifest = Manifest(tmp_path / "manifest.json", {"tile": "auto"}, entries)
        manifest.write()
        return manifest.path

    def test_it_is_json_and_has_its_entries(self, path: Path) -> None:
        whole = json.loads(path.read_bytes())
        assert whole["tile"] == "auto"
        assert whole["counts"] == {"done": 1, "skipped": 0, "failed": 1, "not_run": 0}
        assert [entry.to_dict() for entry in read_manifest(path).entries] == whole["entries"]

    def test_without_entries(self, path: Path) -> None:
        Manifest(path).write()
        assert read_manifest(path).entries == []

    def test_a_damaged_one_is_one_sentence(self, path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DataError, match="--overwrite"):
            read_manifest(path)
