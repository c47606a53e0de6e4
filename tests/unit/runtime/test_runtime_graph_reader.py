"""The graph of a file without the package onnx: the same as onnx reads, and errors for what is no graph."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from int8_nets import Layer, write_pair
from onnx import TensorProto, helper, numpy_helper

from segtool.errors import ModelFileError
from segtool.runtime.graph_reader import INT8, UINT8, read_graph


def test_nodes_and_constants_are_those_that_onnx_reads(tmp_path: Path) -> None:
    path, _ = write_pair(tmp_path, [Layer("a", 16), Layer("b", 16, groups=16, zero=3), Layer("c", 300, kernel=1)])
    graph, expected = read_graph(path), onnx.load(path).graph
    assert [(node.name, node.operator, node.inputs, node.outputs) for node in graph.nodes] == [
        (node.name, node.op_type, tuple(node.input), tuple(node.output)) for node in expected.node
    ]
    for node, reference in zip(graph.nodes, expected.node, strict=True):
        wanted = {item.name: tuple(item.ints) or (item.i,) for item in reference.attribute}
        assert node.attributes == wanted
    values = {item.name: numpy_helper.to_array(item) for item in expected.initializer}
    assert {name: item.shape for name, item in graph.constants.items()} == {n: v.shape for n, v in values.items()}
    assert {name: item.is_zero for name, item in graph.constants.items()} == {n: not v.any() for n, v in values.items()}
    assert graph.constants["a/w"].kind == INT8
    assert graph.constants["pixels/zero"].kind == UINT8


@pytest.mark.parametrize(("values", "is_zero"), [([0, 0, 0], True), ([0, 200, 0], False)])
def test_constants_written_as_numbers_in_place_of_bytes(tmp_path: Path, values: list[int], is_zero: bool) -> None:
    stored = helper.make_tensor("zeros", TensorProto.UINT8, [3], values)  # int32_data
    assert not stored.raw_data
    value = helper.make_tensor_value_info("y", TensorProto.UINT8, [3])
    graph = helper.make_graph([helper.make_node("Identity", ["zeros"], ["y"])], "g", [], [value], [stored])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    found = read_graph(tmp_path / "m.onnx").constants["zeros"]
    assert (found.shape, found.kind, found.is_zero) == ((3,), UINT8, is_zero)


def test_attributes_of_other_types_have_no_integers(tmp_path: Path) -> None:
    node = helper.make_node("Custom", ["x"], ["y"], alpha=0.5, mode="linear", axes=[1, 300], big=2**40)
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph([node], "g", value[:1], value[1:])), tmp_path / "m.onnx")
    (found,) = read_graph(tmp_path / "m.onnx").nodes
    assert found.attributes == {"alpha": (), "mode": (), "axes": (1, 300), "big": (2**40,)}


@pytest.mark.parametrize("content", [b"", b"no model at all", bytes(np.arange(200, dtype=np.uint8))])
def test_what_is_no_graph_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match="not an ONNX file"):
        read_graph(tmp_path / "m.onnx")
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_graph(tmp_path / "missing.onnx")
