"""Networks of other tools through the whole export: found out, proven, run; or refused in one sentence."""

import numpy as np
import onnx
import onnxruntime
import pytest
from foreign_nets import keras_net, onnx_net, save_onnx, shades
from onnx import TensorProto, helper, numpy_helper
from tiny_nets import CLASSES, HEIGHT, WIDTH, names

import segtool
from segtool.errors import DataError, ExportError, ModelFileError
from segtool.export import ExportOptions, export_model
from segtool.export.network.scaling import SCALES

BY_NAME = {scale.name: scale for scale in SCALES}


@pytest.fixture
def data(tmp_path):
    images, labels = shades()
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    return str(tmp_path / "data.npz")


@pytest.fixture
def binary(tmp_path):
    images, labels = shades()
    images[labels == 1] = images[labels == 0][: (labels == 1).sum()]
    np.savez(tmp_path / "binary.npz", images=images, labels=(labels == 2).astype(np.uint8))
    return str(tmp_path / "binary.npz")


def exported(path, data, tmp_path, **options):
    out = tmp_path / "out" / "model.onnx"
    out.parent.mkdir(exist_ok=True)
    return export_model(path, options=ExportOptions(data=data, out=out, winograd="off", overwrite=True, **options))


def accuracy(result, labels=None):
    images, truth = shades()
    return np.mean([segtool.load(result.float32)(image) == label for image, label in zip(images, truth, strict=True)])


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.name)
def test_the_scaling_of_an_onnx_network_is_found_by_its_scores(scale, data, tmp_path):
    result = exported(save_onnx(tmp_path / "net.onnx", onnx_net(scale)), data, tmp_path)
    assert result.contract.network["input_scale"] == {**scale.facts(), "found": "measured"}
    assert result.contract.network["layout"] == "NCHW"
    assert accuracy(result) > 0.99


@pytest.mark.parametrize("name", ["0..1", "caffe"])
def test_the_scaling_of_a_keras_network_is_found_by_its_scores(name, data, tmp_path):
    keras_net(BY_NAME[name]).save(tmp_path / "net.keras")
    result = exported(tmp_path / "net.keras", data, tmp_path)
    assert result.contract.network["input_scale"]["name"] == name
    assert accuracy(result) > 0.99


def test_a_scaling_that_cannot_be_told_is_asked_for_with_the_scores(data, tmp_path):
    model = onnx_net(BY_NAME["0..1"])
    for item in model.graph.initializer:
        if item.dims[:2] == [CLASSES, 3]:
            item.CopyFrom(numpy_helper.from_array(np.zeros(item.dims, np.float32), item.name))
    path = save_onnx(tmp_path / "net.onnx", model)
    with pytest.raises(ExportError, match=r"imagenet.*--input-scale"):
        exported(path, data, tmp_path)
    assert names(tmp_path / "out") == []
    assert exported(path, data, tmp_path, input_scale="0..1").float32.is_file()


