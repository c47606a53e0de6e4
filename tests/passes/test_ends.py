"""The rewrites of both ends of a network: layout, neutral operations, crops, labels."""

import numpy as np
import pytest
from comparing import assert_same, kinds, make, node, random, rewritten, run
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from segtool.export.passes import rewrite
from segtool.export.passes.arg_max_before_crop import ARG_MAX_BEFORE_CROP
from segtool.export.passes.classes_last import CLASSES_LAST
from segtool.export.passes.crop_into_transposed import CROP_INTO_TRANSPOSED
from segtool.export.passes.hard_sigmoid import HARD_SIGMOID
from segtool.export.passes.labels_per_block import LABELS_PER_BLOCK
from segtool.export.passes.labels_per_cell import LABELS_PER_CELL
from segtool.export.passes.layout_first import LAYOUT_FIRST
from segtool.export.passes.min_max_as_clip import MIN_MAX_AS_CLIP
from segtool.export.passes.no_op import NO_OP

FEW = settings(max_examples=25)


@FEW
@given(channels=st.sampled_from([1, 3]), right=st.integers(0, 5), seed=st.integers(0, 99))
def test_the_layout_moves_to_the_front(channels, right, seed):
    change = node("Reshape", "q shape", "t") if channels == 1 else node("Transpose", "q", "t", perm=[0, 3, 1, 2])
    nodes = [
        node("Cast", "x", "f", to=1),
        node("Mul", "f k", "m"),
        node("Pad", "m p", "q"),
        change,
        node("Relu", "t", "y"),
    ]
    constants = {
        "k": np.float32(1 / 255),
        "p": np.array([0, 0, 0, 0, 0, 0, right, 0]),
        "shape": np.array([-1, 1, 5, 6 + right]),
    }
    before = make(nodes, constants, ["N", 5, 6, channels], dtype=np.uint8)
    after = rewritten(before, LAYOUT_FIRST, changes=3)
    assert kinds(after) == ["Reshape" if channels == 1 else "Transpose", "Cast", "Mul", "Pad", "Relu"]
    assert_same(before, after, np.random.default_rng(seed).integers(0, 256, (2, 5, 6, channels), np.uint8))


def test_a_layout_with_another_user_stays():
    nodes = [
        node("Mul", "x k", "m"),
        node("Transpose", "m", "t", perm=[0, 3, 1, 2]),
        node("Relu", "t", "y"),
        node("Relu", "m", "z"),
    ]
    before = make(nodes, {"k": np.float32(2)}, ["N", 5, 6, 3], outputs=("y", "z"))
    rewritten(before, LAYOUT_FIRST, changes=0, refusals=["2 users"])


@pytest.mark.parametrize(
    ("op", "value", "changes"),
    [("Add", 0, 1), ("Mul", 1, 1), ("Div", 1, 1), ("Sub", 0, 1), ("Add", 1, 0), ("Mul", 0, 0)],
)
def test_neutral_operations_are_dropped(op, value, changes):
    before = make([node(op, "x k", "m"), node("Relu", "m", "y")], {"k": np.float32(value)}, ["N", 3])
    assert_same(before, rewritten(before, NO_OP, changes=changes), random(2, 3))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1)])
def test_a_neutral_constant_that_widens_the_other_side_stays(shape):
    before = make([node("Add", "x k", "m"), node("Relu", "m", "y")], {"k": np.zeros(shape, np.float32)}, ["N", 3])
    assert_same(before, rewritten(before, NO_OP, changes=0), random(1, 3))


@pytest.mark.parametrize(("inputs", "left"), [("x e", []), ("e x x", ["Concat"]), ("e e", None), ("x x", None)])
def test_maps_without_channels_are_left_out_of_a_concatenation(inputs, left):
    nodes = [node("Slice", "x zero zero axis", "e"), node("Concat", inputs, "c", axis=1), node("Relu", "c", "y")]
    constants = {"zero": np.array([0]), "axis": np.array([1])}
    before = make(nodes, constants, ["N", 3, 4, 5])
    after = rewritten(before, NO_OP, changes=left is not None)
    assert_same(before, after, random(2, 3, 4, 5))
    if left is not None:
        assert kinds(after) == [*left, "Relu"]


