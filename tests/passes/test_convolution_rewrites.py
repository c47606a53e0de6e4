"""The rewrites of convolutions: random small graphs, both sides compared, and every refusal."""

import numpy as np
import pytest
from comparing import assert_same, kinds, make, node, random, rewritten, run
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from segtool.export.passes.activation_behind_pool import ACTIVATION_BEHIND_POOL
from segtool.export.passes.dead_taps import DEAD_TAPS, live_taps
from segtool.export.passes.mean_as_pool import MEAN_AS_POOL
from segtool.export.passes.nearest_as_tile import NEAREST_AS_TILE
from segtool.export.passes.pad_into_conv import PAD_INTO_CONV
from segtool.export.passes.pixels_as_channels import PIXELS_AS_CHANNELS
from segtool.export.passes.scale_back import SCALE_BACK
from segtool.export.passes.shift_as_convolution import SHIFT_AS_CONVOLUTION
from segtool.export.passes.shift_back import SHIFT_BACK
from segtool.export.passes.shift_by_rows import SHIFT_BY_ROWS

FEW = settings(max_examples=25)
SMALL = 1e-5
SIX = {"low": np.float32(0), "high": np.float32(6)}
small = st.integers(1, 4)
channels = st.sampled_from([1, 3, 4])


def weights(inner, outer, kernel=3):
    return {"w": random(outer, inner, kernel, kernel, seed=1), "b": random(outer, seed=2)}


def normalized(scale, *, activation="LeakyRelu", extra=(), outputs=("y",), shared=False):
    """Conv, activation, pooling, scale, shift, Conv."""
    count = len(scale)
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
        node(activation, "c", "a", **({"alpha": 0.3} if activation == "LeakyRelu" else {})),
        node("MaxPool", "a", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Mul", "p scale", "m"),
        node("Add", "m shift", "s"),
        node("Conv", "s v", "y" if not shared else "y0"),
        *([node("Conv", "x w", "y1"), node("Concat", "y0 y1", "y", axis=2)] if shared else []),
        *extra,
    ]
    constants = {
        **weights(2, count),
        "scale": np.asarray(scale, np.float32).reshape(1, -1, 1, 1),
        "shift": random(1, count, 1, 1, seed=3),
        "v": random(count, count, 1, 1, seed=4),
    }
    return make(nodes, constants, ["N", 2, 8, 6], outputs=outputs)


@FEW
@given(
    st.lists(st.floats(0.01, 50), min_size=2, max_size=5), st.sampled_from(["LeakyRelu", "Relu"]), st.integers(0, 99)
)
def test_the_scale_moves_back(scale, activation, seed):
    before = normalized(scale, activation=activation)
    after = rewritten(before, SCALE_BACK)
    assert "Mul" not in kinds(after)
    x = random(2, 2, 8, 6, seed=seed)
    assert_same(before, after, x, atol=SMALL * max(1, np.abs(run(before, x)).max()))


@pytest.mark.parametrize("scale", [[1, -1], [1, 0]])
def test_a_scale_that_is_not_positive_is_refused(scale):
    rewritten(normalized(scale), SCALE_BACK, changes=0, refusals=["not positive"])


def test_a_negative_scale_directly_behind_a_convolution_moves():
    nodes = [node("Conv", "x w b", "c"), node("Mul", "c s", "m"), node("Add", "m t", "y")]
    constants = {**weights(2, 3), "s": random(1, 3, 1, 1), "t": random(3, 1, 1, seed=5)}
    before = make(nodes, constants, ["N", 2, 8, 6])
    after = rewritten(rewritten(before, SCALE_BACK), SHIFT_BACK)
    assert kinds(after) == ["Conv"]
    assert_same(before, after, random(2, 2, 8, 6), atol=SMALL)


def test_two_users_and_outputs_of_the_graph_are_refused():
    second = [node("Relu", "p", "z")]
    rewritten(normalized([1, 2], extra=second, outputs=("y", "z")), SCALE_BACK, changes=0, refusals=["2 users"])
    rewritten(normalized([1, 2], outputs=("y", "a")), SCALE_BACK, changes=0, refusals=["output of the graph"])


