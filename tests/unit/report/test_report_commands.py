"""The commands of a report: with every option that train and export have, they are those that were given."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from report_runs import write_report_run
from tiny_models import tiny_contract

from segtool.cli.common import arguments_as_given
from segtool.cli.export import command as export
from segtool.cli.report import command as report
from segtool.cli.train import command as train
from segtool.report.page.commands import commands_for
from segtool.report.page.options import ReportOptions

# Values of options that take a text of a form of their own, none of them the default.
TEXTS = {
    "data": "my data", "augment": "shift:8,noise", "class_weights": "balanced",
    "size": "64x96", "crop": "32x48", "max_drop": "0.75", "prune": "0.1", "learning_rate": "0.002", "width": "0.5",
    "weight_decay": "0.01", "rare_crops": "0.25", "val_split": "0.3",
    "test_split": "0.1", "out": "a folder/out", "epochs": "7", "batch_size": "3", "seed": "11", "patience": "4",
    "opset": "17", "calibration_images": "40", "custom": __file__,
    "weights": "runs/earlier", "auxiliary": "0.2", "qat": "runs/base", "triton": "models dir",
    "input_scale": "imagenet", "output": "main out", "threshold": "0.4",
}  # fmt: skip
ONLY_SHOWN = {"verbose", "quiet", "debug", "as_json", "help"}


def every_option(command: click.Command) -> list[str]:
    """Each option of a command with a value that is not its default; a new one without a value here fails."""
    given: list[str] = []
    for option in command.params:
        if not isinstance(option, click.Option) or option.name in ONLY_SHOWN | {"resume"}:
            continue
        flag = max(option.opts, key=len)
        if option.is_flag:
            given.append(flag)
        elif isinstance(option.type, click.Choice):
            given += [flag, [item for item in option.type.choices if item != option.default][-1]]
        else:
            given += [flag, TEXTS[str(option.name)]]
    return given


def parsed(command: click.Command, arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    with command.make_context(command.name, list(arguments)) as context:
        return dict(context.params), list(arguments_as_given())


def steps(
    run: dict[str, Any], contracts: list[dict[str, Any]], options: ReportOptions | None = None
) -> list[dict[str, str]]:
    models = [{"path": f"{i}.onnx", "run": "r", "kind": "onnx", "contract": c} for i, c in enumerate(contracts)]
    found = {"runs": [{"path": "r", "info": run}], "models": models}
    return commands_for(found, options or ReportOptions(latency=False))


@pytest.mark.parametrize("command", [train, export], ids=["train", "export"])
def test_every_option_that_was_given_is_printed(command: click.Command) -> None:
    given = every_option(command)
    asked, kept = parsed(command, [*given, "-v", "--json"])
    assert kept == given
    assert asked["as_json"] is True
    contracts = [vars(tiny_contract(arguments=tuple(given), precision=each)) for each in ("float32", "int8")]
    trained, exported, *_ = steps({"arguments": given, "config": {}}, contracts)
    printed = shlex.split((trained if command is train else exported)["command"])
    assert printed == ["segtool", command.name, *given]
    assert parsed(command, printed[2:])[0] == asked | {"verbose": False, "as_json": False}
    assert "Python" not in exported["what"]


def test_a_run_without_a_name_of_its_own_gets_the_one_that_it_has() -> None:
    trained, *_ = steps({"arguments": ["--epochs", "3"], "config": {"epochs": 3}}, [])
    assert trained["command"] == "segtool train --epochs 3 --out r"


def test_a_training_from_python_has_no_command_and_an_export_without_options_says_so() -> None:
    exported, *_ = steps({"config": {"epochs": 3}}, [vars(tiny_contract()), vars(tiny_contract(precision="int8"))])
    assert exported["command"] == "segtool export r --quantize"
    assert "started from Python" in exported["what"]


def test_a_training_without_options_has_its_command() -> None:
    trained, *_ = steps({"arguments": []}, [])
    assert trained["command"] == "segtool train --out r"


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (ReportOptions(), []),
        (ReportOptions(latency=False), ["--no-latency"]),
        (ReportOptions(runs=50, threads=2), ["--threads", "2", "--runs", "50"]),
    ],
)
def test_the_last_command_creates_this_report_again(options: ReportOptions, given: list[str]) -> None:
    contract = vars(tiny_contract())
    *_, last = steps({"arguments": [], "config": {}}, [contract], options)
    assert shlex.split(last["command"]) == ["segtool", "report", "0.onnx", *given]
    with report.make_context("report", shlex.split(last["command"])[2:]) as context:
        parsed = {name: context.params[name] for name in ("latency", "runs", "threads")}
    assert parsed == {"latency": options.latency, "runs": options.runs, "threads": options.threads}


def test_a_training_keeps_its_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segtool.cli import main

    monkeypatch.chdir(tmp_path)
    write_report_run(tmp_path / "other")  # for its data
    given = [
        *("--data", "data.npz", "--epochs", "1", "--arch", "fcn8-edge-half", "--batch-size", "8", "--precision"),
        *("float32", "--out", "run"),
    ]
    result = CliRunner().invoke(main, ["train", "-q", *given, "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(Path("run/run.json").read_text())["arguments"] == given
