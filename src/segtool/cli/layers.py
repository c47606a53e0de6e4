"""The table of a model file's layers: `segtool info --layers` and `segtool export -v`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from segtool.cli.common import say
from segtool.cli.tables import emit_table

if TYPE_CHECKING:
    from segtool.benchmark.layers import LayerTime, LayerTimes


def print_layers(times: LayerTimes, most: int | None = None) -> None:
    """Print the slowest layers with their times, the time of the others, and what would make layers faster.

    Parameters
    ----------
    times
        Of the layers, the slowest first.
    most
        The number of layers; None for all.
    """
    from segtool.benchmark.layers import slower_text

    shown, others = times.layers[:most], times.layers[len(times.layers[:most]) :]
    rows = [_cells(layer, times) for layer in shown]
    if others:
        rows.append(_sum_cells(f"{len(others)} others", others, times))
    rows.append(_sum_cells("all", times.layers, times))
    emit_table(
        ["layer", "size", "operator", "kernel", "million MACs", "ms", *(["FP32 ms"] if times.float32 else [])],
        rows,
        title=f"Layers of {times.path} on this processor: one thread, one image, the shortest of {times.runs} runs",
    )
    helped = [layer for layer in shown if layer.advice]
    if helped:
        emit_table(
            ["layer", "what would make it faster"],
            [[layer.name, layer.advice] for layer in helped],
            title="Faster kernels",
            text=True,
        )
    if sentence := slower_text(times):
        say(sentence)


def _cells(layer: LayerTime, times: LayerTimes) -> list[str]:
    name = layer.name if layer.steps == 1 else f"{layer.name} ({layer.steps} steps)"
    macs = f"{layer.macs / 1e6:,.1f}" if layer.macs else ""
    kernel = ", ".join(filter(None, (layer.kernel, layer.instruction)))
    cells = [name, layer.shape, layer.operator, kernel, macs, _milliseconds(layer.microseconds)]
    return [*cells, *([_milliseconds(layer.float32_microseconds)] if times.float32 else [])]


def _sum_cells(name: str, layers: Sequence[LayerTime], times: LayerTimes) -> list[str]:
    macs = f"{sum(layer.macs for layer in layers) / 1e6:,.1f}"
    cells = [name, "", "", "", macs, _milliseconds(sum(layer.microseconds for layer in layers))]
    float32 = sum(layer.float32_microseconds or 0.0 for layer in layers)
    return [*cells, *([_milliseconds(float32)] if times.float32 else [])]


def _milliseconds(microseconds: float | None) -> str:
    return "" if microseconds is None else f"{microseconds / 1e3:.3f}"
