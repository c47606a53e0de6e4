"""Each gate passes what is right and catches what was sabotaged."""

import math

import numpy as np
import onnxruntime
import pytest
from tiny_nets import tiny_data, trained_tiny

from segtool.contract import ModelContract, default_palette
from segtool.errors import GateError
from segtool.export import gates
from segtool.export.heads import with_head
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.running import keras_runner
from segtool.export.verdict import judge


def check_accuracy(*args, **kwargs):
    result = gates.compare_accuracy(*args, **kwargs)
    judge(result)
    return result


def check_parity(*args, **kwargs):
    result = gates.compare_parity(*args, **kwargs)
    judge(result)
    return result


def runner(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"image": images})[0]


@pytest.fixture(scope="module")
def images():
    return tiny_data(12, seed=1)[0]


@pytest.fixture(scope="module")
def converted():
    return keras_to_onnx(trained_tiny())


@pytest.fixture(scope="module")
def sides(converted):
    return {
        "network": keras_runner(trained_tiny()),
        "probabilities": runner(converted),
        "labels": runner(with_head(converted, "labels")),
    }


def test_a_true_export_passes_the_parity_gate(images, sides):
    parity = check_parity(images, **sides)
    assert parity.max_difference < 1e-5
    assert parity.label_agreement == 1
    assert (parity.images, parity.single) == (12, 8)


@pytest.mark.parametrize("factor", [1.01, math.nan])
def test_a_changed_weight_is_caught(images, sides, converted, factor):
    sabotaged = type(converted)()
    sabotaged.CopyFrom(converted)
    kernel = next(item for item in sabotaged.graph.initializer if len(item.dims) == 4)
    values = np.frombuffer(kernel.raw_data, np.float32).copy()
    values[0] *= factor
    kernel.raw_data = values.tobytes()
    with pytest.raises(GateError, match="Parity gate"):
        check_parity(images, **{**sides, "probabilities": runner(sabotaged)})


def test_a_graph_that_is_wrong_in_batches_alone_is_caught(images, sides):
    def mixed_up(batch):
        return sides["probabilities"](batch[::-1])

    with pytest.raises(GateError, match="Parity gate"):
        check_parity(images, **{**sides, "probabilities": mixed_up})


def test_a_graph_that_is_wrong_at_batch_1_alone_is_caught(images, sides):
    def wrong_alone(batch):
        return sides["labels"](batch) if len(batch) > 1 else sides["labels"](255 - batch)

    with pytest.raises(GateError, match="labels agree"):
        check_parity(images, **{**sides, "labels": wrong_alone})


def test_labels_shifted_by_a_pixel_are_caught(images, sides):
    def shifted(batch):
        return np.roll(sides["labels"](batch), 1, axis=2)

    with pytest.raises(GateError, match="labels agree"):
        check_parity(images, **{**sides, "labels": shifted})


def test_a_nan_at_batch_1_alone_is_caught(images, sides):
    def wrong_alone(batch):
        return sides["probabilities"](batch) * (1 if len(batch) > 1 else np.nan)

    with pytest.raises(GateError, match="up to nan"):
        check_parity(images, **{**sides, "probabilities": wrong_alone})


def test_an_output_of_another_size_is_caught(images, sides):
    with pytest.raises(GateError, match="Parity gate"):
        check_parity(images, **{**sides, "probabilities": lambda batch: sides["probabilities"](batch)[:, :, :-1]})


def test_one_image_is_too_few(images, sides):
    """The user may have given more: a fifth of them is for validation, so the message names that part."""
    with pytest.raises(GateError, match="1 image for validation; expected at least 2"):
        check_parity(images[:1], **sides)


@pytest.mark.parametrize(("int8", "drop"), [(0.90, 0.0), (0.896, 0.4), (0.92, -2.0)])
def test_a_small_drop_passes_the_accuracy_gate(int8, drop):
    assert check_accuracy(0.90, int8, images=5, max_drop=0.5, label_agreement=1.0).drop_points == pytest.approx(drop)


@pytest.mark.parametrize(("float32", "int8"), [(0.90, 0.894), (0.90, 0.0), (0.90, math.nan), (math.nan, 0.90)])
def test_a_larger_drop_or_no_number_is_refused(float32, int8):
    with pytest.raises(GateError, match="Accuracy gate") as refused:
        check_accuracy(float32, int8, images=5, max_drop=0.5, label_agreement=1.0)
    assert refused.value.exit_code == 4


@pytest.mark.parametrize("change", [lambda x: x + np.uint8(1), lambda x: x.astype(np.int64), lambda x: x[:1]])
def test_a_finished_file_that_gives_other_labels_is_refused(change):
    contract = ModelContract(4, 4, 1, ("a", "b"), default_palette(2))
    labels = np.zeros((2, 4, 4), np.uint8)
    gates.check_golden(contract, expected=labels, found=labels.copy())
    with pytest.raises(GateError, match="golden"):
        gates.check_golden(contract, expected=labels, found=change(labels))
