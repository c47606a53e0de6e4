"""Latency, its stages, and accuracy against latency as drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segtool.report.page.axis import Scale, scale_of
from segtool.report.page.plot import WIDTH, Frame, draw_axes, draw_x_axis
from segtool.report.page.scene import SERIES, SHAPES, Scene
from segtool.text import shortened

_ROW = 66
_BINS = 56
_NAME_LIMIT = 44
STAGE_NAMES = {"decode": "decode PNG", "pre": "prepare", "run": "network", "post": "label map"}


@dataclass(frozen=True)
class Timed:
    """What the charts need of one model.

    Attributes
    ----------
    label
        How the model is called.
    series
        Its number, which gives colour and sign.
    row
        Its entry of ``benchmark --json``.
    samples
        Milliseconds of every timed run; empty where they were not kept.
    iou
        Foreground mean IoU in percent; None where it was not scored.
    interval
        95 % interval of that; None where there is none.
    """

    label: str
    series: int
    row: Mapping[str, Any]
    samples: Sequence[float] = ()
    iou: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def role(self) -> str:
        """Colour of the model."""
        return SERIES[self.series % len(SERIES)]

    @property
    def shape(self) -> str:
        """Sign of the model."""
        return SHAPES[self.series % len(SHAPES)]


def latency_chart(models: Sequence[Timed]) -> Scene:
    """Draw the distribution of each model's latency and its cold start, on one logarithmic scale."""
    frame = Frame(8, 24, WIDTH - 12, 24 + _ROW * len(models))
    values = [value for model in models for value in _extent(model)]
    x = scale_of(values, frame.horizontal, log=True, pad=0.04)
    described = "; ".join(_describe(model) for model in models)
    scene = Scene(WIDTH, frame.bottom + 40, "Latency and cold start", f"{described}.")
    for value in x.ticks(6):
        scene.line(((x(value), frame.top), (x(value), frame.bottom)), "rule", width=1)
    draw_x_axis(scene, frame, x, title="milliseconds, logarithmic")
    for index, model in enumerate(models):
        _draw_latency(scene, x, model, bottom=frame.top + _ROW * (index + 1))
    return scene


def _extent(model: Timed) -> list[float]:
    latency = model.row["latency_ms"]
    return [latency["min"], *(latency[key] for key in ("p50", "p99")), model.row["cold_start_ms"], *model.samples]


def _draw_latency(scene: Scene, x: Scale, model: Timed, *, bottom: float) -> None:
    latency, cold = model.row["latency_ms"], model.row["cold_start_ms"]
    scene.text(scene.width - 12, bottom - _ROW + 20, shortened(model.label, _NAME_LIMIT), anchor="end", size=11.5)
    heights = _histogram(x, model.samples)
    for position, width, height in heights:
        scene.box(position, bottom - 30 * height, (width, 30 * height), model.role, opacity=0.45)
    scene.line(((x(latency["min"]), bottom - 1), (x(max(_runs(model))), bottom - 1)), model.role, width=2)
    for key in ("p50", "p90", "p99"):
        at, tall = x(latency[key]), 34 if key == "p50" else 14
        scene.line(((at, bottom), (at, bottom - tall)), model.role, width=2.2 if key == "p50" else 1.4)
    middle = min(max(x(latency["p50"]), 32), scene.width - 32)  # the word stays on the drawing
    scene.text(middle, bottom - 38, f"p50 {latency['p50']:.3g}", anchor="middle", size=10.5, role=model.role)
    at = x(cold)
    scene.marker(at, bottom - 8, model.role, shape="diamond", size=4.5, hint=f"cold start {cold:.0f} ms")
    scene.text(at - 9, bottom - 4.5, f"cold {cold:.0f}", anchor="end", size=10.5, role=model.role)


def _runs(model: Timed) -> list[float]:
    latency = model.row["latency_ms"]
    return [*model.samples, *(latency[key] for key in ("p99", "p999", "max") if latency.get(key) is not None)]


def _histogram(x: Scale, samples: Sequence[float]) -> list[tuple[float, float, float]]:
    """Return (left, width, height 0..1) in pixels of the bins that hold a sample, equally wide on the drawing."""
    if not len(samples):
        return []
    places = np.array([x(value) for value in samples])
    edges = np.linspace(places.min() - 0.5, places.max() + 0.5, _bins(places) + 1)
    counts, _ = np.histogram(places, edges)
    width = float(edges[1] - edges[0])
    shown = zip(edges.tolist(), (counts / counts.max()).tolist(), strict=False)
    return [(left, max(width - 0.3, 0.4), max(share, 0.03)) for left, share in shown if share > 0]


def _bins(places: np.typing.NDArray[np.float64]) -> int:
    return int(np.clip((places.max() - places.min()) / 1.5, 8, _BINS * 2))


def _describe(model: Timed) -> str:
    latency = model.row["latency_ms"]
    return (
        f"{model.label}: half of {model.row['n']} runs within {latency['p50']:.3g} ms, 90 % within "
        f"{latency['p90']:.3g}, 99 % within {latency['p99']:.3g}; {model.row['cold_start_ms']:.0f} ms from the start "
        "of a new process to its first labels"
    )


