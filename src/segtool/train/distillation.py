"""Knowledge distillation: train a student network on the labels and on the predictions of a teacher network.

Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network (2015). The loss is (1 - a) L + a T^2 KL(q || p).
L is the loss of the labels. q and p are the softened predictions of teacher and student, softmax(scores / T). The
factor T^2 makes the weight of the teacher's gradient independent of T. Here a is 1/2. The teacher sees the same
augmented images as the student.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import ops

from segtool.errors import TrainingError
from segtool.files import sha256_of
from segtool.models.keras_file import load_keras_file, with_plain_ends
from segtool.models.resolve import Run, find_model

TEACHER_SHARE = 0.5
TEMPERATURE = 2.0  # the default
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Teacher:
    """A trained network, the SHA-256 of its file, and its run; None if the run is unknown."""

    model: Any
    sha256: str
    run: Run | None = None


def load_teacher(path: str | Path, *, size: tuple[int, int], channels: int, class_names: Sequence[str]) -> Teacher:
    """Open a teacher for a student that takes images of `size` (height, width) pixels.

    Raises
    ------
    ModelFileError
        The model does not exist or is of another kind.
    TrainingError
        Its image size, channels or classes differ from those of the student.
    """
    found = find_model(path, kind="keras")
    model = with_plain_ends(load_keras_file(found.path))
    wanted, takes = (*size, channels), tuple(model.input_shape[1:])
    if takes != wanted:
        raise TrainingError(
            f"The teacher {path} takes images of {_shape(takes)}, and the student takes {_shape(wanted)} (height x "
            "width x channels); choose a teacher of the student's size, or pass --size."
        )
    names = list(found.run.data["class_names"]) if found.run else None
    if model.output_shape[-1] != len(class_names) or names not in (None, list(class_names)):
        known = names or f"{model.output_shape[-1]} classes"
        raise TrainingError(
            f"The teacher {path} predicts {known}, and the data have {list(class_names)}; choose a teacher that was "
            "trained on the same classes."
        )
    model.trainable = False
    return Teacher(model, sha256_of(found.path), found.run)


def _shape(sizes: Sequence[int | None]) -> str:
    return " x ".join(map(str, sizes))


def warn_of_leaks(teacher: Teacher, fingerprint: str, split: Mapping[str, Any]) -> None:
    """Warn if the teacher may have trained on images of the student's validation or test part.

    Parameters
    ----------
    teacher
        The teacher; without a run, nothing is known and nothing is reported.
    fingerprint
        The fingerprint of the student's data.
    split
        The student's seed, val_split and test_split.
    """
    if teacher.run and teacher.run.data["fingerprint"] == fingerprint and dict(teacher.run.split) != dict(split):
        logger.warning(
            "The teacher's run %s used another split of the same images (%s, here %s). It may have trained on images "
            "that are for validation or test here, so their scores will be too high.",
            teacher.run.path,
            dict(teacher.run.split),
            dict(split),
        )


def softened(probabilities: Any, temperature: float) -> Any:
    """Return probabilities (..., K) softened by a temperature, and their logarithms."""
    # Scores are the logarithms of the probabilities up to a constant, which a softmax ignores.
    scores = ops.log(ops.maximum(probabilities, 1e-7)) / temperature
    return ops.softmax(scores), ops.log_softmax(scores)


class TeacherLoss(keras.losses.Loss):  # type: ignore[misc]  # keras carries no types
    """T^2 KL(q || p) between predictions q of the teacher and p of the student, (N, H, W, K); mean over pixels."""

    def __init__(self, temperature: float) -> None:
        super().__init__(reduction="mean_with_sample_weight")
        self._temperature = temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss (N, H, W) of teacher `y_true` and student `y_pred`, both (N, H, W, K)."""
        (teacher, log_teacher), (_, log_student) = (softened(item, self._temperature) for item in (y_true, y_pred))
        return self._temperature**2 * ops.sum(teacher * (log_teacher - log_student), axis=-1)


class DistilledModel(keras.Model):  # type: ignore[misc]  # keras carries no types
    """A network whose loss includes the predictions of a teacher. Its layers and weights exclude the teacher's."""

    def learn_from(self, teacher: Teacher, *, temperature: float) -> None:
        """Set the teacher; call it before `compile`."""
        model = teacher.model
        # A function hides the teacher from Keras, which would otherwise track its weights as part of this model.
        self._teacher: Callable[[Any], Any] = lambda images: model(images, training=False)
        self._teacher_loss: Callable[..., Any] = TeacherLoss(temperature)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the loss of labels and teacher together, a scalar."""
        hard = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        soft = self._teacher_loss(ops.stop_gradient(self._teacher(x)), y_pred, sample_weight)
        return (1 - TEACHER_SHARE) * hard + TEACHER_SHARE * soft


def with_teacher(network: keras.Model, teacher: Teacher | None, *, temperature: float | None) -> keras.Model:
    """Return an uncompiled model that trains the network with a teacher; the network itself without one."""
    if teacher is None:
        return network
    model = DistilledModel(network.inputs[0], network.outputs[0], name=network.name)
    model.learn_from(teacher, temperature=temperature or TEMPERATURE)
    return model
