"""The time, work and kernel of each layer of a model file, measured on this machine.

onnxruntime fuses nodes of a file and adds others, so that the steps of a run have other names. Each step is assigned to
the layer of the file that it computes. Steps that only change the layout or the type of values (`_CONVERSIONS`), and
those that onnxruntime added, are summed by operator. The rows therefore add up to the time of all steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from segtool.benchmark.kernels import Kernel, advice, arm_instruction, direct_kernel, kernel_of, on_arm
from segtool.benchmark.profiler import RUNS, THREADS, Step, profile_files
from segtool.benchmark.steps import FLOAT_PRODUCTS, INTEGER_PRODUCTS, LayerStep, assign
from segtool.machine.machine import instruction_sets, machine_info
from segtool.runtime.graph_reader import Graph, read_graph

ONLY_FLOAT32 = "steps of the FP32 file alone"
_NAMED = 3  # layers that a message names
_NOISE = 0.05  # a difference below this fraction is none


@dataclass(frozen=True)
class LayerTime:
    """A layer of a file, or the sum of all conversions by one operator.

    Attributes
    ----------
    name
        Of the layer in the file; the operator for a sum.
    operator
        As onnxruntime runs it.
    shape
        Its size as text: for a convolution the kernel, its channels and the size of the output.
    steps
        Number of steps that are summed.
    macs
        Multiply-accumulates for one image.
    microseconds
        The shortest time in this file.
    float32_microseconds
        The time of the same layer in the FP32 file: 0 if it is part of another step there, None if it is unknown.
    kernel
        The kind of kernel that multiplies; None for a layer without products, or unknown weights.
    instruction
        The instruction of an INT8 kernel on Arm; None elsewhere.
    advice
        What would give it a faster kernel.
    """

    name: str
    operator: str
    shape: str
    steps: int
    macs: int
    microseconds: float
    float32_microseconds: float | None = None
    kernel: Kernel | None = None
    instruction: str | None = None
    advice: str | None = None


@dataclass(frozen=True)
class LayerTimes:
    """The layers of a file, the slowest first.

    Attributes
    ----------
    path, float32
        The file, and the FP32 file that it is compared with, if any.
    runs
        Number of runs.
    layers
        Their times add up to that of all steps of a run.
    """

    path: Path
    float32: Path | None
    runs: int
    layers: tuple[LayerTime, ...]

    def slower(self) -> list[LayerTime]:
        """Return the layers that take longer than in the FP32 file, those that lose most time first.

        A layer that the FP32 file does not have counts as far as it takes longer than all steps of that file alone,
        which may do the same work in another form.
        """
        if self.float32 is None:
            return []
        alone = sum(layer.float32_microseconds or 0.0 for layer in self.layers if layer.name == ONLY_FLOAT32)
        lost = {}
        for layer in self.layers:
            before = alone if layer.float32_microseconds is None else layer.float32_microseconds
            if layer.microseconds > before * (1 + _NOISE):
                lost[layer] = layer.microseconds - before
        return sorted(lost, key=lambda layer: -lost[layer])

    def to_dict(self, most: int | None = None) -> dict[str, Any]:
        """Return it as JSON-able values, with the processor and the `most` slowest layers; None for all."""
        machine = machine_info()
        float32_total = sum(layer.float32_microseconds or 0.0 for layer in self.layers)
        return {
            "path": str(self.path),
            "float32_path": None if self.float32 is None else str(self.float32),
            "threads": THREADS,
            "runs": self.runs,
            "total_us": sum(layer.microseconds for layer in self.layers),
            "float32_total_us": None if self.float32 is None else float32_total,
            "cpu": machine["cpu"],
            "instruction_sets": machine["instruction_sets"],
            "layers": [_row(layer) for layer in self.layers[:most]],
        }


def measure_layers(path: Path, float32: Path | None = None, *, runs: int = RUNS) -> LayerTimes:
    """Measure the layers of a file on the CPU.

    Parameters
    ----------
    path
        The model file.
    float32
        The FP32 file of the same network, run interleaved with it; None to measure one file.
    runs
        As in `profile_files`.

    Raises
    ------
    ModelFileError
        A file cannot be run.
    """
    paths = [path] if float32 is None else [path, float32]
    graphs = [read_graph(each) for each in paths]
    profiles = profile_files(paths, runs=runs)
    layers, *others = (_rows(steps, graph) for steps, graph in zip(profiles, graphs, strict=True))
    if others:
        layers = _compared(layers, others[0], names={node.name for node in graphs[1].nodes})
    ordered = tuple(sorted(layers, key=lambda layer: -layer.microseconds))
    return LayerTimes(path, float32, runs, ordered)


def slower_text(times: LayerTimes) -> str:
    """Return a sentence that names the layers which lose most time in INT8; empty if there are none."""
    slower = times.slower()[:_NAMED]
    if not slower:
        return ""
    return f"The layers that lose most time in INT8: {'; '.join(_loss(layer) for layer in slower)}."


def _loss(layer: LayerTime) -> str:
    kernel = f", {layer.kernel} kernel" if layer.kernel else ""
    before = layer.float32_microseconds
    other = "not in the FP32 file" if before is None else f"against {before / 1e3:.2f} ms in FP32"
    times = f"{layer.microseconds / 1e3:.2f} ms {other}"
    hint = f" ({layer.advice})" if layer.advice else ""
    count = f" ({layer.steps} steps)" if layer.steps > 1 else ""
    what = f"{layer.operator}{count}" if layer.name == layer.operator else f"{layer.name} ({layer.operator}{kernel})"
    return f"{what} {times}{hint}"


def _rows(steps: Sequence[Step], graph: Graph) -> list[LayerTime]:
    """Return a row for each layer, and one for the conversions of each operator."""
    rows: list[LayerTime] = []
    sums: dict[str, list[float]] = {}
    for found in assign(steps, graph):
        if found.node is None:
            sums.setdefault(found.step.operator, []).append(found.step.microseconds)
        else:
            rows.append(_layer(found))
    return rows + [LayerTime(operator, operator, "", len(times), 0, sum(times)) for operator, times in sums.items()]


def _layer(found: LayerStep) -> LayerTime:
    step, convolution, direct = found.step, found.convolution, direct_kernel()
    kernel: Kernel | None = None
    hint = None
    if step.operator in FLOAT_PRODUCTS:
        kernel = "float"
    elif step.operator in INTEGER_PRODUCTS:
        kernel = "matrix"
    elif convolution is not None:
        kernel = kernel_of(convolution, direct)
        hint = advice(convolution, direct, positions=math.prod(found.size))
    row = LayerTime(
        found.name, step.operator, found.shape_text, 1, found.macs, step.microseconds, kernel=kernel, advice=hint
    )
    if kernel is None or not on_arm():
        return row
    signed = step.inputs[0].kind == "int8"
    return replace(row, instruction=arm_instruction(kernel, instruction_sets(), signed=signed))


def _compared(rows: list[LayerTime], others: list[LayerTime], *, names: set[str]) -> list[LayerTime]:
    """Return the rows with the times of the FP32 file, whose nodes have `names`, and one for what is there alone."""
    known = {row.name: row.microseconds for row in others}
    result = []
    for row in rows:
        is_fused = row.name == row.operator or (row.kernel is None and row.name in names)
        result.append(replace(row, float32_microseconds=known.pop(row.name, 0.0 if is_fused else None)))
    if known:
        result.append(LayerTime(ONLY_FLOAT32, "", "", len(known), 0, 0.0, sum(known.values())))
    return result


def _row(layer: LayerTime) -> dict[str, Any]:
    values = asdict(layer)
    times = {"us": values.pop("microseconds"), "float32_us": values.pop("float32_microseconds")}
    return {**values, **times}
