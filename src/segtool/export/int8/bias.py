"""Bias correction: what quantization shifts on average is taken back in the biases.

Rounding a map or a kernel moves the mean of what a convolution makes, the same way in every image; most pixels are
background, so it adds up. Layer by layer, in the order of the graph, the mean of each channel over calibration
images in float minus that in INT8 is added to the 32-bit bias; the next layer is measured with it in place.
Nagel et al., Data-Free Quantization (ICCV 2019), section 4.2, on images. No cost at run time.

Measured on fcn8 (M2NIST, pixels with FP32's label): 99.84 % to 99.92 % (see `equalize`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from segtool.array_types import AnyArray
from segtool.export.int8.running import run_batches

Source = Callable[[], Iterator[npt.NDArray[np.uint8]]]


def correct_biases(float32: onnx.ModelProto, int8: onnx.ModelProto, batches: Source) -> onnx.ModelProto:
    """Return the INT8 model with corrected biases.

    Parameters
    ----------
    float32
        The model that `int8` was made from: the convolutions' outputs have the same names.
    int8
        Not changed.
    batches
        Gives the calibration images, uint8 (n, H, W, C) each, again at every call.
    """
    result = onnx.ModelProto()
    result.CopyFrom(int8)
    constants = {item.name: item for item in result.graph.initializer}
    biases = _biases(result.graph)
    wanted = _means(float32, list(biases), batches)
    for output, (whole, scale) in biases.items():
        error = wanted[output] - _means(result, [output], batches)[output]
        steps = np.rint(error / numpy_helper.to_array(constants[scale]))
        old = numpy_helper.to_array(constants[whole])
        constants[whole].CopyFrom(numpy_helper.from_array((old + steps).astype(np.int32), whole))
    return result


def _biases(graph: onnx.GraphProto) -> dict[str, tuple[str, str]]:
    """Return, by the output of each INT8 convolution in order, the names of its bias and of the bias's scale."""
    maker = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    return {
        node.output[0]: (maker[node.input[2]].input[0], maker[node.input[2]].input[1])
        for node in graph.node
        if node.op_type == "Conv" and len(node.input) > 2 and node.input[2] in maker
    }


def _means(model: onnx.ModelProto, names: Sequence[str], batches: Source) -> dict[str, AnyArray]:
    """Return the mean of each channel, float64 (C,), of each named (n, C, H, W) value."""
    sums: dict[str, AnyArray] = {}
    images = 0
    for values in run_batches(model, names, batches()) if names else ():
        images += len(next(iter(values.values())))
        for name, value in values.items():
            total = value.mean(axis=(2, 3), dtype=np.float64).sum(0)
            sums[name] = sums[name] + total if name in sums else total
    return {name: total / images for name, total in sums.items()}
