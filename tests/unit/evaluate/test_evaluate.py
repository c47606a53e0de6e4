"""An evaluation never scores what the model was trained on, unless it is told to."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_models import STEP, tiny_contract, write_model
from tiny_nets import build_tiny, tiny_data

import segtool
from segtool.benchmark.measure import MeasureOptions, measure
from segtool.cli import main
from segtool.data.loading import load_dataset
from segtool.data.split import split
from segtool.errors import DataError, OutputExistsError
from segtool.evaluate.evaluate import EvaluateOptions, evaluate
from segtool.files import nan_to_none
from segtool.metrics import Bootstrap, Calibration
from segtool.metrics.figures import FIGURES
from segtool.models.predictor import open_predictor
from segtool.models.shipped import SHIPPED
from segtool.report.evaluation import evaluate_and_draw

Sizes = tuple[int, ...]

MODEL = Path(__file__).parents[2] / "golden" / "tiny_v1.onnx"  # trained on tiny_data(), split by seed 3, 0.25 held out


@pytest.fixture
def data(tmp_path: Path) -> str:
    images, labels = tiny_data()
    path = tmp_path / "data.npz"
    np.savez(path, images=images[..., 0], labels=labels)
    return str(path)


def test_the_training_data_are_split_as_in_the_training(data: str, tmp_path: Path) -> None:
    result = evaluate(MODEL, options=EvaluateOptions(data=data, per_image=tmp_path / "each.csv"))
    held_out = split(load_dataset(data), val_fraction=0.25, seed=3).val
    assert (result.selection.part, result.scores.images) == ("val", 12)
    scored = [line.split(",")[0] for line in (tmp_path / "each.csv").read_text().splitlines()[1:]]
    assert scored == [load_dataset(data).sample_names[index] for index in held_out]


def test_other_data_are_scored_whole(tmp_path: Path) -> None:
    images, labels = tiny_data(seed=9)
    np.savez(tmp_path / "other.npz", images=images[..., 0], labels=labels)
    result = evaluate(MODEL, options=EvaluateOptions(data=str(tmp_path / "other.npz")))
    assert (result.selection.part, result.scores.images) == ("all", 48)


def test_images_with_other_channels_are_refused_with_the_line_that_converts_them(tmp_path: Path) -> None:
    images, labels = tiny_data(seed=9)
    for name, values in (("images", np.repeat(images, 3, axis=-1)), ("masks", labels)):
        (tmp_path / name).mkdir()
        for index, value in enumerate(values[:4]):
            Image.fromarray(value.astype(np.uint8)).save(tmp_path / name / f"{index}.png")
    classes = [str(name) for name in open_predictor(MODEL).contract.class_names]
    described: dict[str, Any] = {"classes": classes}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(DataError, match=r'3; write "channels": 1 into its dataset\.json'):
        evaluate(MODEL, options=EvaluateOptions(data=str(tmp_path)))
    (tmp_path / "dataset.json").write_text(json.dumps({**described, "channels": 1}))
    assert evaluate(MODEL, options=EvaluateOptions(data=str(tmp_path))).scores.images == 4


def test_masks_without_names_and_without_the_background_of_the_model_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, labels = tiny_data(seed=9)
    background = segtool.load(MODEL).contract.background_id
    other = np.where(labels == background, (background or 0) ^ 1, labels)
    for name, masks, words in (("as_trained", labels, 0), ("without", other, 1)):
        np.savez(tmp_path / f"{name}.npz", images=images[..., 0], labels=masks)
        caplog.clear()
        evaluate(MODEL, options=EvaluateOptions(data=str(tmp_path / f"{name}.npz")))
        assert caplog.text.count("holds the background") == words


class TestGenerated:
    """Generated data come in parts only for a training's sake."""

    def test_they_are_scored_whole_where_the_model_was_not_trained_on_them(self) -> None:
        result = evaluate(SHIPPED, options=EvaluateOptions(data="m2nist-synthetic:20", bootstrap=Bootstrap(100)))
        assert (result.selection.part, result.scores.images) == ("all", 20)

    def test_those_of_the_training_are_scored_on_its_validation_images(self, tmp_path: Path) -> None:
        division = {"seed": 4, "val_split": 0.25, "test_split": 0.0}
        data = load_dataset("m2nist-synthetic:20", **division)
        made = tiny_contract(data_fingerprint=data.fingerprint(), split=division)
        model = write_model(tmp_path / "own.onnx", made)
        result = evaluate(model, options=EvaluateOptions(data="m2nist-synthetic:20", bootstrap=Bootstrap(100)))
        assert (result.selection.part, result.scores.images) == ("val", 5)
        np.testing.assert_array_equal(result.selection.indices, data.splits["val"])


