"""Run a graph piece by piece: each piece ends at a value that the caller looks at, and may change, before it goes on.

Only the values that later pieces read are kept, so the memory is that of the maps that are in use at one place of the
graph, for all images. Every node runs once for each batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import onnx

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
    graph = _Graph(model)
    steps = graph.steps_to(ends)
    live: list[dict[str, AnyArray]] = [{INPUT: batch} for batch in batches]
    begin = 0
    for number, node in enumerate(steps):
        found = [name for name in node.output if name in ends]
        if not found:
            continue
        piece, later = steps[begin : number + 1], graph.read_by(steps[number + 1 :])
        begin = number + 1
        made = [name for step in piece for name in step.output if name in later or name in found]
        session = open_graph(graph.piece(piece, made, live[0]))
        read = [item.name for item in session.get_inputs()]
        for values in live:
            values.update(zip(made, session.run(made, {name: values[name] for name in read}), strict=True))
        for name in found:
            yield name, [values[name] for values in live]
        live = [{name: value for name, value in values.items() if name in later} for values in live]


class _Graph:
    """A graph whose constants, and what is computed from these alone, go into every piece that reads them."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._constants = {item.name: item for item in model.graph.initializer}
        self._computed: dict[str, onnx.NodeProto] = {}
        for node in model.graph.node:
            if all(self._is_constant(name) for name in node.input):
                self._computed.update(dict.fromkeys(node.output, node))

    def _is_constant(self, name: str) -> bool:
        return not name or name in self._constants or name in self._computed

    def steps_to(self, ends: Collection[str]) -> list[onnx.NodeProto]:
        """Return the nodes that computing `ends` takes, without the constant ones, in order."""
        wanted, steps = set(ends), []
        for node in reversed(self._model.graph.node):
            if wanted.intersection(node.output) and node.output[0] not in self._computed:
                wanted.update(node.input)
                steps.append(node)
        return steps[::-1]

    def read_by(self, steps: Sequence[onnx.NodeProto]) -> set[str]:
        """Return the names of the values, other than constants, that nodes read."""
        return {name for node in steps for name in node.input if not self._is_constant(name)}

    def piece(
        self, steps: Sequence[onnx.NodeProto], outputs: Sequence[str], live: dict[str, AnyArray]
    ) -> onnx.ModelProto:
        """Return a model of some nodes; what they read and do not make is its input, typed as in `live`."""
        made = {name for node in steps for name in node.output}
        inputs = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(live[name].dtype), [None] * live[name].ndim
            )
            for name in sorted(self.read_by(steps) - made)
        ]
        constant, weights = self._read_constants(steps)
        return onnx.helper.make_model(
            onnx.helper.make_graph(
                [*constant, *steps],
                "piece",
                inputs,
                [onnx.helper.make_empty_tensor_value_info(name) for name in outputs],
                weights,
            ),
            opset_imports=self._model.opset_import,
            ir_version=self._model.ir_version,
        )

    def _read_constants(self, steps: Sequence[onnx.NodeProto]) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        """Return the constant nodes, in order, and the constants that some nodes read."""
        wanted = {name for node in steps for name in node.input}
        nodes = []
        for node in reversed(self._model.graph.node):
            if node.output[0] in self._computed and wanted.intersection(node.output):
                wanted.update(node.input)
                nodes.append(node)
        return nodes[::-1], [item for name, item in self._constants.items() if name in wanted]
