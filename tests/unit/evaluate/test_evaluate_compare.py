"""Comparing models on the same images: the figures, who may be compared, and on what."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_models import STEP, tiny_contract, write_convolutions, write_model

from segtool.cli import main
from segtool.cli.scores import _signed
from segtool.contract import ModelContract
from segtool.data.loading import load_dataset
from segtool.errors import DataError
from segtool.evaluate.evaluate import EvaluateOptions, compare, evaluate
from segtool.metrics import Bootstrap
from segtool.report.pictures import who_is_right

NAMES = ("one", "two", "background")
BATCH = 12


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def contract(**changes: object) -> ModelContract:
    return tiny_contract(**{"height": 16, "width": 20, "class_names": NAMES, **changes})


def save(path: str, labels: np.ndarray) -> None:
    np.savez(path, images=(labels * STEP).astype(np.uint8), labels=labels)
    Path(path).with_suffix(".json").write_text(json.dumps({"classes": NAMES, "background": "background"}))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images whose pixels say their class, a perfect model and one that only guesses."""
    monkeypatch.chdir(tmp_path)
    labels = np.random.default_rng(0).integers(0, 3, (BATCH, 16, 20)).astype(np.uint8)
    labels[5] = 0  # a black image: both models see nothing but their bias
    save("data.npz", labels)
    write_model(Path("good.onnx"), contract())
    write_convolutions(Path("guess.onnx"), contract())


def options(**changes: object) -> EvaluateOptions:
    return EvaluateOptions(data="data.npz", bootstrap=Bootstrap(200), **changes)


class TestComparison:
    def test_each_model_scores_as_it_does_alone(self) -> None:
        result = compare(["guess.onnx", "good.onnx"], options=options())
        for evaluation in result.evaluations:
            assert evaluation.to_dict() == evaluate(evaluation.model, options=options()).to_dict()

    def test_the_difference_is_second_minus_first_with_a_verdict(self) -> None:
        [comparison] = compare(["guess.onnx", "good.onnx"], options=options()).comparisons
        found = comparison.to_dict()
        iou = found["figures"]["foreground_mean_iou"]
        assert iou["second"] == 1
        assert iou["difference"] == 1 - iou["first"] > 0.3
        assert iou["interval"][0] <= iou["difference"] <= iou["interval"][1]
        assert iou["verdict"] == "better"
        [back] = compare(["good.onnx", "guess.onnx"], options=options()).comparisons
        assert back.to_dict()["figures"]["foreground_mean_iou"]["verdict"] == "worse"

    def test_the_interval_is_paired(self) -> None:
        """Two files of the same network: every resample has the same difference, 0, however their scores vary."""
        write_convolutions(Path("again.onnx"), contract())
        [comparison] = compare(["guess.onnx", "again.onnx"], options=options()).comparisons
        found = comparison.to_dict()
        assert comparison.first.intervals()["mean_iou"][0] < comparison.first.intervals()["mean_iou"][1]
        assert all(entry["interval"] == [0, 0] for entry in found["figures"].values())
        assert {entry["verdict"] for entry in found["figures"].values()} == {"no difference shown"}
        assert (found["label_agreement"], found["images_alike"], found["differ_most"]) == (1, BATCH, [])

    def test_the_paired_interval_is_that_of_the_differences_of_each_draw(self) -> None:
        [comparison] = compare(["guess.onnx", "good.onnx"], options=options()).comparisons
        drawn = np.random.default_rng(0).integers(0, BATCH, (200, BATCH))
        right = [each.tally.counts.hits.sum(axis=1) for each in (comparison.first, comparison.second)]
        differences = (right[1][drawn].sum(axis=1) - right[0][drawn].sum(axis=1)) / (BATCH * 16 * 20)
        expected = np.quantile(differences, [0.025, 0.975])
        found = comparison.to_dict()["figures"]["pixel_accuracy"]["interval"]
        np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_images_that_differ_most_come_first(self) -> None:
        [comparison] = compare(["guess.onnx", "good.onnx"], options=options()).comparisons
        data = load_dataset("data.npz")
        listed = comparison.to_dict()["differ_most"]
        shares = [item["label_agreement"] for item in listed]
        assert shares == sorted(shares)
        assert len(listed) == 10
        first = listed[0]
        assert first["image"] == data.sample_names[first["index"]]
        wrong = comparison.first.tally.counts.hits.sum(axis=1) / (16 * 20)  # good.onnx is the truth
        assert first["label_agreement"] == wrong.min() == wrong[first["index"]]

    def test_three_models_are_compared_with_the_first(self) -> None:
        result = compare(["good.onnx", "guess.onnx", "good.onnx"], options=options())
        assert [each.to_dict()["label_agreement"] == 1 for each in result.comparisons] == [False, True]

    def test_models_of_different_sizes_see_the_same_images(self) -> None:
        write_model(Path("half.onnx"), contract(height=8, width=10))
        [comparison] = compare(["good.onnx", "half.onnx"], options=options()).comparisons
        counts = comparison.second.tally.counts
        assert counts.truth.sum() == BATCH * 16 * 20
        assert 0 < comparison.label_agreement < 1

    def test_one_image_has_no_interval(self) -> None:
        save("data.npz", np.tile(np.array([0, 1, 2, 2], np.uint8), (1, 16, 5)))
        [comparison] = compare(["guess.onnx", "good.onnx"], options=options()).comparisons
        assert comparison.to_dict()["figures"]["mean_iou"]["interval"] is None
        assert comparison.to_dict()["figures"]["mean_iou"]["verdict"] is None