FORMS = [
    {"opset": 11},
    {"opset": 13, "end": "softmax", "batch": 1},
    {"opset": 20, "end": "hidden softmax"},
    {"layout": "NHWC", "end": "softmax", "form": "pixels"},
    {"form": "pixels", "batch": 1},
    {"size": (None, None)},
    {"size": (None, None), "batch": 1, "opset": 18},
    {"kind": TensorProto.UINT8, "layout": "NHWC"},
    {"kind": TensorProto.UINT8},
    {"end": "labels"},
    {"end": "sigmoid"},
    {"extra": ("aux",)},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_onnx_networks_of_every_form_keep_their_labels(form, data, tmp_path):
    scale = BY_NAME["0..255" if form.get("kind") == TensorProto.UINT8 else "imagenet"]
    original = onnx_net(scale, **form)
    path = save_onnx(tmp_path / "net.onnx", original)
    options = {"output": "out"} if "extra" in form else {}
    if "kind" not in form:
        options["input_scale"] = "imagenet"
    result = exported(path, data, tmp_path, **options)
    assert accuracy(result) > 0.99
    assert result.contract.gates["parity"]["label_agreement"] > 0.9999
    assert onnx.load(result.float32).graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    batch = onnxruntime.InferenceSession(result.float32, providers=["CPUExecutionProvider"])
    images, _ = shades(5)
    together = batch.run(None, {"image": images})[0]
    assert (together == np.stack([batch.run(None, {"image": image[None]})[0][0] for image in images])).all()


@pytest.mark.parametrize("head", ["logits", "probabilities"])
@pytest.mark.parametrize("end", ["logits", "softmax", "sigmoid", "hidden softmax"])
def test_heads_mean_the_same_for_each(head, end, data, tmp_path):
    path = save_onnx(tmp_path / "net.onnx", onnx_net(BY_NAME["0..1"], end=end))
    result = exported(path, data, tmp_path, input_scale="0..1", head=head)
    images, _ = shades(3)
    session = onnxruntime.InferenceSession(result.float32, providers=["CPUExecutionProvider"])
    scores = session.run([head], {"image": images})[0]
    shares = scores if head == "probabilities" else np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
    assert accuracy(result) > 0.99


@pytest.mark.parametrize("form", [{"end": "sigmoid"}, {}, {"form": "plane"}, {"layout": "NHWC", "end": "sigmoid"}])
def test_one_score_becomes_two_classes(form, binary, tmp_path, caplog):
    path = save_onnx(tmp_path / "net.onnx", onnx_net(BY_NAME["0..1"], classes=1, **form))
    result = exported(path, binary, tmp_path, input_scale="0..1", threshold=0.4)
    assert result.contract.num_classes == 2
    assert result.contract.network["threshold"] == 0.4
    assert "one class" in caplog.text
    assert result.contract.metrics["float32"]["mean_iou"] > 0.95


def test_one_score_that_is_neither_probability_nor_logit_is_refused(binary, tmp_path):
    path = save_onnx(tmp_path / "net.onnx", scored_to_255())
    with pytest.raises(ExportError, match="neither a probability nor a logit"):
        exported(path, binary, tmp_path, input_scale="0..1")


def test_int8_of_an_onnx_network_passes_its_gates(data, tmp_path):
    path = save_onnx(tmp_path / "net.onnx", onnx_net(BY_NAME["imagenet"]))
    result = exported(path, data, tmp_path, quantize=True, max_drop=5, waive=("speed",))
    assert result.int8_contract.precision == "int8"
    assert accuracy(result) > 0.99


def test_weights_that_an_old_file_lists_as_inputs_are_no_inputs(data, tmp_path):
    model = onnx_net(BY_NAME["0..1"], opset=11)
    model.ir_version = 3
    for item in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(item.name, item.data_type, list(item.dims)))
    result = exported(save_onnx(tmp_path / "net.onnx", model), data, tmp_path, input_scale="0..1")
    assert accuracy(result) > 0.99


def test_operators_may_have_the_long_name_of_their_set(data, tmp_path):
    model = onnx_net(BY_NAME["0..1"])
    for item in (*model.opset_import, *model.graph.node):
        item.domain = "ai.onnx"
    result = exported(save_onnx(tmp_path / "net.onnx", model), data, tmp_path, input_scale="0..1")
    assert accuracy(result) > 0.99


def test_a_resize_that_names_its_batch_is_freed_and_runs_in_int8(data, tmp_path):
    path = save_onnx(tmp_path / "net.onnx", onnx_net(BY_NAME["0..1"], batch=1, resized=True))
    result = exported(path, data, tmp_path, input_scale="0..1", quantize=True, max_drop=100, waive=("speed",))
    resizes = [node for node in onnx.load(result.float32).graph.node if node.op_type == "Resize"]
    assert resizes
    assert all(len(node.input) == 3 for node in resizes)
    images, _ = shades(5)
    assert segtool.load(result.int8).predict_batch(images).shape == (5, HEIGHT, WIDTH)


def test_a_network_with_its_scaling_inside_needs_no_option(data, tmp_path):
    import keras

    scale = BY_NAME["0..1"]
    image = keras.Input((HEIGHT, WIDTH, 3))
    keras.Model(image, keras_net(scale)(keras.layers.Rescaling(1 / 255)(image))).save(tmp_path / "net.keras")
    result = exported(tmp_path / "net.keras", data, tmp_path)
    assert result.contract.network["input_scale"]["name"] == "0..255"
    assert result.contract.network["input_scale"]["found"] == "read from the network"
    assert accuracy(result) > 0.99


def test_a_keras_network_of_free_size_takes_that_of_the_data_or_of_the_option(data, tmp_path):
    keras_net(BY_NAME["0..1"], size=(None, None)).save(tmp_path / "net.keras")
    result = exported(tmp_path / "net.keras", data, tmp_path)
    assert (result.contract.height, result.contract.width) == (HEIGHT, WIDTH)
    larger = exported(tmp_path / "net.keras", data, tmp_path, size=(24, 40))
    assert (larger.contract.height, larger.contract.width) == (24, 40)


