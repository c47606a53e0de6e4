"""Bias correction: what quantization shifts on average is taken back in the biases.

Rounding a map or a kernel moves the mean of what a convolution makes, the same way in every image; most pixels are
background, so it adds up. Layer by layer, in the order of the graph, the mean of each channel over calibration
images in float minus that in INT8 is added to the 32-bit bias; the next layer is measured with it in place.
Nagel et al., Data-Free Quantization (ICCV 2019), section 4.2, on images. No cost at run time.

All layers take one pass: the graph runs in pieces that end at each convolution (`pieces`), and what is added to the
bias of a convolution is added to its output before the next piece, which is the same.

Measured on fcn8 (M2NIST, pixels with FP32's label): 99.84 % to 99.92 % (see `equalize`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np
import onnx
from onnx import numpy_helper

from segtool.array_types import AnyArray, UInt8Array
from segtool.export.int8.pieces import run_in_pieces
from segtool.export.running import reduced, run_batches
from segtool.export.stages import Progress

_MEAN = "GlobalAveragePool"


def correct_biases(
    int8: onnx.ModelProto,
    wanted: Mapping[str, AnyArray],
    batches: Sequence[UInt8Array],
    *,
    progress: Progress | None = None,
) -> onnx.ModelProto:
    """Return the INT8 model with corrected biases.

    Parameters
    ----------
    int8
        Not changed.
    wanted
        The means of the float model, by the output of each convolution, as from `channel_means`.
    batches
        Calibration images, uint8 (n, H, W, C) each. All of them are kept at one place of the graph at a time.
    progress
        Called with (done, total) layers.
    """
    result = deepcopy(int8)
    constants = {item.name: item for item in result.graph.initializer}
    biases = _biases(result.graph)
    for done, (output, values) in enumerate(run_in_pieces(int8, biases, batches), start=1):
        whole, scale = biases[output]
        step = numpy_helper.to_array(constants[scale])
        steps = np.rint((wanted[output] - _mean(values)) / step)
        old = numpy_helper.to_array(constants[whole])
        constants[whole].CopyFrom(numpy_helper.from_array((old + steps).astype(np.int32), whole))
        moved = (steps * step).astype(np.float32)[:, None, None]
        for value in values:
            np.add(value, moved, out=value)
        if progress is not None:
            progress(done, len(biases))
    return result


def _biases(graph: onnx.GraphProto) -> dict[str, tuple[str, str]]:
    """Return, by the output of each INT8 convolution in order, the names of its bias and of the bias's scale."""
    maker = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    return {
        node.output[0]: (maker[node.input[2]].input[0], maker[node.input[2]].input[1])
        for node in graph.node
        if node.op_type == "Conv" and len(node.input) > 2 and node.input[2] in maker
    }


def channel_means(model: onnx.ModelProto, names: Sequence[str], batches: Sequence[UInt8Array]) -> dict[str, AnyArray]:
    """Return the mean of each channel, float64 (C,), of each named (n, C, H, W) value over all images."""
    pooled, found = reduced(model, names, [_MEAN])
    sums: dict[str, AnyArray] = {}
    for values in run_batches(pooled, list(found[_MEAN].values()), iter(batches)):
        for name, mean in found[_MEAN].items():
            total = values[mean].sum((0, 2, 3), dtype=np.float64)
            sums[name] = sums[name] + total if name in sums else total
    return {name: total / sum(map(len, batches)) for name, total in sums.items()}


def _mean(values: Sequence[AnyArray]) -> AnyArray:
    """Return the mean of each channel, float64 (C,), of batches (n, C, H, W) by their images."""
    total = sum(value.mean(axis=(2, 3), dtype=np.float64).sum(0) for value in values)
    return np.asarray(total / sum(map(len, values)))