def test_shared_weights_are_refused():
    nodes = [node("Conv", "x w b", "c"), node("Mul", "c s", "m"), node("Conv", "x w", "d"), node("Add", "m d", "y")]
    before = make(nodes, {**weights(2, 3), "s": random(1, 3, 1, 1)}, ["N", 2, 8, 6])
    rewritten(before, SCALE_BACK, changes=0, refusals=["shared"])


def test_behind_a_negative_slope_scales_move_and_poolings_do_not():
    before = normalized([1, 2])
    before.graph.node[1].attribute[0].f = -0.3
    assert_same(before, rewritten(before, SCALE_BACK), random(2, 2, 8, 6), atol=SMALL)
    rewritten(before, ACTIVATION_BEHIND_POOL, changes=0, refusals=["decreases"])


@FEW
@given(st.sampled_from(["LeakyRelu", "Relu", "Sigmoid", "Tanh"]), st.integers(0, 99))
def test_the_activation_moves_behind_the_pooling(activation, seed):
    before = normalized([1, 2], activation=activation)
    after = rewritten(before, ACTIVATION_BEHIND_POOL)
    assert kinds(after).index("MaxPool") < kinds(after).index(activation)
    assert_same(before, after, random(2, 2, 8, 6, seed=seed))


def test_an_activation_that_others_use_stays():
    before = normalized([1, 2], extra=[node("Relu", "a", "z")], outputs=("y", "z"))
    rewritten(before, ACTIVATION_BEHIND_POOL, changes=0, refusals=["2 users"])


@FEW
@given(
    height=small,
    width=small,
    kernel=st.sampled_from([1, 3, 5, 7]),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_dead_taps(height, width, kernel, stride, dilation, seed):
    pad = (kernel - 1) // 2 * dilation
    attributes = {"pads": [pad] * 4, "strides": [stride] * 2, "dilations": [dilation] * 2}
    before = make([node("Conv", "x w b", "y", **attributes)], weights(2, 3, kernel), ["N", 2, height, width])
    from segtool.export.passes import rewrite

    after, (outcome,) = rewrite(before, [DEAD_TAPS])
    assert_same(before, after, random(2, 2, height, width, seed=seed), atol=SMALL)
    if kernel == 7 and stride == dilation == 1 and not outcome.refusals:
        assert list(after.graph.initializer[-1].dims[2:]) == [
            2 * height - 1 if height < 4 else 7,
            min(2 * width - 1, 7),
        ]


def test_a_7x7_kernel_on_a_2x3_map_is_3x5():
    before = make([node("Conv", "x w b", "y", pads=[3] * 4)], weights(2, 3, 7), ["N", 2, 2, 3])
    after = rewritten(before, DEAD_TAPS)
    assert {tuple(item.dims) for item in after.graph.initializer} == {(3, 2, 3, 5), (3,)}
    assert_same(before, after, random(3, 2, 2, 3), atol=SMALL)


def test_a_dilated_kernel_on_a_small_map_is_its_middle():
    """Dilation 4 on 2 x 3 pixels: only the middle tap ever meets the map."""
    attributes = {"pads": [4] * 4, "dilations": [4, 4]}
    before = make([node("Conv", "x w b", "y", **attributes)], weights(2, 3, 3), ["N", 2, 2, 3])
    after = rewritten(before, DEAD_TAPS)
    assert {tuple(item.dims) for item in after.graph.initializer} == {(3, 2, 1, 1), (3,)}
    assert_same(before, after, random(3, 2, 2, 3), atol=SMALL)


def test_dead_taps_refuse():
    conv = [node("Conv", "x w b", "y", pads=[3] * 4)]
    rewritten(make(conv, weights(2, 3, 7), ["N", 2, "H", "W"]), DEAD_TAPS, changes=0, refusals=["not static"])
    automatic = [node("Conv", "x w b", "y", auto_pad="SAME_UPPER")]
    rewritten(make(automatic, weights(2, 3, 7), ["N", 2, 2, 3]), DEAD_TAPS, changes=0, refusals=["automatic"])
    twice = [node("Conv", "x w b", "c", pads=[3] * 4), node("Conv", "x w", "d", pads=[3] * 4), node("Add", "c d", "y")]
    rewritten(make(twice, weights(2, 3, 7), ["N", 2, 2, 3]), DEAD_TAPS, changes=0, refusals=["shared", "shared"])


def test_live_taps_of_a_map_that_is_never_met():
    assert live_taps(3, 1, 1, 5, 1, 1) == range(1)
    assert live_taps(7, 2, 2, 3, 1, 1) == range(2, 5)


@FEW
@given(begin=small, end=small, channels=channels, seed=st.integers(0, 99))
def test_padding_moves_into_the_convolution(begin, end, channels, seed):
    nodes = [
        node("Pad", "x p zero", "q"),
        node("Conv", "q w b", "y", pads=[1, 0, 1, 2]),
    ]
    pads = np.array([0, 0, 0, begin, 0, 0, end, 0])
    constants = {**weights(channels, 3), "p": pads, "zero": np.float32(0)}
    before = make(nodes, constants, ["N", channels, 8, 6])
    after = rewritten(before, PAD_INTO_CONV)
    assert kinds(after) == ["Conv"]
    assert_same(before, after, random(2, channels, 8, 6, seed=seed), atol=SMALL)


@pytest.mark.parametrize(
    ("pads", "value", "mode", "reason"),
    [
        ([0, 0, 1, 1, 0, 0, 1, 1], 1, "constant", "zeros"),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0, "edge", "zeros"),
        ([0, 1, 0, 0, 0, 0, 0, 0], 0, "constant", "other axes"),
        ([0, 0, -1, 0, 0, 0, 0, 0], 0, "constant", "cuts"),
    ],
)
def test_another_padding_is_refused(pads, value, mode, reason):
    count = 2 + pads[1]
    nodes = [node("Pad", "x p v", "q", mode=mode), node("Conv", "q w b", "y")]
    constants = {**weights(count, 3), "p": np.array(pads), "v": np.float32(value)}
    rewritten(make(nodes, constants, ["N", 2, 8, 6]), PAD_INTO_CONV, changes=0, refusals=[reason])