def test_one_minus_x_is_not_neutral():
    before = make([node("Sub", "k x", "m"), node("Relu", "m", "y")], {"k": np.float32(0)}, ["N", 3])
    rewritten(before, NO_OP, changes=0)


def upsampled(
    *,
    kernel=4,
    stride=4,
    crop=((1, 2), (0, 3)),
    classes=3,
    dtype=TensorProto.UINT8,
    bias=False,
    extra=(),
    outputs=("y",),
    steps=1,
):
    """A transposed convolution, a crop, arg-max and cast."""
    (top, bottom), (left, right) = crop
    height, width = 2 * stride + kernel - stride, 3 * stride + kernel - stride
    nodes = [
        node("ConvTranspose", "x w b" if bias else "x w", "u", strides=[stride] * 2, kernel_shape=[kernel] * 2),
        node("Slice", "u starts ends axes steps", "c"),
        node("ArgMax", "c", "i", axis=1, keepdims=0),
        node("Cast", "i", "y", to=dtype),
        *extra,
    ]
    constants = {
        "w": random(2, classes, kernel, kernel, seed=1),
        **({"b": random(classes, seed=2)} if bias else {}),
        "starts": np.array([top, left]),
        "ends": np.array([height - bottom, width - right]),
        "axes": np.array([2, 3]),
        "steps": np.array([steps, steps]),
    }
    return make(nodes, constants, ["N", 2, 2, 3], outputs=outputs, out_type=dtype)


offsets = st.tuples(st.integers(0, 3), st.integers(0, 3))


@FEW
@given(crop=st.tuples(offsets, offsets), kernel=st.sampled_from([4, 6]), seed=st.integers(0, 99))
def test_the_crop_is_part_of_the_pads(crop, kernel, seed):
    before = upsampled(crop=crop, kernel=kernel)
    after = rewritten(before, CROP_INTO_TRANSPOSED)
    assert "Slice" not in kinds(after)
    assert_same(before, after, random(2, 2, 2, 3, seed=seed))


def test_a_crop_of_columns_alone_keeps_the_rows():
    nodes = [
        node("ConvTranspose", "x w", "u", strides=[4, 4], kernel_shape=[4, 4]),
        node("Slice", "u starts ends axes", "c"),
        node("Relu", "c", "y"),
    ]
    constants = {
        "w": random(2, 3, 4, 4, seed=1),
        "starts": np.array([1]),
        "ends": np.array([10]),
        "axes": np.array([3]),
    }
    before = make(nodes, constants, ["N", 2, 2, 3])
    after = rewritten(before, CROP_INTO_TRANSPOSED)
    assert_same(before, after, random(2, 2, 2, 3))


def test_a_crop_of_channels_is_refused():
    nodes = [
        node("ConvTranspose", "x w", "u", strides=[4, 4], kernel_shape=[4, 4]),
        node("Slice", "u starts ends axes", "c"),
        node("Relu", "c", "y"),
    ]
    ends = np.array([2**31 - 1])
    constants = {"w": random(2, 3, 4, 4, seed=1), "starts": np.array([1]), "ends": ends, "axes": np.array([1])}
    rewritten(make(nodes, constants, ["N", 2, 2, 3]), CROP_INTO_TRANSPOSED, changes=0, refusals=["other axes"])


def test_crops_with_steps_or_of_a_map_that_others_use_are_refused():
    rewritten(upsampled(steps=2), CROP_INTO_TRANSPOSED, changes=0, refusals=["every n-th"])
    second = upsampled(extra=[node("ArgMax", "u", "z", axis=1)], outputs=("y", "z"), dtype=TensorProto.INT64)
    rewritten(second, CROP_INTO_TRANSPOSED, changes=0, refusals=["2 users"])


