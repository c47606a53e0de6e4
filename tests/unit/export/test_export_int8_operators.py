"""What onnxruntime computes in integers: the kernels that it makes of each operator between INT8 convolutions."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from tiny_nets import quantized, run

from segtool.export.presets import PRESETS, is_own
from segtool.export.running import label_agreement, open_graph

HEIGHT, WIDTH, CHANNELS = 16, 24, 16
FLOAT_KERNELS = {"Add", "Mul", "Conv", "FusedConv", "Concat", "Sigmoid", "HardSigmoid", "AveragePool", "MatMul", "Gemm"}


def batches(count=24, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, 3)).astype(np.uint8)
    return lambda: iter([images])


class Graph:
    """A network that grows: uint8 pixels, operators, and at last the scores of three classes."""

    def __init__(self):
        self.random, self.nodes, self.constants = np.random.default_rng(0), [], {}
        self.op("Transpose", "image", perm=[0, 3, 1, 2])
        self.op("Cast", self.last, to=TensorProto.FLOAT)
        self.op("Mul", self.last, self.constant(np.float32(1 / 255)))

    def constant(self, value):
        name = f"constant{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def op(self, kind, *inputs, **attributes):
        self.last = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [self.last], name=self.last, **attributes))
        return self.last

    def conv(self, value, count=CHANNELS, *, inner=CHANNELS, kernel=3, stride=1, group=1, clamp="Relu"):
        shape = (count, inner // group, kernel, kernel)
        weights = self.constant(self.random.normal(0, 1.5 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32))
        bias = self.constant(self.random.normal(0, 0.1, count).astype(np.float32))
        self.op("Conv", value, weights, bias, pads=[kernel // 2] * 4, strides=[stride] * 2, group=group)
        if clamp == "Clip":
            self.op("Clip", self.last, self.constant(np.float32(0)), self.constant(np.float32(6)))
        elif clamp:
            self.op(clamp, self.last)
        return self.last

    def model(self, value):
        return self.scored(self.conv(value))

    def scored(self, value):
        self.conv(value, 3, kernel=1, clamp="")
        self.op("ArgMax", self.last, axis=1, keepdims=0)
        self.nodes.append(helper.make_node("Cast", [self.last], ["labels"], to=TensorProto.UINT8, name="labels"))
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", HEIGHT, WIDTH, 3])],
            [helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", HEIGHT, WIDTH])],
            [onnx.numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def residual(graph, first):
    return graph.op("Add", graph.conv(first, clamp=""), first)


def residual_with_relu(graph, first):
    return graph.op("Relu", residual(graph, first))


def depthwise(graph, first):
    return graph.conv(first, group=CHANNELS, clamp="Clip")


def groups(graph, first):
    return graph.conv(first, group=2)


def hard_swish(graph, first):
    made = graph.conv(first, clamp="")
    return graph.op("Mul", made, graph.op("HardSigmoid", made, alpha=1 / 6, beta=0.5))


def swish(graph, first):
    made = graph.conv(first, clamp="")
    return graph.op("Mul", made, graph.op("Sigmoid", made))


def squeeze_and_excite(graph, first):
    pooled = graph.op("ReduceMean", first, graph.constant(np.array([2, 3])), keepdims=1)
    gate = graph.conv(graph.conv(pooled, 8, kernel=1), inner=8, kernel=1, clamp="")
    return graph.op("Mul", first, graph.op("HardSigmoid", gate, alpha=1 / 6, beta=0.5))


def concatenated_ranges(graph, first):
    large = graph.conv(first, clamp="")
    joined = graph.op("Concat", graph.conv(first), large, axis=1)
    return graph.conv(joined, inner=2 * CHANNELS)


def average_pool(graph, first):
    pooled = graph.op("AveragePool", first, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
    return graph.conv(pooled)


def nearest(graph, first):
    down = graph.conv(first, stride=2)
    scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.op("Resize", down, "", scales, **attributes)


def bilinear(graph, first):
    down = graph.conv(first, stride=2)
    scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
    return graph.op("Add", first, graph.op("Resize", down, "", scales, mode="linear"))


BLOCKS = {
    block.__name__: block
    for block in (
        residual,
        residual_with_relu,
        depthwise,
        groups,
        hard_swish,
        swish,
        concatenated_ranges,
        average_pool,
        nearest,
        bilinear,
    )
}


def network(block):
    graph = Graph()
    return graph.model(block(graph, graph.conv(graph.last, inner=3)))


def kernels(model, tmp_path):
    """The operators of the graph that onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]


