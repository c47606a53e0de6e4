"""The exact commands that reproduce a report, starting with the training."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from segtool.report.page.options import RUNS, ReportOptions


def commands_for(report: Mapping[str, Any], options: ReportOptions) -> list[dict[str, str]]:
    """Return the commands in order, each as `what` (its purpose) and `command`.

    A training that was started from Python has no command. Of an export without options, the contract does not record
    whether it was started from Python.
    """
    return [{"what": what, "command": shlex.join(["segtool", *words])} for what, words in _steps(report, options)]


def _steps(report: Mapping[str, Any], options: ReportOptions) -> Iterator[tuple[str, list[str]]]:
    models, data, device = report["models"], _data(options), _device(options)
    for run in report["runs"]:
        given = run["info"].get("arguments")
        if given is not None:
            named = any(word == "--out" or word.startswith("--out=") for word in given)
            yield "Train the network", ["train", *given, *([] if named else ["--out", run["path"]])]
        own = [model["contract"] for model in models if model["run"] == run["path"] and model["kind"] == "onnx"]
        int8 = ["--quantize"] if any(contract["precision"] == "int8" for contract in own) else []
        for words in dict.fromkeys(tuple(contract["arguments"]) for contract in own):  # FP32 and INT8 share a command
            what = "Export and verify it" + ("" if words else " (without options, or started from Python)")
            yield what, ["export", *(words or [run["path"], *int8])]
    paths = [model["path"] for model in models]
    onnx = [model["path"] for model in models if model["kind"] == "onnx"]
    for path in onnx:
        yield f"Check {path} on a device, without data", ["verify", path]
    for path in paths:
        yield f"Score {path}", ["evaluate", path, *data, "--json"]
    if onnx and options.latency:
        yield "Measure latency", ["benchmark", *onnx, "--runs", str(options.runs or RUNS), *device, "--json"]
    runs = ["--runs", str(options.runs)] if options.runs else []
    timed = runs if options.latency else ["--no-latency"]
    yield "Create this report", ["report", *paths, *data, *device, *timed]


def _data(options: ReportOptions) -> list[str]:
    data = ["--data", options.data] if options.data else []
    return data + (["--split", options.split] if options.split else [])


def _device(options: ReportOptions) -> list[str]:
    provider = ["--provider", options.provider] if options.provider != "auto" else []
    threads = ["--threads", str(options.threads)] if options.threads else []
    settings = [f"{key}={value}" for key, value in options.provider_options.items()]
    return [*provider, *threads, *(part for setting in settings for part in ("--provider-option", setting))]
