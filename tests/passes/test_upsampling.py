"""Convolutions in front of upsamplings: random geometries compared, what must stay, and every refusal."""

import numpy as np
import pytest
from comparing import assert_same, kinds, make, node, random, rewritten
from hypothesis import given, settings
from hypothesis import strategies as st

from segtool.export.passes import UPSAMPLING_REWRITES, rewrite
from segtool.export.passes.conv_before_copies import CONV_BEFORE_COPIES
from segtool.export.passes.conv_before_resize import CONV_BEFORE_RESIZE
from segtool.export.passes.copies_last import COPIES_LAST
from segtool.export.passes.no_op import NO_OP
from segtool.export.passes.product_into_conv import PRODUCT_INTO_CONV

SMALL = 1e-4
COPY = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
KERAS = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}
LINEAR = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
CORNERS = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}


def resize(value, scales, output, **attributes):
    return node("Resize", f"{value}  {scales}".replace("  ", " none "), output, **attributes)


def scales(rows, columns):
    return np.array([1, 1, rows, columns], np.float32)


def upsampled(
    kernel=(3, 3), *, attributes=COPY, counts=(2, 2), channels=16, size=(4, 6), extra=(), outputs=("y",), **conv
):
    """A map that is upsampled and convolved; `extra` nodes may follow."""
    nodes = [resize("x", "s", "u", **attributes), node("Conv", "u w b", "y", **conv), *extra]
    weights = random(5, channels // conv.get("group", 1), *kernel, seed=1)
    constants = {"none": np.array([], np.float32), "s": scales(*counts), "w": weights, "b": random(5, seed=2)}
    return make(nodes, constants, ["N", channels, *size], outputs=outputs)


def joined(kernel, *, first=LINEAR, second=COPY, places="x u v", **conv):
    """Two maps that are upsampled from a half and a quarter of the size, and one of the size, in a concatenation."""
    nodes = [
        node("AveragePool", "x", "h", kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", "x", "q", kernel_shape=[4, 4], strides=[4, 4]),
        resize("h", "two", "u", **first),
        resize("q", "four", "v", **second),
        node("Concat", places, "c", axis=1),
        node("Conv", "c w b", "y", **conv),
    ]
    inputs = 16 * len(places.split())
    constants = {"none": np.array([], np.float32), "two": scales(2, 2), "four": scales(4, 4)}
    constants |= {"w": random(5, inputs, *kernel, seed=1), "b": random(5, seed=2)}
    return make(nodes, constants, ["N", 16, 8, 12])


@settings(max_examples=60)
@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(2, 5)),
    counts=st.tuples(st.integers(1, 4), st.integers(2, 4)),
    pads=st.tuples(*[st.floats(0, 0.99)] * 4),
    size=st.tuples(st.integers(5, 8), st.integers(5, 8)),  # a kernel of 5 fits
    attributes=st.sampled_from([COPY, KERAS]),
    seed=st.integers(0, 99),
)
def test_convolutions_of_copies(kernel, counts, pads, size, attributes, seed):
    sides = [int(pad * taps) for pad, taps in zip(pads, 2 * kernel, strict=True)]
    before = upsampled(kernel, attributes=attributes, counts=counts, size=size, pads=sides)
    after = rewritten(before, CONV_BEFORE_COPIES)
    assert "Resize" not in kinds(after)
    assert_same(before, after, random(2, 16, *size, seed=seed) / 8, atol=SMALL)  # sums below 50


def test_3x3_of_twice_the_size_takes_2x2_on_the_small_map():
    before = upsampled(pads=[1] * 4, extra=[node("Relu", "y", "z")], outputs=("z",))
    after = rewritten(before, CONV_BEFORE_COPIES)
    assert kinds(after)[:2] == ["Conv", "Relu"]
    assert (20, 16, 2, 2) in {tuple(item.dims) for item in after.graph.initializer}
    assert_same(before, after, random(2, 16, 4, 6), atol=SMALL)


@pytest.mark.parametrize("places", ["x u v", "v x", "u v", "v u x"])
def test_convolutions_of_a_concatenation_with_copies(places):
    before = joined((3, 3), places=places, pads=[1] * 4)
    after = rewritten(before, CONV_BEFORE_COPIES)
    # What is upsampled linearly stays.
    assert kinds(after).count("Resize") == ("u" in places)
    assert_same(before, after, random(2, 16, 8, 12), atol=SMALL)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"strides": [2, 2]}, "strides"),
        ({"dilations": [2, 2]}, "dilation"),
        ({"group": 5, "channels": 20}, "groups"),
        ({"channels": 8}, "fewer than 16"),
        ({"pads": [3, 1, 1, 1]}, "more padding"),
        ({"counts": (1.5, 2)}, "it makes 6 x 12 of 4 x 6"),
        ({"attributes": {**COPY, "nearest_mode": "ceil"}}, "its coordinates are asymmetric, rounded by ceil"),
        ({"extra": [node("Relu", "u", "z")], "outputs": ("y", "z")}, "2 users"),
    ],
)
def test_convolutions_that_stay_behind_copies(options, reason):
    rewritten(upsampled(**options), CONV_BEFORE_COPIES, changes=0, refusals=[reason])