def test_a_shift_as_a_convolution_and_by_rows_is_bit_exact():
    before = rewritten(normalized(np.arange(1, 17)), SCALE_BACK)
    x = random(2, 2, 8, 6)
    assert_same(before, rewritten(before, SHIFT_AS_CONVOLUTION), x)
    assert_same(before, rewritten(before, SHIFT_BY_ROWS), x)


# What a network computes from its pixels: nothing, (x - 127) / 128 in three ways, and ImageNet's numbers a channel.
SCALINGS = {
    "none": [],
    "factor": [("Mul", 1 / 128), ("Add", -127 / 128)],
    "point": [("Sub", 127.0), ("Div", 128.0)],
    "channels": [("Sub", (123.675, 116.28, 103.53)), ("Mul", (0.0171, 0.0175, 0.0174))],
    "first": [("Sub", (255.0, 200.0, 100.0), True)],
}


def scaled(name, count):
    """Nodes from f to the last value, the constants they use, and the name of that value."""
    nodes, constants, last = [], {}, "f"
    for number, (op, value, *first) in enumerate(SCALINGS[name]):
        constants[f"k{number}"] = np.reshape(np.asarray(value, np.float32).ravel()[:count], (1, -1, 1, 1))
        sides = f"k{number} {last}" if first else f"{last} k{number}"
        last = f"s{number}"
        nodes.append(node(op, sides, last))
    return nodes, constants, last


