"""Resuming: what is done is left, everything else is run, and nothing is mixed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import tiny_contract, write_model

from segtool.errors import DataError, OutputExistsError, OutputWriteError
from segtool.predict.journal import JOURNAL_NAME, open_journal
from segtool.predict.manifest import Entry, Manifest
from segtool.predict.predict import PredictOptions, predict_paths
from segtool.predict.resume import earlier_entries
from segtool.runtime.opening import load
from segtool.runtime.segmenter import Segmenter


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def segmenter() -> Segmenter:
    return load(write_model(Path("model.onnx").absolute()), threads=1)


@pytest.fixture
def images() -> Path:
    for index in range(6):
        write_image(f"images/{index}.png", index)
    return Path("images")


def write_image(name: str, seed: int) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 84), dtype=np.uint8)).save(name)


def predict(segmenter: Segmenter, *inputs: str, after: int | None = None, **options: object) -> Manifest:
    """Predict `inputs` into out/, one at a time; stopped dead after so many results where that is given."""

    def killed(dealt: int, _: int) -> None:
        if dealt == after:
            raise KeyboardInterrupt

    given = PredictOptions(**{"out": Path("out"), "workers": 1, **options})
    return predict_paths(segmenter, inputs or ["images"], options=given, progress=killed)


def interrupted(segmenter: Segmenter, after: int, **options: object) -> None:
    with pytest.raises(KeyboardInterrupt):
        predict(segmenter, after=after, **options)


def lose_manifest() -> None:
    """What kill -9 would have left: the journal alone."""
    Path("out/manifest.json").unlink()


def statuses(manifest: Manifest) -> list[str]:
    return [entry.status for entry in manifest.entries]


def written(folder: str = "out") -> dict[str, tuple[bytes, int]]:
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file() and "manifest" not in path.name)
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


@pytest.mark.parametrize("killed", [True, False])
def test_what_is_done_is_left_and_the_rest_is_run(segmenter: Segmenter, images: Path, killed: bool) -> None:
    interrupted(segmenter, after=3)
    if killed:
        lose_manifest()
    # What was in work is written as well, and belongs to the run; it is not noted as done, and is done again.
    before = {name: what for name, what in written().items() if name in ("0.png", "1.png", "2.png")}
    assert len(before) == 3
    manifest = predict(segmenter, resume=True)
    assert statuses(manifest) == ["skipped"] * 3 + ["done"] * 3
    after = written()
    assert {name: after[name] for name in before} == before
    whole = predict(segmenter, out=Path("whole"))
    assert {name: data for name, (data, _) in after.items()} == {
        name: data for name, (data, _) in written("whole").items()
    }
    for ours, theirs in zip(manifest.entries, whole.entries, strict=True):
        ours.seconds = theirs.seconds
        ours.status = theirs.status
        assert ours == theirs
    assert not Path("out", JOURNAL_NAME).exists()


def test_a_complete_run_is_all_skipped_and_again(segmenter: Segmenter, images: Path) -> None:
    predict(segmenter)
    before = written()
    for _ in range(2):
        manifest = predict(segmenter, resume=True)
        assert manifest.counts == {"done": 0, "skipped": 6, "failed": 0, "not_run": 0}
    assert written() == before


def test_a_png_that_is_cut_off_is_run_again_and_a_corrected_one_is_kept(segmenter: Segmenter, images: Path) -> None:
    predict(segmenter)
    cut, corrected = Path("out/1.png"), Path("out/2.png")
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-20])
    Image.new("P", (84, 64)).save(corrected)
    before = corrected.read_bytes()
    assert predict(segmenter, resume=True).counts["done"] == 1
    assert (cut.read_bytes(), corrected.read_bytes()) == (whole, before)


def test_new_inputs_changed_ones_failed_ones_and_lost_outputs_are_run(segmenter: Segmenter, images: Path) -> None:
    (images / "0.png").write_bytes(b"broken")
    predict(segmenter)
    write_image("images/0.png", 0)  # mended
    write_image("images/1.png", 77)  # changed
    Path("out/2.png").unlink()
    Path("out/4.png").write_bytes(b"")  # as after a power failure
    write_image("images/sub/new.png", 9)
    os.utime(images / "3.png", (1, 1))  # touched, not changed
    manifest = predict(segmenter, resume=True)
    assert statuses(manifest) == ["done", "done", "done", "skipped", "done", "skipped", "done"]
    predict(segmenter, out=Path("whole"))
    assert {name: data for name, (data, _) in written().items()} == {
        name: data for name, (data, _) in written("whole").items()
    }


def test_an_image_that_was_done_and_fails_later_keeps_no_old_output_and_is_run_when_it_is_repaired(
    segmenter: Segmenter, images: Path
) -> None:
    predict(segmenter)
    (images / "0.png").write_bytes(b"broken")
    assert statuses(predict(segmenter, resume=True))[0] == "failed"
    assert not Path("out/0.png").exists()
    write_image("images/0.png", 0)
    assert statuses(predict(segmenter, resume=True))[0] == "done"


def test_an_image_that_is_out_of_reach_keeps_its_outputs(segmenter: Segmenter, images: Path) -> None:
    predict(segmenter)
    before = Path("out/0.png").read_bytes()
    (images / "0.png").unlink()
    (images / "0.png").symlink_to("on/a/share/that/is/gone.png")
    assert statuses(predict(segmenter, resume=True))[0] == "failed"
    assert Path("out/0.png").read_bytes() == before


def test_inputs_that_are_not_named_again_keep_their_entries(segmenter: Segmenter, images: Path) -> None:
    predict(segmenter)
    write_image("images/new.png", 9)
    manifest = predict(segmenter, "images/new.png", "images/4.png", resume=True)
    assert [(entry.input, entry.status) for entry in manifest.entries] == [
        ("images/new.png", "done"),
        ("images/4.png", "skipped"),
        *((f"images/{index}.png", "skipped") for index in (0, 1, 2, 3, 5)),
    ]


def test_from_another_folder(segmenter: Segmenter, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(segmenter, after=3)
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    manifest = predict(segmenter, "../images/0.png", "../images/5.png", out=Path("../out"), resume=True)
    assert [(Path(entry.input).resolve().name, entry.status) for entry in manifest.entries] == [
        ("0.png", "skipped"),
        ("5.png", "done"),
        ("1.png", "skipped"),
        ("2.png", "skipped"),
    ]
    assert all(Path(entry.input).is_file() for entry in manifest.entries)


def test_names_are_those_of_an_uninterrupted_run(segmenter: Segmenter, images: Path) -> None:
    Image.fromarray(np.zeros((64, 84), np.uint8)).save("images/2.bmp")
    interrupted(segmenter, after=3)
    assert sorted(written())[:3] == ["0.png", "1.png", "2.bmp.png"]
    predict(segmenter, resume=True)
    predict(segmenter, out=Path("whole"))
    assert list(written()) == list(written("whole"))


def test_a_new_image_takes_no_name_of_an_old_one(segmenter: Segmenter, images: Path) -> None:
    write_image("new/a.overlay.png", 1)
    predict(segmenter, "new", overlay=True)
    write_image("new/a.png", 2)
    manifest = predict(segmenter, "new", overlay=True, resume=True)
    assert [(entry.outputs["labels"], entry.status) for entry in manifest.entries] == [
        ("a.overlay.png", "skipped"),
        ("a~2.png", "done"),
    ]


@pytest.mark.parametrize("change", ["model", "kinds", "tile"])
@pytest.mark.parametrize("killed", [True, False])
def test_another_model_or_other_options_are_refused(
    segmenter: Segmenter, images: Path, change: str, killed: bool
) -> None:
    interrupted(segmenter, after=3)
    if killed:
        lose_manifest()
    options: dict[str, object] = {"overlay": change == "kinds", "tile": "never" if change == "tile" else "auto"}
    if change == "model":
        segmenter = load(write_model(Path("model.onnx"), tiny_contract(background_id=None)), threads=1)
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    words = {"model": "another model", "kinds": "other kinds", "tile": "--tile"}[change]
    with pytest.raises(OutputExistsError, match=words):
        predict(segmenter, resume=True, **options)
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
    manifest = predict(segmenter, resume=True, overwrite=True, **options)
    assert statuses(manifest) == ["done"] * 6


def test_without_resume_an_unfinished_run_is_refused(segmenter: Segmenter, images: Path) -> None:
    interrupted(segmenter, after=3)
    with pytest.raises(OutputExistsError, match="--resume to finish"):
        predict(segmenter)
    lose_manifest()
    with pytest.raises(OutputExistsError, match="--resume to finish"):
        predict(segmenter)
    assert statuses(predict(segmenter, overwrite=True)) == ["done"] * 6


def test_nothing_to_resume_is_a_first_run(segmenter: Segmenter, images: Path) -> None:
    assert statuses(predict(segmenter, resume=True)) == ["done"] * 6


def test_a_file_that_is_nobodys_is_not_replaced(segmenter: Segmenter, images: Path) -> None:
    interrupted(segmenter, after=3)
    Path("out/5.png").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"5\.png"):
        predict(segmenter, resume=True)
    assert Path("out/5.png").read_text() == "mine"
    assert statuses(predict(segmenter, resume=True, overwrite=True)) == ["skipped"] * 3 + ["done"] * 3


def test_what_was_being_written_is_written_again(segmenter: Segmenter, images: Path) -> None:
    interrupted(segmenter, after=3)
    with Path("out", JOURNAL_NAME).open("a") as journal:
        journal.write(json.dumps({"input": "images/3.png", "status": "writing", "outputs": {"labels": "3.png"}}) + "\n")
    Path("out/3.png").write_text("from the killed run")
    Path("out/.segtool-0000000000-x.png").write_text("half")
    assert statuses(predict(segmenter, resume=True)) == ["skipped"] * 3 + ["done"] * 3
    with Image.open("out/3.png") as picture:
        assert picture.size == (84, 64)
    assert not list(Path("out").glob(".segtool-*"))


def test_a_line_that_was_cut_off_is_run_again(segmenter: Segmenter, images: Path) -> None:
    interrupted(segmenter, after=3)
    lose_manifest()
    path = Path("out", JOURNAL_NAME)
    for cut in (2, 30):
        path.write_bytes(path.read_bytes()[:-cut])
        lines = [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        done = {line["input"] for line in lines if line.get("status") == "done"}
        shutil.copytree("out", f"copy{cut}")
        found = predict(segmenter, out=Path(f"copy{cut}"), resume=True).entries
        assert {entry.input for entry in found if entry.status == "skipped"} == done
        assert {entry.status for entry in found} == {"skipped", "done"}


def test_a_journal_that_ends_in_zeros_is_resumed(segmenter: Segmenter, images: Path) -> None:
    interrupted(segmenter, after=5)
    lose_manifest()
    path = Path("out", JOURNAL_NAME)
    lines = path.read_bytes().splitlines(keepends=True)
    done = [number for number, line in enumerate(lines) if b'"done"' in line]
    path.write_bytes(b"".join([*lines[: done[1] + 1], b"\0" * 4096]))
    assert sorted(statuses(predict(segmenter, resume=True))) == ["done"] * 4 + ["skipped"] * 2


def test_a_killed_run_that_resumed_a_complete_one_keeps_the_entries_of_both(segmenter: Segmenter, images: Path) -> None:
    predict(segmenter)
    complete = Path("out/manifest.json").read_bytes()
    write_image("images/6.png", 6)
    write_image("images/7.png", 7)
    interrupted(segmenter, after=7, resume=True)
    Path("out/manifest.json").write_bytes(complete)  # what kill -9 would have left
    assert statuses(predict(segmenter, resume=True)) == ["skipped"] * 7 + ["done"]


def test_a_killed_run_that_started_again_does_not_return_to_the_run_before_it(
    segmenter: Segmenter, images: Path
) -> None:
    predict(segmenter)
    interrupted(segmenter, after=3, overwrite=True)
    lose_manifest()
    assert statuses(predict(segmenter, resume=True, overwrite=True)) == ["skipped"] * 3 + ["done"] * 3


def test_a_run_that_starts_again_removes_the_manifest_of_the_run_before_it(segmenter: Segmenter, images: Path) -> None:
    predict(segmenter)
    with open_journal(Path("out")) as journal:
        journal.begin({}, continues=False)
        assert not Path("out/manifest.json").exists()


def test_a_damaged_manifest_is_one_sentence(segmenter: Segmenter, images: Path) -> None:
    predict(segmenter)
    for text in ("{", "[]", '{"entries": 3}'):
        Path("out/manifest.json").write_text(text)
        with pytest.raises(DataError, match="--overwrite"):
            predict(segmenter, resume=True)


def test_a_manifest_cannot_name_outputs_elsewhere(segmenter: Segmenter, images: Path) -> None:
    predict(segmenter)
    Path("precious.png").write_text("mine")
    text = Path("out/manifest.json").read_text()
    Path("out/manifest.json").write_text(text.replace('"labels": "0.png"', '"labels": "../precious.png"'))
    Path("out/0.png").unlink()
    predict(segmenter, resume=True)
    assert Path("precious.png").read_text() == "mine"
    assert Path("out/0.png").is_file()


@pytest.mark.skipif(os.name == "nt", reason="no lock there")
def test_one_process_at_a_time(segmenter: Segmenter, images: Path) -> None:
    with open_journal(Path("out")) as journal:
        journal.begin({}, continues=False)
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(OutputWriteError, match="Another process"):
                predict(segmenter, **options)
        assert journal.path.is_file()


def test_overwriting_leaves_no_output_of_the_run_before_it(segmenter: Segmenter, images: Path) -> None:
    predict(segmenter, overlay=True, color=True)
    Path("out/other.png").write_text("mine")
    (images / "0.png").write_bytes(b"broken")
    predict(segmenter, color=True, overwrite=True)
    assert sorted(written()) == sorted(
        [f"{index}{kind}.png" for index in range(1, 6) for kind in ("", ".color")] + ["other.png"]
    )


def test_overwriting_removes_no_input(segmenter: Segmenter, images: Path) -> None:
    (images / "0.png").rename(images / "1.color.png")
    (images / "1.png").rename(images / "1.jpg")
    with pytest.raises(DataError, match="replace an input"):
        predict(segmenter, "images/1.jpg", "images/1.color.png", out=images, overwrite=True)
    assert (images / "1.color.png").is_file()


def test_a_refused_run_leaves_nothing(segmenter: Segmenter, images: Path) -> None:
    with pytest.raises(DataError, match="replace an input"):
        predict(segmenter, out=images, overwrite=True)
    assert sorted(path.name for path in images.iterdir()) == [f"{index}.png" for index in range(6)]


class TestJournal:
    @pytest.fixture
    def header(self) -> dict[str, object]:
        return {"model_sha256": "0", "kinds": ["labels"], "tile": "auto", "folder": str(Path.cwd())}

    def resumed(self, folder: Path, header: dict[str, object], names: str) -> list[Entry | None]:
        with open_journal(folder) as journal:
            found = earlier_entries(journal, header, PredictOptions(out=folder, resume=True))
        return [found.get(str(Path.cwd() / name)) for name in names.split()]

    def test_the_last_line_of_an_input_counts(self, tmp_path: Path, header: dict[str, object]) -> None:
        with open_journal(tmp_path) as journal:
            journal.begin(header, continues=False)
            for name, status in (("a.png", "writing"), ("./x/../a.png", "done")):
                journal.append(Entry(name, status, {"labels": "a.png"}))
            journal.append(Entry("b.png", "failed", error="no"))
        first, second, third = self.resumed(tmp_path, header, "a.png b.png c.png")
        assert first is not None and first.status == "done"
        assert second is not None and second.error == "no"
        assert third is None

    def test_a_damaged_line_costs_that_line_alone(self, tmp_path: Path, header: dict[str, object]) -> None:
        with open_journal(tmp_path) as journal:
            journal.begin(header, continues=False)
            for name in ("a.png", "b.png", "c.png"):
                journal.append(Entry(name, "done"))
        lines = [
            b"\0" * 20 + b"\n" if b"b.png" in line else line for line in journal.path.read_bytes().splitlines(True)
        ]
        journal.path.write_bytes(b"".join(lines))
        found = self.resumed(tmp_path, header, "a.png b.png c.png")
        assert [entry is not None for entry in found] == [True, False, True]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
    def test_a_full_disk_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / JOURNAL_NAME).symlink_to("/dev/full")
        with pytest.raises(OutputWriteError, match="Could not write"), open_journal(tmp_path) as journal:
            journal.begin({}, continues=False)