class TestUndescribedFolder:
    """Masks that no dataset.json describes hold the ids of the model's classes."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        ids = np.array([0, 1, 2, 3, 4, 6, 7, 9, 10], np.uint8)  # neither 5 nor 8
        for index in range(4):
            labels = np.resize(np.roll(ids, index), (64, 84))
            for kind, pixels in (("images", labels * np.uint8(STEP)), ("masks", labels)):
                (tmp_path / "own" / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / "own" / kind / f"{index}.png")
        return tmp_path / "own"

    def test_ids_that_do_not_occur_are_no_gap(self, folder: Path) -> None:
        write_model(folder.parent / "model.onnx")
        found = evaluate(folder.parent / "model.onnx", options=EvaluateOptions(data=str(folder))).to_dict()
        assert [item["name"] for item in found["classes"]] == [*map(str, range(10)), "background"]
        assert (found["pixel_accuracy"], found["classes"][9]["iou"]) == (1, 1)
        assert np.isnan(found["classes"][5]["iou"])

    def test_a_benchmark_takes_it_too(self, folder: Path) -> None:
        model = write_model(folder.parent / "model.onnx")
        found = measure([model], options=MeasureOptions(data=str(folder), runs=2, warmup=1))
        assert found["models"][0]["accuracy"]["pixel_accuracy"] == 1

    def test_a_mask_with_other_ids_is_named(self, folder: Path) -> None:
        write_model(folder.parent / "model.onnx")
        Image.fromarray(np.resize(np.array([53, 57, 60], np.uint8), (64, 84))).save(folder / "masks" / "2.png")
        with pytest.raises(
            DataError, match=r"hold the values 53, 57, 60, expected only the values 0, 1, .* 10;.*masks/2\.png"
        ):
            evaluate(folder.parent / "model.onnx", options=EvaluateOptions(data=str(folder)))

    def test_ids_of_arrays_are_the_models_too(self, tmp_path: Path) -> None:
        labels = np.resize(np.array([0, 9], np.uint8), (3, 64, 84))
        np.savez(tmp_path / "few.npz", images=labels * np.uint8(STEP), labels=labels)
        model = write_model(tmp_path / "model.onnx")
        found = evaluate(model, options=EvaluateOptions(data=str(tmp_path / "few.npz"))).to_dict()
        assert (len(found["classes"]), found["classes"][9]["iou"]) == (11, 1)


class TestOutputs:
    """What is read is never written to, and every output is a file of its own."""

    @pytest.fixture
    def call(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
        monkeypatch.chdir(tmp_path)
        known_model(tmp_path, "labels")
        known_data(tmp_path)

        def run(*arguments: str) -> Result:
            call = ["evaluate", "labels.onnx", "--data", "known.npz", "--resamples", "100", *arguments]
            return CliRunner().invoke(main, call)

        return run

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--pictures", "same.png", "--per-image", "./same.png"),
            ("--pictures", "x.jpg"),
        ],
    )
    def test_wrong_names_are_wrong_usage(self, call: Callable[..., Result], arguments: tuple[str, ...]) -> None:
        result = call(*arguments)
        assert result.exit_code == 2
        assert Path(arguments[1]).name in result.stderr
        assert not Path(arguments[1]).exists()

    def test_the_same_names_are_refused_in_python_too(self, tmp_path: Path) -> None:
        same = tmp_path / "same.png"
        model, options = known_model(tmp_path, "labels"), known_data(tmp_path)
        with pytest.raises(DataError, match="two outputs"):
            evaluate_and_draw([model], options=replace(options, per_image=same), pictures=same)

    def test_what_evaluate_cannot_draw_is_no_option_of_it(self, tmp_path: Path) -> None:
        """An option that only the command drew was accepted by evaluate() and ignored."""
        outputs = {each.name for each in fields(EvaluateOptions) if "Path" in str(each.type)}
        assert outputs == {"per_image"}
        path = tmp_path / "each.csv"
        result = evaluate(known_model(tmp_path, "labels"), options=replace(known_data(tmp_path), per_image=path))
        assert (list(result.written), path.is_file()) == ([path], True)

    def test_every_requested_picture_is_written_or_refused(self, tmp_path: Path) -> None:
        model, options = known_model(tmp_path, "labels"), known_data(tmp_path)
        path = tmp_path / "pictures.png"
        result = evaluate_and_draw([model], options=options, pictures=path)
        assert (result.written, path.is_file()) == ([path], True)
        with pytest.raises(OutputExistsError):
            evaluate_and_draw([model], options=options, pictures=path)

    @pytest.mark.parametrize("victim", ["labels.onnx", "known.npz", "known.json"])
    @pytest.mark.parametrize("link", [False, True])
    def test_an_input_is_not_replaced_even_with_overwrite(
        self, call: Callable[..., Result], victim: str, link: bool
    ) -> None:
        before = Path(victim).read_bytes()
        if link:
            Path("alias").hardlink_to(victim)
        result = call("--per-image", "alias" if link else victim, "--overwrite")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "would replace" in result.stderr
        assert Path(victim).read_bytes() == before

    def test_nothing_joins_or_replaces_the_images_of_a_folder(self, call: Callable[..., Result]) -> None:
        pixels = np.zeros((8, 16), np.uint8)
        pixels[:, 8:] = 1
        for kind in ("images", "masks"):
            Path("own", kind).mkdir(parents=True)
            Image.fromarray(pixels).save(Path("own", kind, "0.png"))
        for victim in ("own/images/0.png", "own/masks/new.png", "own/dataset.json"):
            Path("own/dataset.json").write_text('{"classes": ["zero", "one", "two"]}')
            before = sorted((str(path), path.stat().st_mtime_ns) for path in Path("own").rglob("*"))
            result = call("--data", "own", "--per-image", victim, "--overwrite")
            assert (result.exit_code, "would replace" in result.stderr) == (1, True)
            assert sorted((str(path), path.stat().st_mtime_ns) for path in Path("own").rglob("*")) == before
        assert call("--data", "own", "--per-image", "own/scores.csv").exit_code == 0

    def test_what_a_run_is_made_of_is_not_replaced(self, call: Callable[..., Result]) -> None:
        facts = {"spec": "known.npz", "fingerprint": "", "class_names": []}
        Path("run.json").write_text(json.dumps({"data": facts}))
        result = call("--per-image", "run.json", "--overwrite")
        assert (result.exit_code, json.loads(Path("run.json").read_text())) == (1, {"data": facts})


def test_pictures_say_what_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that only differs in the model's or the image's name gives another picture of the same size."""
    monkeypatch.chdir(tmp_path)
    known_data(tmp_path)
    model = known_model(tmp_path, "labels")
    (tmp_path / "other.onnx").write_bytes(model.read_bytes())
    for path in (model, tmp_path / "other.onnx"):
        options = EvaluateOptions(data="known.npz", bootstrap=Bootstrap(100))
        evaluate_and_draw([path], options=options, pictures=Path(f"{path.stem}.png"))
    with Image.open("labels.png") as first, Image.open("other.png") as second:
        assert first.size == second.size
        assert (np.asarray(first) != np.asarray(second)).any()