class TestWhoMayBeCompared:
    def test_other_classes_are_refused(self) -> None:
        write_model(Path("other.onnx"), contract(class_names=("one", "three", "background")))
        with pytest.raises(
            DataError, match=r"good.onnx has the classes one, two, background and other.onnx has one, t"
        ):
            compare(["good.onnx", "other.onnx"], options=options())

    def split_as(self, path: str, seed: int) -> str:
        fingerprint = load_dataset("data.npz").fingerprint()
        division = {"seed": seed, "val_split": 0.25, "test_split": 0.0}
        write_model(Path(path), contract(data_fingerprint=fingerprint, split=division))
        return path

    def test_the_split_is_that_of_the_model_that_was_trained_on_the_data(self) -> None:
        own = self.split_as("own.onnx", 4)
        alone = evaluate(own, options=options()).selection
        for models in ((own, "guess.onnx"), ("guess.onnx", own)):
            found = compare(models, options=options()).evaluations[0].selection
            assert found.part == alone.part == "val"
            np.testing.assert_array_equal(found.indices, alone.indices)

    def test_different_parts_of_the_same_data_are_refused(self) -> None:
        models = [self.split_as("a.onnx", 1), self.split_as("b.onnx", 2)]
        with pytest.raises(DataError, match="the val images of one are training images of another"):
            compare(models, options=options())
        assert compare(models, options=options(split="all")).evaluations[0].scores.images == BATCH

    def test_without_data_and_without_a_run_there_is_nothing_to_score(self) -> None:
        with pytest.raises(DataError, match="pass --data SPEC"):
            compare(["good.onnx", "guess.onnx"], options=EvaluateOptions())


class TestCommand:
    def test_tables_name_both_models(self) -> None:
        result = run("evaluate", "guess.onnx", "good.onnx", "--data", "data.npz", "--resamples", 100)
        assert result.exit_code == 0, result.stderr
        assert "good.onnx (second) against guess.onnx (first)" in result.stdout
        assert "better" in result.stdout
        assert "Images with the greatest differences" in result.stdout

    def test_json(self) -> None:
        result = run("evaluate", "guess.onnx", "good.onnx", "--data", "data.npz", "--json")
        found = json.loads(result.stdout)
        assert [Path(model["model"]).name for model in found["models"]] == ["guess.onnx", "good.onnx"]
        assert found["intervals"]["resamples"] == 1000
        assert found["comparisons"][0]["classes"][1]["name"] == "two"

    def test_json_says_how_the_figures_are_defined(self) -> None:
        found = json.loads(run("evaluate", "guess.onnx", "good.onnx", "--data", "data.npz", "--json").stdout)
        alone = json.loads(run("evaluate", "guess.onnx", "--data", "data.npz", "--json").stdout)
        assert (found["convention"], found["boundary"]) == (alone["convention"], alone["boundary"])

    def test_the_width_of_boundaries_is_said(self) -> None:
        result = run("evaluate", "guess.onnx", "good.onnx", "--data", "data.npz", "--resamples", 100)
        assert "Boundary IoU: over the pixels within 1 pixel of an outline." in result.stderr

    def test_a_small_difference_is_not_shown_as_none(self) -> None:
        cells = [_signed(value) for value in (3e-5, -2e-7, 0.0, 0.123456, 1e-12, float("nan"))]
        assert cells == ["+0.003", "-0.00002", "0", "+12.35", "+1e-10", "-"]

    def test_csv_and_pictures(self) -> None:
        files = ("--per-image", "each.csv", "--pictures", "differ.png", "--samples", 2)
        result = run("evaluate", "guess.onnx", "good.onnx", "--data", "data.npz", *files)
        assert result.exit_code == 0, result.stderr
        rows = list(csv.DictReader(Path("each.csv").read_text().splitlines()))
        assert len(rows) == 2 * BATCH
        assert {row["model"] for row in rows} == {"guess.onnx", "good.onnx"}
        with Image.open("differ.png") as picture:
            assert picture.width > 5 * 8 * 16  # five pictures, each enlarged
        again = run("evaluate", "guess.onnx", "good.onnx", "--data", "data.npz", *files)
        assert (again.exit_code, "already exists" in again.stderr) == (1, True)

    def test_pictures_of_three_models_show_the_first_two_and_say_so(self) -> None:
        models = ("guess.onnx", "good.onnx", "guess.onnx")
        result = run("evaluate", *models, "--data", "data.npz", "--pictures", "two.png")
        assert "The pictures compare the first two models, guess.onnx and good.onnx." in result.stderr

    def test_pictures_of_no_difference_are_not_written_and_said_so(self) -> None:
        result = run("evaluate", "good.onnx", "good.onnx", "--data", "data.npz", "--pictures", "none.png")
        assert result.exit_code == 0
        lines = result.stderr.splitlines()
        assert any("No picture was written: the models give every pixel the same label." in line for line in lines)
        assert not Path("none.png").exists()

    def test_no_output_is_an_input(self) -> None:
        before = Path("good.onnx").read_bytes()
        call = ("evaluate", "guess.onnx", "good.onnx", "--data", "data.npz", "--overwrite", "--per-image", "good.onnx")
        assert run(*call).exit_code == 1
        assert Path("good.onnx").read_bytes() == before

    def test_other_classes_exit_1_with_one_sentence(self) -> None:
        write_model(Path("other.onnx"), contract(class_names=("one", "three", "background")))
        result = run("evaluate", "good.onnx", "other.onnx", "--data", "data.npz")
        assert result.exit_code == 1
        assert "compare models that were trained on the same classes" in result.stderr
        assert result.stdout == ""


class TestPicture:
    def test_who_is_right(self) -> None:
        truth = np.array([[0, 0, 0, 0, 255]])
        colors = who_is_right(truth, np.array([[0, 0, 1, 1, 0]]), np.array([[0, 1, 0, 1, 0]]), ignore_id=255)
        assert len(np.unique(colors.reshape(-1, 3), axis=0)) == 5
