"""predict_paths: what is found, how outputs are named, what the manifest says."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import expected_labels, tiny_contract, write_model

from segtool.errors import DataError, ModelFileError, OutputExistsError, OutputWriteError
from segtool.files import write_error
from segtool.images.image_io import read_image, read_mask
from segtool.predict.finding import find_sources
from segtool.predict.naming import output_stems
from segtool.predict.predict import PredictOptions, predict_paths
from segtool.runtime.opening import load
from segtool.runtime.segmenter import Segmenter
from segtool.runtime.sources import Source


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return load(write_model(tmp_path / "model.onnx"), threads=1)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for index, name in enumerate(["a.png", "b.png", "sub/a.png", "sub/deep/c.png"]):
        write_png(folder / name, seed=index)
    return folder


def write_png(path: Path, *, seed: int = 0, size: tuple[int, int] = (64, 84)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    Image.fromarray(array).save(path, format="PNG")
    return path


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


class TestOutputs:
    def test_a_folder_is_mirrored(self, segmenter: Segmenter, images: Path, tmp_path: Path) -> None:
        manifest = predict_paths(segmenter, [str(images)], options=PredictOptions(out=tmp_path / "out"))
        expected = ["a.png", "b.png", "manifest.json", "sub/a.png", "sub/deep/c.png"]
        assert files_below(tmp_path / "out") == expected
        assert (manifest.counts["done"], manifest.counts["failed"], manifest.counts["not_run"]) == (4, 0, 0)
        for name in ("a.png", "sub/deep/c.png"):
            labels = expected_labels(read_image(images / name, channels=1))
            np.testing.assert_array_equal(read_mask(tmp_path / "out" / name), labels)

    def test_every_kind(self, tmp_path: Path, images: Path) -> None:
        segmenter = load(write_model(tmp_path / "logits.onnx", tiny_contract(head="logits")))
        options = PredictOptions(out=tmp_path / "out", overlay=True, color=True, contours=True, probabilities=True)
        manifest = predict_paths(segmenter, [str(images / "a.png")], options=options)
        made = [f"a{suffix}" for suffix in (".color.png", ".contours.geojson", ".overlay.png", ".png")]
        expected = [*made, "a.probabilities.npz", "manifest.json"]
        assert files_below(tmp_path / "out") == expected
        labels = read_mask(tmp_path / "out/a.png")
        palette = np.array(segmenter.contract.palette, np.uint8)
        np.testing.assert_array_equal(read_image(tmp_path / "out/a.color.png", channels=3), palette[labels])
        with np.load(tmp_path / "out/a.probabilities.npz") as stored:
            assert stored["probabilities"].shape == (64, 84, 11)
            np.testing.assert_array_equal(stored["probabilities"].argmax(axis=-1), labels)
        assert manifest.entries[0].outputs == {
            "labels": "a.png",
            "overlay": "a.overlay.png",
            "color": "a.color.png",
            "contours": "a.contours.geojson",
            "probabilities": "a.probabilities.npz",
        }

    def test_the_pixels_of_a_large_image_are_all_counted(self, segmenter: Segmenter, tmp_path: Path) -> None:
        path = write_png(tmp_path / "large.png", size=(900, 700))
        manifest = predict_paths(segmenter, [str(path)], options=PredictOptions(out=tmp_path / "out", tile=(64, 84)))
        ids, counts = np.unique(read_mask(tmp_path / "out/large.png"), return_counts=True)
        names = segmenter.contract.class_names
        expected = {names[index]: count for index, count in zip(ids.tolist(), counts.tolist(), strict=True)}
        assert manifest.entries[0].pixels == expected

    def test_labels_have_the_size_of_the_image(self, segmenter: Segmenter, tmp_path: Path) -> None:
        path = write_png(tmp_path / "large.png", size=(150, 200))
        predict_paths(segmenter, [str(path)], options=PredictOptions(out=tmp_path / "out"))
        assert read_mask(tmp_path / "out/large.png").shape == (150, 200)


class TestManifest:
    def test_what_it_says(self, segmenter: Segmenter, images: Path, tmp_path: Path) -> None:
        calls: list[tuple[int, int]] = []
        (images / "b.png").write_bytes(b"broken")
        inputs = [str(images / "a.png"), str(images / "b.png"), str(images / "none.png")]
        manifest = predict_paths(
            segmenter, inputs, options=PredictOptions(out=tmp_path / "out"), progress=lambda *call: calls.append(call)
        )
        written = json.loads((tmp_path / "out/manifest.json").read_text())
        assert written == manifest.to_dict()
        assert written["status"] == "complete"
        assert written["counts"] == {"done": 1, "skipped": 0, "failed": 2, "not_run": 0}
        assert [entry["input"] for entry in written["entries"]] == inputs
        assert [entry["status"] for entry in written["entries"]] == ["done", "failed", "failed"]
        assert "not an image" in written["entries"][1]["error"]
        assert "does not exist" in written["entries"][2]["error"]
        done = written["entries"][0]
        assert (done["height"], done["width"]) == (64, 84)
        assert sum(done["pixels"].values()) == 64 * 84
        assert calls == [(2, 3), (3, 3)]

    def test_an_interruption_leaves_a_manifest(self, segmenter: Segmenter, images: Path, tmp_path: Path) -> None:
        def interrupt(done: int, total: int) -> None:
            if done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            predict_paths(segmenter, [str(images)], options=PredictOptions(out=tmp_path / "out"), progress=interrupt)
        written = json.loads((tmp_path / "out/manifest.json").read_text())
        assert written["status"] == "interrupted"
        assert written["counts"] == {"done": 2, "skipped": 0, "failed": 0, "not_run": 2}
        # Those in work are finished, and written too; a run that goes on does them again.
        assert {"a.png", "b.png", "manifest.json", "manifest.jsonl.part"} <= set(files_below(tmp_path / "out"))

    def test_what_identifies_inputs_and_outputs(self, segmenter: Segmenter, images: Path, tmp_path: Path) -> None:
        (images / "b.png").write_bytes(b"broken")
        options = PredictOptions(out=tmp_path / "out", overlay=True)
        good, bad = predict_paths(segmenter, [str(images / "a.png"), str(images / "b.png")], options=options).entries
        assert good.sha256 == hashlib.sha256((images / "a.png").read_bytes()).hexdigest()
        assert bad.sha256 == hashlib.sha256(b"broken").hexdigest()
        assert good.bytes == (images / "a.png").stat().st_size
        assert good.output_sha256 == {
            kind: hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest()
            for kind, name in good.outputs.items()
        }
        assert good.provider == "CPUExecutionProvider"
        assert good.note is None
        assert (bad.status, bad.outputs) == ("failed", {})

    @pytest.mark.parametrize("suffix", ["gif", "tif", "png"])
    def test_the_first_frame_of_several_is_noted(
        self, segmenter: Segmenter, tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        frames = [Image.fromarray(np.full((64, 84), value, np.uint8)) for value in (25, 100, 200)]
        frames[0].save(tmp_path / f"many.{suffix}", save_all=True, append_images=frames[1:])
        inputs = [str(tmp_path / f"many.{suffix}")]
        manifest = predict_paths(segmenter, inputs, options=PredictOptions(out=tmp_path / "out"))
        assert manifest.entries[0].note == "first frame of 3"
        assert "first frame of 3 is predicted" in caplog.text
        assert (read_mask(tmp_path / "out/many.png") == 1).all()

    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_images_that_use_a_small_part_of_16_bits_are_counted_in_one_warning(
        self, segmenter: Segmenter, tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        for index in range(3):
            values = np.full((64, 84), 4095 - index, np.uint16)
            Image.fromarray(values).save(tmp_path / f"{index}.{suffix}")
        Image.fromarray(np.full((64, 84), 200, np.uint8)).save(tmp_path / f"8.{suffix}")
        manifest = predict_paths(segmenter, [str(tmp_path)], options=PredictOptions(out=tmp_path / "out"))
        assert [entry.largest_value for entry in manifest.entries] == [4095, 4094, 4093, None]
        assert caplog.text.count("of 16 bits") == 1
        assert "3 images of 16 bits use 6 % of the range: the largest value is 4095" in caplog.text
        caplog.clear()
        Image.fromarray(np.full((64, 84), 65535, np.uint16)).save(tmp_path / f"9.{suffix}")
        predict_paths(
            segmenter,
            [str(tmp_path / f"{name}.{suffix}") for name in (0, 9)],
            options=PredictOptions(out=tmp_path / "again"),
        )
        assert "of 16 bits" not in caplog.text

    def test_a_name_that_is_no_utf8(self, segmenter: Segmenter, tmp_path: Path) -> None:
        path = tmp_path / os.fsdecode(b"caf\xe9.png")
        try:
            write_png(path)
        except OSError:
            pytest.skip("this file system knows UTF-8 alone")
        manifest = predict_paths(segmenter, [str(path)], options=PredictOptions(out=tmp_path / "out"))
        assert [entry.input for entry in manifest.entries] == [str(path)]

    def test_stopping_leaves_the_rest_as_not_run(self, segmenter: Segmenter, tmp_path: Path) -> None:
        for index in range(40):
            write_png(tmp_path / f"many/{index:02d}.png")
        dealt: list[int] = []
        manifest = predict_paths(
            segmenter,
            [str(tmp_path / "many")],
            options=PredictOptions(out=tmp_path / "out", workers=2),
            progress=lambda done, _: dealt.append(done),
            stop=lambda: len(dealt) >= 3,
        )
        assert manifest.interrupted
        assert 3 <= manifest.counts["done"] <= 3 + 4
        assert manifest.counts["done"] + manifest.counts["not_run"] == 40
        statuses = [entry.status for entry in manifest.entries]
        assert statuses == ["done"] * manifest.counts["done"] + ["not run"] * manifest.counts["not_run"]
        assert len(list((tmp_path / "out").glob("*.png"))) == manifest.counts["done"]

    @pytest.mark.skipif(os.name == "nt", reason="needs a file where a folder should be")
    def test_an_output_that_cannot_be_written_stops_the_run(
        self, segmenter: Segmenter, images: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/sub").write_text("in the way")
        with pytest.raises((OutputWriteError, OutputExistsError)):
            predict_paths(segmenter, [str(images)], options=PredictOptions(out=tmp_path / "out"))


class TestRefusals:
    def test_nothing_found(self, segmenter: Segmenter, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        for inputs in ([], [str(tmp_path / "empty")], [str(tmp_path / "none.png")], [str(tmp_path / "*.jpg")]):
            with pytest.raises(DataError, match="No image was found"):
                predict_paths(segmenter, inputs, options=PredictOptions(out=tmp_path / "out"))
        assert not (tmp_path / "out").exists()

    def test_why_nothing_was_found_is_said(self, segmenter: Segmenter, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        np.save(tmp_path / "folder/stack.npy", np.zeros((2, 4, 4), np.uint8))
        (tmp_path / "link.png").symlink_to("nowhere")
        cases = {"no.png": "no.png does not exist", "folder": "contains no image files", "link.png": "broken link"}
        for name, words in cases.items():
            with pytest.raises(DataError, match=words):
                predict_paths(segmenter, [str(tmp_path / name)], options=PredictOptions(out=tmp_path / "out"))
        with pytest.raises(DataError, match=r"No image was found: .*\*\.jpg matches no file; expected"):
            predict_paths(segmenter, [str(tmp_path / "*.jpg")], options=PredictOptions(out=tmp_path / "out"))

    @pytest.mark.parametrize("count", [1, 5000])
    def test_junk_in_place_of_names_is_cut_short(self, segmenter: Segmenter, tmp_path: Path, count: int) -> None:
        junk = [os.fsdecode(bytes(range(1, 255)) * 40) for _ in range(count)]
        with pytest.raises(DataError) as error:
            predict_paths(segmenter, junk, options=PredictOptions(out=tmp_path / "out"))
        assert len(str(error.value)) < 500
        assert ("4,997 more" in str(error.value)) == (count > 1)
        good = str(write_png(tmp_path / "good.png"))
        entries = predict_paths(segmenter, [good, junk[0]], options=PredictOptions(out=tmp_path / "out")).entries
        assert {entry.input for entry in entries} == {good, junk[0]}
        assert max(len(entry.error or "") for entry in entries) < 500

    @pytest.mark.parametrize("out", ["file", "file/below"])
    def test_a_file_where_the_folder_should_be(
        self, segmenter: Segmenter, images: Path, tmp_path: Path, out: str
    ) -> None:
        (tmp_path / "file").write_text("mine")
        with pytest.raises(OutputWriteError, match=rf"{tmp_path}/file is a file, expected a folder"):
            predict_paths(segmenter, [str(images)], options=PredictOptions(out=tmp_path / out))
        assert (tmp_path / "file").read_text() == "mine"

    @pytest.mark.parametrize(
        ("number", "advice"),
        [
            (errno.ENOSPC, "free disk space"),
            (errno.EACCES, "check the permissions"),
            (errno.EROFS, "check the permissions"),
        ],
    )
    def test_the_advice_is_about_what_the_system_refused(self, number: int, advice: str) -> None:
        text = str(write_error("out/manifest.json", OSError(number, os.strerror(number))))
        assert f"{os.strerror(number)}; {advice} or choose another path" in text

    @pytest.mark.parametrize("existing", ["sub/deep/c.png", "manifest.json"])
    def test_an_existing_output_stops_it_before_anything_runs(
        self, segmenter: Segmenter, images: Path, tmp_path: Path, existing: str
    ) -> None:
        target = tmp_path / "out" / existing
        target.parent.mkdir(parents=True)
        target.write_text("mine")
        with pytest.raises(OutputExistsError, match="--overwrite"):
            predict_paths(segmenter, [str(images)], options=PredictOptions(out=tmp_path / "out"))
        assert files_below(tmp_path / "out") == [existing]
        assert target.read_text() == "mine"

    def test_overwrite(self, segmenter: Segmenter, images: Path, tmp_path: Path) -> None:
        for _ in range(2):
            options = PredictOptions(out=tmp_path / "out", overwrite=True)
            assert predict_paths(segmenter, [str(images)], options=options).counts["done"] == 4

    def test_an_input_is_never_replaced(self, segmenter: Segmenter, images: Path) -> None:
        before = (images / "a.png").read_bytes()
        with pytest.raises(DataError, match="would replace an input"):
            predict_paths(segmenter, [str(images)], options=PredictOptions(out=images, overwrite=True))
        assert (images / "a.png").read_bytes() == before

    def test_probabilities_of_a_labels_head(self, segmenter: Segmenter, images: Path, tmp_path: Path) -> None:
        options = PredictOptions(out=tmp_path / "out", probabilities=True)
        with pytest.raises(ModelFileError, match="labels head"):
            predict_paths(segmenter, [str(images)], options=options)

    def test_a_tile_size_that_does_not_fit(self, segmenter: Segmenter, images: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="--size"):
            predict_paths(segmenter, [str(images)], options=PredictOptions(out=tmp_path / "out", tile=(32, 32)))


class TestFindSources:
    def names(self, inputs: list[str], images: Path, out: str = "out") -> list[str]:
        sources, _ = find_sources(inputs, out=images / out)
        return [source.path.relative_to(images).as_posix() for source in sources]

    def test_a_folder_in_order_without_other_files(self, images: Path) -> None:
        (images / "notes.txt").write_text("x")
        write_png(images / "B.PNG")
        assert self.names([str(images)], images) == ["B.PNG", "a.png", "b.png", "sub/a.png", "sub/deep/c.png"]

    def test_a_folder_is_searched_for_all_formats_that_are_read_but_no_arrays(self, images: Path) -> None:
        for name in ("x.avif", "x.TGA", "x.ico", "x.pnm", "x.npy"):
            (images / "sub" / name).write_bytes(b"x")
        names = ["sub/a.png", "sub/x.TGA", "sub/x.avif", "sub/x.ico", "sub/x.pnm", "sub/deep/c.png"]
        assert self.names([str(images / "sub")], images) == names

    def test_patterns(self, images: Path) -> None:
        assert self.names([str(images / "*.png")], images) == ["a.png", "b.png"]
        assert self.names([str(images / "**/[ac].png")], images) == ["a.png", "sub/a.png", "sub/deep/c.png"]

    def test_a_file_whose_name_looks_like_a_pattern(self, images: Path) -> None:
        path = write_png(images / "x[1].png")
        assert self.names([str(path)], images) == ["x[1].png"]

    def test_a_file_named_twice_is_taken_once(self, images: Path) -> None:
        twice = [str(images / "a.png"), str(images), str(images / "sub/../a.png")]
        assert self.names(twice, images) == ["a.png", "b.png", "sub/a.png", "sub/deep/c.png"]

    def test_outputs_of_an_earlier_run_inside_the_folder_are_no_inputs(self, images: Path) -> None:
        write_png(images / "out/a.png")
        assert self.names([str(images)], images) == ["a.png", "b.png", "sub/a.png", "sub/deep/c.png"]
        assert "out/a.png" in self.names([str(images)], images, out="elsewhere")

    def test_missing_ones_are_told(self, images: Path) -> None:
        inputs = [str(images / "a.png"), str(images / "none.png"), str(images / "*.jpg")]
        assert find_sources(inputs, out=images / "out")[1] == inputs[1:]


class TestOutputStems:
    def stems(self, *names: str) -> list[str]:
        root = Path("/data")
        return output_stems([Source(str(root / name), str(root)) for name in names])

    def test_stems_and_folders(self) -> None:
        assert self.stems("a.png", "sub/a.png") == ["a", "sub/a"]

    def test_equal_stems_keep_their_suffix(self) -> None:
        assert self.stems("a.png", "a.jpg", "b.jpg") == ["a.png", "a.jpg", "b"]

    def test_names_that_differ_in_case_alone_count_as_equal(self) -> None:
        assert self.stems("a.png", "A.jpg") == ["a.png", "A.jpg"]
        assert self.stems("a.png", "A.PNG") == ["a.png", "A.PNG~2"]

    def test_a_name_that_another_output_takes(self) -> None:
        assert self.stems("a.png", "a.jpg", "a.jpg.png") == ["a.png", "a.jpg", "a.jpg~2"]
        assert self.stems("a.png", "a.overlay.png") == ["a", "a.overlay~2"]

    def test_a_folder_of_outputs_takes_the_name_of_an_output(self) -> None:
        assert self.stems("a.bmp", "a.png/b.bmp", "c.color.png/d/e.png", "c.png") == [
            "a~2",
            "a.png/b",
            "c.color.png/d/e",
            "c~2",
        ]

    def test_dots_in_names(self) -> None:
        assert self.stems("scan.v1.png", "scan.v2.png") == ["scan.v1", "scan.v2"]

    def test_single_files_of_two_folders(self, tmp_path: Path) -> None:
        sources = [Source(str(tmp_path / name / "a.png"), str(tmp_path / name)) for name in "xy"]
        assert output_stems(sources) == ["x/a", "y/a"]
