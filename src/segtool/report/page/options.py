"""What a report is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPORT_NAME = "report.html"
Progress = Callable[[str, int, int], None]
GraphFacts = Callable[[Path], Mapping[str, Any]]


@dataclass(frozen=True)
class ReportOptions:
    """What to report on, how, and where to.

    Attributes
    ----------
    data, split
        As in `segtool.evaluate.evaluate.EvaluateOptions`, for every model.
    provider, provider_options, threads
        As in `segtool.load`; for the scores and for the times. Without `threads` the times are of OMP_NUM_THREADS
        threads, else of one.
    latency
        Whether times are measured; they take most of the time of a report.
    runs
        Timed runs of each model.
    samples
        How many of the worst and of the best images are shown, and of those on which INT8 differs most.
    out
        The HTML file; None for report.html in the run's folder where all models are of one run, else in the current
        folder. The same figures are written beside it as JSON, under the page's name and .json.
    plots
        Folder for the charts as SVG and PNG; None for none.
    overwrite
        Whether files that are there may be replaced.
    """

    data: str | None = None
    split: str | None = None
    provider: str = "auto"
    provider_options: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    latency: bool = True
    runs: int = 200
    samples: int = 6
    out: Path | None = None
    plots: Path | None = None
    overwrite: bool = False
