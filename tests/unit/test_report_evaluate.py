"""An evaluation never scores what the model was trained on, unless it is told to."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_models import STEP, tiny_contract, write_model
from tiny_nets import KERAS_WARNING, build_tiny, tiny_data

import segtool
from segtool.cli import main
from segtool.data.dataset import split
from segtool.data.loading import load_dataset
from segtool.files import nan_to_none
from segtool.report.evaluate import EvaluateOptions, evaluate
from segtool.runtime.metrics import Bootstrap, Calibration
from segtool.runtime.metrics.figures import FIGURES

Sizes = tuple[int, ...]
pytestmark = pytest.mark.filterwarnings(KERAS_WARNING)

MODEL = Path(__file__).parents[1] / "golden" / "tiny_v1.onnx"  # trained on tiny_data(), split by seed 3, 0.25 held out


@pytest.fixture
def data(tmp_path: Path) -> str:
    images, labels = tiny_data()
    path = tmp_path / "data.npz"
    np.savez(path, images=images[..., 0], labels=labels)
    return str(path)


def test_the_training_data_are_split_as_in_the_training(data: str, tmp_path: Path) -> None:
    result = evaluate(MODEL, options=EvaluateOptions(data=data, per_image=tmp_path / "each.csv"))
    held_out = split(load_dataset(data), val_fraction=0.25, seed=3).val
    assert (result.split, result.scores.images) == ("val", 12)
    scored = [line.split(",")[0] for line in (tmp_path / "each.csv").read_text().splitlines()[1:]]
    assert scored == [load_dataset(data).sample_names[index] for index in held_out]


def test_other_data_are_scored_whole(tmp_path: Path) -> None:
    images, labels = tiny_data(seed=9)
    np.savez(tmp_path / "other.npz", images=images[..., 0], labels=labels)
    result = evaluate(MODEL, options=EvaluateOptions(data=str(tmp_path / "other.npz")))
    assert (result.split, result.scores.images) == ("all", 48)


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
        assert "within 1 pixels of an outline" in result.stderr


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
    assert "does not add up to 1" in found["reason"]


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