@FEW
@given(crop=st.tuples(offsets, offsets), classes=st.integers(2, 12), bias=st.booleans(), seed=st.integers(0, 99))
def test_labels_per_block(crop, classes, bias, seed):
    before = upsampled(crop=crop, classes=classes, bias=bias)
    after = rewritten(rewritten(before, CROP_INTO_TRANSPOSED), LABELS_PER_BLOCK)
    assert "ConvTranspose" not in kinds(after)
    assert_same(before, after, random(2, 2, 2, 3, seed=seed))


def test_a_kernel_that_overlaps_is_refused():
    before = rewritten(upsampled(kernel=6), CROP_INTO_TRANSPOSED)
    rewritten(before, LABELS_PER_BLOCK, changes=0, refusals=["not its stride"])


def labelled(
    size, classes, factors=(4, 4), *, by="scales", to=TensorProto.UINT8, last=0, extra=(), crop=None, **attributes
):
    """The labels of scores (N, K, h, w) after a Resize, and a crop of (top, left, bottom, right)."""
    given = {
        "scales": np.array([1, 1, *factors], np.float32),
        "sizes": np.array([2, classes, size[0] * factors[0], size[1] * factors[1]]),
    }
    names = ["x", "", "scales"] if by == "scales" else ["x", "", "", "sizes"]
    nodes = [
        helper.make_node("Resize", names, ["up"], name="up", **{"mode": "linear", **attributes}),
        node("ArgMax", "cropped" if crop else "up", "best", axis=1, keepdims=0, select_last_index=last),
        node("Cast", "best", "y", to=to),
        *extra,
    ]
    constants = {by: given[by]}
    if crop:
        top, left, bottom, right = crop
        stops = [size[0] * factors[0] - bottom, size[1] * factors[1] - right]
        constants |= {"starts": np.array([top, left]), "stops": np.array(stops), "axes": np.array([2, 3])}
        nodes.insert(1, node("Slice", "up starts stops axes", "cropped"))
    batch = "N" if by == "scales" else 2
    return make(nodes, constants, [batch, classes, *size], outputs=("y", *(n.output[0] for n in extra)), out_type=to)


def areas(classes, size, seed):
    """Scores (2, K, 3 h, 3 w) of areas of 3 x 3 equal pixels."""
    return np.kron(random(2, classes, *size, seed=seed), np.ones((3, 3), np.float32))


@FEW
@given(
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    factors=st.tuples(st.sampled_from([2, 4, 8]), st.sampled_from([2, 4])),
    classes=st.integers(2, 12),
    seed=st.integers(0, 99),
)
def test_labels_per_cell(size, factors, classes, seed):
    height, width = 3 * size[0], 3 * size[1]
    before = labelled((height, width), classes, factors)
    after = rewritten(before, LABELS_PER_CELL)
    assert "Resize" not in kinds(after)
    assert_same(before, after, areas(classes, size, seed))
    assert_same(before, after, random(3, classes, height, width, seed=seed))


@FEW
@given(
    crop=st.tuples(*[st.integers(0, 7)] * 4), factors=st.sampled_from([(2, 2), (4, 4), (4, 2)]), seed=st.integers(0, 99)
)
def test_the_arg_max_before_a_crop_opens_the_way_for_cells(crop, factors, seed):
    before = labelled((9, 9), 5, factors, crop=crop)
    between = rewritten(before, ARG_MAX_BEFORE_CROP)
    assert kinds(between) == ["Resize", "ArgMax", "Cast", "Slice"]
    assert_same(before, between, areas(5, (3, 3), seed))
    after = rewritten(between, LABELS_PER_CELL)
    assert "Resize" not in kinds(after)
    assert_same(before, after, areas(5, (3, 3), seed))