def test_pictures_name_their_images(tmp_path: Path) -> None:
    """Two folders of the same name and the same pixels, whose files are called differently."""
    model = known_model(tmp_path, "labels")
    drawn = []
    for name in ("first", "second"):
        for kind in ("images", "masks"):
            (tmp_path / name / "own" / kind).mkdir(parents=True)
            Image.fromarray(np.eye(8, 16, dtype=np.uint8)).save(tmp_path / name / "own" / kind / f"{name}.png")
        options = EvaluateOptions(data=str(tmp_path / name / "own"), bootstrap=Bootstrap(100))
        evaluate_and_draw([model], options=options, pictures=tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            drawn.append(np.asarray(picture.convert("RGB")))
    assert drawn[0].shape == drawn[1].shape
    assert (drawn[0] != drawn[1]).any()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such name")
def test_a_name_that_is_not_utf_8_is_escaped_in_the_table(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "own" / kind).mkdir(parents=True)
        Image.fromarray(np.eye(8, 16, dtype=np.uint8)).save(tmp_path / "own" / kind / os.fsdecode(b"caf\xe9.png"))
    options = EvaluateOptions(data=str(tmp_path / "own"), bootstrap=Bootstrap(100), per_image=tmp_path / "each.csv")
    evaluate_and_draw([known_model(tmp_path, "labels")], options=options)
    assert "caf\\udce9.png" in (tmp_path / "each.csv").read_text(encoding="utf-8")


class TestJson:
    """What `evaluate --json` holds, of a model whose answers are known."""

    @pytest.fixture
    def found(self, tmp_path: Path) -> dict[str, Any]:
        return evaluate(known_model(tmp_path, "labels"), options=known_data(tmp_path)).to_dict()

    def test_the_names_of_the_design_are_there(self, found: dict[str, Any]) -> None:
        names = {"pixel_accuracy", "mean_iou", "mean_dice", "foreground_mean_iou", "foreground_mean_dice"}
        assert names | {"classes", "images", "convention"} <= found.keys()
        assert {"id", "name", "iou", "dice", "support"} <= found["classes"][0].keys()
        json.dumps(nan_to_none(found), allow_nan=False)

    def test_every_figure_says_its_level(self, found: dict[str, Any]) -> None:
        assert (found["level"], found["per_image"]["level"]) == ("data set", "image")
        assert set(found["per_image"]["mean"]) == set(found["intervals"]["figures"]) == set(FIGURES) <= found.keys()

    def test_figures_by_hand(self, found: dict[str, Any]) -> None:
        """Class 1 is predicted right; half of class 0's pixels have the value of class 1 in the second image."""
        assert found["pixel_accuracy"] == 0.875
        zero, one = found["classes"][:2]
        assert (zero["iou"], zero["recall"], zero["precision"], zero["images"]) == (0.75, 0.75, 1, 2)
        assert (one["iou"], one["precision"], one["predicted"]) == (0.8, 0.8, 2.5 * 16 * 4)
        assert found["confusion_matrix_normalized"] == [[0.75, 0.25, 0], [0, 1, 0], None]
        assert np.isnan(found["classes"][2]["iou"])
        assert found["per_image"]["worst"][0]["pixel_accuracy"] == 0.75
        assert found["per_image"]["best"][0]["pixel_accuracy"] == found["per_image"]["median"]["pixel_accuracy"] + 0.125
        assert found["boundary"]["width_pixels"] == [1, 1]

    def test_a_model_of_labels_has_no_calibration_error_and_says_why(self, found: dict[str, Any]) -> None:
        assert found["calibration"]["available"] is False
        assert "--head probabilities" in found["calibration"]["reason"]

    @pytest.mark.parametrize("head", ["logits", "probabilities"])
    def test_one_of_probabilities_has_one(self, tmp_path: Path, head: str) -> None:
        model = known_model(tmp_path, head)
        found = evaluate(model, options=known_data(tmp_path)).to_dict()["calibration"]
        data = load_dataset(str(tmp_path / "known.npz"))
        shares = np.stack([segtool.load(model).probabilities(data.image(at)) for at in range(2)])
        truth = data.labels([0, 1])
        expected = Calibration.of(truth, shares.argmax(-1), shares.max(-1)).error()
        assert found["expected_calibration_error"] == pytest.approx(expected, abs=1e-6)
        assert sum(row["pixels"] for row in found["bins"]) == 2 * 8 * 16

    def test_one_image_has_figures_and_no_interval(self, tmp_path: Path) -> None:
        options = known_data(tmp_path, images=1)
        found = evaluate(known_model(tmp_path, "labels"), options=options).to_dict()
        assert found["intervals"]["figures"] is None
        assert "two images" in found["intervals"]["reason"]
        assert found["classes"][0]["intervals"] is None

    def test_the_boundary_width_is_an_option(self, tmp_path: Path) -> None:
        options = replace(known_data(tmp_path), boundary_width=3)
        assert evaluate(known_model(tmp_path, "labels"), options=options).to_dict()["boundary"]["width_pixels"] == [
            3,
            3,
        ]

    def test_the_csv_has_every_figure(self, tmp_path: Path) -> None:
        options = replace(known_data(tmp_path), per_image=tmp_path / "each.csv")
        evaluate(known_model(tmp_path, "labels"), options=options)
        header, first, second = (tmp_path / "each.csv").read_text().splitlines()
        assert header.split(",") == ["image", *(f"image_{name}" for name in FIGURES)]
        assert (first.split(",")[1], second.split(",")[1]) == ("1.000000", "0.750000")

    def test_the_table_shows_what_the_json_says(self, tmp_path: Path) -> None:
        known_data(tmp_path)
        arguments = ["evaluate", str(known_model(tmp_path, "labels")), "--data", str(tmp_path / "known.npz")]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0
        assert "87.50" in result.stdout
        assert "No calibration error" in result.stderr
        assert "within 1 pixel of an outline" in result.stderr


@pytest.mark.parametrize(
    ("images", "labels", "arguments", "words"),
    [
        ((2, 8, 16), (2, 8, 15), (), "8 x 15"),
        ((2, 8, 16), (2, 8, 16), ("--split", "test"), "no 'test' split"),
        ((0, 8, 16), (0, 8, 16), (), "at least one image"),
    ],
)
def test_bad_data_are_one_sentence_and_exit_1(
    tmp_path: Path, images: Sizes, labels: Sizes, arguments: tuple[str, ...], words: str
) -> None:
    known_data(tmp_path)
    np.savez(tmp_path / "known.npz", images=np.zeros(images, np.uint8), labels=np.zeros(labels, np.uint8))
    call = ["evaluate", str(known_model(tmp_path, "labels")), "--data", str(tmp_path / "known.npz"), *arguments]
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 1
    assert words in result.stderr
    assert (result.stdout, len(result.stderr.strip().splitlines())) == ("", 1)


def test_ids_beyond_the_classes_are_one_sentence_and_exit_1(tmp_path: Path) -> None:
    known_data(tmp_path)
    labels = np.full((2, 8, 16), 3, np.uint8)
    np.savez(tmp_path / "known.npz", images=np.zeros_like(labels), labels=labels)
    call = ["evaluate", str(known_model(tmp_path, "labels")), "--data", str(tmp_path / "known.npz")]
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 1
    assert "3" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_network_that_ends_in_logits_is_scored_without_a_calibration_error(tmp_path: Path) -> None:
    build_tiny(softmax=False).save(tmp_path / "logits.keras")
    build_tiny().save(tmp_path / "shares.keras")
    images, labels = tiny_data(4)
    np.savez(tmp_path / "data.npz", images=images[..., 0], labels=labels)
    options = EvaluateOptions(data=str(tmp_path / "data.npz"))
    assert evaluate(tmp_path / "shares.keras", options=options).to_dict()["calibration"]["available"]
    found = evaluate(tmp_path / "logits.keras", options=options).to_dict()["calibration"]
    assert not found["available"]
    assert "do not sum to 1" in found["reason"]


def known_model(folder: Path, head: str) -> Path:
    names = ("zero", "one", "two")
    made = tiny_contract(height=8, width=16, class_names=names, head=head, background_id=0)
    return write_model(folder / f"{head}.onnx", made)


def known_data(folder: Path, *, images: int = 2) -> EvaluateOptions:
    """Two images, half class 0 and half class 1 each; half of class 0 in the second looks like class 1."""
    labels = np.zeros((2, 8, 16), np.uint8)
    labels[:, :, 8:] = 1
    pixels = labels * np.uint8(STEP)
    pixels[1, :4, :8] = STEP
    np.savez(folder / "known.npz", images=pixels[:images], labels=labels[:images])
    (folder / "known.json").write_text('{"classes": ["zero", "one", "two"]}')
    return EvaluateOptions(data=str(folder / "known.npz"), bootstrap=Bootstrap(100))
