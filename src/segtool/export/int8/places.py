"""Which layers of a Keras network make the values that INT8 rounds: found by the values themselves.

The graph was rewritten: values were renamed, moved, laid out in blocks and filled up with channels of zeros. Their
extremes, their sum of absolute numbers and their norm over a few images are still those of the output of the layer, and
no other value of the network has the same four within a thousandth.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from segtool.array_types import AnyArray, UInt8Array
from segtool.errors import ExportError
from segtool.export.int8.layers import points, range_source
from segtool.export.int8.qdq import is_pixels, reads_float
from segtool.export.passes import to_ir
from segtool.export.running import reduced, run_batches

_REDUCED = ("ReduceMin", "ReduceMax", "ReduceL1", "ReduceL2")
_SAME = 1e-3  # relative


@dataclass(frozen=True)
class Place:
    """A group of values with one scale.

    Attributes
    ----------
    values
        Their names in the graph.
    sources
        Those of them whose ranges together are the group's.
    layers
        The layers of Keras with these outputs; none where the value is inside of a layer.
    exact
        The layers that read the value before rounding.
    """

    values: tuple[str, ...]
    sources: tuple[str, ...]
    layers: tuple[str, ...]
    exact: tuple[str, ...]


def find_places(
    model: Any, graph: onnx.ModelProto, before: onnx.ModelProto, images: UInt8Array
) -> tuple[tuple[str, ...], tuple[Place, ...]]:
    """Return the layers whose kernels INT8 rounds, and the places of the values that it rounds.

    Parameters
    ----------
    model
        keras.Model from `images` to scores; each of its layers does one thing (`segtool.train.folding`).
    graph
        The same network, rewritten for INT8, in float.
    before
        The graph that it was rewritten from.
    images
        uint8 (N, H, W, C).

    Raises
    ------
    ExportError
        A layer that INT8 computes is none of the Keras network.
    """
    found = points(to_ir(graph).graph)
    outputs = {str(node.name): str(node.outputs[0].name) for node in found.layers}
    groups = [_group(group, found.layers) for group in found.groups if not is_pixels(group[0])]
    wanted = {name for group in groups for name in (*group.values, *group.exact)}.union(outputs.values())
    signatures = _of_graph(graph, wanted, images)
    layers = _of_layers(model, images)
    kernels = _kernels({name: signatures[output] for name, output in outputs.items()}, layers, before, images)
    return kernels, tuple(_in_keras(group, signatures, layers) for group in groups)


def _group(group: tuple[ir.Value, ...], int8: Collection[ir.Node]) -> Place:
    """Return a group, whose readers are named by their outputs yet."""
    reading = sorted(str(node.outputs[0].name) for value in group for node in reads_float(value, int8))
    names, sources = (tuple(str(value.name) for value in values) for values in (group, range_source(group)))
    return Place(names, sources, (), tuple(reading))


def _in_keras(group: Place, signatures: Mapping[str, AnyArray], layers: Mapping[str, _Layer]) -> Place:
    """Return the group with the names of layers."""
    members = dict.fromkeys(layer for name in group.values for layer in _matching(signatures[name], layers))
    exact = tuple(layer for name in group.exact for layer in _matching(signatures[name], layers, only="kernel")[:1])
    return replace(group, layers=tuple(members), exact=exact)


def _kernels(
    signatures: Mapping[str, AnyArray], layers: Mapping[str, _Layer], before: onnx.ModelProto, images: UInt8Array
) -> tuple[str, ...]:
    """Return the layer of each INT8 convolution, whose output may have been another before the rewrites for INT8."""
    matched = {name: _matching(signature, layers, only="kernel") for name, signature in signatures.items()}
    if missing := [name for name, found in matched.items() if not found]:
        outputs = {node.name: node.output[0] for node in before.graph.node if node.name in missing}
        earlier = _of_graph(before, outputs.values(), images) if outputs else {}
        matched |= {name: _matching(earlier[value], layers, only="kernel") for name, value in outputs.items()}
    if unknown := [name for name, found in matched.items() if not found]:
        raise ExportError(
            f"INT8 computes {unknown[0]}, which is none of the layers that quantization-aware training knows (Conv2D, "
            "DepthwiseConv2D, Conv2DTranspose with a kernel as large as its stride); use `segtool export --quantize` "
            "on the run as it is."
        )
    return tuple(dict.fromkeys(found[0] for found in matched.values()))


@dataclass(frozen=True)
class _Layer:
    signature: AnyArray
    has_kernel: bool


def _of_layers(model: Any, images: UInt8Array) -> dict[str, _Layer]:
    """Return the signature of each layer's output."""
    import keras

    found: dict[str, _Layer] = {}

    def watched(operation: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            outputs = operation(*args, **kwargs)
            array = np.asarray(keras.ops.convert_to_numpy(outputs), np.float32)
            found[operation.name] = _Layer(_signature(array), hasattr(operation, "kernel"))
            return outputs

        return call

    model._run_through_graph([keras.ops.convert_to_tensor(images)], operation_fn=watched)
    return found


def _signature(array: AnyArray) -> AnyArray:
    size = np.abs(array)
    values = [min(array.min(), 0), max(array.max(), 0), size.sum(dtype=np.float64)]
    return np.array([*values, np.sqrt(np.square(size, dtype=np.float64).sum())])


def _of_graph(graph: onnx.ModelProto, names: Collection[str], images: UInt8Array) -> dict[str, AnyArray]:
    """Return the signature of each named value."""
    watched, outputs = reduced(graph, sorted(names), _REDUCED)
    wanted = [output for group in outputs.values() for output in group.values()]
    (values,) = run_batches(watched, wanted, iter([images]))
    found = {}
    for name in names:
        low, high, total, norm = (float(values[outputs[op][name]]) for op in _REDUCED)
        found[name] = np.array([min(low, 0.0), max(high, 0.0), total, norm])
    return found


def _matching(signature: AnyArray, layers: Mapping[str, _Layer], *, only: str = "") -> Sequence[str]:
    """Return the layers with the same output; with `only`, those that have a kernel."""
    return tuple(
        name
        for name, layer in layers.items()
        if (layer.has_kernel or not only)
        and np.abs(layer.signature - signature).max() <= _SAME * np.abs(signature).max()
        and np.allclose(layer.signature, signature, rtol=_SAME, atol=_SAME * float(np.abs(signature[:2]).max()))
    )
