"""The exact commands that reproduce a report, starting with the training."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from segtool.report.page.options import RUNS, ReportOptions
from segtool.report.page.verdict import DEFAULT_MAX_DROP

# Options that run.json also has outside of its configuration.
_OF_RUN = ("arch", "recipe", "epochs", "batch_size", "val_split", "test_split", "seed")

_NOT_KEPT = " (its arguments were not kept; these options come from the {})"


def commands_for(report: Mapping[str, Any], options: ReportOptions) -> list[dict[str, str]]:
    """Return the commands in order, each as `what` (its purpose) and `command`."""
    steps = []
    for run in report["runs"]:
        steps.append(_step(*_train(run)))
        steps += [_step(what, command) for what, command in _exports(run["path"], report["models"])]
    paths = [model["path"] for model in report["models"]]
    onnx = [model["path"] for model in report["models"] if model["kind"] == "onnx"]
    steps += [_step(f"Check {path} on a device, without data", ["segtool", "verify", path]) for path in onnx]
    if not report["selection_note"]:  # otherwise single models would be scored on other images
        steps += [_step(f"Score {path}", ["segtool", "evaluate", path, *_data(options), "--json"]) for path in paths]
    if onnx and options.latency:
        timed = ["--runs", str(options.runs or RUNS), *_device(options), "--json"]
        steps.append(_step("Measure latency", ["segtool", "benchmark", *onnx, *timed]))
    runs = ["--runs", str(options.runs)] if options.runs else []
    runs = runs if options.latency else ["--no-latency"]
    steps.append(_step("Create this report", ["segtool", "report", *paths, *_data(options), *_device(options), *runs]))
    return steps


def _step(what: str, command: Sequence[str]) -> dict[str, str]:
    return {"what": what, "command": shlex.join(command)}


def _train(run: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the purpose of a run's command, and the command with its arguments as given if they were kept."""
    kept, what = run["info"].get("arguments"), "Train the network"
    if isinstance(kept, list):
        arguments = [str(item) for item in kept]
    else:  # trained from Python, or by an earlier segtool
        arguments, what = _train_options(run["info"]), what + _NOT_KEPT.format("run")
    out = [] if any(item == "--out" or item.startswith("--out=") for item in arguments) else ["--out", run["path"]]
    return what, ["segtool", "train", *arguments, *out]


def _train_options(info: Mapping[str, Any]) -> list[str]:
    """Return the options of a run from its configuration, without defaults."""
    values = {**{name: info.get(name) for name in _OF_RUN}, **info.get("config", {})}
    options: list[str] = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            options += [flag] if value else []
        elif isinstance(value, list | tuple):  # a size, (height, width)
            options += [flag, "x".join(str(side) for side in value)]
        elif isinstance(value, str | int | float) and value != "auto":
            options += [flag, str(value)]
    return options


def _exports(run: str, models: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return purpose and command of each export of a run; FP32 and INT8 share one command."""
    own = [model["contract"] for model in models if model["run"] == run and model["kind"] == "onnx"]
    given = dict.fromkeys(tuple(each["arguments"]) for each in own if each["arguments"])
    found = [("Export and verify it", ["segtool", "export", *arguments]) for arguments in given]
    others = [each for each in own if not each["arguments"]]
    for size in dict.fromkeys((each["height"], each["width"]) for each in others):
        of_size = [each for each in others if (each["height"], each["width"]) == size]
        what = "Export and verify it" + _NOT_KEPT.format("file")
        found.append((what, ["segtool", "export", run, *_export_options(of_size)]))
    return found


def _export_options(contracts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the non-default options that the contracts record."""
    first = contracts[0]
    options: list[str] = []
    if first["trained_size"]:
        options += ["--size", f"{first['height']}x{first['width']}"]
    if first["head"] != "labels":
        options += ["--head", first["head"]]
    if first["size_policy"] != "resize":
        options += ["--larger-images", first["size_policy"]]
    for contract in contracts:
        if contract["precision"] == "int8":
            options += _int8_options(contract)
    waived = {name for contract in contracts for name, gate in contract["gates"].items() if gate.get("waived")}
    return [*options, *(part for name in sorted(waived) for part in ("--waive", name))]


def _int8_options(contract: Mapping[str, Any]) -> list[str]:
    facts = contract["quantization"]
    options = ["--quantize"]
    if facts.get("preset"):
        options += ["--preset", str(facts["preset"])]
    if contract["gates"].get("accuracy", {}).get("max_drop", DEFAULT_MAX_DROP) != DEFAULT_MAX_DROP:
        options += ["--max-drop", f"{contract['gates']['accuracy']['max_drop']:g}"]
    calibration = [name for name in ("percentile", "entropy") if f" {name}," in str(facts.get("method"))]
    return [*options, *(part for name in calibration for part in ("--calibration", name))]


def _data(options: ReportOptions) -> list[str]:
    data = ["--data", options.data] if options.data else []
    return data + (["--split", options.split] if options.split else [])


def _device(options: ReportOptions) -> list[str]:
    provider = ["--provider", options.provider] if options.provider != "auto" else []
    threads = ["--threads", str(options.threads)] if options.threads else []
    settings = [f"{key}={value}" for key, value in options.provider_options.items()]
    return [*provider, *threads, *(part for setting in settings for part in ("--provider-option", setting))]
