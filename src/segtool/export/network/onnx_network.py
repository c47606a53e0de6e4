"""An ONNX network as the export reads it: its inputs and outputs, a way to run it, and its graph at one size.

A file from another tool often has a batch of one and shapes that are computed in the graph. Its size and a batch of
one are fixed, onnxruntime folds what is constant then, and the batch is freed again: a Reshape's first length becomes
-1. The parity gate compares batches of several images with single ones, so that a graph that mixes images is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from segtool.array_types import AnyArray
from segtool.contract import METADATA_KEY
from segtool.errors import ExportError, ModelFileError, first_line
from segtool.export.heads import drop_unused
from segtool.export.keras_to_onnx import BATCH
from segtool.export.network.interface import Tensor
from segtool.export.network.uniform import resize_scales
from segtool.export.options import DEFAULT_OPSET
from segtool.runtime.model_file import check_model_file
from segtool.runtime.session import ORT_ERRORS

OLDEST_OPSET = 11
_QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"})
_DTYPES = {TensorProto.FLOAT: "float32", TensorProto.UINT8: "uint8"}
_BEHIND_ARGMAX = frozenset({"Cast", "Squeeze", "Unsqueeze", "Identity", "Reshape"})


@dataclass(frozen=True)
class OnnxNetwork:
    """An ONNX file of another tool; see `opening.Raw` for what its members are for."""

    path: Path
    folder: Path
    model: onnx.ModelProto = field(repr=False)
    class_axes: Mapping[str, int] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Name of the file."""
        return str(self.path)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Its inputs."""
        return tuple(_tensor(item) for item in self.model.graph.input)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Its outputs; one of class ids is that of the scores in front of its arg-max."""
        return tuple(_tensor(item) for item in self.model.graph.output)

    @property
    def dtype(self) -> str:
        """Of its input."""
        kind = self.model.graph.input[0].type.tensor_type.elem_type
        return _DTYPES.get(kind) or str(TensorProto.DataType.Name(kind)).lower()

    def class_axis(self, output: str) -> int | None:
        """Return the axis of the classes, where an arg-max behind the output shows it."""
        return self.class_axes.get(output)

    def runner(self, output: str, size: tuple[int, int]) -> Callable[[AnyArray], AnyArray]:
        """Return a function from images in the network's own layout and scaling to one output, on the CPU.

        The file runs as it came, without onnxruntime's optimizations, and one image at a time.
        """
        session = self._session(_sized(self.model, size), ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
        name = self.model.graph.input[0].name

        def run(images: AnyArray) -> AnyArray:
            return np.concatenate([session.run([output], {name: image[np.newaxis]})[0] for image in images])

        return run

    def graph(self, output: str, size: tuple[int, int]) -> onnx.ModelProto:
        """Return the graph of one output at one size, with a free batch and without computed shapes."""
        fixed = _sized(_ending_in(self.model, output), size)
        if _opset(fixed) < DEFAULT_OPSET:
            try:
                fixed = onnx.version_converter.convert_version(fixed, DEFAULT_OPSET)
            except (RuntimeError, ValueError) as error:
                raise ExportError(
                    f"{self.source} has opset {_opset(fixed)}, which cannot be converted to {DEFAULT_OPSET} "
                    f"({first_line(error)[:200]}); export it again with opset_version={DEFAULT_OPSET}."
                ) from error
        target = self.folder / "folded.onnx"
        self._session(fixed, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, target)
        folded = onnx.load(target)
        _free_batch(folded)
        return folded

    def _session(self, model: onnx.ModelProto, level: Any, target: Path | None = None) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.log_severity_level = 4
        if target is not None:
            options.optimized_model_filepath = str(target)
        try:
            return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except ORT_ERRORS as error:
            raise ExportError(
                f"onnxruntime {ort.__version__} cannot run {self.source} ({first_line(error)[:200]}); export it again "
                f"with opset_version={DEFAULT_OPSET}."
            ) from error


def read_onnx(path: Path, folder: Path) -> OnnxNetwork:
    """Read an ONNX file of another tool; nothing in it is run.

    Parameters
    ----------
    path
        The file.
    folder
        Private, for what is folded.

    Raises
    ------
    ModelFileError
        The file is no complete ONNX model, keeps tensors in other files, or needs operators of a library.
    ExportError
        It is quantized, has an old opset, or weights that are not finite.
    """
    check_model_file(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ModelFileError(f"{path} is not an ONNX file, or is damaged ({first_line(error)[:200]}).") from error
    if any(item.key == METADATA_KEY for item in model.metadata_props):
        raise ExportError(
            f"{path} was exported by segtool already; run it as it is, or export the network that it was made from."
        )
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    for item in (*model.opset_import, *_nodes(model.graph)):
        if item.domain == "ai.onnx":  # the long name of the same operators, which onnx's own tools do not know
            item.domain = ""
    if _opset(model) < OLDEST_OPSET:
        raise ExportError(
            f"{path} has opset {_opset(model)}, expected {OLDEST_OPSET} or newer; export it again, in PyTorch with "
            f"torch.onnx.export(..., opset_version={DEFAULT_OPSET})."
        )
    for node in _nodes(model.graph):
        if node.op_type in _QUANTIZED:
            raise ExportError(
                f"{path} is quantized already ({node.op_type} at {node.name or node.output[0]}); give the float model, "
                "and segtool quantizes it with --quantize and proves it."
            )
        if node.domain:
            raise ExportError(
                f"{path} holds {node.domain}.{node.op_type}, which only onnxruntime knows; export it again without "
                "optimizing it for onnxruntime."
            )
    _check_finite(model, path)
    weights = {item.name for item in model.graph.initializer}  # which files of older tools list as inputs too
    images = [item for item in model.graph.input if item.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(images)
    model.ir_version = max(model.ir_version, 4)  # the first in which weights need not be inputs
    return OnnxNetwork(path, folder, model, _scores_before_argmax(model))


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _check_finite(model: onnx.ModelProto, path: Path) -> None:
    for item in model.graph.initializer:
        if item.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
            values = numpy_helper.to_array(item)
            # Attention masks are -inf where nothing may be seen; weights have more than one number and are not that.
            if np.isnan(values).any() or (np.isinf(values).any() and values.size > 1):
                raise ExportError(
                    f"The weight {item.name} of {path} holds NaN or infinite values; the training went wrong."
                )


def _scores_before_argmax(model: onnx.ModelProto) -> dict[str, int]:
    """Let outputs of class ids be those of the scores that their arg-max is of; return its axis for each.

    An arg-max that takes the last of equal scores is left: segtool's own takes the first.
    """
    graph, axes = model.graph, dict[str, int]()
    producer = {name: node for node in graph.node for name in node.output}
    for output in graph.output:
        node = producer.get(output.name)
        while node is not None and node.op_type in _BEHIND_ARGMAX:
            node = producer.get(node.input[0])
        if node is None or node.op_type != "ArgMax":
            continue
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        if not attributes.get("select_last_index", 0):
            output.CopyFrom(helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, None))
            axes[node.input[0]] = attributes.get("axis", 0)
    return axes


def _ending_in(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    result = deepcopy(model)
    kept = next(item for item in result.graph.output if item.name == output)
    alone = deepcopy(kept)
    del result.graph.output[:]
    result.graph.output.append(alone)
    drop_unused(result.graph)
    return result


def _sized(model: onnx.ModelProto, size: tuple[int, int]) -> onnx.ModelProto:
    """Return a copy for one image, with fixed sides."""
    result = deepcopy(model)
    sides = result.graph.input[0].type.tensor_type.shape.dim
    spatial = (1, 2) if sides[3].dim_value in (1, 3) else (2, 3)
    for axis, length in zip((0, *spatial), (1, *size), strict=True):
        sides[axis].dim_value = length
    del result.graph.value_info[:]
    for output in result.graph.output:
        output.type.tensor_type.ClearField("shape")
    return result


def _free_batch(model: onnx.ModelProto) -> None:
    """Make the batch of a graph with fixed shapes symbolic."""
    shapes = {
        item.name: [side.dim_value for side in item.type.tensor_type.shape.dim]
        for item in onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    }
    graph = model.graph
    constants = {item.name: item for item in graph.initializer}
    for number, node in enumerate(graph.node):
        if node.op_type == "Reshape" and node.input[1] in constants:
            target = numpy_helper.to_array(constants[node.input[1]])
            known = shapes.get(node.output[0]) or target.tolist()
            if len(known) == target.size and target.size and all(side > 0 for side in known[1:]):
                node.input[1] = f"network/shape_{number}"
                shape = np.array([-1, *known[1:]], np.int64)
                graph.initializer.append(numpy_helper.from_array(shape, node.input[1]))
        elif node.op_type == "Resize" and len(node.input) == 4 and node.input[3] in constants:
            sizes = numpy_helper.to_array(constants[node.input[3]]).tolist()
            _free_resize(graph, node, sizes, shapes.get(node.input[0], []), number)
    for item in (*graph.input, *graph.output):
        sides = item.type.tensor_type.shape.dim
        if len(sides):
            sides[0].ClearField("dim_value")
            sides[0].dim_param = BATCH
    del graph.value_info[:]


def _free_resize(
    graph: onnx.GraphProto, node: onnx.NodeProto, sizes: list[int], before: list[int], number: int
) -> None:
    """Let a Resize to a size, which names the batch, go by scales; onnxruntime divides sizes into the same ones."""
    if len(sizes) != 4 or len(before) != 4 or any(attribute.name == "axes" for attribute in node.attribute):
        return
    name = f"network/scales_{number}"
    graph.initializer.append(numpy_helper.from_array(resize_scales(before, sizes), name))
    node.input[:] = [node.input[0], "", name]


def _tensor(item: onnx.ValueInfoProto) -> Tensor:
    return Tensor(item.name, tuple(side.dim_value or None for side in item.type.tensor_type.shape.dim))


def _opset(model: onnx.ModelProto) -> int:
    return max((item.version for item in model.opset_import if not item.domain), default=0)
