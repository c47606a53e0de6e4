"""Files that an earlier segtool exported still open and still give their labels."""

from pathlib import Path

import pytest

import segtool

HERE = Path(__file__).parent


@pytest.mark.parametrize(("name", "precision"), [("tiny_v1.onnx", "float32"), ("tiny_v1.int8.onnx", "int8")])
def test_a_file_of_contract_version_1(name: str, precision: str) -> None:
    segmenter = segtool.load(HERE / name, provider="cpu", threads=1)
    contract = segmenter.contract
    assert (contract.version, contract.precision, contract.head) == (1, precision, "labels")
    assert (contract.height, contract.width, contract.channels) == (16, 20, 1)
    assert contract.class_names == ("class 0", "class 1", "class 2")
    assert (contract.background_id, contract.ignore_id) == (0, None)
    assert contract.split == {"seed": 3, "val_split": 0.25, "test_split": 0.0}
    assert segmenter.verify().passed
