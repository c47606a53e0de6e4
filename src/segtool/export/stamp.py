"""What a model file states about itself (contract, golden pair) and is made of (census), and writing it."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from segtool.array_types import AnyArray, UInt8Array
from segtool.contract import GOLDEN_KEY, METADATA_KEY, GoldenPair, ModelContract
from segtool.export import gates
from segtool.export.running import as_labels, onnx_runner
from segtool.files import write_bytes
from segtool.images.pixels import resize_image
from segtool.runtime.model_file import sealed

if TYPE_CHECKING:  # `segtool info` takes the census alone, and needs none of what an export does
    from segtool.export.data import ExportData
    from segtool.export.job import Job

MAX_IMAGES = 4
MAX_BYTES = 1 << 17  # of all images before compression: photographs hardly shrink in it
_TIMES = ("ratio", "low", "high", "winograd_speedup")
_RATIO = re.compile(r"^[\d.]+x to [\d.]+x faster")
_MULTIPLIES = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})


def publish(
    graph: onnx.ModelProto, contract: ModelContract, job: Job, target: Path, labels: Callable[[UInt8Array], AnyArray]
) -> str:
    """Add the contract and the golden pair, prove the finished bytes on it, name them, and return their SHA-256."""
    images = golden_images(job.data, contract)
    golden = GoldenPair(images, labels(images))
    data = sealed(with_metadata(graph, as_stored(contract), golden).SerializeToString())
    finished = job.folder / "finished.onnx"
    finished.write_bytes(data)
    run, _ = onnx_runner(finished)
    gates.check_golden(contract, expected=golden.labels, found=as_labels(run, contract.label_dtype)(images))
    write_bytes(target, data)
    return hashlib.sha256(data).hexdigest()


def as_stored(contract: ModelContract) -> ModelContract:
    """Return a contract as the file keeps it: with what the timings decided and without the times themselves.

    Times differ from run to run, and they are of the machine of the export. Without them the same export gives the same
    bytes. `ExportResult` has them.
    """
    convolutions = {key: value for key, value in contract.convolutions.items() if key not in _TIMES}
    if "speed" not in contract.gates:
        return replace(contract, convolutions=convolutions)
    speed = {key: value for key, value in contract.gates["speed"].items() if key not in _TIMES}
    speed["sentence"] = _RATIO.sub("faster", speed["sentence"])
    if "refusal" in speed:
        speed["refusal"] = f"Speed gate: on the machine of the export the INT8 file is {speed['sentence']}"
    return replace(contract, convolutions=convolutions, gates={**contract.gates, "speed": speed})


def with_metadata(model: onnx.ModelProto, contract: ModelContract, golden: GoldenPair) -> onnx.ModelProto:
    """Return a copy of `model` that carries the contract and the golden pair, and names its maker."""
    result = deepcopy(model)
    result.producer_name = "segtool"
    result.producer_version = contract.versions.get("segtool", "")
    onnx.helper.set_model_props(result, {METADATA_KEY: contract.to_json(), GOLDEN_KEY: golden.to_json()})
    return result


def golden_images(data: ExportData, contract: ModelContract) -> UInt8Array:
    """Return up to `MAX_IMAGES` real images of the model's size, uint8 (n, H, W, C), of `MAX_BYTES` together.

    Where even one is larger, it is drawn in square blocks of one colour each, which compress to a pixel a block. What
    the network says of that is as good a proof: it goes the same way through every layer.
    """
    one = contract.height * contract.width * contract.channels
    images = data.real_images(max(1, min(MAX_IMAGES, MAX_BYTES // one)), contract)
    block = math.ceil(math.sqrt(one / MAX_BYTES))
    return images if block == 1 else np.stack([_in_blocks(image, block) for image in images[:1]])


def _in_blocks(image: UInt8Array, block: int) -> UInt8Array:
    height, width = image.shape[:2]
    small = resize_image(image, math.ceil(height / block), math.ceil(width / block))
    return np.ascontiguousarray(small.repeat(block, axis=0).repeat(block, axis=1)[:height, :width])


@dataclass(frozen=True)
class Census:
    """What a graph is made of.

    Attributes
    ----------
    nodes
        Number of nodes of each operator, the most frequent first.
    parameters
        Weights and biases of the layers that multiply.
    macs
        Multiply-accumulates for one image.
    int8_macs
        Those with integer weights.
    """

    nodes: dict[str, int]
    parameters: int
    macs: int
    int8_macs: int

    @property
    def int8_share(self) -> float:
        """Share of the multiply-accumulates in INT8, 0..1."""
        return self.int8_macs / self.macs if self.macs else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {**asdict(self), "int8_share": self.int8_share}


def census(model: onnx.ModelProto) -> Census:
    """Count a graph; the batch counts as one image."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    sizes = _sizes(graph)
    integers = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    weights = _constants(graph)
    macs = int8 = 0
    used: dict[str, int] = {}
    for node in graph.node:
        if node.op_type not in _MULTIPLIES or node.output[0] in weights:
            continue
        count = _macs(node, sizes)
        macs += count
        int8 += count if node.input[1] in integers else 0
        for name in node.input[1:]:
            constant = weights.get(name, name)
            used[constant] = int(np.prod(sizes.get(constant, (0,))))
    operators = Counter(node.op_type for node in graph.node)
    return Census(dict(operators.most_common()), sum(used.values()), macs, int8)


def _constants(graph: Any) -> dict[str, str]:
    """Return the stored constant behind every value that is computed from constants alone, when a file is opened.

    Weights that are dequantized, or multiplied by small constants (`passes.winograd`), come from their largest one.
    """
    stored = {item.name: (item.name, int(np.prod(item.dims))) for item in graph.initializer}
    found = dict(stored)
    for node in graph.node:
        if all(name in found for name in node.input if name) and any(node.input):
            largest = max((found[name] for name in node.input if name), key=lambda item: item[1])
            found.update(dict.fromkeys(node.output, largest))
    return {name: constant for name, (constant, _) in found.items() if name not in stored}


def _sizes(graph: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of every constant and value; an unknown dimension, the batch, counts as 1."""
    sizes = {item.name: tuple(item.dims) for item in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        sizes[value.name] = tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
    return sizes


def _macs(node: Any, sizes: dict[str, tuple[int, ...]]) -> int:
    """Return the multiply-accumulates of a node, those with padding among them."""
    weight = sizes.get(node.input[1], ())
    # Each number of the output (of the input, for a transposed convolution) meets this many weights.
    value = sizes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0], ())
    if not weight or not value:
        return 0
    each = weight[-2] if node.op_type == "MatMul" else int(np.prod(weight[1:]))
    if node.op_type == "Gemm":
        each = int(np.prod(weight)) // value[-1]
    return int(np.prod(value)) * each
