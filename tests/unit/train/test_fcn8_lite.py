"""fcn8-lite: its sizes, and the weights that a training starts from."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import keras
import numpy as np
import pytest

from segtool.errors import SegtoolError, TrainingError
from segtool.train.architectures import build
from segtool.train.pretrained import read_weights, set_weights


def network(channels: int = 3, classes: int = 3, *, width: float = 1.0, encoder: str | None = None) -> keras.Model:
    return build("fcn8-lite", size=(40, 50), channels=channels, num_classes=classes, width=width, encoder=encoder)


def weights_of(model: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


@pytest.mark.parametrize(
    ("size", "channels", "classes"), [((33, 50), 1, 2), ((64, 96), 3, 11), ((31, 1), 3, 3), ((65, 127), 1, 5)]
)
def test_probabilities_have_the_size_of_the_image(size: tuple[int, int], channels: int, classes: int) -> None:
    model = build("fcn8-lite", size=size, channels=channels, num_classes=classes)
    output = model.predict_on_batch(np.random.default_rng(0).integers(0, 256, (2, *size, channels), np.uint8))
    assert output.shape == (2, *size, classes)
    assert np.abs(output.sum(-1) - 1).max() < 1e-5


def test_the_decoder_has_multiples_of_16_channels_at_each_width() -> None:
    for width in (0.05, 0.7, 1.0, 2.0):
        own = [item for item in network(width=width).layers if not item.name.startswith("encoder_")]
        kernels = [item for item in own if isinstance(item, keras.layers.Conv2D) and item.name != "scores"]
        assert len(kernels) == 9
        assert [item.filters % 16 for item in kernels if not isinstance(item, keras.layers.DepthwiseConv2D)] == [0] * 9
    assert network(width=2.0).get_layer("context_reduce").filters == 256


def test_the_number_of_parameters() -> None:
    assert network(classes=11).count_params() == 3_115_035


def test_grey_images_give_the_maps_of_three_equal_channels() -> None:
    colour, grey = network(3), network(1)
    set_weights(grey, weights_of(colour), spec="colour.keras")
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 1), np.uint8)
    left, right = grey.predict_on_batch(images), colour.predict_on_batch(np.repeat(images, 3, -1))
    assert np.abs(left - right).max() <= 1e-5


def test_scores_of_other_classes_stay_random_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    start, target = network(classes=4), network(classes=3)
    before = target.get_layer("scores").get_weights()
    with caplog.at_level(logging.WARNING):
        set_weights(target, weights_of(start), spec="start")
    assert "scores" in caplog.text
    for left, right in zip(before, target.get_layer("scores").get_weights(), strict=True):
        assert np.array_equal(left, right)
    assert np.array_equal(*(item.get_layer("refine4").get_weights()[0] for item in (start, target)))
    assert np.array_equal(*(item.get_layer("encoder_stem").get_weights()[0] for item in (start, target)))


def test_an_encoder_of_another_shape_and_no_common_layer_are_refused() -> None:
    target = network()
    with pytest.raises(TrainingError, match="another shape"):
        set_weights(target, weights_of(network(encoder="lite2")), spec="lite2")
    grey = weights_of(network(1))
    with pytest.raises(TrainingError, match="encoder_stem"):  # a kernel for grey images has no colours
        set_weights(target, grey, spec="grey")
    with pytest.raises(TrainingError, match="no layer of this network"):
        set_weights(target, {"other": [np.zeros(3)]}, spec="other")


def test_weights_without_the_encoder_are_refused() -> None:
    """The decoder of a network with another encoder fits; its encoder would start from random weights."""
    other = weights_of(network(encoder="mobilenetv2"))
    with pytest.raises(TrainingError, match=r"no values for \d+ layers of the encoder, such as encoder_stem"):
        set_weights(network(), other, spec="mobilenetv2")


def test_an_earlier_run_gives_its_trained_model_also_after_its_export(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    model = network()
    model.save(run / "model.keras")
    (run / "run.json").write_text(
        json.dumps(
            {"schema_version": 1, "data": dict.fromkeys(("spec", "fingerprint", "class_names")), "status": "complete"}
        )
    )
    for name in ("", "model.onnx"):
        if name:
            (run / name).write_bytes(b"exported")
        read = read_weights(str(run), "lite0")
        assert np.array_equal(read["scores"][0], model.get_layer("scores").get_weights()[0])
    assert read_weights(str(run / "model.keras"), None).keys() == read.keys()


def test_an_application_saved_by_keras_has_the_layers_of_its_encoder(tmp_path: Path) -> None:
    saved = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(224, 224, 3))
    saved.save(tmp_path / "a.keras")
    target = network(encoder="mobilenetv3-small")
    set_weights(target, read_weights(str(tmp_path / "a.keras"), "mobilenetv3-small"), spec="a.keras")
    assert np.array_equal(target.get_layer("encoder_conv").get_weights()[0], saved.get_layer("conv").get_weights()[0])


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"onnx")
    (tmp_path / "folder").mkdir()
    for name, word in (("absent.keras", "absent"), ("a.onnx", "another kind"), ("folder", "folder")):
        with pytest.raises(SegtoolError, match=word):
            read_weights(str(tmp_path / name), "lite0")
    with pytest.raises(TrainingError, match="--arch fcn8-lite"):
        read_weights("imagenet", None)
    assert read_weights("none", "lite0") == {}