@FEW
@given(
    channels=st.sampled_from([1, 3]),
    blocks=st.integers(1, 4),
    kernel=st.sampled_from([1, 3, 5, 7]),
    stride=st.sampled_from([1, 2, 4]),
    clamp=st.sampled_from([("Relu", 0), ("Clip", 4), ("", 0), ("", 4)]),
    scaling=st.sampled_from(list(SCALINGS)),
    seed=st.integers(0, 99),
)
def test_pixels_as_channels(channels, blocks, kernel, stride, clamp, scaling, seed):
    (clamp, more), side = clamp, (kernel - 1) // 2
    scale, numbers, last = scaled(scaling, channels)
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Cast", "t", "f", to=1),
        *scale,
        node("Conv", f"{last} w b", "c" if clamp else "y", pads=[side, side, side, side + more], strides=[stride] * 2),
        *([node(clamp, "c low high" if clamp == "Clip" else "c", "y")] if clamp else []),
    ]
    constants = {**weights(channels, 5, kernel), **(SIX if clamp == "Clip" else {}), **numbers}
    before = make(nodes, constants, ["N", 8, 4 * blocks, channels], dtype=np.uint8)
    after = rewritten(before, PIXELS_AS_CHANNELS)
    if clamp:
        assert kinds(after)[kinds(after).index("Conv") + 1] == clamp
    conv = next(each for each in after.graph.node if each.op_type == "Conv")
    attributes = {each.name: list(each.ints) for each in conv.attribute if each.name in ("kernel_shape", "pads")}
    assert attributes["kernel_shape"] != [1, 1] or not any(attributes["pads"])  # which OpenVINO computes wrongly
    x = np.random.default_rng(seed).integers(0, 256, (2, 8, 4 * blocks, channels), np.uint8)
    assert_same(before, after, x, atol=SMALL * 255 * (kernel // 3 + 1))


@pytest.mark.parametrize(
    ("scaling", "kind"), [("none", "Cast"), ("point", "Sub"), ("factor", "Sub"), ("channels", "Cast")]
)
def test_what_is_left_of_the_scaling_is_a_zero_point(scaling, kind):
    scale, numbers, last = scaled(scaling, 3)
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Cast", "t", "f", to=1),
        *scale,
        node("Conv", f"{last} w b", "y", pads=[1] * 4),
    ]
    after = rewritten(make(nodes, {**weights(3, 5), **numbers}, ["N", 6, 8, 3], dtype=np.uint8), PIXELS_AS_CHANNELS)
    found = kinds(after)
    assert found[found.index("Conv") - 1] == kind
    assert not {"Mul", "Div", "Add"} & set(found)
    assert ("Concat" in found) == (scaling == "channels")


@pytest.mark.parametrize(
    ("width", "attributes", "reason"),
    [
        (6, {"pads": [1] * 4}, "fill blocks"),
        (12, {"pads": [1] * 4, "strides": [3, 3]}, "strides"),
        (8, {"pads": [1] * 4, "strides": [2, 1]}, "strides"),
        (8, {"pads": [2] * 4, "dilations": [2, 2]}, "dilation"),
        (8, {}, "fill blocks"),
    ],
)
def test_pixels_as_channels_refuses(width, attributes, reason):
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Cast", "t", "f", to=1),
        node("Conv", "f w b", "y", **attributes),
    ]
    before = make(nodes, weights(1, 5), ["N", 6, width, 1], dtype=np.uint8)
    rewritten(before, PIXELS_AS_CHANNELS, changes=0, refusals=[reason])


@pytest.mark.parametrize("op", ["Div", "Pow"])
def test_pixels_that_are_not_scaled_by_a_factor_are_left(op):
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Cast", "t", "f", to=1),
        node("Add", "f one", "g"),
        node(op, "one g" if op == "Div" else "g one", "h"),
        node("Conv", "h w b", "y", pads=[1] * 4),
    ]
    before = make(nodes, {**weights(1, 5), "one": np.float32(1)}, ["N", 6, 8, 1], dtype=np.uint8)
    rewritten(before, PIXELS_AS_CHANNELS, changes=0)


def resized(attributes, *, sizes=None, last="Conv"):
    """A nearest-neighbour Resize of 3 x 4 pixels, and what reads it."""
    nodes = [
        node("Conv", "x w b", "c", pads=[1] * 4),
        helper.make_node("Resize", ["c", "", *(("", "sizes") if sizes else ("scales",))], ["u"], **attributes),
        node(last, "u v" if last == "Conv" else "u", "y"),
    ]
    constants = {
        **weights(2, 3),
        "v": random(2, 3, 1, 1, seed=4),
        **({"sizes": np.array([1, 3, *sizes])} if sizes else {"scales": np.array([1, 1, 2, 3], np.float32)}),
    }
    return make(nodes, constants, [1, 2, 3, 4])


ASYMMETRIC = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
CENTRED = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel"}


@pytest.mark.parametrize("attributes", [ASYMMETRIC, CENTRED])
@pytest.mark.parametrize("sizes", [None, (3, 8), (12, 4)])
def test_nearest_neighbours_as_tiles(attributes, sizes):
    before = resized(attributes, sizes=sizes)
    after = rewritten(before, NEAREST_AS_TILE)
    assert "Tile" in kinds(after)
    assert_same(before, after, random(1, 2, 3, 4, seed=9))


