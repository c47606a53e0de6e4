"""The contract that travels in a model file: it survives the journey, and nonsense does not pass."""

from __future__ import annotations

import base64
import json
import tracemalloc
import zlib

import numpy as np
import pytest
from tiny_models import tiny_contract

from segtool.contract import (
    CONTRACT_VERSION,
    GOLDEN_KEY,
    METADATA_KEY,
    GoldenPair,
    ModelContract,
    default_palette,
)
from segtool.errors import ContractError


class TestModelContract:
    def test_json_and_back(self) -> None:
        contract = tiny_contract(
            channels=3,
            ignore_id=255,
            head="logits",
            size_policy="tile",
            precision="int8",
            quantization={"preset": "x86-vnni", "images": 200},
            metrics={"float32": {"mean_iou": 0.9}},
            trained_size=(32, 42),
            arguments=("--quantize", "--out", "a folder/net.onnx"),
        )
        assert ModelContract.from_json(contract.to_json()) == contract

    def test_the_json_states_what_a_reader_in_another_language_needs(self) -> None:
        raw = json.loads(tiny_contract().to_json())
        assert raw["version"] == CONTRACT_VERSION
        assert (raw["height"], raw["width"], raw["channels"], raw["color_order"]) == (64, 84, 1, "gray")
        assert len(raw["class_names"]) == len(raw["palette"]) == 11
        assert raw["scaling"] == "in the graph"
        assert raw["pixels"]["16-bit grey"] == "value / 257, rounded"
        assert raw["pixels"]["transparency"] == "composited over black"

    def test_fields_of_a_later_minor_change_are_left_out(self) -> None:
        raw = {**json.loads(tiny_contract().to_json()), "something_new": 1}
        assert ModelContract.from_json(json.dumps(raw)) == tiny_contract()

    @pytest.mark.parametrize("changes", [{"trained_size": 64}, {"trained_size": "ab"}, {"trained_size": []}])
    def test_a_trained_size_that_is_none_is_refused(self, changes: dict[str, object]) -> None:
        text = json.dumps({**json.loads(tiny_contract().to_json()), **changes})
        with pytest.raises(ContractError, match=r"some\.onnx.*export the model again"):
            ModelContract.from_json(text, source="some.onnx")

    def test_files_of_before_the_arguments_were_kept_are_read(self) -> None:
        raw = json.loads(tiny_contract(arguments=("--quantize",)).to_json())
        del raw["arguments"]
        assert ModelContract.from_json(json.dumps(raw)) == tiny_contract()

    def test_a_newer_version_is_refused(self) -> None:
        text = tiny_contract(version=CONTRACT_VERSION + 1).to_json()
        with pytest.raises(ContractError, match="upgrade segtool"):
            ModelContract.from_json(text)

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"version": "x"}', '{"version": 1}'])
    def test_what_is_no_contract_is_refused(self, text: str) -> None:
        with pytest.raises(ContractError, match="export the model again"):
            ModelContract.from_json(text)

    def test_no_contract_at_all_names_the_file_and_the_way_out(self) -> None:
        with pytest.raises(ContractError, match=r"some\.onnx has no segtool contract.*segtool export"):
            ModelContract.from_metadata({"other": "1"}, source="some.onnx")

    @pytest.mark.parametrize(
        "changes",
        [
            {"head": "scores"},
            {"height": "64"},
            {"palette": None},
            {"class_names": ["a"]},
            {"version": CONTRACT_VERSION + 1},
            {"version": None},
            {"gates": []},
        ],
    )
    def test_whatever_is_wrong_the_file_is_named(self, changes: dict[str, object]) -> None:
        text = json.dumps({**json.loads(tiny_contract().to_json()), **changes})
        for found in (text, text[:40]):
            with pytest.raises(ContractError, match=r"contract of some\.onnx"):
                ModelContract.from_metadata({METADATA_KEY: found}, source="some.onnx")

    def test_from_metadata(self) -> None:
        contract = tiny_contract()
        assert ModelContract.from_metadata({METADATA_KEY: contract.to_json()}, source="x") == contract

    @pytest.mark.parametrize(
        "changes",
        [
            {"height": 0},
            {"width": -1},
            {"channels": 2},
            {"class_names": ("one",)},
            {"palette": ((0, 0, 0),)},
            {"head": "scores"},
            {"size_policy": "crop"},
            {"background_id": 11},
            {"height": 2**20, "width": 2**20},
            {"height": 64.0},
            {"channels": True},
            {"class_names": tuple(map(str, range(70_000)))},
            {"class_names": ("a", "\x1b[2J")},
            {"class_names": ("a", "\ud800")},
            {"class_names": ("a", "b" * 2000)},
            {"class_names": ("a", 3)},
            {"palette": ((0, 0, 300),) * 11},
            {"palette": ((0, 0, -1),) * 11},
            {"palette": ((0, 0.5, 0),) * 11},
            {"palette": ((0, 0),) * 11},
            {"palette": (None,) * 11},
            {"ignore_id": 70_000},
            {"ignore_id": "255"},
            {"size_policy": "stretch"},
            {"head": ["labels"]},
            {"precision": 8},
            {"metrics": [1]},
            {"gates": None},
            {"gates": {"speed": 1}},
            {"metrics": {"float32": [0.9]}},
            {"versions": {"numpy": 2}},
            {"quantization": {1: 2}},
            {"precision": "int4"},
            {"data_fingerprint": "not hexadecimal"},
            {"trained_size": (64,)},
            {"trained_size": (64, 84, 1)},
            {"trained_size": (0, 84)},
            {"trained_size": (True, 84)},
            {"trained_size": (64.0, 84)},
            {"trained_size": ("64", "84")},
            {"trained_size": (2**20, 2**20)},
            {"arguments": "--quantize"},
            {"arguments": (1,)},
            {"arguments": ("x" * 2**17,)},
            {"arguments": ("x",) * 2000},
            {"version": True},
        ],
    )
    def test_fields_that_contradict_each_other_are_refused(self, changes: dict[str, object]) -> None:
        with pytest.raises(ContractError):
            tiny_contract(**changes)

    def test_the_largest_input_is_read(self) -> None:
        assert tiny_contract(height=2**14, width=2**14, trained_size=(2**15, 2**13)).height == 2**14

    @pytest.mark.parametrize(("classes", "dtype"), [(2, np.uint8), (256, np.uint8), (257, np.uint16)])
    def test_label_dtype(self, classes: int, dtype: type) -> None:
        contract = tiny_contract(class_names=tuple(map(str, range(classes))))
        assert (contract.num_classes, contract.label_dtype) == (classes, dtype)