def agreement(model, int8):
    (images,) = batches(seed=1)()
    return label_agreement([run(model, images)], [run(int8, images)])


@pytest.mark.parametrize("name", BLOCKS)
def test_all_but_the_scores_is_computed_in_integers(name, tmp_path):
    model = network(BLOCKS[name])
    int8 = quantized(model, batches(), preset=PRESETS["vnni"]).model
    found = kernels(int8, tmp_path)
    # The scores are a product in float, with its bias; a linear Resize has no integer kernel.
    assert sorted(FLOAT_KERNELS & set(found)) == ["Add", "MatMul"], found
    assert found.count("MatMul") == found.count("Add") == 1
    assert found.count("QuantizeLinear") == found.count("Resize") == (name == "bilinear")
    assert agreement(model, int8) > 0.97


def test_a_gate_is_computed_in_float_and_its_map_in_integers(tmp_path):
    """The gate is a number a channel: its convolutions cost nothing, and lose accuracy in INT8."""
    model = network(squeeze_and_excite)
    made = quantized(model, batches(), preset=PRESETS["vnni"])
    found = kernels(made.model, tmp_path)
    assert {"QLinearGlobalAveragePool", "QLinearMul"} <= set(found)
    assert found.count("QuantizeLinear") == 1
    assert len(made.layers) == 2
    assert agreement(model, made.model) > 0.97


@pytest.mark.parametrize("block", [hard_swish, swish])
def test_a_product_that_the_float_scores_read_is_in_float_with_its_factors(block, tmp_path):
    graph = Graph()
    model = graph.scored(block(graph, graph.conv(graph.last, inner=3)))
    found = kernels(quantized(model, batches(), preset=PRESETS["vnni"]).model, tmp_path)
    assert found.count("QLinearConv") == 2
    assert not {"QLinearMul", "QLinearSigmoid"} & set(found)


@pytest.mark.parametrize("of_tokens", [True, False])
def test_a_1x1_convolution_that_is_upsampled_linearly_next_stays_in_float_if_it_reads_tokens(of_tokens):
    def upsampled(graph, first):
        small = graph.conv(first, stride=2)
        if of_tokens:  # a change of layout is what is left of their way back to a map
            last = graph.op("Transpose", small, perm=[0, 2, 3, 1])
            small = graph.op("Transpose", graph.op("Erf", last), perm=[0, 3, 1, 2])
        small = graph.conv(small, kernel=1, clamp="")
        scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
        return graph.op("Add", first, graph.op("Resize", small, "", scales, mode="linear"))

    made = quantized(network(upsampled), batches(), preset=PRESETS["vnni"])
    kernel = {item.name: item.dims[2] for item in made.calibrated.model.graph.initializer if len(item.dims) == 4}
    convolutions = [node for node in made.calibrated.model.graph.node if node.op_type == "Conv"]
    # The scores are the last one, of 1x1 too.
    in_float = [index for index, node in enumerate(convolutions) if node.name not in made.layers]
    assert [kernel[convolutions[index].input[1]] for index in in_float] == [1] * (1 + of_tokens)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["hard_swish", "depthwise"])
def test_every_preset_keeps_the_labels(name, preset):
    model = network(BLOCKS[name])
    assert agreement(model, quantized(model, batches(), preset=PRESETS[preset]).model) > 0.95


