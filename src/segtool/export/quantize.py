"""Static INT8 quantization (QDQ) with onnxruntime's quantizer.

What stays in float, and why (FCN-8 at 64 x 84, one thread of a Zen 5 core, FP32 4.4 ms):

- the scaling, the padding and the first convolution with its activation: over one or three channels an integer
  convolution is slower than the float one (0.15 against 0.07 ms), and the scaling as QLinearMul costs 0.12 ms;
- the head, that is everything behind the last convolution on each path to the output, and those convolutions
  themselves: it decides the labels and costs little;
- the batch normalizations behind the poolings (Mul and Add): as QLinearMul and QLinearAdd they are no faster,
  and less exact.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from segtool.errors import ExportError
from segtool.export.keras_to_onnx import INPUT
from segtool.runtime.machine import machine_info

Batches = Iterator[npt.NDArray[np.uint8]]
# Operators that are fast in INT8 on onnxruntime's CPU provider; the rest stay in float between them.
_QUANTIZED_OPS = ("Conv", "LeakyRelu", "Relu", "MaxPool", "Concat")
_ACTIVATIONS = frozenset({"Relu", "LeakyRelu", "Clip", "Elu", "PRelu", "HardSwish"})


@dataclass(frozen=True)
class Preset:
    """Which integers a processor is fast and right with.

    Attributes
    ----------
    name
        "vnni", "x86" or "arm".
    signed_activations
        int8 activations in place of uint8; weights are always int8.
    reduce_range
        7-bit weights: without VNNI, x86 adds two products in 16 bits, and full 8-bit weights overflow there.
    """

    name: str
    signed_activations: bool
    reduce_range: bool


PRESETS = {
    "vnni": Preset("vnni", signed_activations=False, reduce_range=False),
    "x86": Preset("x86", signed_activations=False, reduce_range=True),
    "arm": Preset("arm", signed_activations=True, reduce_range=False),
}


@dataclass(frozen=True)
class Quantized:
    """A quantized model and what it was calibrated on.

    Attributes
    ----------
    model
        The INT8 model; input and output as those of the float one.
    images
        Number of calibration images.
    fingerprint
        SHA-256 over the pixels of the calibration images, in order, with their size.
    """

    model: onnx.ModelProto
    images: int
    fingerprint: str


def preset_for(name: str = "auto") -> Preset:
    """Return a preset by name, or for "auto" this processor's.

    Raises
    ------
    ExportError
        There is no such preset.
    """
    if name == "auto":
        name = _this_processor()
    if name not in PRESETS:
        raise ExportError(f"There is no quantization preset {name!r}; choose auto, {', '.join(PRESETS)}.")
    return PRESETS[name]


def quantize(model: onnx.ModelProto, batches: Batches, *, preset: Preset) -> Quantized:
    """Quantize a float model; its calibration images are streamed, only their ranges are kept.

    Parameters
    ----------
    model
        Float model with input ``image`` uint8 (N, H, W, C).
    batches
        Calibration images, uint8 (n, H, W, C) each, from the training split alone.
    preset
        The integers to use.

    Raises
    ------
    ExportError
        There are no calibration images.
    """
    from onnxruntime import quantization as ort

    reader = _Reader(batches)
    activations = ort.QuantType.QInt8 if preset.signed_activations else ort.QuantType.QUInt8
    with tempfile.TemporaryDirectory(prefix="segtool-") as folder:
        prepared, target = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        graph = _prepare(model, prepared).graph
        ort.quantize_static(
            str(prepared),
            str(target),
            reader,
            quant_format=ort.QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTIZED_OPS),
            nodes_to_exclude=sorted(head_nodes(graph) | stem_nodes(graph)),
            per_channel=True,
            reduce_range=preset.reduce_range,
            activation_type=activations,
            weight_type=ort.QuantType.QInt8,
            # A tensor's range is the mean of its batches' extremes: on the trained fcn8 a mean IoU of 88.49 % where the
            # extremes of all batches gave 88.36 % (FP32: 88.76 %, 400 validation images).
            extra_options={"CalibMovingAverage": True},
            # Memory: of each batch two numbers a tensor are kept. The option that promises to merge these as it goes,
            # CalibMaxIntermediateOutputs, forgets them in onnxruntime 1.32 (a test holds it to every batch).
        )
        quantized = onnx.load(target)
    if not any(node.op_type == "QuantizeLinear" for node in quantized.graph.node):
        raise ExportError(
            "No layer of this network can be quantized (it has no convolution between its first and last); "
            "use the FP32 file."
        )
    return Quantized(_clean(quantized), reader.images, reader.digest.hexdigest())


def head_nodes(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the head: on every path back from the output, all up to the first convolution met."""
    producer = {name: node for node in graph.node for name in node.output}
    head: set[str] = set()
    pending = [output.name for output in graph.output]
    while pending:
        node = producer.get(pending.pop())
        if node is not None and node.name not in head:
            head.add(node.name)
            if node.op_type != "Conv":
                pending.extend(node.input)
    return head


def stem_nodes(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the stem: from the input to the first convolutions, and the activations on them."""
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    stem: set[str] = set()
    pending = [(graph.input[0].name, False)]
    while pending:
        tensor, behind = pending.pop()
        for node in users.get(tensor, ()):
            if node.name not in stem and (not behind or node.op_type in _ACTIVATIONS):
                stem.add(node.name)
                pending.extend((name, behind or node.op_type == "Conv") for name in node.output)
    return stem


class _Reader:
    """The calibration reader that onnxruntime asks for batches; counts and hashes what passes through it."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self.images = 0
        self.digest = hashlib.sha256()

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """Return the next batch, or None at the end."""
        batch = next(self._batches, None)
        if batch is None:
            if not self.images:
                raise ExportError("There are no training images to calibrate INT8 on; give data with a training split.")
            return None
        if not self.images:
            self.digest.update(repr(batch.shape[1:]).encode())
        self.images += len(batch)
        self.digest.update(np.ascontiguousarray(batch).tobytes())
        return {INPUT: batch}

    def __iter__(self) -> Iterator[dict[str, npt.NDArray[np.uint8]]]:
        return iter(self.get_next, None)


def _prepare(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Write `model` to `path`, folded and with every shape inferred, as onnxruntime's quantizer wants it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain = path.with_name("float.onnx")
    onnx.save(model, plain)
    quant_pre_process(str(plain), str(path), skip_symbolic_shape=True)
    prepared = onnx.load(path)
    for index, node in enumerate(prepared.graph.node):
        node.name = node.name or f"node_{index}"  # nodes are left out of the quantization by name
    onnx.save(prepared, path)
    return prepared


def _clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the operator sets and the metadata that the tools declared and no node uses."""
    used = {node.domain for node in model.graph.node} | {""}
    kept = [item for item in model.opset_import if item.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    del model.metadata_props[:]
    return model


def _this_processor() -> str:
    machine = machine_info()
    if str(machine["architecture"]).lower().startswith(("arm", "aarch64")):
        return "arm"
    # Where the instruction sets are not known (outside Linux), the x86 preset is right on both.
    return "vnni" if {"avx512_vnni", "avx_vnni"} & set(machine["instruction_sets"]) else "x86"
