"""A teacher: its loss against the formula, what it may be, and that its own weights take no part."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_nets import HEIGHT, KERAS_WARNING, WIDTH, build_tiny, tiny_data, write_run

from segtool.errors import ModelFileError, TrainingError
from segtool.models.resolve import Run
from segtool.train.distillation import Teacher, TeacherLoss, load_teacher, warn_of_leaks, with_teacher
from segtool.train.losses import PixelLoss

pytestmark = pytest.mark.filterwarnings(KERAS_WARNING)
FITTING = {"size": (HEIGHT, WIDTH), "channels": 1, "class_names": ("class 0", "class 1", "class 2")}


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores)
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_loss_is_the_divergence_of_the_softened_answers(temperature: float) -> None:
    rng = np.random.default_rng(0)
    taught, said = rng.normal(0, 2, (2, 2, 3, 4, 5))
    weights = (rng.random((2, 3, 4)) < 0.6).astype(np.float32)
    q, p = _softmax(taught / temperature), _softmax(said / temperature)
    pixels = temperature**2 * (q * np.log(q / p)).sum(-1)
    expected = (pixels * weights).sum() / weights.sum()
    found = TeacherLoss(temperature)(
        _softmax(taught).astype(np.float32), _softmax(said).astype(np.float32), sample_weight=weights
    )
    assert float(found) == pytest.approx(expected, rel=1e-4)
    same = TeacherLoss(temperature)(_softmax(taught), _softmax(taught), sample_weight=weights)
    assert float(same) == pytest.approx(0, abs=1e-6)


def _student(teacher: keras.Model | None) -> keras.Model:
    found = None if teacher is None else Teacher(teacher, "")
    model = with_teacher(build_tiny(seed=1), found, temperature=2.0)
    model.compile(keras.optimizers.SGD(0.5), PixelLoss("cross-entropy"))
    return model


def test_a_student_has_its_own_weights_and_half_of_each_loss() -> None:
    images, labels = tiny_data(8)
    teacher = build_tiny(seed=2)
    teacher.trainable = False
    student, alone = _student(teacher), _student(None)
    assert [weight.shape for weight in student.weights] == [weight.shape for weight in alone.weights]
    for ours, theirs in zip(student.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    hard = float(alone.evaluate(images, labels, verbose=0))
    soft = TeacherLoss(2.0)(teacher.predict_on_batch(images), student.predict_on_batch(images))
    assert float(student.evaluate(images, labels, verbose=0)) == pytest.approx((hard + float(soft)) / 2, rel=1e-4)


def test_a_student_comes_to_answer_as_its_teacher_whose_weights_stay() -> None:
    images, labels = tiny_data(16)
    teacher = build_tiny(seed=2)
    teacher.trainable = False
    taught, before = teacher.predict_on_batch(images), teacher.get_weights()
    # Labels that count nowhere leave the student the teacher alone.
    student = _student(teacher)
    distance = [np.abs(student.predict_on_batch(images) - taught).mean()]
    student.fit(images, labels, batch_size=16, epochs=30, verbose=0)
    distance.append(np.abs(student.predict_on_batch(images) - taught).mean())
    alone = _student(None)
    alone.fit(images, labels, batch_size=16, epochs=30, verbose=0)
    distance.append(np.abs(alone.predict_on_batch(images) - taught).mean())
    assert distance[1] < 0.9 * distance[2]
    for ours, theirs in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_teacher_is_a_run_or_its_keras_file(run: Path, tmp_path: Path) -> None:
    of_run = load_teacher(run, **FITTING)
    assert of_run.run is not None
    assert load_teacher(run / "model.keras", **FITTING).sha256 == of_run.sha256
    (tmp_path / "alone").mkdir()
    alone = tmp_path / "alone" / "any.keras"
    alone.write_bytes((run / "model.keras").read_bytes())
    found = load_teacher(alone, **{**FITTING, "class_names": ("x", "y", "z")})
    assert found.run is None
    assert not found.model.trainable_weights


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": (32, 32)}, "takes images of 16 x 20 x 1, and the student takes 32 x 32 x 1"),
        ({"channels": 3}, "the student takes 16 x 20 x 3"),
        ({"class_names": ("class 0", "class 1")}, r"predicts \['class 0', 'class 1', 'class 2'\], and the data have"),
        ({"class_names": ("class 0", "class 2", "class 1")}, "on the same classes"),
    ],
)
def test_a_teacher_of_other_images_or_classes_is_refused(run: Path, change: dict, says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        load_teacher(run, **{**FITTING, **change})


def test_what_is_no_trained_model_is_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no model at"):
        load_teacher(tmp_path / "nothing", **FITTING)
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(ModelFileError, match="a trained model"):
        load_teacher(tmp_path / "model.onnx", **FITTING)


def test_a_teacher_of_another_split_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    info = json.loads((write_run(tmp_path / "run", build_tiny()) / "run.json").read_text())
    teacher = Teacher(None, "", Run(tmp_path / "run", info))
    own = {"seed": 3, "val_split": 0.25, "test_split": 0.0}
    logging.getLogger("segtool").propagate = True
    with caplog.at_level("WARNING"):
        warn_of_leaks(teacher, info["data"]["fingerprint"], own)
        warn_of_leaks(teacher, "other data", {**own, "seed": 4})
        warn_of_leaks(Teacher(None, ""), info["data"]["fingerprint"], {**own, "seed": 4})
        assert not caplog.records
        warn_of_leaks(teacher, info["data"]["fingerprint"], {**own, "seed": 4})
    assert "may have trained on images that are for validation" in caplog.text
