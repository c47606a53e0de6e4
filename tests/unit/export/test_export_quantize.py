"""Static INT8: what is quantized and what is not, what it was calibrated on, and that nothing is left behind."""

import hashlib
import tempfile

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_nets import HEIGHT, WIDTH, quantized, run, tiny_data, trained_tiny

from segtool.errors import ExportError
from segtool.export.heads import with_head
from segtool.export.int8.bias import correct_biases
from segtool.export.int8.equalize import channel_ranges
from segtool.export.int8.layers import head
from segtool.export.int8.qdq import insert_qdq
from segtool.export.int8.ranges import calibrate
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.passes import SHARED_REWRITES, rewrite
from segtool.export.presets import PRESETS, preset_for
from segtool.export.quantize import _looked_at, calibrate_for, quantize, sensitivities
from segtool.export.running import label_agreement, run_batches, run_labels


@pytest.fixture(scope="module")
def float32():
    return rewrite(with_head(keras_to_onnx(trained_tiny()), "labels"), SHARED_REWRITES)[0]


def batches(count=24, size=7):
    images = tiny_data(count)[0]
    return lambda: (images[start : start + size] for start in range(0, count, size))


def quantized_convolutions(graph):
    """Output channels of the convolutions whose weights come out of a DequantizeLinear."""
    producer = {name: node for node in graph.node for name in node.output}
    constants = {item.name: item for item in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    dequantized = [producer[node.input[1]] for node in convolutions if node.input[1] in producer]
    assert all(node.op_type == "DequantizeLinear" for node in dequantized)
    return [constants[node.input[0]] for node in dequantized], [constants[node.input[1]] for node in dequantized]


@pytest.mark.parametrize("name", PRESETS)
def test_int8_agrees_with_float_on_almost_every_pixel(float32, name):
    images, _ = tiny_data(16, seed=5)
    int8 = quantized(float32, batches(), preset=PRESETS[name]).model
    expected, found = run(float32, images), run(int8, images)
    assert found.dtype == np.uint8
    assert (found == expected).mean() > 0.97
    assert (run(int8, images[:1]) == found[:1]).all()


def test_all_convolutions_but_those_that_score_are_int8_per_channel(float32):
    graph = quantized(float32, batches(), preset=PRESETS["vnni"]).model.graph
    weights, scales = quantized_convolutions(graph)
    # Of seven convolutions the two that score stay in float; the first makes four pixels at a time.
    assert sorted(item.dims[0] for item in weights) == [6, 8, 8, 8, 4 * 6]
    assert {item.data_type for item in weights} == {TensorProto.INT8}
    assert all(list(scale.dims) == [weight.dims[0]] for weight, scale in zip(weights, scales, strict=True))
    assert not any(node.op_type == "ArgMax" and "Dequantize" in node.input[0] for node in graph.node)


def test_scores_are_of_the_floats_behind_a_normalization_where_they_are(float32):
    graph = quantized(float32, batches(), preset=PRESETS["vnni"], strengths=[0.3]).model.graph
    producer = {name: node for node in graph.node for name in node.output}
    layouts = [producer[node.input[0]] for node in graph.node if node.op_type == "MatMul"]
    sources = [producer[node.input[0]].op_type for node in layouts if node.op_type == "Transpose"]
    # One map comes from an INT8 convolution, the other from a sum, which INT8 convolutions read as integers.
    assert sorted(set(sources)) == ["Add", "DequantizeLinear"]
    assert not any(node.op_type == "Conv" and producer[node.input[0]].op_type == "Add" for node in graph.node)


@pytest.mark.parametrize(("name", "signed", "largest"), [("vnni", False, 127), ("x86", False, 64), ("arm", True, 127)])
def test_a_preset_decides_the_integers(float32, name, signed, largest):
    graph = quantized(float32, batches(), preset=PRESETS[name]).model.graph
    constants = {item.name: item for item in graph.initializer}
    points = {constants[node.input[2]].data_type for node in graph.node if node.op_type == "QuantizeLinear"}
    assert points == {TensorProto.INT8 if signed else TensorProto.UINT8}
    weights = [onnx.numpy_helper.to_array(item) for item in quantized_convolutions(graph)[0]]
    assert max(np.abs(weight.astype(int)).max() for weight in weights) == pytest.approx(largest, abs=1)


def test_calibration_is_recorded_and_streamed(float32):
    images = tiny_data(24)[0]
    result = quantized(float32, batches(), preset=PRESETS["vnni"])
    digest = hashlib.sha256(repr(images.shape[1:]).encode() + images.tobytes()).hexdigest()
    assert (result.calibrated.images, result.calibrated.fingerprint) == (24, digest)
    assert quantized(float32, batches(size=5), preset=PRESETS["vnni"]).calibrated.fingerprint == digest
    assert quantized(float32, batches(23), preset=PRESETS["vnni"]).calibrated.fingerprint != digest


def test_only_the_input_and_the_batch_are_symbolic_and_no_metadata_is_left(float32):
    int8 = quantized(float32, batches(), preset=PRESETS["vnni"]).model
    assert not int8.metadata_props
    assert {item.domain for item in int8.opset_import} == {""}
    assert int8.graph.input == float32.graph.input
    assert [item.name for item in int8.graph.output] == ["labels"]
    onnx.checker.check_model(int8, full_check=True)


def test_nothing_is_left_behind(float32, tmp_path, monkeypatch):
    temporary, here = tmp_path / "tmp", tmp_path / "here"
    temporary.mkdir()
    here.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(here)
    quantized(float32, batches(), preset=PRESETS["vnni"])
    assert not [*temporary.iterdir(), *here.iterdir()]


def test_no_images_are_refused(float32):
    with pytest.raises(ExportError, match="no training images"):
        quantized(float32, lambda: iter(()), preset=PRESETS["vnni"])


def test_a_network_of_one_convolution_has_nothing_to_quantize():
    from keras import Input, Model, layers

    image = Input((16, 20, 1), dtype="uint8", name="image")
    network = Model(image, layers.Softmax()(layers.Conv2D(3, 1)(layers.Rescaling(1 / 255)(image))))
    with pytest.raises(ExportError, match="can be quantized"):
        quantized(keras_to_onnx(network), batches(), preset=PRESETS["vnni"])


def test_the_head_ends_at_convolutions(float32):
    kinds = [node.op_type for node in head(ir.from_proto(float32).graph)]
    assert kinds.count("Conv") == 2
    assert kinds.count("ConvTranspose") == 2
    assert "MaxPool" not in kinds


def test_pixels_go_into_the_first_convolution_as_they_are(float32):
    graph = quantized(float32, batches(), preset=PRESETS["vnni"]).model.graph
    kinds = [node.op_type for node in graph.node]
    assert "Mul" not in kinds
    assert "Cast" not in kinds[:-1]
    first = kinds.index("Conv")
    assert "QuantizeLinear" not in kinds[:first]


def test_a_layer_can_stay_in_float(float32):
    calibrated = calibrate_for(PRESETS["vnni"], float32, batches(), strengths=[0.3])
    layers = calibrated.layers
    result = quantize(calibrated, keep_float=[layers[0], layers[3]])
    assert result.layers == (layers[1], layers[2], layers[4])
    assert result.float_layers == tuple(sorted((layers[0], layers[3])))
    assert len(quantized_convolutions(result.model.graph)[0]) == 3
    images, _ = tiny_data(16, seed=5)
    assert (run(float32, images) == run(result.model, images)).mean() > 0.97


def test_sensitivities_are_of_every_layer_and_sorted(float32):
    calibrated = calibrate_for(PRESETS["vnni"], float32, batches(), strengths=[0.3])
    found = sensitivities(calibrated)
    assert set(found) == set(calibrated.layers)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert all(0 <= share < 0.05 for share in found.values())


def test_sensitivities_are_those_of_the_calibration_that_is_asked_for(float32):
    found = [
        sensitivities(calibrate_for(PRESETS["vnni"], float32, batches(), calibration=method, strengths=[0.3]))
        for method in ("min-max", "mse")
    ]
    assert found[0] != found[1]


def two_convolutions(clamp="Relu", middle=(), *, cast_first=False):
    """Two convolutions, the second of which scores; the first makes 4 maps that can be equalized.

    `clamp` is behind the first: "Relu", or "Clip" between 0 and 6. `middle` are nodes from "clamped" to "between".
    """
    random = np.random.default_rng(0)
    weights = {"w0": random.normal(size=(4, 1, 3, 3)), "w1": random.normal(size=(3, 4, 3, 3))}
    ends = {"low": np.array(0), "high": np.array(6)} if clamp == "Clip" else {}

    def cast(before, after):
        return helper.make_node("Cast", [before], [after], to=TensorProto.FLOAT)

    def turn(before, after):
        return helper.make_node("Transpose", [before], [after], perm=[0, 3, 1, 2])

    nodes = [
        *([cast("image", "pixels"), turn("pixels", "map")] if cast_first else [turn("image", "t"), cast("t", "map")]),
        helper.make_node("Conv", ["map", "w0"], ["made"], name="made", pads=[1] * 4),
        helper.make_node(clamp, ["made", *ends], ["clamped"]),
        *middle,
        helper.make_node("Conv", ["between" if middle else "clamped", "w1"], ["read"], name="read", pads=[1] * 4),
        helper.make_node("ArgMax", ["read"], ["best"], axis=1, keepdims=0),
        helper.make_node("Cast", ["best"], ["labels"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "twice",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 16, 20, 1])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", 16, 20])],
        [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in {**weights, **ends}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_every_image_weighs_the_same_in_the_ranges_of_channels():
    """The last batch is often short: a mean over batches would let its images weigh more."""
    images = tiny_data(5)[0]
    images[4] //= 8
    (uneven,) = channel_ranges(two_convolutions(), iter([images[:4], images[4:]])).values()
    (first,) = channel_ranges(two_convolutions(), iter([images[:4]])).values()
    (last,) = channel_ranges(two_convolutions(), iter([images[4:]])).values()
    np.testing.assert_allclose(uneven, (4 * first + last) / 5, rtol=1e-6)
    assert np.abs(first - last).max() > 1


@pytest.mark.parametrize("cast_first", [True, False])
def test_a_clip_behind_a_convolution_ends_its_range(cast_first):
    """Without it the range is that of the convolution: hundreds, where 6 is the end."""
    model, images = two_convolutions("Clip", cast_first=cast_first), tiny_data(24)[0]
    graph = quantized(model, batches(), preset=PRESETS["vnni"], strengths=[0.0]).model.graph
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    made = [node.input[1:] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert (pytest.approx(6 / 255), 0) in [(constants[scale], constants[zero]) for scale, zero in made]
    found = quantized(model, batches(), preset=PRESETS["vnni"]).model
    assert (run(model, images) == run(found, images)).mean() > 0.97


@pytest.mark.parametrize("method", ["min-max", "mse"])
def test_a_value_that_is_not_a_number_is_refused_by_every_calibration(method):
    """0 / 0 at one pixel: the smallest and the largest number of the map are finite for onnxruntime."""
    images = np.ones((3, HEIGHT, WIDTH, 1), np.uint8)
    images[1, 3, 5] = 0
    middle = [
        helper.make_node("Div", ["map", "map"], ["ratio"]),
        helper.make_node("Concat", ["ratio"] * 4, ["between"], axis=1),
    ]
    model = two_convolutions(middle=middle)
    assert calibrate(model, ["ratio"], [images[:1]], method=method)["ratio"] == (0, 1)
    with pytest.raises(ExportError, match="ratio is not finite"):
        calibrate(model, ["ratio"], [images], method=method)


def test_biases_are_those_of_one_run_a_layer(float32):
    """All layers in one pass, against a pass for each with the layers before it corrected."""
    calibrated = calibrate_for(PRESETS["vnni"], float32, batches(), strengths=[0.3])
    int8 = insert_qdq(calibrated.model, calibrated.ranges, preset=calibrated.preset)
    found = correct_biases(int8, calibrated.means, calibrated.few)
    expected = onnx.ModelProto()
    expected.CopyFrom(int8)
    constants = {item.name: item for item in expected.graph.initializer}
    dequantized = {node.output[0]: node for node in expected.graph.node if node.op_type == "DequantizeLinear"}
    layers = [node for node in expected.graph.node if node.op_type == "Conv" and node.output[0] in calibrated.means]
    assert len(layers) == 5
    for layer in layers:
        whole, scale = dequantized[layer.input[2]].input[:2]
        values = [item[layer.output[0]] for item in run_batches(expected, [layer.output[0]], iter(calibrated.few))]
        error = calibrated.means[layer.output[0]] - np.concatenate(values).mean((0, 2, 3), dtype=np.float64)
        steps = np.rint(error / onnx.numpy_helper.to_array(constants[scale]))
        corrected = (onnx.numpy_helper.to_array(constants[whole]) + steps).astype(np.int32)
        constants[whole].CopyFrom(onnx.numpy_helper.from_array(corrected, whole))
    changed = 0
    by_name = {item.name: onnx.numpy_helper.to_array(item) for item in found.graph.initializer}
    before = {item.name: onnx.numpy_helper.to_array(item) for item in int8.graph.initializer}
    for name, item in constants.items():
        # A step of a bias is a thousandth of one of its layer's output; processors round means differently.
        assert np.abs(by_name[name] - onnx.numpy_helper.to_array(item)).max(initial=0) <= 5, name
        changed += int((by_name[name] != before[name]).sum())
    assert changed > 10


def test_all_images_are_run_once_for_any_number_of_strengths(float32):
    """Once to count and hash them, and once for the ranges of the strength that was chosen by a few."""
    calls = []
    images = batches(256, 16)

    def counted():
        calls.append(1)
        return images()

    result = calibrate_for(PRESETS["vnni"], float32, counted)
    assert len(calls) == 2
    assert result.images == 256
    assert sum(map(len, result.few)) == 64
    kept = {image.tobytes() for batch in result.few for image in batch}
    places = [index for index, image in enumerate(tiny_data(256)[0]) if image.tobytes() in kept]
    assert places[0] < 16
    assert places[-1] >= 192  # spread over all of them


@pytest.mark.parametrize(
    ("size", "batch", "fewest", "most"), [((16, 20), 16, 33, 64), ((384, 480), 2, 8, 17), ((1024, 2048), 1, 3, 4)]
)
def test_the_images_that_are_kept_are_bounded_by_their_pixels(size, batch, fewest, most):
    small = np.zeros((batch, 1, 1, 3), np.uint8)
    few, count, _ = _looked_at(np.broadcast_to(small, (batch, *size, 3)) for _ in range(96 // batch))
    assert count == 96
    assert fewest <= sum(map(len, few)) <= most


@pytest.mark.parametrize("method", ["min-max", "mse"])
def test_every_calibration_keeps_the_labels(float32, method):
    images, _ = tiny_data(16, seed=5)
    int8 = quantized(float32, batches(), preset=PRESETS["vnni"], calibration=method, strengths=[0.3]).model
    assert (run(float32, images) == run(int8, images)).mean() > 0.97


def test_agreement_counts_pixels_and_not_batches():
    one, other = np.zeros((16, 2, 2), np.uint8), np.ones((1, 2, 2), np.uint8)
    assert label_agreement(iter([one, other]), iter([one, one[:1]])) == 16 / 17
    with pytest.raises(ValueError, match="shorter"):
        label_agreement(iter([one, one]), iter([one]))


def test_presets_by_name():
    assert preset_for() in PRESETS.values()
    assert preset_for("arm") == PRESETS["arm"]
    with pytest.raises(ExportError, match="'gpu'"):
        preset_for("gpu")


def upsampling_network():
    """A network whose decoder is transposed convolutions alone, of the usual kernels and strides."""
    from keras import Input, Model, layers, utils

    utils.set_random_seed(0)
    x = image = Input((24, 32, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255)(x)
    for filters in (8, 16, 16):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(12, 3, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(12, 3, strides=2, padding="same", activation="relu", name="three")(x)
    x = layers.LeakyReLU(0.2)(layers.Conv2DTranspose(8, 4, strides=2, padding="same", name="four")(x))
    return Model(image, layers.Softmax()(layers.Conv2DTranspose(3, 2, strides=2, padding="same", name="scores")(x)))


def test_transposed_convolutions_are_int8_but_for_the_one_that_scores():
    base = rewrite(with_head(keras_to_onnx(upsampling_network()), "labels"), SHARED_REWRITES)[0]
    images = np.random.default_rng(0).integers(0, 256, (16, 24, 32, 1), np.uint8)
    result = quantized(base, lambda: iter([images]), preset=PRESETS["vnni"], strengths=[0.0])
    graph = result.model.graph
    kinds = [node.op_type for node in graph.node]
    assert "ConvTranspose" not in kinds
    assert len(result.layers) == 6
    assert any("three" in name for name in result.layers)
    assert any("four" in name for name in result.layers)
    producer = {name: node for node in graph.node for name in node.output}
    assert all(producer[node.input[0]].op_type == "DequantizeLinear" for node in graph.node if node.op_type == "Conv")
    (cut,) = (node for node in graph.node if node.op_type == "Slice")  # of 4x4; the others need none
    (back,) = (node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == cut.output[0])
    assert list(producer[cut.input[0]].input[1:]) == list(back.input[1:])  # one scale: onnxruntime cuts integers
    assert label_agreement(run_labels(base, iter([images])), run_labels(result.model, iter([images]))) > 0.9


def scored(classes):
    """A network of two 3x3 convolutions, the second of which scores."""
    from keras import Input, Model, layers, utils

    utils.set_random_seed(0)
    x = image = Input((16, 24, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    scores = layers.Conv2D(classes, 3, padding="same", name="scores")(x)
    return keras_to_onnx(Model(image, layers.Softmax()(scores)))


@pytest.mark.parametrize(
    ("classes", "kind", "count"), [(3, "labels", 2), (8, "labels", 2), (9, "labels", 1), (3, "probabilities", 1)]
)
def test_a_convolution_of_several_taps_makes_the_scores_of_few_classes_in_int8_for_labels(classes, kind, count):
    """Its map needs no other layout then; in float it took a tenth of a U-Net's time."""
    images = np.random.default_rng(0).integers(0, 256, (16, 16, 24, 1), np.uint8)
    float32 = rewrite(with_head(scored(classes), kind), SHARED_REWRITES)[0]
    found = quantized(float32, lambda: iter([images]), preset=PRESETS["vnni"])
    assert len(found.layers) == count
    if count == 2:
        assert any("scores" in name for name in found.layers)  # the name that the network gives it
    if kind == "labels":
        expected = run(float32, images)
        assert len(np.unique(expected)) >= 3
        assert (run(found.model, images) == expected).mean() > 0.97


@pytest.mark.parametrize("decided", [False, True])
def test_an_arg_max_inside_of_a_network_makes_no_labels_of_its_scores(decided):
    nodes = [
        helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=1),
        helper.make_node("Cast", ["best"], ["chosen"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "chosen"], ["map"]),
        helper.make_node("Conv", ["map", "w"], ["scores"], pads=[1] * 4),
        helper.make_node("ArgMax", ["scores"], ["labels"], axis=1, keepdims=0),
    ]
    kind, output = (TensorProto.INT64, "labels") if decided else (TensorProto.FLOAT, "scores")
    graph = helper.make_graph(
        nodes if decided else nodes[:-1],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 6, 8])],
        [helper.make_tensor_value_info(output, kind, ["N", 6, 8] if decided else ["N", 3, 6, 8])],
        [numpy_helper.from_array(np.ones((3, 4, 3, 3), np.float32), "w")],
    )
    model = onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    assert ("Conv" in {node.op_type for node in head(ir.from_proto(model).graph)}) != decided
