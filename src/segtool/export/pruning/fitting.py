"""Which channel goes next, and the weights with which the others take over its work.

A convolution reads rows u of C k numbers (its window over all channels), and 1 for its bias. From which channels its
outputs y can be had is a question to second moments over images: the order of removal is that of Optimal Brain
Surgeon (B. Hassibi and D. Stork, NIPS 1992) with a channel in place of a weight. With H the moments of the channels
and W the weights (one row for each output and tap), removing channel c costs

    |W_c|^2 / (H^-1)_cc,   and the others take over   W <- W - W_c (H^-1)_c / (H^-1)_cc.

Then the weights of the channels that stay are fitted again, by least squares, to what the original network's
convolution gives: that also takes back what was lost in the layers before (Y. He, X. Zhang and J. Sun, Channel Pruning
for Accelerating Very Deep Neural Networks, ICCV 2017).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segtool.array_types import FloatingArray
from segtool.export.pruning.groups import Reader, Window

ROWS = 1 << 15
"""Positions of a map, over all images, that a fit looks at, at most; spread at random where there are more."""

RIDGE = 1e-5  # of the mean square of the inputs: keeps the fit sound where images are few

_LEAST_RIDGE = 1e-12


@dataclass(frozen=True)
class Moments:
    """Second moments of what a reader reads and should give.

    Attributes
    ----------
    inputs
        float64 (d + 1, d + 1), with d = C k: the window over every channel, channel by channel, and 1.
    answers
        float64 (K, d + 1): of the outputs with those.
    rows
        Over how many positions, for the mean.
    """

    inputs: FloatingArray
    answers: FloatingArray
    rows: int


def measure(reader: Reader, pairs: Iterable[tuple[FloatingArray, FloatingArray]], *, images: int) -> Moments:
    """Return the moments of a reader.

    Parameters
    ----------
    reader
        The convolution.
    pairs
        For each batch what it reads, (n, C, H, W), and what it should give, (n, K, H', W').
    images
        How many there are in all, to spread `ROWS` over them.
    """
    random = np.random.default_rng(0)
    inputs = answers = None
    rows = 0
    for values, wanted in pairs:
        count = len(wanted) * wanted.shape[2] * wanted.shape[3]
        most = max(1, ROWS * len(wanted) // images)
        chosen = random.choice(count, most, replace=False) if most < count else np.arange(count)
        place = np.unravel_index(chosen, (len(wanted), *wanted.shape[2:]))
        read = np.concatenate([_windows(values, reader.window, place), np.ones((len(chosen), 1), np.float32)], axis=1)
        gram, cross = read.T @ read, wanted[place[0], :, place[1], place[2]].T @ read
        inputs = gram.astype(np.float64) if inputs is None else inputs + gram
        answers = cross.astype(np.float64) if answers is None else answers + cross
        rows += len(chosen)
    if inputs is None or answers is None:
        raise ValueError("no images to fit on")
    return Moments(inputs / rows, answers / rows, rows)


def _windows(values: FloatingArray, window: Window, place: tuple[npt.NDArray[np.intp], ...]) -> FloatingArray:
    """Return what the window sees at some positions of the output, (rows, C k)."""
    top, left, bottom, right = window.pads
    padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
    image, row, column = place
    taps = [
        padded[
            image,
            :,
            row * window.strides[0] + y * window.dilations[0],
            column * window.strides[1] + x * window.dilations[1],
        ]
        for y in range(window.kernel[0])
        for x in range(window.kernel[1])
    ]
    return np.stack(taps, axis=2).reshape(len(image), -1)


def removal_order(moments: FloatingArray, weights: FloatingArray) -> npt.NDArray[np.intp]:
    """Return all channels in the order in which they can best be spared.

    Parameters
    ----------
    moments
        Covariance of the channels, float64 (C, C).
    weights
        Of all readers, (outputs and taps, C).
    """
    count = len(moments)
    ridge = max(RIDGE * float(np.trace(moments)) / count, _LEAST_RIDGE)
    inverse = np.linalg.inv(moments + ridge * np.eye(count))
    products: FloatingArray = weights.T.astype(np.float64) @ weights  # of the weights only |W_c|^2 counts
    alive = np.arange(count)
    order = []
    while len(alive):
        own = np.diag(inverse)
        least = int(np.argmin(np.diag(products) / own))
        order.append(int(alive[least]))
        step = inverse[least] / own[least]
        cross = np.outer(products[least], step)
        products = _without(products - cross - cross.T + products[least, least] * np.outer(step, step), least)
        inverse = _without(inverse - np.outer(inverse[:, least], step), least)
        alive = np.delete(alive, least)
    return np.array(order, np.intp)


def _without(matrix: FloatingArray, index: int) -> FloatingArray:
    """Return a square matrix without one row and column."""
    return np.delete(np.delete(matrix, index, axis=0), index, axis=1)


def channel_moments(reader: Reader, moments: Moments) -> FloatingArray:
    """Return the covariance of the channels, float64 (C, C), at the middle of a reader's window."""
    taps = reader.window.kernel[0] * reader.window.kernel[1]
    middle = np.arange(reader.weights.shape[1]) * taps + taps // 2
    mean = moments.inputs[middle, -1]
    return moments.inputs[np.ix_(middle, middle)] - np.outer(mean, mean)


def fit(reader: Reader, moments: Moments, kept: npt.NDArray[np.intp]) -> tuple[FloatingArray, FloatingArray]:
    """Return the weights (K, len(kept), rows, columns) and bias (K,) of a reader that sees some channels alone.

    Least squares with a ridge towards the weights that the reader has.
    """
    taps = reader.window.kernel[0] * reader.window.kernel[1]
    places = np.append((kept[:, None] * taps + np.arange(taps)).ravel(), len(moments.inputs) - 1)
    inputs = moments.inputs[np.ix_(places, places)].copy()
    # Where there are fewer rows than unknowns, most of the freedom is noise.
    ridge = RIDGE * max(1.0, 8 * len(places) / moments.rows) * float(np.mean(np.diag(inputs)[:-1]))
    ridge = max(ridge, _LEAST_RIDGE)  # channels that are zero in every image
    inputs[np.diag_indices(len(places) - 1)] += ridge
    wanted = moments.answers[:, places].copy()
    wanted[:, :-1] += ridge * reader.weights[:, kept].reshape(len(reader.weights), -1)
    found = np.linalg.solve(inputs, wanted.T).T
    return found[:, :-1].reshape(len(found), len(kept), *reader.window.kernel), found[:, -1]
