"""Losses and class weights against their formulas in numpy, and their gradients against differences of those."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from segtool.errors import TrainingError
from segtool.images.arrays import count_labels
from segtool.train.class_balance import class_weights
from segtool.train.losses import PixelLoss
from segtool.train.options import TrainOptions
from segtool.train.recipes import LOSSES, resolve_recipe

CLASSES = 4
WEIGHTS = [0.5, 2.0, 1.0, 3.0]


def _batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (2, 3, 5, 4), labels without class 3, and weights of which some are 0."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (2, 3, 5)).astype(np.int32)
    weights = (rng.random((2, 3, 5)) < 0.7).astype(np.float32)
    return rng.normal(0, 2, (2, 3, 5, CLASSES)).astype(np.float32), labels, weights


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores.astype(np.float64))
    return powers / powers.sum(-1, keepdims=True)


# Pixel by pixel, in plain Python: nothing in common with the implementation.
def _cross_entropy(p: np.ndarray, y: np.ndarray, w: np.ndarray, c: list[float], focus: int = 0) -> float:
    total = counted = 0.0
    for place in np.ndindex(y.shape):
        share = w[place] * c[y[place]]
        right = p[place][y[place]]
        total -= share * (1 - right) ** focus * np.log(right)
        counted += share
    return total / counted if counted else 0.0


def _focal(p: np.ndarray, y: np.ndarray, w: np.ndarray, c: list[float]) -> float:
    return _cross_entropy(p, y, w, c, focus=2)


def _dice(p: np.ndarray, y: np.ndarray, w: np.ndarray, c: list[float]) -> float:
    total = counted = 0.0
    for kind in range(CLASSES):
        places = [place for place in np.ndindex(y.shape) if w[place]]
        truth = [place for place in places if y[place] == kind]
        if truth:
            overlap = sum(p[place][kind] for place in truth)
            said = sum(p[place][kind] for place in places)
            total += c[kind] * (1 - 2 * overlap / (said + len(truth)))
            counted += c[kind]
    return total / counted if counted else 0.0


def _combined(p: np.ndarray, y: np.ndarray, w: np.ndarray, c: list[float]) -> float:
    return _cross_entropy(p, y, w, c) + _dice(p, y, w, c)


FORMULAS: dict[str, Callable[..., float]] = {
    "cross-entropy": _cross_entropy, "focal": _focal, "dice": _dice, "combined": _combined,
}  # fmt: skip


@pytest.mark.parametrize("class_weight", [None, WEIGHTS])
@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_is_its_formula(name: str, class_weight: list[float] | None) -> None:
    scores, labels, weights = _batch()
    p = _softmax(scores)
    loss = PixelLoss(name, class_weights=class_weight)
    expected = FORMULAS[name](p, labels, weights, class_weight or [1.0] * CLASSES)
    assert float(loss(labels, p.astype(np.float32), weights)) == pytest.approx(expected, rel=1e-4)
    whole = FORMULAS[name](p, labels, np.ones_like(weights), class_weight or [1.0] * CLASSES)
    assert float(loss(labels, p.astype(np.float32))) == pytest.approx(whole, rel=1e-4)
    assert whole != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", list(LOSSES))
def test_pixels_without_weight_change_nothing(name: str) -> None:
    scores, labels, weights = _batch()
    other_scores, other_labels = scores.copy(), labels.copy()
    other_scores[weights == 0] = 7 * np.arange(CLASSES)
    other_labels[weights == 0] = 3
    loss = PixelLoss(name)
    ours, theirs = (
        float(loss(truth, _softmax(said).astype(np.float32), weights))
        for truth, said in ((labels, scores), (other_labels, other_scores))
    )
    assert ours == pytest.approx(theirs, rel=1e-6)
    assert float(loss(labels, _softmax(scores).astype(np.float32), 0 * weights)) == 0


def _step(scores: np.ndarray, loss: keras.losses.Loss, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return how far one step of gradient descent moves the scores of a network that has no other weights."""
    image = keras.Input((len(scores),))
    layer = keras.layers.Dense(scores[0].size, use_bias=False)
    model = keras.Model(image, keras.layers.Softmax()(keras.layers.Reshape(scores.shape[1:])(layer(image))))
    layer.set_weights([scores.reshape(len(scores), -1)])
    model.compile(keras.optimizers.SGD(1.0), loss)
    assert np.isfinite(model.train_on_batch(np.eye(len(scores)), labels, sample_weight=weights))
    return layer.get_weights()[0].reshape(scores.shape) - scores


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_step_goes_down_the_formulas_slope(name: str) -> None:
    scores, labels, weights = _batch()
    moved = _step(scores, PixelLoss(name, class_weights=WEIGHTS), labels, weights)
    slope, step = np.zeros(scores.shape), 1e-5
    for place in np.ndindex(scores.shape):
        values = []
        for sign in (1, -1):
            other = scores.astype(np.float64)
            other[place] += sign * step
            values.append(FORMULAS[name](_softmax(other), labels, weights, WEIGHTS))
        slope[place] = (values[0] - values[1]) / (2 * step)
    np.testing.assert_allclose(-moved, slope, atol=2e-5)


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("case", ["one class only", "nothing counts", "hopeless"])
def test_slopes_are_finite_at_the_ends(name: str, case: str) -> None:
    scores, labels, weights = _batch()
    if case == "one class only":
        labels[:] = 1
    elif case == "nothing counts":
        weights[:] = 0
    else:  # sure, and wrong everywhere
        scores[:] = -60.0
        scores[..., 3] = 60.0
    moved = _step(scores, PixelLoss(name, class_weights=WEIGHTS), labels, weights)
    assert np.isfinite(moved).all()
    if case != "hopeless":
        assert moved.any() == (case == "one class only")
    elif keras.backend.backend() == "tensorflow":  # the others cut logarithms off where a probability is nearly 0
        assert moved.any() == (name != "dice")


def test_cross_entropy_is_keras_own() -> None:
    scores, labels, weights = _batch()
    p = _softmax(scores).astype(np.float32)
    theirs = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")(labels, p, weights)
    ours = PixelLoss("cross-entropy")(labels, p, weights)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)


def test_a_network_in_half_precision_has_its_loss_in_float32() -> None:
    scores, labels, weights = _batch()
    p = keras.ops.cast(_softmax(scores), "bfloat16")
    loss = PixelLoss("combined")(labels, p, weights)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"


def test_balanced_weights_give_each_class_the_same_share() -> None:
    labels = [np.array([[0, 0, 0, 0], [0, 0, 1, 255]], np.uint8), np.array([[3]], np.uint16)]
    found = class_weights("balanced", np.array([count_labels(label, 4) for label in labels]))
    assert found == pytest.approx([8 / (4 * 6), 8 / 4, 0, 8 / 4], rel=1e-5)


def test_weights_are_none_or_a_list_as_given() -> None:
    assert class_weights("none", np.zeros((0, 2), int)) is None
    assert class_weights("1, 0,2.5", np.zeros((0, 3), int)) == [1, 0, 2.5]


@pytest.mark.parametrize(
    ("text", "says"),
    [("1,2", "2 numbers and the data have 3 classes"), ("a", "found 'a'"), ("0,0,0", "at least one above 0"),
     ("1,-1,2", "found '1,-1,2'"), ("1,nan,2", "found"), ("inf,1,1", "found"), ("", "found ''")],
)  # fmt: skip
def test_what_is_no_list_of_weights_is_refused(text: str, says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        resolve_recipe(TrainOptions(recipe="standard", class_weights=text), ["a", "b", "c"])
