"""Run a graph piece by piece: each piece ends at a value that the caller looks at, and may change, before it goes on.

Only the values that later pieces read are kept, so the memory is that of the maps that are in use at one place of the
graph, for all images. Every node runs once for each batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import onnx
import onnx.utils

from segtool.array_types import AnyArray, UInt8Array
from segtool.export.keras_to_onnx import INPUT
from segtool.export.running import open_graph


def run_in_pieces(
    model: onnx.ModelProto, ends: Collection[str], batches: Sequence[UInt8Array]
) -> Iterator[tuple[str, list[AnyArray]]]:
    """Yield the values in `ends`, in the order of the graph, one array for each batch.

    Parameters
    ----------
    model
        Its input is ``image``; its nodes are sorted.
    ends
        Names of values in its graph. What the caller adds to their arrays, in place, later pieces read.
    batches
        Images, uint8 (n, H, W, C) each.
    """
    extractor = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model))
    constant = _constant_values(model.graph)
    steps = _steps_to(ends, model.graph, constant)
    live: list[dict[str, AnyArray]] = [{INPUT: batch} for batch in batches]
    begin = 0
    for number, node in enumerate(steps):
        found = [name for name in node.output if name in ends]
        if not found:
            continue
        piece, later = steps[begin : number + 1], _read_by(steps[number + 1 :], constant)
        begin = number + 1
        made = [name for step in piece for name in step.output]
        kept = [name for name in made if name in later or name in found]
        read = sorted(_read_by(piece, constant).difference(made))
        session = open_graph(extractor.extract_model(read, kept))
        for values in live:
            values.update(zip(kept, session.run(kept, {name: values[name] for name in read}), strict=True))
        for name in found:
            yield name, [values[name] for values in live]
        live = [{name: value for name, value in values.items() if name in later} for values in live]


def _constant_values(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the constants and of what is computed from these alone, which every piece computes itself."""
    constant = {"", *(item.name for item in graph.initializer)}
    for node in graph.node:
        if constant.issuperset(node.input):
            constant.update(node.output)
    return constant


def _steps_to(ends: Collection[str], graph: onnx.GraphProto, constant: Collection[str]) -> list[onnx.NodeProto]:
    """Return the nodes that computing `ends` takes, without the constant ones, in order."""
    wanted, steps = set(ends), []
    for node in reversed(graph.node):
        if wanted.intersection(node.output) and node.output[0] not in constant:
            wanted.update(node.input)
            steps.append(node)
    return steps[::-1]


def _read_by(steps: Sequence[onnx.NodeProto], constant: Collection[str]) -> set[str]:
    """Return the names of the values, other than constants, that nodes read."""
    return {name for node in steps for name in node.input if name not in constant}
