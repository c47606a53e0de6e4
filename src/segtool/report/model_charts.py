"""Charts of models: latency, its stages, accuracy against latency, sensitivity of layers, and calibration.

A model is an entry of ``models`` in the report. Its number selects its colour and its marker in all charts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segtool.report.style import LIGHT, MUTED, PAPER, SERIES, Chart, new_figure, set_hint, set_log, style
from segtool.text import clean, shortened

Facts = Mapping[str, Any]

SHAPES = ("circle", "square", "triangle", "diamond", "down", "circle")
_STAGE_NAMES = {"decode": "decode PNG", "pre": "prepare", "run": "network", "post": "label map"}

_MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D", "down": "v"}
_WIDTH = 400  # pixels: about the width of a chart on a phone, so that its text stays readable
_SIZE = 10.5
_NAME_LIMIT = 44
_BINS = 112
_MOST_LAYERS = 24


def color_of(number: int) -> str:
    """Return the colour of a model in charts."""
    return LIGHT[SERIES[number % len(SERIES)]]


def interval_of(evaluation: Facts, figure: str) -> tuple[float, float] | None:
    """Return the 95 % interval of a figure in percent; None if the evaluation has none."""
    low, high = (evaluation["intervals"]["figures"] or {}).get(figure) or (math.nan, math.nan)
    return None if math.isnan(low) else (100 * low, 100 * high)


def latency_chart(models: Sequence[Facts]) -> Chart:
    """Draw the latency distribution and the cold start of each model on one logarithmic scale."""
    with style(_SIZE):
        figure, axes = _one(62 + 66 * len(models))
        for place, model in enumerate(reversed(models)):
            _draw_latency(axes, model, place)
        axes.set(ylim=(0, len(models)), yticks=[], xlabel="milliseconds, logarithmic")
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        set_log(axes.xaxis)
    return Chart("Latency and cold start", "; ".join(map(_latency_words, models)) + ".", figure)


def _draw_latency(axes: Any, model: Facts, place: float) -> None:
    """Draw one model between y = `place` and `place` + 1: histogram, percentiles, cold start, name."""
    row, color = model["benchmark"], color_of(model["id"])
    latency, cold = row["latency_ms"], row["cold_start_ms"]
    samples = np.asarray(row["samples_ms"], np.float64)
    edges = np.geomspace(samples.min() * 0.999, samples.max() * 1.001, _BINS // 2)
    counts, _ = np.histogram(samples, edges)
    shares = np.where(counts, np.maximum(counts / counts.max(), 0.03), 0)
    axes.stairs(place + 0.45 * shares, edges, baseline=place, fill=True, color=color, alpha=0.45, linewidth=0)
    axes.hlines(place + 0.01, samples.min(), samples.max(), color=color, linewidth=2)
    for key, height in (("p50", 0.52), ("p90", 0.21), ("p99", 0.21)):
        axes.vlines(latency[key], place, place + height, color=color, linewidth=2.2 if key == "p50" else 1.4)
    look = {"textcoords": "offset points", "color": color}
    axes.annotate(f"p50 {latency['p50']:.3g}", (latency["p50"], place + 0.54), (0, 2), ha="center", **look)
    [mark] = axes.plot(cold, place + 0.12, "D", color=color, markersize=6.5, markeredgecolor=PAPER)
    set_hint(mark, f"cold start {cold:.0f} ms")
    axes.annotate(f"cold {cold:.0f}", (cold, place + 0.12), (-7, -3.5), ha="right", **look)
    label = _label(model["label"])
    axes.text(1, place + 0.72, label, transform=axes.get_yaxis_transform(), ha="right", fontsize=11.5)


def _latency_words(model: Facts) -> str:
    row, latency = model["benchmark"], model["benchmark"]["latency_ms"]
    return (
        f"{model['label']}: half of {row['n']} runs within {latency['p50']:.3g} ms, 90 % within "
        f"{latency['p90']:.3g}, 99 % within {latency['p99']:.3g}; {row['cold_start_ms']:.0f} ms from the start "
        "of a new process to its first labels"
    )


def stages_chart(models: Sequence[Facts]) -> Chart:
    """Draw the median time of each stage of each model, stacked."""
    with style(_SIZE):
        figure, axes = _one(92 + 40 * len(models))
        for place, model in enumerate(reversed(models)):
            axes.text(0, place + 0.62, _label(model["label"]), va="center")
            done = 0.0
            for role, (name, value) in zip(SERIES, _stages(model), strict=False):
                label = name if place == 0 else None
                [bar] = axes.barh(place + 0.2, value, 0.38, left=done, color=LIGHT[role], alpha=0.75, label=label)
                set_hint(bar, f"{name} {value:.3g} ms")
                done += value
        axes.set(ylim=(-0.1, len(models)), yticks=[], xlabel="milliseconds, median of each stage")
        axes.set_xlim(left=0)
        axes.spines["left"].set_visible(False)
        figure.legend(loc="outside upper left", ncols=4, handlelength=1, handleheight=1, columnspacing=1.2)
    words = [
        f"{model['label']}: {', '.join(f'{name} {value:.3g} ms' for name, value in _stages(model))}" for model in models
    ]
    return Chart("Where the time goes", "; ".join(words) + ".", figure)


def _stages(model: Facts) -> list[tuple[str, float]]:
    """Return the name and the median in milliseconds of each stage."""
    return [(name, model["benchmark"]["stages_ms"][stage]) for stage, name in _STAGE_NAMES.items()]


def tradeoff_chart(models: Sequence[Facts]) -> Chart | None:
    """Draw accuracy against latency, one marker per model; None if fewer than two models have both."""
    shown = [model for model in models if not math.isnan(_iou(model))]
    if len(shown) < 2:
        return None
    with style(_SIZE):
        figure, axes = _one(235 + 17 * len(shown))
        for model in shown:
            _draw_point(axes, model)
        axes.set_title("foreground mean IoU, %", fontsize=_SIZE, fontweight="normal", color=MUTED)
        axes.set_xlabel("p50 of one image, milliseconds, logarithmic")
        axes.grid()
        axes.margins(x=0.15)
        # Span at least one percentage point, so that negligible differences look small.
        low, high = axes.get_ylim()
        missing = max(0.0, 1.0 - (high - low)) / 2
        axes.set_ylim(low - missing, min(high + missing, 100.5))
        set_log(axes.xaxis)
        figure.legend(loc="outside lower left", labelcolor="linecolor", handlelength=1)
    words = [f"{model['label']}: {_iou(model):.2f} % in {_p50(model):.3g} ms" for model in shown]
    return Chart("Accuracy against latency", "; ".join(words) + ". Up and to the left is better.", figure)


def _draw_point(axes: Any, model: Facts) -> None:
    color, marker = color_of(model["id"]), _MARKERS[SHAPES[model["id"] % len(SHAPES)]]
    interval = interval_of(model["evaluation"], "foreground_mean_iou")
    if interval:
        axes.vlines(_p50(model), *interval, color=color, linewidth=1.2)
    look = {"linestyle": "", "color": color, "markersize": 9, "markeredgecolor": PAPER}
    label = _label(model["label"])
    [point] = axes.plot(_p50(model), _iou(model), marker, label=label, **look)
    set_hint(point, model["label"])


def _iou(model: Facts) -> float:
    return 100 * float(model["evaluation"]["foreground_mean_iou"])


def _p50(model: Facts) -> float:
    return float(model["benchmark"]["latency_ms"]["p50"])


def sensitivity_chart(sensitivities: Mapping[str, float], float_layers: Sequence[str]) -> Chart:
    """Draw the loss of each single layer in INT8, the most sensitive first."""
    layers = sorted(sensitivities.items(), key=lambda item: -item[1])[:_MOST_LAYERS]
    with style(_SIZE):
        figure, axes = _one(16 + 30 * len(layers))
        for place, (name, value) in enumerate(reversed(layers)):
            kept = " (kept in float)" if name in float_layers else ""
            axes.text(0, place + 0.68, _label(name) + kept, va="center")
            axes.barh(place + 0.25, value, 0.3, color=color_of(1 if kept else 0), alpha=0.8)
            axes.annotate(f"{value:.3g}", (value, place + 0.25), (5, -4), textcoords="offset points", color=MUTED)
        axes.set(ylim=(0, len(layers)), xlim=(0, 1.15 * max(1e-12, layers[0][1])))
        axes.axis("off")
    words = ", ".join(f"{name} {value:.3g}" for name, value in layers)
    return Chart("Sensitivity of each layer to INT8", f"The most sensitive first: {words}.", figure)


def calibration_chart(calibration: Facts | None) -> Chart | None:
    """Draw accuracy against confidence for the bins of ``evaluate --json``; None if there are none."""
    bins = [each for each in (calibration or {}).get("bins", ()) if each["pixels"] and each["accuracy"] is not None]
    if not bins:
        return None
    points = [(100 * each["confidence"], 100 * each["accuracy"]) for each in bins]
    most = max(each["pixels"] for each in bins)
    with style(_SIZE):
        figure, axes = _one(266)
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(*zip(*points, strict=True), color=color_of(0))
        for each, point in zip(bins, points, strict=True):
            size = 5 + 8 * (each["pixels"] / most) ** 0.25
            [mark] = axes.plot(*point, "o", color=color_of(0), markersize=size, markeredgecolor=PAPER)
            set_hint(mark, f"{each['pixels']:,} pixels")
        axes.set(xlim=(-2, 102), ylim=(-2, 102), xlabel="probability of the label, %")
        axes.set_title("correct labels, %", fontsize=_SIZE, fontweight="normal", color=MUTED)
        axes.grid(axis="y")
    words = "; ".join(f"at {confidence:.0f} % probability {accuracy:.0f} % correct" for confidence, accuracy in points)
    return Chart("Calibration", f"{words}.", figure)


def _label(name: str) -> str:
    return shortened(clean(name), _NAME_LIMIT)


def _one(height: float) -> tuple[Any, Any]:
    """Return a figure for the page, `height` pixels high, and its axes."""
    figure = new_figure(_WIDTH, height, dpi=72)
    return figure, figure.subplots()
