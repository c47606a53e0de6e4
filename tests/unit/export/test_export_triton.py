"""The folder for a Triton model repository: its configuration, its files, and what may not be replaced."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import stat
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from tiny_models import expected_labels, tiny_contract, write_proven
from tiny_nets import write_run

import segtool
from segtool.cli import main
from segtool.contract import GOLDEN_KEY, GoldenPair, ModelContract
from segtool.errors import ContractError, GateError, ModelFileError, OutputExistsError, OutputWriteError
from segtool.export import ExportOptions, export_model, triton
from segtool.export.triton import config_text
from segtool.export.triton import write_model as write_repository

MANY = tuple(map(str, range(300)))
CONTRACTS = {
    "grey": tiny_contract(),
    "rgb": tiny_contract(channels=3, height=96, width=128),
    "int8": tiny_contract(precision="int8"),
    "many classes": tiny_contract(class_names=MANY),
    "logits": tiny_contract(head="logits"),
    "probabilities": tiny_contract(head="probabilities", channels=3),
    "large": tiny_contract(height=1024, width=2048),
    "names": tiny_contract(class_names=('a "quoted" one', "naïve\\ 木", "two words")),
}


def parse(text: str) -> object:
    """Parse with Triton's own definition, without the rest of its client, which needs gRPC."""
    text_format = pytest.importorskip("google.protobuf.text_format")
    client = importlib.util.find_spec("tritonclient")
    if client is None or not client.submodule_search_locations:
        pytest.skip("tritonclient, which has Triton's model_config.proto, is not installed")
    path = Path(client.submodule_search_locations[0], "grpc", "model_config_pb2.py")
    spec = importlib.util.spec_from_file_location("triton_model_config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return text_format.Parse(text, module.ModelConfig())


class TestConfiguration:
    @pytest.mark.parametrize("gpu", [False, True], ids=["cpu", "gpu"])
    @pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
    def test_it_parses_with_the_definition_of_triton(self, contract: ModelContract, gpu: bool) -> None:
        config = parse(config_text(contract, "0" * 64, gpu=gpu))
        (image,), (output,), (group,) = config.input, config.output, config.instance_group
        size = [contract.height, contract.width]
        assert config.backend == "onnxruntime"
        assert config.default_model_filename == "model.onnx"
        assert (image.name, list(image.dims)) == ("image", [*size, contract.channels])
        assert image.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[image.data_type].name == (
            "TYPE_UINT8"
        )
        assert output.name == contract.head
        assert list(output.dims) == (size if contract.head == "labels" else [*size, contract.num_classes])
        assert group.KIND_GPU == 1
        assert group.kind == (group.KIND_GPU if gpu else group.KIND_CPU)
        assert json.loads(config.parameters["class_names"].string_value) == list(contract.class_names)
        assert ("intra_op_thread_count" in config.parameters) is not gpu
        assert config.model_warmup[0].inputs["image"].zero_data
        assert all(batch <= config.max_batch_size for batch in config.dynamic_batching.preferred_batch_size)
        assert config.name == ""  # so that the folder may be renamed

    @pytest.mark.parametrize(
        ("name", "dims", "output"),
        [
            ("grey", "64, 84, 1", '"labels" data_type: TYPE_UINT8 dims: [ 64, 84 ]'),
            ("rgb", "96, 128, 3", '"labels" data_type: TYPE_UINT8 dims: [ 96, 128 ]'),
            ("int8", "64, 84, 1", '"labels" data_type: TYPE_UINT8 dims: [ 64, 84 ]'),
            ("many classes", "64, 84, 1", '"labels" data_type: TYPE_UINT16 dims: [ 64, 84 ]'),
            ("logits", "64, 84, 1", '"logits" data_type: TYPE_FP32 dims: [ 64, 84, 11 ]'),
            ("probabilities", "64, 84, 3", '"probabilities" data_type: TYPE_FP32 dims: [ 64, 84, 11 ]'),
            ("large", "1024, 2048, 1", '"labels" data_type: TYPE_UINT8 dims: [ 1024, 2048 ]'),
        ],
    )
    def test_its_tensors(self, name: str, dims: str, output: str) -> None:
        lines = config_text(CONTRACTS[name], "0" * 64).splitlines()
        assert f'input [ {{ name: "image" data_type: TYPE_UINT8 format: FORMAT_NHWC dims: [ {dims} ] }} ]' in lines
        assert f"output [ {{ name: {output} }} ]" in lines

    def test_its_structure(self) -> None:
        lines = config_text(CONTRACTS["int8"], "f" * 64).splitlines()
        assert [re.match(r"\w+", line)[0] for line in lines if not line.startswith("#")] == [
            "backend", "default_model_filename", "max_batch_size", "input", "output", "version_policy",
            "dynamic_batching", "instance_group", "parameters", "parameters", "parameters", "parameters",
            "model_warmup",
        ]  # fmt: skip
        assert lines[0] == f"# Written by segtool {segtool.__version__}; int8 file, SHA-256 {'f' * 64}."
        for line in lines:
            assert line.count("{") == line.count("}")
            assert line.isascii()

    @pytest.mark.parametrize(
        ("contract", "gpu", "most", "preferred"),
        [("grey", False, 8, "4, 8"), ("grey", True, 32, "16, 32"), ("large", False, 1, None), ("large", True, 2, "2")],
    )
    def test_batches_are_smaller_for_larger_images(
        self, contract: str, gpu: bool, most: int, preferred: str | None
    ) -> None:
        text = config_text(CONTRACTS[contract], "0" * 64, gpu=gpu)
        assert f"\nmax_batch_size: {most}\n" in text
        assert re.findall(r"preferred_batch_size: \[ (.*?) \]", text) == ([preferred] if preferred else [])

    def test_on_a_gpu_the_largest_batch_is_run_before_the_first_request(self) -> None:
        text = config_text(CONTRACTS["grey"], "0" * 64, gpu=True)
        assert re.findall(r"batch_size: (\d+) inputs", text) == ["1", "32"]
        assert "KIND_CPU" not in text


class TestFolder:
    def test_the_model_in_it_gives_the_labels_of_segtool(self, tmp_path: Path) -> None:
        source = write_proven(tmp_path / "digits.int8.onnx")
        folder = write_repository(source, tmp_path / "a" / "models")
        assert folder == tmp_path / "a" / "models" / "digits"
        served = folder / "1" / "model.onnx"
        images = np.random.default_rng(0).integers(0, 256, (5, 64, 84, 1), np.uint8)
        labels = onnxruntime.InferenceSession(served, providers=["CPUExecutionProvider"]).run(None, {"image": images})
        segmenter = segtool.load(source)
        np.testing.assert_array_equal(labels[0], [segmenter(image) for image in images])
        np.testing.assert_array_equal(labels[0], expected_labels(images))
        assert served.read_bytes() == source.read_bytes()
        assert (folder / "labels.txt").read_text().splitlines() == list(tiny_contract().class_names)
        found = {path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*")}
        assert found == {
            "models", "models/digits", "models/digits/1", "models/digits/1/model.onnx", "models/digits/config.pbtxt",
            "models/digits/labels.txt",
        }  # fmt: skip

    @pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
    def test_a_server_of_another_user_can_read_it(self, tmp_path: Path) -> None:
        folder = write_repository(write_proven(tmp_path / "m.onnx"), tmp_path / "models")
        readable, plain = stat.S_IRGRP | stat.S_IROTH, tmp_path / "plain"
        plain.touch()
        wanted = plain.stat().st_mode & readable
        assert all(path.stat().st_mode & readable == wanted for path in [folder, *folder.rglob("*")])

    @pytest.mark.parametrize(
        ("file", "name"),
        [
            ("run/model.onnx", "run"),
            ("run/model.int8.onnx", "run"),
            ("run/model.128x168.onnx", "run.128x168"),
            ("run/cells.onnx", "cells"),
            ("other/model.onnx", "model"),
            ("other/my model\n2.int8.onnx", "my_model_2"),
            ("other/.onnx.onnx", "onnx"),
            ("other/木.onnx", "model"),
        ],
    )
    def test_its_name(self, tmp_path: Path, file: str, name: str) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "run.json").write_text("{}")
        (tmp_path / "latest").symlink_to("run")
        assert triton.model_folder("models", tmp_path / file, overwrite=False) == Path("models", name)
        through_link = tmp_path / file.replace("run/", "latest/")
        assert triton.model_folder("models", through_link, overwrite=False) == Path("models", name)

    def test_it_is_replaced_only_on_request_and_as_a_whole(self, tmp_path: Path) -> None:
        first = write_proven(tmp_path / "m.onnx")
        folder = write_repository(first, tmp_path / "models")
        config = (folder / "config.pbtxt").read_bytes()
        write_proven(first, tiny_contract(height=32))
        with pytest.raises(OutputExistsError, match="--overwrite"):
            write_repository(first, tmp_path / "models")
        assert (folder / "config.pbtxt").read_bytes() == config
        write_repository(first, tmp_path / "models", overwrite=True)
        assert (folder / "1" / "model.onnx").read_bytes() == first.read_bytes()
        assert (folder / "config.pbtxt").read_bytes() != config
        assert list((tmp_path / "models").iterdir()) == [folder]

    def test_a_version_that_somebody_added_is_never_removed(self, tmp_path: Path) -> None:
        source = write_proven(tmp_path / "m.onnx")
        folder = write_repository(source, tmp_path / "models")
        (folder / "2").mkdir()
        (folder / "2" / "model.onnx").write_bytes(b"theirs")
        with pytest.raises(OutputExistsError, match="2, which segtool did not write"):
            write_repository(source, tmp_path / "models", overwrite=True)
        assert (folder / "2" / "model.onnx").read_bytes() == b"theirs"

    def test_a_file_at_its_place_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "m").write_text("notes")
        with pytest.raises(OutputExistsError, match="not a folder"):
            write_repository(write_proven(tmp_path / "m.onnx"), tmp_path / "models", overwrite=True)
        assert (tmp_path / "models" / "m").read_text() == "notes"

    def test_a_file_that_verify_refuses_is_not_served(self, tmp_path: Path) -> None:
        source = write_proven(tmp_path / "m.onnx")
        model = onnx.load(source)
        images = np.zeros((1, 64, 84, 1), np.uint8)
        wrong = GoldenPair(images, expected_labels(images) + np.uint8(1))
        next(entry for entry in model.metadata_props if entry.key == GOLDEN_KEY).value = wrong.to_json()
        onnx.save(model, source)
        with pytest.raises(GateError, match=r"m\.onnx fails `segtool verify` here: 0\.00%"):
            write_repository(source, tmp_path / "models")
        assert not (tmp_path / "models").exists()

    def test_a_file_without_a_contract_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.onnx").write_bytes(b"nothing")
        with pytest.raises(ModelFileError):
            write_repository(tmp_path / "x.onnx", tmp_path / "models")
        source = write_proven(tmp_path / "m.onnx")
        source.write_bytes(source.read_bytes().replace(b"segtool", b"another"))
        with pytest.raises(ContractError):
            write_repository(source, tmp_path / "models")
        assert not (tmp_path / "models").exists()

    def test_a_repository_that_cannot_be_written_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "models").write_text("a file")
        with pytest.raises(OutputWriteError, match=r"Could not write .*models/m"):
            write_repository(write_proven(tmp_path / "m.onnx"), tmp_path / "models")

    def test_an_int8_file_for_a_gpu_is_a_warning(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        source = write_proven(tmp_path / "m.onnx", tiny_contract(precision="int8"))
        write_repository(source, tmp_path / "models", gpu=True)
        assert "FP32" in caplog.text
        source = write_proven(tmp_path / "w.onnx", tiny_contract(convolutions={"algorithm": "winograd"}))
        write_repository(source, tmp_path / "models", gpu=True)
        assert "--winograd off" in caplog.text


class TestCommand:
    def run(self, *arguments: object, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["export", *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result.output

    def test_an_exported_file_is_not_converted(self, tmp_path: Path) -> None:
        model = write_proven(tmp_path / "digits.onnx")
        assert "tritonserver --model-repository" in self.run(model, "--triton", tmp_path / "models", "-v")
        assert (tmp_path / "models/digits/config.pbtxt").is_file()
        answer = json.loads(self.run(model, "--triton", tmp_path / "models", "--json", "--overwrite"))
        assert answer["triton"] == str(tmp_path / "models/digits")
        self.run(model, "--triton", tmp_path / "models", code=1)

    @pytest.mark.parametrize(
        "option", [("--quantize",), ("--size", "64x84"), ("--winograd", "off"), ("--out", "x.onnx")]
    )
    def test_options_of_the_conversion_are_refused_for_an_exported_file(
        self, tmp_path: Path, option: tuple[str, ...]
    ) -> None:
        model = write_proven(tmp_path / "digits.onnx")
        assert option[0] in self.run(model, "--triton", tmp_path / "models", *option, code=2)
        assert not (tmp_path / "models").exists()

    def test_gpu_without_a_repository_is_wrong_usage(self, tmp_path: Path) -> None:
        assert "--triton DIR" in self.run(write_proven(tmp_path / "digits.onnx"), "--triton-gpu", code=2)


class TestExport:
    def test_it_writes_the_recommended_file(self, tmp_path: Path) -> None:
        run = write_run(tmp_path / "run")
        options = ExportOptions(quantize=True, max_drop=100, waive=("speed",), triton=tmp_path / "models")
        result = export_model(run, options=options)
        assert result.triton == tmp_path / "models" / "run"
        served = result.triton / "1" / "model.onnx"
        assert served.read_bytes() == result.deployed.read_bytes()
        assert result.to_dict()["triton"] == str(result.triton)
        assert segtool.load(served).verify().passed

    def test_for_a_gpu_it_writes_the_float_file_without_winograd(self, tmp_path: Path) -> None:
        run = write_run(tmp_path / "run")
        options = ExportOptions(
            quantize=True, max_drop=100, waive=("speed",), triton=tmp_path / "models", triton_gpu=True
        )
        result = export_model(run, options=options)
        assert (result.triton / "1" / "model.onnx").read_bytes() == result.float32.read_bytes()
        assert result.contract.convolutions.get("algorithm") != "winograd"

    def test_an_existing_folder_is_refused_before_the_work(self, tmp_path: Path) -> None:
        run = write_run(tmp_path / "run")
        (tmp_path / "models" / "run").mkdir(parents=True)
        with pytest.raises(OutputExistsError):
            export_model(run, options=ExportOptions(triton=tmp_path / "models"))
        assert not (run / "model.onnx").exists()

    def test_a_repository_that_cannot_be_written_keeps_the_exported_file(self, tmp_path: Path) -> None:
        run = write_run(tmp_path / "run")
        (tmp_path / "models").write_text("a file")
        with pytest.raises(OutputWriteError, match=r"segtool export .*model\.onnx --triton"):
            export_model(run, options=ExportOptions(triton=tmp_path / "models"))
        assert segtool.load(run / "model.onnx").verify().passed