def test_a_map_that_ends_at_0_keeps_a_scale_of_its_own_beside_one_that_does_not():
    """With one scale for both the ReLU is no part of the convolution, which is then computed in float."""
    int8 = quantized(network(concatenated_ranges), batches(), preset=PRESETS["vnni"], strengths=[0.0]).model
    maker = {name: node for node in int8.graph.node for name in node.output}
    (joined,) = (node for node in int8.graph.node if node.op_type == "Concat")
    scales = {maker[name].input[1] for name in joined.input}
    assert len(scales) == 2


@pytest.mark.parametrize(("mode", "count"), [("linear", 1), ("cubic", 2)])
def test_a_map_that_is_upsampled_from_one_that_ends_at_0_shares_the_scale_of_another(mode, count):
    """Nothing is then computed in their concatenation. A cubic upsampling makes numbers below 0."""

    def pyramid(graph, first):
        scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
        large = graph.op("Resize", graph.conv(first, stride=2), "", scales, mode=mode)
        return graph.conv(graph.op("Concat", graph.conv(first), large, axis=1), inner=2 * CHANNELS)

    int8 = quantized(network(pyramid), batches(), preset=PRESETS["vnni"], strengths=[0.0]).model
    maker = {name: node for node in int8.graph.node for name in node.output}
    (joined,) = (node for node in int8.graph.node if node.op_type == "Concat")
    assert len({maker[name].input[1] for name in joined.input}) == count


@pytest.mark.parametrize("preset", ["vnni", "arm"])
@pytest.mark.parametrize("alpha", [1 / 6, 0.2])
def test_a_hard_sigmoid_of_integers_is_that_of_what_they_stand_for(alpha, preset):
    graph = Graph()
    made = graph.conv(graph.last, inner=3, clamp="")
    model = graph.model(graph.op("HardSigmoid", made, alpha=alpha, beta=0.5))
    int8 = quantized(model, batches(), preset=PRESETS[preset], strengths=[0.0]).model
    makers = {name: node for node in int8.graph.node for name in node.output}
    clip = next(node for node in int8.graph.node if node.op_type == "Clip" and node.input[0] in makers)
    quantized_by = makers[clip.input[0]]
    assert quantized_by.op_type == "QuantizeLinear"
    reader = next(node for node in int8.graph.node if clip.output[0] in node.input)
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in int8.graph.initializer}
    scale, zero = (constants[name] for name in quantized_by.input[1:])
    watched = onnx.ModelProto()
    watched.CopyFrom(int8)
    names = [clip.input[0], reader.output[0]]
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    (images,) = batches(seed=1)()
    integers, found = open_graph(watched).run(names, {"image": images})
    expected = np.clip(alpha * (integers.astype(np.float32) - zero) * scale + 0.5, 0, 1)
    assert 0 < (expected == 0).mean() < 1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_hard_sigmoid_around_another_middle_is_computed_in_float():
    graph = Graph()
    made = graph.op("HardSigmoid", graph.conv(graph.last, inner=3, clamp=""), alpha=0.25, beta=0.3)
    int8 = quantized(graph.model(made), batches(), preset=PRESETS["vnni"], strengths=[0.0]).model
    assert [node.op_type for node in int8.graph.node if node.op_type in ("HardSigmoid", "Clip")] == ["HardSigmoid"]


def test_a_hard_sigmoid_that_floats_read_stays_one():
    graph = Graph()
    made = graph.op("HardSigmoid", graph.conv(graph.last, inner=3, clamp=""), alpha=0.2, beta=0.5)
    int8 = quantized(graph.model(graph.op("Exp", made)), batches(), preset=PRESETS["vnni"], strengths=[0.0]).model
    (kept,) = (node for node in int8.graph.node if node.op_type == "HardSigmoid")
    assert next(node.op_type for node in int8.graph.node if kept.input[0] in node.output) == "DequantizeLinear"