def test_a_crop_of_scores_that_others_use_stays():
    other = [node("Cast", "cropped", "z", to=TensorProto.UINT8)]
    rewritten(labelled((3, 5), 4, crop=(0, 0, 1, 1), extra=other), ARG_MAX_BEFORE_CROP, changes=0, refusals=["2 users"])


@pytest.mark.parametrize("by", ["scales", "sizes"])
def test_an_image_of_one_class_has_one_cell_to_upsample(by):
    """A product of no matrices is an error in onnxruntime-web."""
    before = labelled((3, 5), 4, by=by, coordinate_transformation_mode="pytorch_half_pixel")
    scores = np.zeros((2, 4, 3, 5), np.float32)
    scores[:, 2] = 1
    after = rewritten(before, LABELS_PER_CELL)
    np.testing.assert_array_equal(run(after, scores), np.full((2, 12, 20), 2, np.uint8))
    (cells,) = (item.input[1] for item in after.graph.node if item.op_type == "ScatterND")
    after.graph.output[0].CopyFrom(helper.make_tensor_value_info(cells, TensorProto.INT64, ["n", 3]))
    np.testing.assert_array_equal(run(after, scores), [[0, 0, 0]])


def test_more_than_256_classes_stay_apart():
    before = labelled((2, 2), 300, to=TensorProto.UINT16)
    after = rewritten(before, LABELS_PER_CELL)
    assert_same(before, after, random(2, 300, 2, 2))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"factors": (3, 4)}, "not even"),
        ({"coordinate_transformation_mode": "align_corners"}, "centers"),
        ({"extra": [node("Cast", "up", "z", to=TensorProto.UINT8)]}, "2 users"),
    ],
)
def test_other_upsampled_scores_are_refused(options, reason):
    rewritten(labelled((3, 5), 4, **options), LABELS_PER_CELL, changes=0, refusals=[reason])


@pytest.mark.parametrize("options", [{"mode": "nearest"}, {"mode": "cubic"}, {"last": 1}])
def test_upsampled_scores_of_another_kind_are_left_alone(options):
    rewritten(labelled((3, 5), 4, **options), LABELS_PER_CELL, changes=0)


@FEW
@given(
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    factors=st.tuples(st.floats(1, 5), st.floats(1, 5)),
    mode=st.sampled_from(["align_corners", "half_pixel", "asymmetric"]),
    classes=st.integers(16, 30),
    seed=st.integers(0, 99),
)
def test_many_classes_go_last(size, factors, mode, classes, seed):
    before = labelled(size, classes, factors, coordinate_transformation_mode=mode)
    after = rewritten(before, CLASSES_LAST)
    assert kinds(after) == ["Transpose", "Resize", "ArgMax", "Cast"]
    assert_same(before, after, random(2, classes, *size, seed=seed))


def test_what_reads_many_classes_elsewhere_keeps_them_first():
    other = [node("Cast", "up", "z", to=TensorProto.UINT8)]
    rewritten(labelled((3, 5), 16, extra=other), CLASSES_LAST, changes=0, refusals=["2 users"])
    rewritten(labelled((3, 5), 16, axes=[0, 1, 2, 3]), CLASSES_LAST, changes=0, refusals=["other axes"])


@pytest.mark.parametrize(
    ("classes", "options"), [(15, {}), (16, {"mode": "nearest"}), (16, {"by": "sizes"}), (16, {"last": 1})]
)
def test_few_classes_and_other_upsamplings_stay(classes, options):
    rewritten(labelled((3, 5), classes, **options), CLASSES_LAST, changes=0)


