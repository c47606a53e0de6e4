"""A user's own layers: allowed by name where --custom names the file that defines them, and only there."""

import numpy as np
import pytest

from segtool.errors import ModelFileError
from segtool.models.custom import load_custom
from segtool.models.keras_file import load_keras_file

CODE = """
import keras

class Scale(keras.layers.Layer):
    def __init__(self, factor=2.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}

@keras.saving.register_keras_serializable("mine")
class Shift(keras.layers.Layer):
    def call(self, x):
        return x + 1.0

@keras.saving.register_keras_serializable("mine")
def bend(x):
    return keras.ops.relu(x) - 0.1
"""


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "layers.py"
    path.write_text(CODE)
    yield path
    import keras

    keras.saving.get_custom_objects().clear()


@pytest.fixture
def saved(code, tmp_path):
    import keras

    own = load_custom(code)
    inputs = keras.Input((4, 4, 3))
    x = own["Scale"](3.0)(inputs)
    x = keras.layers.Activation(own["mine>bend"])(own["mine>Shift"]()(x))
    keras.Model(inputs, x).save(tmp_path / "model.keras")
    keras.saving.get_custom_objects().clear()
    return tmp_path / "model.keras"


def test_without_the_file_a_layer_is_refused_with_the_option(saved):
    with pytest.raises(ModelFileError, match=r"Scale in layer 'scale' \(2 of 4\).*--custom FILE\.py"):
        load_keras_file(saved)


def test_with_the_file_it_opens_and_the_log_names_the_file(saved, code, caplog):
    images = np.random.default_rng(0).random((2, 4, 4, 3), np.float32)
    opened = load_keras_file(saved, custom=load_custom(code))
    np.testing.assert_allclose(np.asarray(opened(images)), images * 3 + 0.9, atol=1e-5)
    assert str(code) in caplog.text


def test_the_rest_of_the_file_is_checked_as_before(saved, code, tmp_path):
    import keras

    inputs = keras.Input((4, 4, 3))
    own = load_custom(code)
    keras.Model(inputs, keras.layers.Lambda(lambda x: x)(own["Scale"]()(inputs))).save(tmp_path / "bad.keras")
    with pytest.raises(ModelFileError, match=r"keras\.layers\.Lambda"):
        load_keras_file(tmp_path / "bad.keras", custom=own)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.py", None, "not a Python file"),
        ("x.txt", "", "not a Python file"),
        ("x.py", "a = 1", "defines no layer"),
        ("x.py", "a = 1\nraise KeyError('x')", "failed in line 2 .*KeyError"),
        ("x.py", "a = (", "failed in line 1"),
    ],
)
def test_a_file_that_is_of_no_use_is_refused(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ModelFileError, match=message):
        load_custom(tmp_path / name)