def stages_chart(models: Sequence[Timed]) -> Scene:
    """Draw what each model's time goes into: the median of each stage, one after the other."""
    shown = [model for model in models if set(STAGE_NAMES) & set(model.row["stages_ms"])]
    frame = Frame(8, 52, WIDTH - 12, 52 + 40 * len(shown))
    stages = list(STAGE_NAMES)
    totals = [sum(model.row["stages_ms"].get(stage, 0.0) for stage in stages) for model in shown]
    x = Scale(0.0, max(totals) * 1.02, *frame.horizontal)
    words = [f"{model.label}: {_stage_words(model)}" for model in shown]
    scene = Scene(WIDTH, frame.bottom + 40, "Where the time goes", "; ".join(words) + ".")
    for index, stage in enumerate(stages):
        scene.box(8 + index * 97, 14, (10, 10), SERIES[index], opacity=0.75)
        scene.text(22 + index * 97, 23, STAGE_NAMES[stage], size=11)
    draw_x_axis(scene, frame, x, title="milliseconds, median of each stage")
    for index, model in enumerate(shown):
        _draw_stages(scene, x, model, top=frame.top + 40 * index)
    return scene


def _draw_stages(scene: Scene, x: Scale, model: Timed, *, top: float) -> None:
    scene.text(x.start, top + 8, shortened(model.label, _NAME_LIMIT), size=11)
    done = 0.0
    for role, stage in zip(SERIES, STAGE_NAMES, strict=False):
        value = float(model.row["stages_ms"].get(stage, 0.0))
        left, right = x(done), x(done + value)
        hint = f"{STAGE_NAMES[stage]} {value:.3g} ms"
        scene.box(left, top + 13, (max(right - left - 0.6, 0.3), 15), role, opacity=0.75, hint=hint)
        done += value


def _stage_words(model: Timed) -> str:
    stages = model.row["stages_ms"]
    return ", ".join(f"{name} {stages[stage]:.3g} ms" for stage, name in STAGE_NAMES.items() if stage in stages)


def tradeoff_chart(models: Sequence[Timed]) -> Scene | None:
    """Draw accuracy against latency, one sign a model; None where fewer than two models have both."""
    shown = [model for model in models if model.iou is not None]
    if len(shown) < 2:
        return None
    frame = Frame(48, 30, WIDTH - 14, 200)
    x = scale_of([model.row["latency_ms"]["p50"] for model in shown], frame.horizontal, log=True, pad=0.1)
    heights = [value for model in shown for value in (model.iou, *(model.interval or ())) if value is not None]
    y = _wide(scale_of(heights, frame.vertical, pad=0.1))
    words = [f"{model.label}: {model.iou:.2f} % in {model.row['latency_ms']['p50']:.3g} ms" for model in shown]
    legend = frame.bottom + 56
    description = "; ".join(words) + ". Up and to the left is better."
    scene = Scene(WIDTH, legend + 17 * len(shown) - 6, "Accuracy against latency", description)
    titles = ("p50 of one image, milliseconds, logarithmic", "foreground mean IoU, %")
    draw_axes(scene, frame, x, y, titles=titles)
    for index, model in enumerate(shown):
        _draw_point(scene, (x(model.row["latency_ms"]["p50"]), y), model)
        scene.marker(frame.left + 4, legend + 17 * index - 4, model.role, shape=model.shape, size=4.5)
        scene.text(frame.left + 16, legend + 17 * index, shortened(model.label, _NAME_LIMIT), role=model.role)
    return scene


def _draw_point(scene: Scene, at: tuple[float, Scale], model: Timed) -> None:
    x, y = at
    if model.interval:
        scene.line(((x, y(model.interval[0])), (x, y(model.interval[1]))), model.role, width=1.2)
    scene.marker(x, y(model.iou or 0.0), model.role, shape=model.shape, size=6, hint=model.label)


def _wide(scale: Scale) -> Scale:
    """Return a scale over a point of a hundred at least, so that differences nobody would notice look like that."""
    missing = max(0.0, 1.0 - (scale.high - scale.low)) / 2
    return Scale(scale.low - missing, min(scale.high + missing, 100.0), scale.start, scale.end)


def sensitivity_chart(sensitivities: Mapping[str, float], float_layers: Sequence[str]) -> Scene:
    """Draw how much each layer alone loses in INT8, the most sensitive first."""
    layers = sorted(sensitivities.items(), key=lambda item: -item[1])[:24]
    frame = Frame(8, 8, WIDTH - 60, 8 + 30 * len(layers))
    x = Scale(0.0, max(1e-12, *(value for _, value in layers)), *frame.horizontal)
    words = ", ".join(f"{name} {value:.3g}" for name, value in layers)
    scene = Scene(WIDTH, frame.bottom + 8, "Sensitivity of each layer to INT8", f"The most sensitive first: {words}.")
    for index, (name, value) in enumerate(layers):
        top = frame.top + 30 * index
        kept = " (kept in float)" if name in float_layers else ""
        scene.text(frame.left, top + 10, shortened(name, 50) + kept, size=10.5)
        scene.box(frame.left, top + 15, (max(x(value) - frame.left, 1), 9), "s1" if kept else "s0", opacity=0.8)
        scene.text(x(value) + 6, top + 23, f"{value:.3g}", role="muted", size=10.5)
    return scene