def test_a_computed_bias_stays_behind_copies():
    before = upsampled()
    before.graph.node[1].input[2] = "doubled"
    before.graph.node.insert(1, node("Add", "b b", "doubled"))
    rewritten(before, CONV_BEFORE_COPIES, changes=0, refusals=["its bias is computed"])


@settings(max_examples=30)
@given(
    attributes=st.sampled_from([COPY, KERAS, LINEAR, CORNERS]),
    counts=st.tuples(st.sampled_from([1, 1.5, 2, 3]), st.sampled_from([1.5, 2, 4])),
    seed=st.integers(0, 99),
)
def test_1x1_convolutions_of_upsamplings(attributes, counts, seed):
    before = upsampled((1, 1), attributes=attributes, counts=counts)
    after = rewritten(before, CONV_BEFORE_RESIZE)
    assert kinds(after) == ["Conv", "Resize"]
    assert_same(before, after, random(2, 16, 4, 6, seed=seed), atol=SMALL)


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ("x u v", ["Conv", "Resize", "Conv", "Resize", "Add", "Conv", "Add"]),
        ("v x", ["Conv", "Resize", "Conv", "Add"]),
        ("u v", ["Conv", "Resize", "Conv", "Resize", "Add"]),
    ],
)
def test_1x1_convolutions_of_a_concatenation(places, found):
    before = joined((1, 1), places=places)
    after = rewritten(before, CONV_BEFORE_RESIZE)
    assert [kind for kind in kinds(after) if kind != "AveragePool"] == found
    assert_same(before, after, random(2, 16, 8, 12), atol=SMALL)


def test_parts_of_one_size_are_one_convolution():
    nodes = [
        *(node("AveragePool", "x", name, kernel_shape=[2, 2], strides=[2, 2]) for name in "pq"),
        *(resize(name, "s", f"{name}u", **LINEAR) for name in "pq"),
        node("Concat", "pu x qu", "c", axis=1),
        node("Conv", "c w", "y"),
    ]
    constants = {"none": np.array([], np.float32), "s": scales(2, 2), "w": random(5, 48, 1, 1)}
    before = make(nodes, constants, ["N", 16, 8, 12])
    after = rewritten(before, CONV_BEFORE_RESIZE)
    assert kinds(after).count("Resize") == 1
    assert kinds(after).count("Conv") == 2
    assert_same(before, after, random(2, 16, 8, 12), atol=SMALL)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"channels": 4}, "few products saved"),
        ({"extra": [node("Relu", "u", "z")], "outputs": ("y", "z")}, "2 users"),
    ],
)
def test_1x1_convolutions_that_stay_behind_upsamplings(options, reason):
    rewritten(upsampled((1, 1), attributes=LINEAR, **options), CONV_BEFORE_RESIZE, changes=0, refusals=[reason])


@pytest.mark.parametrize(
    "options",
    [
        {"strides": [2, 2]},
        {"pads": [1] * 4},
        {"group": 1, "attributes": {"mode": "cubic"}},
        {"counts": (0.5, 2)},
    ],
)
def test_1x1_convolutions_that_have_no_such_form(options):
    rewritten(upsampled((1, 1), **options), CONV_BEFORE_RESIZE, changes=0)


def product(*, bias="a", between=16, outputs=5, order="flat", extra=(), names=("y",), **attributes):
    """A product of the pixels, a change of layout, and a 1x1 convolution of the map."""
    layouts = {
        "flat": [
            node("Reshape", "p tokens", "t"),
            node("Transpose", "t", "f", perm=[0, 2, 1]),
            node("Reshape", "f map", "m"),
        ],
        "square": [node("Reshape", "p square", "t"), node("Transpose", "t", "m", perm=[0, 3, 1, 2])],
        "mixed": [node("Reshape", "p map", "m")],
    }
    nodes = [
        node("Reshape", "x pixels", "r"),
        node("Gemm", f"r v {bias}", "p", **attributes),
        *layouts[order],
        node("Conv", "m w b", "y"),
        *extra,
    ]
    shape = (between, 8) if attributes.get("transB") else (8, between)
    constants = {
        "pixels": np.array([-1, 8]),
        "tokens": np.array([-1, 24, between]),
        "map": np.array([-1, between, 4, 6]),
        "square": np.array([-1, 4, 6, between]),
        "v": random(*shape, seed=1),
        "a": random(between, seed=2),
        "w": random(outputs, between, 1, 1, seed=3),
        "b": random(outputs, seed=4),
    }
    return make(nodes, constants, ["N", 24, 8], outputs=names)


@pytest.mark.parametrize("order", ["flat", "square"])
@pytest.mark.parametrize("turned", [0, 1])
def test_1x1_convolutions_of_products(order, turned):
    before = product(order=order, transB=turned)
    after = rewritten(before, PRODUCT_INTO_CONV)
    assert "Gemm" not in kinds(after)
    assert kinds(after).count("Conv") == 1
    assert_same(before, after, random(2, 24, 8), atol=SMALL)