def test_an_output_of_a_dict_is_named(data, tmp_path):
    from keras.layers import MaxPooling2D

    pool = MaxPooling2D()
    model = keras_net(BY_NAME["0..1"], several=lambda scores: {"mask": scores, "half": pool(scores)})
    model.save(tmp_path / "net.keras")
    with pytest.raises(ExportError, match="--output mask"):
        exported(tmp_path / "net.keras", data, tmp_path, input_scale="0..1")
    result = exported(tmp_path / "net.keras", data, tmp_path, input_scale="0..1", output="mask")
    assert result.contract.network["output"] == "mask"
    assert accuracy(result) > 0.99


def test_the_only_output_of_a_dict_may_be_named(data, tmp_path):
    keras_net(BY_NAME["0..1"], several=lambda scores: {"mask": scores}).save(tmp_path / "net.keras")
    assert accuracy(exported(tmp_path / "net.keras", data, tmp_path, input_scale="0..1", output="mask")) > 0.99
    assert accuracy(exported(tmp_path / "net.keras", data, tmp_path, input_scale="0..1")) > 0.99


def test_reduced_maps_are_resized_in_the_graph(data, tmp_path):
    path = save_onnx(tmp_path / "net.onnx", onnx_net(BY_NAME["0..1"], stride=4))
    result = exported(path, data, tmp_path, input_scale="0..1")
    assert result.contract.network["output_size"] == [HEIGHT // 4, WIDTH // 4]
    images, _ = shades(2)
    assert segtool.load(result.float32).predict_batch(images).shape == (2, HEIGHT, WIDTH)


def test_a_model_in_memory_is_exported(data, tmp_path):
    result = segtool.export(keras_net(BY_NAME["0..1"]), data=data, out=tmp_path / "memory.onnx", winograd="off")
    assert result.float32 == tmp_path / "memory.onnx"
    assert accuracy(result) > 0.99


@pytest.mark.parametrize("free", [False, True])
def test_a_sequential_model_is_exported(free, data, tmp_path):
    import keras

    net = keras_net(BY_NAME["0..1"], size=(None, None) if free else (HEIGHT, WIDTH))
    model = keras.Sequential([keras.Input(net.input.shape[1:]), *net.layers[1:]])
    model.save(tmp_path / "net.keras")
    assert accuracy(exported(tmp_path / "net.keras", data, tmp_path, input_scale="0..1")) > 0.99
    result = segtool.export(model, data=data, out=tmp_path / "memory.onnx", input_scale="0..1", size=(HEIGHT, WIDTH))
    assert accuracy(result) > 0.99


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_reduced_maps_of_an_odd_size_are_resized(layout, tmp_path):
    images, labels = shades(20)
    np.savez(tmp_path / "odd.npz", images=images[:, :13, :19], labels=labels[:, :13, :19])
    model = onnx_net(BY_NAME["0..1"], layout=layout, size=(13, 19), stride=2, ceil=True)
    path = save_onnx(tmp_path / "net.onnx", model)
    result = exported(path, str(tmp_path / "odd.npz"), tmp_path, input_scale="0..1")
    assert segtool.load(result.float32).predict_batch(images[:2, :13, :19]).shape == (2, 13, 19)


def test_a_scaling_worse_than_one_class_everywhere_is_asked_for(tmp_path):
    images, labels = shades()
    wrong = (labels + 1) % CLASSES
    np.savez(tmp_path / "wrong.npz", images=images, labels=wrong)
    path = save_onnx(tmp_path / "net.onnx", onnx_net(BY_NAME["0..1"]))
    with pytest.raises(ExportError, match=r"--input-scale"):
        exported(path, str(tmp_path / "wrong.npz"), tmp_path)


def test_a_scaling_given_twice_is_warned_of(data, tmp_path, caplog):
    import keras

    image = keras.Input((HEIGHT, WIDTH, 3))
    keras.Model(image, keras_net(BY_NAME["0..1"])(keras.layers.Rescaling(1 / 255)(image))).save(tmp_path / "net.keras")
    exported(tmp_path / "net.keras", data, tmp_path, input_scale="0..1")
    assert "scaled twice" in caplog.text


@pytest.mark.parametrize("given", [5, [1], lambda images: images])
def test_what_is_no_network_is_refused(given, data):
    with pytest.raises(ExportError, match=r"expected a keras\.Model"):
        segtool.export(given, data=data)


def with_argmax(**attributes):
    model = onnx_net(BY_NAME["0..1"], end="labels")
    node = next(node for node in model.graph.node if node.op_type == "ArgMax")
    for name, value in attributes.items():
        kept = [item for item in node.attribute if item.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])
    if attributes.get("axis"):
        model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def scored_to_255():
    model = onnx_net(BY_NAME["0..1"], classes=1, end="sigmoid")
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.float32(255), "all"))
    graph.node[-1].CopyFrom(helper.make_node("Mul", [graph.node[-1].input[0], "all"], ["out"]))
    return model