class TestHostileJson:
    """What a file made to hurt its reader may hold."""

    @pytest.mark.parametrize(
        "text",
        [
            "[" * 100_000,
            '{"version": 1, "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
            '{"version": 1, "x": ' + "[" * 40 + "]" * 40 + "}",
            '{"version": 1, "x": ' + "9" * 10_000 + "}",
            '{"version": 1e400}',
            '{"version": Infinity}',
            '{"version": -1}',
            '"' + "x" * (16 << 20) + '"',
        ],
        ids=["deep", "deep and whole", "40 levels", "digits", "overflow", "infinity", "negative", "long"],
    )
    def test_it_is_refused_in_one_short_sentence(self, text: str) -> None:
        with pytest.raises(ContractError, match="cannot be read") as caught:
            ModelContract.from_json(text)
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize(("levels", "is_read"), [(31, True), (32, False)])
    def test_thirty_two_levels_are_read(self, levels: int, is_read: bool) -> None:
        text = json.dumps({**json.loads(tiny_contract().to_json()), "x": 0}).replace(
            '"x": 0', f'"x": {"[" * levels}{"]" * levels}'
        )
        if is_read:
            assert ModelContract.from_json(text) == tiny_contract()
            return
        with pytest.raises(ContractError, match="32 levels"):
            ModelContract.from_json(text)

    def test_nan_and_infinity_become_none(self) -> None:
        text = tiny_contract(quantization={"a": 1}).to_json().replace('{"a": 1}', '{"a": [NaN, Infinity, -Infinity]}')
        assert ModelContract.from_json(text).quantization == {"a": [None, None, None]}

    @pytest.mark.parametrize("changes", [{"class_names": "eleven chars"[:11]}, {"palette": "eleven chars"[:11]}])
    def test_a_text_in_place_of_a_list(self, changes: dict[str, object]) -> None:
        with pytest.raises(ContractError):
            ModelContract.from_json(json.dumps({**json.loads(tiny_contract().to_json()), **changes}))


