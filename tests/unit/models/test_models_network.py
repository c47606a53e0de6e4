"""What a trained network takes and gives, and what is refused."""

import numpy as np
import pytest
from keras import Input, Model, layers
from tiny_nets import CLASSES, HEIGHT, WIDTH, build_tiny

from segtool.errors import ExportError, ModelFileError
from segtool.models.network import check_exportable, contract_of, gives_probabilities, shape_of


def network(precision="float32"):
    image = Input((4, 4, 1), dtype="uint8", name="image")
    x = layers.Conv2D(2, 1, dtype=precision, name="low")(layers.Rescaling(1 / 255)(image))
    return Model(image, layers.Softmax()(x))


def test_input_and_output_are_read_from_the_model():
    model = build_tiny(3)
    found = shape_of(model, source="net.keras")
    assert (found.height, found.width, found.channels) == (HEIGHT, WIDTH, 3)
    assert found.num_classes == CLASSES
    contract = contract_of(found, data={"background_id": 0})
    assert (contract.height, contract.width, contract.channels) == (HEIGHT, WIDTH, 3)
    assert contract.class_names == ("class 0", "class 1", "class 2")
    check_exportable(model)


@pytest.mark.parametrize(
    ("shape", "build", "dtype"),
    [
        ((None, None, 1), layers.Conv2D(2, 1), "uint8"),
        ((4, 4, 2), layers.Conv2D(2, 1), "uint8"),
        ((4, 4, 1), layers.Conv2D(2, 1, strides=2), "uint8"),
        ((4, 4, 1), lambda image: layers.Dense(2)(layers.Flatten()(image)), "uint8"),
        ((4, 4, 1), lambda image: [layers.Conv2D(2, 1)(image), layers.Conv2D(3, 1)(image)], "uint8"),
        ((4, 4, 1), layers.Conv2D(2, 1), "float32"),
    ],
    ids=["any size", "two channels", "half size", "a class an image", "two outputs", "float"],
)
def test_other_inputs_and_outputs_are_refused_with_their_shapes(shape, build, dtype):
    image = Input(shape, dtype=dtype)
    with pytest.raises(
        ModelFileError, match=r"net\.keras has inputs and outputs of shape .*expected uint8 pixels.*segtool export"
    ):
        shape_of(Model(image, build(image)), source="net.keras")


def test_data_of_another_number_of_classes_are_refused():
    with pytest.raises(ModelFileError, match="predicts 2 classes and its data have 3"):
        contract_of(shape_of(network(), source="net.keras"), data={"class_names": ["a", "b", "c"]})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_named(value):
    model = build_tiny()
    kernel = model.get_layer("score").kernel
    kernel.assign(np.where(np.arange(kernel.shape[2])[:, None] == 1, value, np.asarray(kernel)))
    with pytest.raises(ExportError, match="score/kernel"):
        check_exportable(model)


def test_a_network_in_low_precision_is_refused():
    with pytest.raises(ExportError, match="low computes in bfloat16"):
        check_exportable(network(precision="mixed_bfloat16"))


@pytest.mark.parametrize("softmax", [True, False])
def test_probabilities_are_recognised(softmax):
    model = build_tiny(softmax=softmax)
    assert gives_probabilities(model, shape_of(model, source="net.keras")) is softmax
