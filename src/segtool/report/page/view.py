"""What the sections of a page look at: the report's JSON, and what is made from it and the images once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segtool.report.page.markup import Html, tag
from segtool.report.page.panels import Panel
from segtool.report.page.scene import SERIES, SHAPES, Scene
from segtool.report.page.speed_charts import Timed

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """An image of the report: its panels, and the entry of `per_image` or of a pair's `images` that it belongs to."""

    panels: Sequence[Panel]
    facts: Facts


@dataclass(frozen=True)
class View:
    """Everything that a page shows.

    Attributes
    ----------
    report
        The JSON of the report.
    examples
        The worst and the best images ("worst", "best") of each model, by its id.
    changed
        The images on which INT8 differs most, by the place of their pair in the report.
    scenes
        The drawings by name.
    """

    report: Facts
    examples: Mapping[int, Mapping[str, Sequence[Example]]] = field(default_factory=dict)
    changed: Mapping[int, Sequence[Example]] = field(default_factory=dict)
    scenes: Mapping[str, Scene] = field(default_factory=dict)

    @property
    def models(self) -> Sequence[Facts]:
        """The models."""
        found: Sequence[Facts] = self.report["models"]
        return found

    @property
    def chosen(self) -> Facts | None:
        """The model to deploy; None where there is none."""
        found = self.report["verdict"]["model"]
        return None if found is None else self.models[found]

    @property
    def shown(self) -> Facts:
        """The model that the page is about first of all."""
        return self.chosen or self.models[-1]

    @property
    def has_one_run(self) -> bool:
        """Whether there is one run at most."""
        return len(self.report["runs"]) < 2


def name_of(model: Facts) -> Html:
    """Return a model's name with its sign and colour, which are the same in every chart and table."""
    number = model["id"]
    sign = tag(
        "span", class_=f"sign {SHAPES[number % len(SHAPES)]} f-{SERIES[number % len(SERIES)]}", aria_hidden="true"
    )
    return tag("span", sign, tag("bdi", model["label"]), class_="model")


def timed(models: Sequence[Facts]) -> list[Timed]:
    """Return what the charts of times need of the models that were measured."""
    return [
        Timed(
            model["label"],
            model["id"],
            model["benchmark"],
            samples=model["benchmark"].get("samples_ms", ()),
            iou=_percent(model["evaluation"]["foreground_mean_iou"]),
            interval=interval_of(model["evaluation"], "foreground_mean_iou"),
        )
        for model in models
        if model["benchmark"]
    ]


def interval_of(evaluation: Facts, figure: str) -> tuple[float, float] | None:
    """Return the 95 % interval of a figure in percent, where the evaluation gives one."""
    found = ((evaluation.get("intervals") or {}).get("figures") or {}).get(figure)
    if not found or None in found:
        return None
    return 100 * float(found[0]), 100 * float(found[1])


def _percent(share: float | None) -> float | None:
    return None if share is None or math.isnan(share) else 100 * share
