"""The options of a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPORT_NAME = "report.html"
RUNS = 200
Progress = Callable[[str, float, float], None]
GraphFacts = Callable[[Path], Mapping[str, Any]]


@dataclass(frozen=True)
class ReportOptions:
    """The data, the measurements and the outputs of a report.

    Attributes
    ----------
    data, split
        As in `segtool.evaluate.evaluate.EvaluateOptions`, for every model.
    provider, provider_options, threads
        As in `segtool.load`, for scores and latency. Without `threads`, latency uses OMP_NUM_THREADS or one thread.
    latency, runs
        Whether latency is measured, and the number of timed runs of each model; None for `RUNS`.
    samples
        Number of worst, of best, and of most changed images (FP32 against INT8) to show.
    out
        The HTML file; its JSON has the same name plus .json. None means report.html, in the run folder if all models
        are of one run, else in the current folder.
    plots
        Folder for the charts as SVG and PNG; None for no chart files.
    overwrite
        Whether existing files may be replaced.
    """

    data: str | None = None
    split: str | None = None
    provider: str = "auto"
    provider_options: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    latency: bool = True
    runs: int | None = None
    samples: int = 6
    out: Path | None = None
    plots: Path | None = None
    overwrite: bool = False