class TestGoldenPair:
    @pytest.fixture
    def pair(self) -> GoldenPair:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (2, 64, 84, 1), dtype=np.uint8)
        return GoldenPair(images=images, labels=rng.integers(0, 300, (2, 64, 84), dtype=np.uint16))

    def test_json_and_back(self, pair: GoldenPair) -> None:
        read = GoldenPair.from_metadata({GOLDEN_KEY: pair.to_json()}, source="x")
        np.testing.assert_array_equal(read.images, pair.images)
        np.testing.assert_array_equal(read.labels, pair.labels)
        assert (read.images.dtype, read.labels.dtype) == (np.uint8, np.uint16)

    def test_none_there(self) -> None:
        with pytest.raises(ContractError, match="no golden pair"):
            GoldenPair.from_metadata({}, source="x")

    @pytest.mark.parametrize(
        "changes",
        [
            {"dtype": "object"},
            {"dtype": "float64"},
            {"dtype": "nonsense"},
            {"shape": [3, 64, 84, 1]},
            {"shape": [0, 64, 84, 1]},
            {"shape": [-2, -64, 84, 1]},
            {"shape": [2**40, 2**40, 1]},
            {"shape": [2.0, 64, 84, 1]},
            {"shape": 5},
            {"shape": [1, 2, 64, 84, 1]},
            {"shape": [2, 5376]},
            {"shape": []},
            {"zlib_base64": "????"},
            {"zlib_base64": base64.b64encode(b"no zlib").decode()},
        ],
    )
    def test_damage_is_refused(self, pair: GoldenPair, changes: dict[str, object]) -> None:
        raw = json.loads(pair.to_json())
        raw["images"].update(changes)
        with pytest.raises(ContractError, match="cannot be read"):
            GoldenPair.from_metadata({GOLDEN_KEY: json.dumps(raw)}, source="x")

    @pytest.mark.parametrize("text", ["7", "[]", '{"images": 7, "labels": 7}'])
    def test_another_value_is_refused_without_words_of_python(self, text: str) -> None:
        with pytest.raises(ContractError, match="a value has another type"):
            GoldenPair.from_metadata({GOLDEN_KEY: text}, source="x")

    def test_a_shape_of_nothing_does_not_inflate_a_bomb(self, pair: GoldenPair) -> None:
        raw = json.loads(pair.to_json())
        raw["images"] |= {"shape": [0, 1, 1, 1], "zlib_base64": base64.b64encode(zlib.compress(bytes(10**8))).decode()}
        tracemalloc.start()
        try:
            with pytest.raises(ContractError, match="cannot be read"):
                GoldenPair.from_metadata({GOLDEN_KEY: json.dumps(raw)}, source="x")
            assert tracemalloc.get_traced_memory()[1] < 10**7
        finally:
            tracemalloc.stop()

    def test_a_zlib_bomb_is_not_inflated(self, pair: GoldenPair) -> None:
        raw = json.loads(pair.to_json())
        raw["images"]["zlib_base64"] = base64.b64encode(zlib.compress(bytes(50_000_000))).decode()
        read = GoldenPair.from_metadata({GOLDEN_KEY: json.dumps(raw)}, source="x")
        assert read.images.nbytes == pair.images.nbytes


class TestDefaultPalette:
    @pytest.mark.parametrize("count", [2, 11, 24, 100])
    def test_colours_are_distinct_bytes(self, count: int) -> None:
        palette = default_palette(count, background_id=count - 1)
        assert len(set(palette)) == count
        assert all(0 <= value <= 255 for color in palette for value in color)
        assert palette[-1] == (0, 0, 0)

    def test_without_a_background_nothing_is_black(self) -> None:
        assert (0, 0, 0) not in default_palette(30)