@pytest.mark.parametrize("options", [{"order": "mixed"}, {"alpha": 2.0}, {"bias": ""}])
def test_products_without_such_a_form(options):
    rewritten(product(**options), PRODUCT_INTO_CONV, changes=0)


def test_a_product_stays_in_front_of_a_computed_bias():
    before = product()
    before.graph.node[-1].input[2] = "doubled"
    before.graph.node.insert(0, node("Add", "b b", "doubled"))
    rewritten(before, PRODUCT_INTO_CONV, changes=0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"between": 4, "outputs": 16}, "takes more products"),
        ({"extra": [node("Relu", "m", "z")], "names": ("y", "z")}, "2 users"),
    ],
)
def test_1x1_convolutions_that_stay_behind_products(options, reason):
    rewritten(product(**options), PRODUCT_INTO_CONV, changes=0, refusals=[reason])


def chain(*nodes, more=(), outputs=("y",)):
    constants = {"none": np.array([], np.float32), "two": scales(2, 2), "four": scales(4, 4), "odd": scales(3, 2)}
    constants["w"] = random(5, 16, 3, 3)
    return make([*nodes, *more], constants, ["N", 16, 4, 6], outputs=outputs)


def test_an_activation_moves_in_front_of_copies():
    before = chain(resize("x", "two", "u", **KERAS), node("Relu", "u", "r"), node("Conv", "r w", "y"))
    after = rewritten(before, COPIES_LAST)
    assert kinds(after) == ["Relu", "Resize", "Conv"]
    assert_same(before, after, random(2, 16, 4, 6))


def test_an_activation_that_others_read_stays():
    before = chain(resize("x", "two", "u", **COPY), node("Relu", "u", "y"))
    rewritten(before, COPIES_LAST, changes=0)


def test_two_upsamplings_are_one():
    before = chain(resize("x", "two", "u", **COPY), resize("u", "odd", "y", **KERAS))
    after = rewritten(before, COPIES_LAST)
    assert kinds(after) == ["Resize"]
    assert_same(before, after, random(2, 16, 4, 6))


def test_a_sum_moves_in_front_of_the_common_copies():
    pool = node("MaxPool", "x", "p", kernel_shape=[2, 2], strides=[2, 2])
    sides = [resize("x", "two", "u", **COPY), resize("p", "four", "v", **KERAS)]
    before = chain(pool, *sides, node("Add", "u v", "y"))
    after = rewritten(before, COPIES_LAST)
    assert kinds(after) == ["MaxPool", "Resize", "Add", "Resize"]
    assert_same(before, after, random(2, 16, 4, 6))


def test_sums_that_stay():
    sides = [resize("x", "two", "u", **COPY), resize("x", "two", "v", **COPY), node("Add", "u v", "y")]
    shared = chain(*sides, node("Relu", "u", "z"), outputs=("y", "z"))
    rewritten(shared, COPIES_LAST, changes=0, refusals=["2 users"])
    cut = node("Slice", "v begin end axes", "c")
    odd = chain(resize("x", "two", "u", **COPY), resize("x", "odd", "v", **COPY), cut, node("Add", "u c", "y"))
    odd.graph.initializer.extend(
        make([], {"begin": np.array([0]), "end": np.array([8]), "axes": np.array([2])}, [1]).graph.initializer
    )
    rewritten(odd, COPIES_LAST, changes=0)


@pytest.mark.parametrize("attributes", [COPY, LINEAR, CORNERS])
def test_resizing_to_the_same_size_is_dropped(attributes):
    before = make(
        [resize("x", "one", "u", **attributes), node("Relu", "u", "y")],
        {"none": np.array([], np.float32), "one": scales(1, 1)},
        ["N", 16, 4, 6],
    )
    after = rewritten(before, NO_OP)
    assert kinds(after) == ["Relu"]
    assert_same(before, after, random(2, 16, 4, 6))


def test_the_decoder_of_the_keras_tutorial():
    """Two blocks: each convolution reads a small map, and each residual is multiplied where it is smallest."""
    nodes = [
        resize("x", "two", "a", **KERAS),
        node("Relu", "a", "b"),
        node("Conv", "b v", "c", pads=[1] * 4),
        resize("c", "two", "d", **KERAS),
        resize("a", "two", "e", **KERAS),
        node("Conv", "e p", "f"),
        node("Add", "d f", "g"),
        node("Relu", "g", "h"),
        node("Conv", "h w", "y", pads=[1] * 4),
    ]
    constants = {
        "none": np.array([], np.float32),
        "two": scales(2, 2),
        "v": random(16, 16, 3, 3),
        "w": random(5, 16, 3, 3),
    }
    before = make(nodes, {**constants, "p": random(16, 16, 1, 1)}, ["N", 16, 4, 6])
    after, _ = rewrite(before, UPSAMPLING_REWRITES)
    assert_same(before, after, random(2, 16, 4, 6), atol=SMALL)
    sizes = [kind for kind in kinds(after) if kind in ("Resize", "Conv")]
    assert sizes.count("Conv") == 3
    assert sizes.count("Resize") == 1  # of the residual, to the size of what it is added to
