"""`segtool export --size`: the file is for another size than the network's own, and everything in it says so."""

from __future__ import annotations

import json

import keras
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_nets import HEIGHT, WIDTH, tiny_data, trained_tiny, write_run

import segtool.runtime.opening
from segtool.cli import main
from segtool.contract import GoldenPair, ModelContract, default_palette
from segtool.data.loading import load_dataset
from segtool.data.split import split
from segtool.errors import OutputExistsError
from segtool.evaluate.scoring import evaluate_labels
from segtool.export import ExportOptions, export_model
from segtool.export.network import keras_network
from segtool.export.resize.rebuild import rebuild
from segtool.export.resize.warnings import size_warning, total_stride
from segtool.models.keras_file import load_keras_file
from segtool.models.resolve import latest_exported
from segtool.train.architectures import build

SIZE = (24, 28)
SIZED = ExportOptions(size=SIZE, quantize=True, max_drop=5, waive=("speed",))


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A run with files for its own size and for another, and the result for the other."""
    folder = write_run(tmp_path_factory.mktemp("size") / "run")
    export_model(folder)
    return folder, export_model(folder, options=SIZED)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def command(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_the_files_are_named_after_their_size_and_are_not_the_default_ones(exported):
    folder, result = exported
    assert (result.float32, result.int8) == (folder / "model.24x28.onnx", folder / "model.24x28.int8.onnx")
    assert latest_exported(folder) == folder / "model.onnx"
    own = segtool.runtime.opening.load(folder / "model.onnx", provider="cpu").contract
    assert (own.height, own.width, own.trained_size) == (HEIGHT, WIDTH, None)


def test_both_files_are_for_that_size_and_say_what_they_were_trained_at(exported):
    for path in (exported[1].float32, exported[1].int8):
        segmenter = segtool.runtime.opening.load(path, provider="cpu")
        contract = segmenter.contract
        assert (contract.height, contract.width, contract.trained_size) == (*SIZE, (HEIGHT, WIDTH))
        metadata = {item.key: item.value for item in onnx.load(path).metadata_props}
        assert GoldenPair.from_metadata(metadata, source="").images.shape == (4, *SIZE, 1)
        assert segmenter.verify().mismatching_pixels == 0
        assert segmenter(tiny_data(1)[0][0]).shape == (HEIGHT, WIDTH)  # an image of any size keeps its own


def test_the_figures_are_those_at_that_size(exported):
    """Scored anew, with Keras and at each size: the contract has the one, and it is not the other."""
    folder, result = exported
    info = json.loads((folder / "run.json").read_text())
    data = load_dataset(info["data"]["spec"], seed=3, val_split=0.25)
    val = split(data, val_fraction=0.25, test_fraction=0.0, seed=3).val
    network = load_keras_file(folder / "model.keras")

    def score(model, size):
        return evaluate_labels(lambda x: np.asarray(model(x)).argmax(-1), data, val, size=size).foreground_mean_iou

    found = result.contract.metrics["float32"]["foreground_mean_iou"]
    assert found == pytest.approx(score(rebuild(network, SIZE), SIZE))
    assert found != pytest.approx(score(network, (HEIGHT, WIDTH)))
    assert result.int8_contract.gates["parity"]["images"] == 12
    assert result.int8_contract.quantization["images"] == 36


def test_the_commands_take_the_file(exported, tmp_path, monkeypatch):
    result = exported[1]
    monkeypatch.chdir(tmp_path)
    Image.fromarray(tiny_data(1)[0][0, ..., 0]).save("image.png")
    facts = json.loads(command("info", result.int8, "--json").stdout)
    assert facts["input"].startswith("image uint8 (N, 24, 28, 1)")
    assert facts["trained_size"] == [HEIGHT, WIDTH]
    assert "passed" in command("verify", result.int8).stdout
    scores = json.loads(command("evaluate", result.float32, "--json").stdout)
    assert scores["images"] == 12  # the run's own validation split
    recorded = result.contract.metrics["float32"]
    assert scores["foreground_mean_iou"] == pytest.approx(recorded["foreground_mean_iou"])
    command("predict", "image.png", "--model", result.int8, "--out", "out")
    with Image.open("out/image.png") as labels:
        assert labels.size == (WIDTH, HEIGHT)


def test_the_command_says_what_it_did(run):
    result = command("export", run, "--size", "20x24")
    assert "trained at 16x20 and rebuilt for 20x24" in result.stderr
    assert "--model" in result.stderr  # it is not what predict takes unasked
    assert names(run) == ["model.20x24.onnx", "model.keras", "run.json"]
    facts = json.loads(command("export", run, "--size", "20x20", "--json").stdout)
    assert (facts["size"], facts["trained_size"]) == ([20, 20], [16, 20])


@pytest.mark.parametrize(
    ("size", "code", "words"),
    [
        ("30x30", 1, "choose a height of 28 or 32 and a width of 28 or 32, or train at that size"),
        ("100000x100000", 1, "at most 2,097,152 (such as 1024x2048)"),
        ("0x5", 2, "not a size"),
        ("-4x8", 2, "not a size"),
    ],
)
def test_a_size_that_cannot_be_is_refused_and_nothing_is_left(run, size, code, words):
    assert words in " ".join(command("export", run, "--quantize", f"--size={size}", code=code).stderr.split())
    assert names(run) == ["model.keras", "run.json"]


def test_its_own_size_is_no_other_network(run, monkeypatch):
    monkeypatch.setattr(keras_network, "rebuild", None)
    result = export_model(run, options=ExportOptions(size=(HEIGHT, WIDTH)))
    assert result.float32 == run / "model.16x20.onnx"
    assert result.contract.trained_size is None


def test_taps_that_were_never_trained_are_named(run, caplog):
    assert export_model(run, options=ExportOptions(size=SIZE)).warnings == ()
    image = keras.Input((8, 8, 1), dtype="uint8")
    pooled = keras.layers.MaxPooling2D(4)(keras.layers.Rescaling(1 / 255)(image))
    wide = keras.layers.Conv2D(3, 7, padding="same", name="wide")(pooled)  # on 2 x 2: rows and columns 2, 3 and 4
    up = keras.layers.Conv2DTranspose(3, 4, strides=4)(wide)
    keras.Model(image, keras.layers.Softmax()(up), name="small").save(run / "model.keras")
    untrained = export_model(run, options=ExportOptions(size=(4, 8), overwrite=True)).warnings
    assert not [text for text in untrained if "taps" in text]
    warnings = export_model(run, options=ExportOptions(size=(12, 100))).warnings
    assert "26 of the 35 taps of wide met only padding at 8x8" in warnings[0]  # 5 rows of 7 now
    assert warnings[0] in caplog.text


def test_the_stride_is_that_of_the_coarsest_map():
    assert total_stride(trained_tiny()) == 4
    for name, stride in (("fcn8", 32), ("fcn8-edge", 8)):
        assert total_stride(build(name, size=(64, 84), channels=1, num_classes=3, width=0.1)) == stride


@pytest.mark.parametrize(
    ("size", "policy", "words"),
    [
        ((1, 1), "resize", "smaller than the network's total stride of 4 pixels"),
        ((20, 3), "tile", "total stride"),
        ((4, 8), "resize", "10.00% of the pixels as 16x20"),
        ((4, 8), "tile", "10.00% of the pixels"),
        ((40, 40), "resize", "5.0 times as many pixels as 16x20"),
        ((40, 40), "tile", None),
        ((24, 28), "resize", None),
    ],
)
def test_a_size_that_does_not_suit_the_network_is_warned_of(size, policy, words):
    facts = {"class_names": ("a", "b", "c"), "palette": default_palette(3), "size_policy": policy}
    found = size_warning(trained_tiny(), ModelContract(*size, 1, **facts, trained_size=(HEIGHT, WIDTH)))
    assert (found is None) == (words is None)
    assert (words or "") in (found or "")


def test_the_warning_of_a_size_is_said_and_kept(run, caplog):
    warning = export_model(run, options=ExportOptions(size=(4, 8))).warnings[
        0
    ]  # then: its network is no better than none
    assert "10.00% of the pixels as 16x20, which the network was trained at" in warning
    assert warning in caplog.text


def test_what_exists_under_that_name_is_kept(run):
    (run / "model.24x28.int8.onnx").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match=r"model\.24x28\.int8\.onnx"):
        export_model(run, options=SIZED)
    assert names(run) == ["model.24x28.int8.onnx", "model.keras", "run.json"]