def tokens(*, bias=True, gemm=False):
    """A dense layer for every pixel of a map, as a product of matrices or a Gemm."""
    graph = Graph()
    made = graph.conv(graph.last, inner=3)
    last = graph.op("Transpose", made, perm=[0, 2, 3, 1])
    rows = graph.op("Reshape", last, graph.constant(np.array([-1, CHANNELS] if gemm else [0, -1, CHANNELS])))
    matrix = graph.constant(graph.random.normal(0, 0.4, (32, CHANNELS) if gemm else (CHANNELS, 32)).astype(np.float32))
    added = graph.constant(graph.random.normal(0, 0.1, 32).astype(np.float32))
    if gemm:
        graph.op("Gemm", rows, matrix, added, transB=1)
    elif bias:
        graph.op("Add", added, graph.op("MatMul", rows, matrix))
    else:
        graph.op("MatMul", rows, matrix)
    back = graph.op("Reshape", graph.op("Erf", graph.last), graph.constant(np.array([-1, HEIGHT, WIDTH, 32])))
    return graph.model(graph.conv(graph.op("Transpose", back, perm=[0, 3, 1, 2]), inner=32))


@pytest.mark.parametrize("gemm", [True, False])
def test_a_dense_layer_is_a_product_of_integers_with_floats_out(gemm, tmp_path):
    model = tokens(gemm=gemm)
    made = quantized(model, batches(), preset=PRESETS["vnni"], strengths=[0.0])
    assert {"QGemm", "MatMulIntegerToFloat"} & set(kernels(made.model, tmp_path))
    assert len(made.layers) == 4
    assert agreement(model, made.model) > 0.97


def test_a_product_without_a_bias_stays_in_float(tmp_path):
    made = quantized(tokens(bias=False), batches(), preset=PRESETS["vnni"], strengths=[0.0])
    assert len(made.layers) == 3
    assert not {"QGemm", "MatMulIntegerToFloat"} & set(kernels(made.model, tmp_path))


def test_amx_has_the_integers_of_vnni():
    graph = Graph()
    wide = graph.conv(graph.conv(graph.last, 256, inner=3), 256, inner=256, kernel=1)
    model = graph.model(graph.conv(wide, inner=256))
    one, other = (quantized(model, batches(), preset=PRESETS[name], strengths=[0.0]).model for name in ("vnni", "amx"))
    (images,) = batches(seed=1)()
    assert (run(one, images) == run(other, images)).all()
    points = [zero_points(item) for item in (one, other)]
    assert (points[0], points[1]) == ({0}, {0, -1})


def zero_points(model):
    """Those of the weights of convolutions."""
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    maker = {name: node for node in model.graph.node for name in node.output}
    weights = [maker[node.input[1]] for node in model.graph.node if node.op_type == "Conv" and node.input[1] in maker]
    return {int(value) for node in weights for value in constants[node.input[2]]}


def test_a_processor_with_amx_has_vnni_too(monkeypatch):
    from segtool.export import presets

    machine = {"architecture": "x86_64", "instruction_sets": ["avx512_vnni", "amx_int8"]}
    monkeypatch.setattr(presets, "machine_info", lambda: machine)
    assert presets.preset_for().name == "amx"
    assert [name for name in PRESETS if is_own(PRESETS[name])] == ["amx", "vnni"]
    machine["instruction_sets"] = ["avx512_vnni"]
    assert [name for name in PRESETS if is_own(PRESETS[name])] == ["vnni"]


def test_arm_processors_with_i8mm_are_fast_with_uint8_activations_too(monkeypatch):
    from segtool.export import presets

    machine = {"architecture": "aarch64", "instruction_sets": ["asimd", "asimddp"]}
    monkeypatch.setattr(presets, "machine_info", lambda: machine)
    assert [name for name in PRESETS if is_own(PRESETS[name])] == ["arm"]
    machine["instruction_sets"] = ["asimd", "asimddp", "i8mm"]
    assert presets.preset_for().name == "arm"
    assert [name for name in PRESETS if is_own(PRESETS[name])] == ["vnni", "arm"]
