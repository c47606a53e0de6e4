"""Networks of other precisions are opened in float32, with the outputs that they had."""

import numpy as np
import pytest

from segtool.errors import ModelFileError
from segtool.models.keras_file import load_keras_file
from segtool.models.precision import as_float32


def network(dtype):
    import keras

    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255, dtype=dtype)(inputs)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", dtype=dtype)(x)
    x = keras.layers.BatchNormalization(dtype=dtype)(x) + 1
    return keras.Model(inputs, keras.layers.Conv2D(3, 1, activation="softmax", dtype=dtype)(x))


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64"])
def test_it_is_opened_in_float32_and_says_so(tmp_path, caplog, dtype):
    path = tmp_path / "model.keras"
    saved, exact = network(dtype), network("float32")
    saved.save(path)
    exact.set_weights([np.asarray(weight, np.float32) for weight in saved.get_weights()])
    opened = load_keras_file(path)
    assert {layer.compute_dtype for layer in opened.layers if layer.weights} == {"float32"}
    assert {str(weight.dtype) for weight in opened.weights} == {"float32"}
    assert str(opened.outputs[0].dtype) == "float32"
    assert "opened in float32" in caplog.text
    assert dtype in caplog.text
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    np.testing.assert_allclose(np.asarray(opened(images)), np.asarray(exact(images)), atol=1e-5)
    np.testing.assert_allclose(
        np.asarray(opened(images)), np.asarray(saved(images), np.float32), atol=5e-2 if "b" in dtype else 5e-3
    )


def test_a_float32_network_is_not_mentioned(tmp_path, caplog):
    path = tmp_path / "model.keras"
    network("float32").save(path)
    load_keras_file(path)
    assert not caplog.text


@pytest.mark.parametrize("name", ["int8_from_float32", "float8_from_mixed_bfloat16"])
def test_a_network_that_keras_quantized_is_refused(name):
    with pytest.raises(ModelFileError, match=r"quantized by Keras"):
        as_float32({"config": {"dtype": {"class_name": "QuantizedDTypePolicy", "dtype": name}}}, source="x")