def broken(**changes):
    model = onnx_net(BY_NAME["0..1"])
    if changes.get("nan"):
        weights = next(item for item in model.graph.initializer if list(item.dims)[2:] == [3, 3])
        values = numpy_helper.to_array(weights).copy()
        values[0, 0, 0, 0] = np.nan
        weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    if changes.get("quantized"):
        model.graph.node.append(helper.make_node("QuantizeLinear", ["out", "c0"], ["q"]))
    if domain := changes.get("domain"):
        model.graph.node[0].domain = domain
        model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


def classifier():
    model = onnx_net(BY_NAME["0..1"])
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))
    graph.node[-1].CopyFrom(helper.make_node("ReduceMean", [graph.node[-1].input[0]], ["out"], axes=[2, 3], keepdims=0))
    graph.output[0].CopyFrom(helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", CLASSES]))
    return model


@pytest.mark.parametrize(
    ("model", "options", "error", "noun"),
    [
        (broken(nan=True), {}, ExportError, "NaN"),
        (broken(quantized=True), {}, ExportError, "quantized already"),
        (broken(domain="com.microsoft"), {}, ExportError, "only onnxruntime"),
        (broken(domain="my.ops"), {}, ModelFileError, "my.ops"),
        (classifier(), {}, ExportError, "classifier"),
        (onnx_net(BY_NAME["0..1"], opset=10), {}, ExportError, "opset 10"),
        (with_argmax(select_last_index=1), {}, ExportError, "before its arg-max"),
        (with_argmax(axis=2), {}, ExportError, "over axis 2"),
        (onnx_net(BY_NAME["0..1"], channels=4), {}, ExportError, "1 or 3 channels"),
        (onnx_net(BY_NAME["0..1"], channels=1), {}, DataError, "channel"),
        (onnx_net(BY_NAME["0..1"], classes=1), {}, DataError, "classes"),
        (onnx_net(BY_NAME["0..1"], size=(32, 32)), {"size": (16, 20)}, ExportError, "32x32 only"),
        (onnx_net(BY_NAME["0..1"], extra=("aux",)), {}, ExportError, "--output"),
        (onnx_net(BY_NAME["0..1"]), {"output": "x"}, ExportError, "no output"),
        (onnx_net(BY_NAME["0..1"]), {"opset": 18}, ExportError, "--opset"),
        (onnx_net(BY_NAME["0..1"]), {"threshold": 0.5}, ExportError, "one score"),
        (onnx_net(BY_NAME["0..1"], kind=TensorProto.UINT8), {"input_scale": "0..1"}, ExportError, "--input-scale"),
        (onnx_net(BY_NAME["0..1"], kind=TensorProto.DOUBLE), {}, ExportError, "double"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_exported_is_refused_in_one_sentence(model, options, error, noun, data, tmp_path):
    path = save_onnx(tmp_path / "net.onnx", model)
    with pytest.raises(error, match=noun):
        exported(path, data, tmp_path, **options)
    assert names(tmp_path / "out") == []


def test_a_network_is_never_written_over(data, tmp_path):
    path = save_onnx(tmp_path / "net.onnx", onnx_net(BY_NAME["0..1"]))
    before = path.read_bytes()
    with pytest.raises(ExportError, match="the network itself"):
        export_model(path, options=ExportOptions(data=data, out=path, overwrite=True))
    result = export_model(path, options=ExportOptions(data=data, input_scale="0..1", winograd="off"))
    assert result.float32.name == "net.segtool.onnx"
    assert path.read_bytes() == before


def test_an_exported_file_is_not_exported_again(data, tmp_path):
    path = save_onnx(tmp_path / "net.onnx", onnx_net(BY_NAME["0..1"]))
    result = exported(path, data, tmp_path, input_scale="0..1")
    with pytest.raises(ExportError, match="exported by segtool already"):
        export_model(result.float32, options=ExportOptions(data=data, out=tmp_path / "again.onnx"))


def test_tensors_in_other_files_are_refused(data, tmp_path):
    onnx.save(
        onnx_net(BY_NAME["0..1"]),
        tmp_path / "net.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    with pytest.raises(ModelFileError, match=r"another file|other file|external"):
        exported(tmp_path / "net.onnx", data, tmp_path)
