"""3x3 convolutions with fewer products: the same answers on random graphs, and refused where the algebra ends."""

from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pytest
from comparing import assert_same, kinds, make, node, random, rewritten
from hypothesis import given, settings
from hypothesis import strategies as st

from segtool.export.passes.winograd import WINOGRAD
from segtool.export.stamp import census

FEW = settings(max_examples=20)
SMALL = 1e-5
ALPHA = {"LeakyRelu": {"alpha": 0.3}, "Elu": {"alpha": 0.5}}


def stage(counts, *, activation="LeakyRelu", bias=True, size=(6, 12), rows=(1, 1), extra=(), outputs=("y",), **changed):
    """Convolutions from each number of channels to the next, an activation behind each, and a pooling."""
    nodes, constants, value = [], {}, "x"
    for index, (inner, outer) in enumerate(pairwise(counts)):
        constants[f"w{index}"] = random(outer, inner, 3, 3, seed=index) / np.float32(np.sqrt(9 * inner))
        constants |= {f"b{index}": random(outer, seed=9 + index)} if bias else {}
        attributes = {"pads": [rows[0], 1, rows[1], 1], "kernel_shape": [3, 3], **changed.get("conv", {})}
        nodes.append(node("Conv", f"{value} w{index} {f'b{index}' if bias else ''}", f"c{index}", **attributes))
        value = f"c{index}"
        if activation:
            nodes.append(node(activation, value, f"a{index}", **ALPHA.get(activation, {})))
            value = f"a{index}"
    pool = {"kernel_shape": [2, 2], "strides": [2, 2], **changed.get("pool", {})}
    nodes.append(node("MaxPool", value, "y", **pool))
    return make([*nodes, *extra], constants, ["N", counts[0], *size], outputs=outputs)


@FEW
@given(
    counts=st.lists(st.sampled_from([32, 48]), min_size=2, max_size=4),
    activation=st.sampled_from([None, "LeakyRelu", "Relu", "Tanh", "Elu"]),
    bias=st.booleans(),
    height=st.integers(3, 7),
    half=st.integers(6, 9),
    rows=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    seed=st.integers(0, 99),
)
def test_the_answers_stay(counts, activation, bias, height, half, rows, seed):
    size = (height + 4, 2 * half)
    before = stage(counts, activation=activation, bias=bias, size=size, rows=rows)
    after = rewritten(before, WINOGRAD)
    assert_same(before, after, random(2, counts[0], *size, seed=seed), atol=SMALL)


def test_two_thirds_of_the_multiplications():
    before = stage([32, 64, 64], size=(8, 16))
    after = rewritten(before, WINOGRAD)
    ratio = census(after).macs / census(before).macs
    assert 2 / 3 < ratio < 0.75  # the rest are the sums of columns
    assert kinds(after).count("MatMul") == 8


def test_a_convolution_that_cannot_be_rewritten_ends_the_way_back():
    before = stage([3, 32, 32])
    after = rewritten(before, WINOGRAD)
    shapes = {item.name: tuple(item.dims) for item in after.graph.initializer}
    assert shapes["w0"] == (32, 3, 3, 3)
    assert [item.input[1] for item in after.graph.node if item.op_type == "Conv"].count("w0") == 1
    assert_same(before, after, random(2, 3, 6, 12), atol=SMALL)


def test_with_the_optimizations_of_onnxruntime_too():
    """It computes the weights then, and keeps the maps in blocks of channels."""
    before = stage([32, 32, 64], size=(8, 24))
    after, x = rewritten(before, WINOGRAD), random(3, 32, 8, 24)
    sessions = [onnxruntime.InferenceSession(item.SerializeToString()) for item in (before, after)]
    expected, found = (session.run(None, {"x": x})[0] for session in sessions)
    np.testing.assert_allclose(found, expected, atol=SMALL, rtol=0)


def test_a_wrong_weight_would_be_seen():
    before = stage([32, 32])
    after = rewritten(before, WINOGRAD)
    for item in after.graph.initializer:
        if "winograd" in item.name:
            item.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(item) * np.float32(1.001), item.name))
    with pytest.raises(AssertionError):
        assert_same(before, after, random(2, 32, 6, 12), atol=SMALL)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"conv": {"strides": [2, 1]}, "size": (12, 12)}, "strides"),
        ({"conv": {"dilations": [1, 2], "pads": [1, 2, 1, 2]}}, "dilation"),
        ({"conv": {"pads": [1, 0, 1, 0]}, "size": (6, 16)}, "at the sides"),
        ({"conv": {"auto_pad": "SAME_UPPER", "pads": None}}, "automatic"),
        ({"size": (6, 10)}, "less than 12"),
        ({"size": (6, 13)}, "odd"),
        ({"pool": {"pads": [0, 0, 1, 1]}}, "padded"),
        ({"extra": [node("Relu", "c0", "z")], "outputs": ("y", "z")}, "2 users"),
        ({"extra": [node("Relu", "a0", "z")], "outputs": ("y", "z")}, "2 users"),
        ({"outputs": ("y", "a0")}, "output of the graph"),
        ({"outputs": ("y", "c0")}, "output of the graph"),
        ({"extra": [node("Conv", "x w0", "z")], "outputs": ("y", "z")}, "shared"),
    ],
)
def test_it_refuses(changes, reason):
    conv = {key: value for key, value in changes.get("conv", {}).items() if value is not None}
    before = stage([32, 32], **{**changes, "conv": conv} if conv else changes)
    if changes.get("conv", {}).get("auto_pad"):
        for item in before.graph.node:
            kept = [entry for entry in item.attribute if entry.name != "pads"]
            del item.attribute[:]
            item.attribute.extend(kept)
    rewritten(before, WINOGRAD, changes=0, refusals=[reason])


@pytest.mark.parametrize("counts", [[32, 24], [16, 32], [40, 48]])
def test_channels_that_are_few_or_not_in_blocks_are_refused(counts):
    rewritten(stage(counts), WINOGRAD, changes=0, refusals=["channels"])


def test_groups_and_a_slope_that_turns_are_refused():
    grouped = stage([32, 32], conv={"group": 2})
    weights = next(item for item in grouped.graph.initializer if item.name == "w0")
    weights.CopyFrom(onnx.numpy_helper.from_array(random(32, 16, 3, 3), "w0"))
    rewritten(grouped, WINOGRAD, changes=0, refusals=["groups"])
    turning = stage([32, 32])
    next(item for item in turning.graph.node if item.op_type == "LeakyRelu").attribute[0].f = -0.1
    rewritten(turning, WINOGRAD, changes=0, refusals=["decreases"])


@pytest.mark.parametrize("pool", [{"kernel_shape": [3, 3]}, {"strides": [1, 1]}, {"kernel_shape": [2, 1]}])
def test_another_pooling_is_not_its_business(pool):
    rewritten(stage([32, 32], pool=pool), WINOGRAD, changes=0)


def test_a_map_of_unknown_size_is_refused():
    rewritten(stage([32, 32], size=("H", "W")), WINOGRAD, changes=0, refusals=["not static"])
