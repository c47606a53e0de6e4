"""A written-out GELU, in the forms of PyTorch, Keras and others, and what is none."""

import math

import numpy as np
import onnx
import pytest
from comparing import assert_same, kinds, make, node, random, rewritten

from segtool.export.passes.gelu import GELU

ROOT = math.sqrt(0.5)
SUBTRACTED = [node("Erf", "u", "e"), node("Sub", "one e", "s")]
# 1 + erf(x / sqrt(2)), and 1 - erf(-x / sqrt(2)).
SUMS = {
    "divided": [node("Div", "x root", "u"), node("Erf", "u", "e"), node("Add", "e one", "s")],
    "multiplied": [node("Mul", "inverse x", "u"), node("Erf", "u", "e"), node("Add", "one e", "s")],
    "negative": [node("Neg", "x", "n"), node("Mul", "n inverse", "u"), *SUBTRACTED],
    "complement": [node("Mul", "x minus", "u"), *SUBTRACTED],
}
PRODUCTS = {
    "x first": [node("Mul", "x s", "p"), node("Mul", "p half", "y")],
    "half first": [node("Mul", "s half", "p"), node("Mul", "p x", "y")],
    "half of x": [node("Mul", "half x", "p"), node("Mul", "p s", "y")],
}
CONSTANTS = {"root": math.sqrt(2), "inverse": ROOT, "minus": -ROOT, "one": 1.0, "half": 0.5}


def graph(nodes, **changes):
    return make(nodes, {name: np.float32(value) for name, value in {**CONSTANTS, **changes}.items()}, ["N", 6, 8])


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize("sums", SUMS)
def test_it_becomes_one_step(sums, products):
    before = graph(SUMS[sums] + PRODUCTS[products])
    after = rewritten(before, GELU)
    assert kinds(after) == ["Gelu"]
    assert [item.version for item in after.opset_import] == [20]
    onnx.checker.check_model(after, full_check=True)
    assert_same(before, after, 3 * random(2, 6, 8), atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"root": 2.0}, {"one": 0.9}, {"half": 0.25}, {"root": -math.sqrt(2)}],
    ids=lambda changes: ", ".join(f"{name} {value:.3g}" for name, value in changes.items()),
)
def test_other_numbers_are_no_gelu(changes):
    rewritten(graph(SUMS["divided"] + PRODUCTS["x first"], **changes), GELU, changes=0)


@pytest.mark.parametrize(
    ("nodes", "refusals"),
    [
        ([*SUMS["divided"], node("Mul", "s half", "y")], ["output"]),
        ([*SUMS["divided"], node("Add", "x s", "p"), node("Mul", "p half", "y")], []),
        ([node("Erf", "x", "e"), node("Add", "e one", "s"), *PRODUCTS["x first"]], []),
        ([*SUMS["divided"][:2], node("Sub", "e one", "s"), *PRODUCTS["x first"]], []),
        ([*SUMS["divided"], node("Mul", "s s", "p"), node("Mul", "p half", "y")], ["users"]),
    ],
    ids=["no x", "a sum", "not scaled", "erf - 1", "squared"],
)
def test_other_steps_are_no_gelu(nodes, refusals):
    rewritten(graph(nodes), GELU, changes=0, refusals=refusals)


def test_what_others_use_too_is_refused():
    for name in ("e", "s", "p"):
        nodes = [*SUMS["divided"], *PRODUCTS["x first"], node("Relu", name, "z")]
        constants = {key: np.float32(value) for key, value in CONSTANTS.items()}
        before = make(nodes, constants, ["N", 6, 8], outputs=("y", "z"))
        rewritten(before, GELU, changes=0, refusals=["2 users"])


def test_a_grid_sample_of_an_older_opset_keeps_the_steps():
    nodes = [*SUMS["divided"], node("Mul", "x s", "p"), node("Mul", "p half", "q"), node("GridSample", "q grid", "y")]
    constants = {**{key: np.float32(value) for key, value in CONSTANTS.items()}, "grid": random(1, 3, 4, 2)}
    rewritten(make(nodes, constants, [1, 2, 6, 8]), GELU, changes=0, refusals=["GridSample"])