@pytest.mark.parametrize(
    ("attributes", "sizes", "reason"),
    [
        (CENTRED, (7, 8), "7 x 8"),
        ({**CENTRED, "coordinate_transformation_mode": "align_corners"}, (6, 8), "align_corners"),
        ({**ASYMMETRIC, "nearest_mode": "ceil"}, (6, 8), "ceil"),
    ],
)
def test_nearest_neighbours_as_tiles_refuses(attributes, sizes, reason):
    rewritten(resized(attributes, sizes=sizes), NEAREST_AS_TILE, changes=0, refusals=[reason])


def test_what_no_convolution_reads_is_left_as_it_is():
    rewritten(resized(CENTRED, sizes=(6, 8), last="Relu"), NEAREST_AS_TILE, changes=0)
    rewritten(resized({"mode": "linear"}, sizes=(6, 8)), NEAREST_AS_TILE, changes=0)


@pytest.mark.parametrize(("axes", "keep", "changes"), [([2, 3], 1, 1), ([-1, -2], 1, 1), ([2, 3], 0, 1), ([3], 1, 0)])
def test_mean_as_pooling(axes, keep, changes):
    before = make([node("ReduceMean", "x axes", "y", keepdims=keep)], {"axes": np.array(axes)}, ["N", 3, 4, 5])
    after = rewritten(before, MEAN_AS_POOL, changes=changes)
    assert_same(before, after, random(2, 3, 4, 5), atol=1e-6)


@pytest.mark.parametrize(("axes", "keep", "changes"), [([1, 2], 1, 1), ([-2, -3], 0, 1), ([2, 3], 1, 0)])
def test_mean_of_a_map_whose_layout_changes_for_it(axes, keep, changes):
    nodes = [node("Transpose", "x", "t", perm=[0, 2, 3, 1]), node("ReduceMean", "t axes", "y", keepdims=keep)]
    before = make(nodes, {"axes": np.array(axes)}, ["N", 3, 4, 5])
    after = rewritten(before, MEAN_AS_POOL, changes=changes)
    if changes:  # what is put last, if anything, has one number a channel
        assert kinds(after) == ["GlobalAveragePool", "Transpose" if keep else "Flatten"]
    assert_same(before, after, random(2, 3, 4, 5), atol=1e-6)


@FEW
@given(st.lists(st.floats(-50, 50), min_size=2, max_size=5), st.integers(0, 99))
def test_a_normalization_behind_a_transposed_convolution_is_gone(scale, seed):
    count = len(scale)
    nodes = [
        node("ConvTranspose", "x w b", "u", strides=[2, 2]),
        node("Mul", "u s", "m"),
        node("Add", "m t", "y"),
    ]
    constants = {
        "w": random(3, count, 2, 2, seed=1),
        "b": random(count, seed=2),
        "s": np.array(scale, np.float32).reshape(1, -1, 1, 1),
        "t": random(1, count, 1, 1, seed=3),
    }
    before = make(nodes, constants, ["N", 3, 4, 6])
    after = rewritten(rewritten(before, SCALE_BACK), SHIFT_BACK)
    assert kinds(after) == ["ConvTranspose"]
    assert_same(before, after, random(2, 3, 4, 6, seed=seed), atol=SMALL * 100)


def test_a_normalization_behind_groups_of_transposed_convolutions_stays():
    nodes = [node("ConvTranspose", "x w", "u", strides=[2, 2], group=2), node("Mul", "u s", "y")]
    constants = {"w": random(4, 2, 2, 2), "s": random(1, 4, 1, 1)}
    rewritten(make(nodes, constants, ["N", 4, 4, 6]), SCALE_BACK, changes=0, refusals=["groups"])


def test_a_relu_goes_with_the_pixels_as_channels():
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Cast", "t", "f", to=1),
        node("Conv", "f w b", "c", pads=[1] * 4),
        node("Relu", "c", "r"),
        node("Conv", "r v", "y"),
    ]
    before = make(nodes, {**weights(1, 5), "v": random(2, 5, 3, 3)}, ["N", 6, 8, 1], dtype=np.uint8)
    after = rewritten(before, PIXELS_AS_CHANNELS)
    assert kinds(after).index("Relu") == kinds(after).index("Conv") + 1
    x = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 1), np.uint8)
    assert_same(before, after, x, atol=SMALL * np.abs(run(before, x)).max())