def hard(*, low=0.0, high=6.0, divisor=6.0, way="gate", shared=False):
    """A hard sigmoid of the Relu of x, or its product with that, as networks write it."""
    last = {
        "gate": [node("Mul", "c f", "y")],
        "quotient": [node("Div", "c d", "y")],
        "swish": [node("Mul", "c f", "g"), node("Mul", "g r", "y")],
        "product first": [node("Mul", "r c", "g"), node("Div", "g d", "y")],
    }[way]
    nodes = [node("Relu", "x", "r"), node("Add", "r k", "a"), node("Clip", "a low high", "c"), *last]
    nodes += [node("Neg", "c", "z")] if shared else []
    constants = {"k": 3, "low": low, "high": high, "f": 1 / divisor, "d": divisor}
    outputs = ("y", "z") if shared else ("y",)
    return make(nodes, {name: np.float32(value) for name, value in constants.items()}, ["N", 4, 5], outputs=outputs)


@pytest.mark.parametrize("way", ["gate", "quotient", "swish", "product first"])
def test_a_hard_sigmoid_that_is_written_out_is_one_node(way):
    before = hard(way=way)
    after = rewritten(before, HARD_SIGMOID, changes=1)
    assert kinds(after) == ["Relu", "HardSigmoid", *(["Mul"] if way in ("swish", "product first") else [])]
    x = 3 * random(2, 4, 5)
    np.testing.assert_allclose(run(after, x), run(before, x), atol=1e-6)


@pytest.mark.parametrize(
    "other", [{"low": 0.5}, {"high": 5.0}, {"divisor": 3.0}, {"divisor": 1e-30, "way": "quotient"}]
)
def test_what_does_not_end_at_0_and_1_is_no_hard_sigmoid(other):
    rewritten(hard(**other), HARD_SIGMOID, changes=0)


def test_a_hard_sigmoid_whose_steps_others_use_stays():
    rewritten(hard(shared=True), HARD_SIGMOID, changes=0, refusals=["2 users"])


@pytest.mark.parametrize("first", ["Max", "Min"])
def test_a_minimum_and_a_maximum_are_a_clip(first):
    second, numbers = ("Min", "low high") if first == "Max" else ("Max", "high low")
    one, two = numbers.split()
    nodes = [node(first, f"x {one}", "m"), node(second, f"{two} m", "y")]
    before = make(nodes, {"low": np.float32(-0.5), "high": np.float32([0.7])}, ["N", 4, 5])
    after = rewritten(before, MIN_MAX_AS_CLIP, changes=1)
    assert kinds(after) == ["Clip"]
    assert_same(before, after, random(2, 4, 5))


@pytest.mark.parametrize(
    ("low", "high", "extra", "refusals"),
    [(1.0, 0.0, [], []), (np.zeros(5, np.float32), 1.0, [], []), (0.0, 1.0, [node("Neg", "m", "z")], ["2 users"])],
)
def test_what_is_no_range_or_read_between_is_no_clip(low, high, extra, refusals):
    nodes = [node("Max", "x low", "m"), node("Min", "m high", "y"), *extra]
    outputs = ("y", "z") if extra else ("y",)
    constants = {"low": np.float32(low), "high": np.float32(high)}
    rewritten(make(nodes, constants, ["N", 4, 5], outputs=outputs), MIN_MAX_AS_CLIP, changes=0, refusals=refusals)


def test_a_clip_of_keras_opens_the_way_for_a_hard_sigmoid():
    nodes = [
        node("Relu", "x", "r"),
        node("Add", "r k", "a"),
        node("Max", "a low", "m"),
        node("Min", "m high", "c"),
        node("Mul", "r c", "g"),
        node("Div", "g high", "y"),
    ]
    before = make(nodes, {"k": np.float32(3), "low": np.float32(0), "high": np.float32(6)}, ["N", 4, 5])
    after, _ = rewrite(before, [MIN_MAX_AS_CLIP, HARD_SIGMOID])
    assert kinds(after) == ["Relu", "HardSigmoid", "Mul"]
    x = 3 * random(2, 4, 5)
    np.testing.assert_allclose(run(after, x), run(before, x), atol=1e-6)
