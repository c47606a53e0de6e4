"""Learning from a teacher as well as from the labels, so that a small network gets more of what a large one knows.

Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network (2015): the loss is (1 - a) L + a T^2 KL(q || p),
where L is the loss of the labels, q and p are the answers of teacher and student, softmax(scores / T), and the factor
T^2 keeps the share of the gradient whatever T is. Here a is 1/2. The teacher sees what the student sees, augmentation
included.
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
from segtool.models import find_model, load_keras_file
from segtool.models.resolve import Run

TEACHER_SHARE = 0.5
TEMPERATURE = 2.0  # where none is asked for
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Teacher:
    """A trained network, the SHA-256 of its file, and the run that it comes from, where that is known."""

    model: Any
    sha256: str
    run: Run | None = None


def load_teacher(path: str | Path, *, size: tuple[int, int], channels: int, class_names: Sequence[str]) -> Teacher:
    """Open a teacher for students of images of `size` (height, width) pixels.

    Raises
    ------
    ModelFileError
        There is no such model, or it is of another kind.
    TrainingError
        It takes other images or tells other classes.
    """
    found = find_model(path, kind="keras")
    model = load_keras_file(found.path)
    wanted, takes = (*size, channels), tuple(model.input_shape[1:])
    if takes != wanted:
        raise TrainingError(
            f"The teacher {path} takes images of {_shape(takes)} and the student is to take {_shape(wanted)} (height x "
            "width x channels); choose a teacher of that size, or pass --size."
        )
    names = list(found.run.data["class_names"]) if found.run else None
    if model.output_shape[-1] != len(class_names) or names not in (None, list(class_names)):
        known = names or f"{model.output_shape[-1]} classes"
        raise TrainingError(
            f"The teacher {path} tells {known} and the data have {list(class_names)}; choose a teacher that was "
            "trained on the same classes."
        )
    model.trainable = False
    return Teacher(model, sha256_of(found.path), found.run)


def _shape(sizes: Sequence[int | None]) -> str:
    return " x ".join(map(str, sizes))


def warn_of_leaks(teacher: Teacher, fingerprint: str, split: Mapping[str, Any]) -> None:
    """Warn where the teacher may have trained on images that the student is validated or tested on.

    Parameters
    ----------
    teacher
        Of a run, or else nothing is known.
    fingerprint
        Of the student's data.
    split
        The student's seed, val_split and test_split.
    """
    if teacher.run and teacher.run.data["fingerprint"] == fingerprint and dict(teacher.run.split) != dict(split):
        logger.warning(
            "The teacher's run %s split the same images otherwise (%s, here %s), so it may have trained on images that "
            "are for validation or test here: their figures will be too good.",
            teacher.run.path,
            dict(teacher.run.split),
            dict(split),
        )


def softened(probabilities: Any, temperature: float) -> Any:
    """Return the probabilities (..., K) of the scores behind others, divided by a temperature, and their logarithms."""
    # Scores are the logarithms of the probabilities but for a constant, which a softmax does not see.
    scores = ops.log(ops.maximum(probabilities, 1e-7)) / temperature
    return ops.softmax(scores), ops.log_softmax(scores)


class TeacherLoss(keras.losses.Loss):  # type: ignore[misc]  # keras carries no types
    """T^2 KL(q || p): what the answers p (N, H, W, K) of a student miss of its teacher's, q; the mean over pixels."""

    def __init__(self, temperature: float) -> None:
        super().__init__(reduction="mean_with_sample_weight")
        self._temperature = temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss (N, H, W) of teacher `y_true` and student `y_pred`, both (N, H, W, K)."""
        (taught, log_taught), (_, log_said) = (softened(item, self._temperature) for item in (y_true, y_pred))
        return self._temperature**2 * ops.sum(taught * (log_taught - log_said), axis=-1)


class DistilledModel(keras.Model):  # type: ignore[misc]  # keras carries no types
    """A network whose loss asks a teacher as well. Its layers and weights are those of the network alone."""

    def learn_from(self, teacher: Teacher, *, temperature: float) -> None:
        """Set the teacher; call it before `compile`."""
        model = teacher.model
        # Behind a function, where Keras does not look for layers: the teacher's weights are no weights of this model.
        self._taught: Callable[[Any], Any] = lambda images: model(images, training=False)
        self._teacher_loss: Callable[..., Any] = TeacherLoss(temperature)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the loss of labels and teacher together, a scalar."""
        hard = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        soft = self._teacher_loss(ops.stop_gradient(self._taught(x)), y_pred, sample_weight)
        return (1 - TEACHER_SHARE) * hard + TEACHER_SHARE * soft


def with_teacher(network: keras.Model, teacher: Teacher | None, *, temperature: float | None) -> keras.Model:
    """Return the network, not compiled, so that it learns from a teacher; itself where there is none."""
    if teacher is None:
        return network
    model = DistilledModel(network.inputs, network.outputs[0], name=network.name)
    model.learn_from(teacher, temperature=temperature or TEMPERATURE)
    return model
