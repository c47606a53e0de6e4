"""Run segtool on failing inputs from public bug reports: results/cases.json and results/cases.md.

`python benchmarks/cases.py [CASES] [--only NAME ...] [--again]` runs the commands of every case in CASES (default:
../shared/cases) one after the other, each in its own process. For a data set these are `data check`, `data info`,
`train --epochs 1` and `evaluate` of the result. For a model it is the export that CASES/README.md names, with each of
its options. The table shows the expected result, from the same README, beside the messages of each command. Cases that
are in results/cases.json are skipped, except with --only or --again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands import RESULTS, call, write_result

ROOT = Path(__file__).resolve().parents[1]
NAME = "cases"
SIDES = ("data", "models")
TIME_LIMIT_S = 900
_SHOWN, _END = 260, 70  # characters of a sentence in the table, and those of them that are its end
TRAINING = ("--epochs", "1", "--arch", "fcn8-edge-half", "--width", "0.25", "--batch-size", "4", "--quiet")
VARIANTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "k01-keras-io-pets": (("--input-scale", "0..255"),),
    "m08-logits": (("--head", "logits"), ("--head", "probabilities")),
    "m08-logits-x50": (("--head", "logits"), ("--head", "probabilities")),
    "m10-two-outputs-aux": (("--output", "classifier"),),
    "m12-any-size": (("--size", "64x96"),),
    "n33-dict-output": (("--output", "seg"),),
}
"""Options that README.md names for a model, beside the command without them."""


def main() -> None:
    """Run what is not done yet, and write both results after each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, nargs="?", default=ROOT.parent / "shared" / "cases")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these, whether or not they were run before")
    parser.add_argument("--again", action="store_true", help="run all, whether or not they were run before")
    arguments = parser.parse_args()
    folder = arguments.cases.resolve()
    done = {} if arguments.again else _done()
    right = what_is_right((folder / "README.md").read_text(encoding="utf-8"))
    for side, path in all_cases(folder):
        name = path.stem if side == "models" else path.name
        chosen = name in arguments.only if arguments.only else name not in done
        if chosen:
            runs = data_runs(path, folder) if side == "data" else model_runs(path, folder)
            done[name] = {"name": name, "side": side, "right": right.get(name, ""), "runs": runs}
            _write(done)


def all_cases(folder: Path) -> list[tuple[str, Path]]:
    """Return every case with its side, in the order of their names."""
    return [(side, path) for side in SIDES for path in sorted((folder / side).iterdir()) if path.name[0] != "."]


def what_is_right(readme: str) -> dict[str, str]:
    """Return the last column of README.md's tables for each case that the first column names."""
    found: dict[str, str] = {}
    for line in readme.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) >= 2:
            found |= {name.removesuffix(".h5"): cells[-1] for name in cells[0].split(", ")}
    return found


def data_runs(data: Path, cases: Path) -> list[dict[str, Any]]:
    """Run the four commands on a data set; `evaluate` only where there is something to score."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        trained = ("train", "--data", str(data), *TRAINING, "--out", str(out / "run"))
        runs = [
            _run(("data", "check", str(data)), cases, out),
            _run(("data", "info", str(data)), cases, out),
            _run(trained, cases, out),
        ]
        if runs[-1]["exit_code"] == 0:
            runs.append(_run(("evaluate", str(out / "run"), "--data", str(data)), cases, out))
        return runs


def model_runs(model: Path, cases: Path) -> list[dict[str, Any]]:
    """Run the export without, and with each of the options that the case names."""
    data = cases / _data_for(model)
    runs = []
    for options in ((), *VARIANTS.get(model.stem, ())):
        with tempfile.TemporaryDirectory() as name:
            out = Path(name)
            fixed = ("--data", str(data), "--quantize", "--waive", "speed", "--out", str(out / "model.onnx"))
            runs.append(_run(("export", str(model), *fixed, *options), cases, out))
    return runs


def _data_for(model: Path) -> str:
    """Return which of the data sets a model is exported with, by its classes and the channels of its input."""
    if model.stem.startswith("m09"):
        return "shapes2"
    shapes = re.findall(r'"batch_(?:input_)?shape": \[[^\]]*?(\d+)\]', _config(model))
    return "shapes5grey" if shapes[:1] == ["1"] else "shapes5"


def _config(model: Path) -> str:
    if model.suffix == ".keras":
        with zipfile.ZipFile(model) as archive:
            return archive.read("config.json").decode()
    import h5py

    with h5py.File(model) as file:
        config = file.attrs["model_config"]
    return config.decode() if isinstance(config, bytes) else str(config)


def _run(arguments: Sequence[str], cases: Path, out: Path) -> dict[str, Any]:
    """Run one command; return its exit code, its seconds, and the sentence that says most."""
    shown = _relative(" ".join(["segtool", *arguments]), cases, out)
    print("$", shown, flush=True)
    started = time.perf_counter()
    environment = {**os.environ, "COLUMNS": "100000"}  # or messages are wrapped
    try:
        done = subprocess.run(
            call(*arguments, "--json"), cwd=out, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT_S,
            check=False,
        )  # fmt: skip
        code, sentence = done.returncode, key_sentence(done.stdout, done.stderr)
    except subprocess.TimeoutExpired:
        code, sentence = None, f"not done in {TIME_LIMIT_S} s"
    sentence = _relative(sentence, cases, out)
    print(code, sentence, sep=" | ", flush=True)
    return {
        "command": shown,
        "exit_code": code,
        "seconds": round(time.perf_counter() - started, 1),
        "sentence": sentence,
    }


def key_sentence(stdout: str, stderr: str) -> str:
    """Return what a command says: a traceback, the error, else what was found, with the warnings before it."""
    if "Traceback" in stderr:
        return "TRACEBACK: " + stderr.strip().splitlines()[-1]
    lines = [" ".join(line.split()) for line in stderr.splitlines()]
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    warnings = [line for line in lines if line.startswith("Warning: ")]
    return " ".join([*warnings, *(errors or [_of_report(stdout)])]).strip()


def _of_report(stdout: str) -> str:
    """Return the figures of a JSON report that show whether the command did what was asked."""
    try:
        report = json.loads(stdout)
    except json.JSONDecodeError:
        return " ".join(stdout.split())[-_SHOWN:]
    if "problems" in report:
        problems = report["problems"]
        more = f" ({len(problems) - 1} more rows)" if len(problems) > 1 else ""
        return problems[0]["message"] + more if problems else f"{report['images']} images, nothing wrong found"
    if "num_classes" in report:
        names = ", ".join(item["name"] for item in report["classes"])
        return f"{report['images']} images, {report['num_classes']} classes ({names})"
    figures = ("images", "epochs", "pixel_accuracy", "foreground_mean_iou", "written", "files")
    shown = {key: report[key] for key in figures if key in report}
    return ", ".join(f"{key} {_rounded(value)}" for key, value in shown.items()) or "done"


def _rounded(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _relative(text: str, cases: Path, out: Path) -> str:
    return text.replace(str(cases), "cases").replace(str(out), "OUT")


def _done() -> dict[str, dict[str, Any]]:
    path = RESULTS / f"{NAME}.json"
    if not path.is_file():
        return {}
    return {row["name"]: row for row in json.loads(path.read_bytes())["cases"]}


def _write(done: dict[str, dict[str, Any]]) -> None:
    rows = sorted(done.values(), key=lambda row: (SIDES.index(row["side"]), row["name"]))
    write_result(NAME, {"cases": rows})
    (RESULTS / f"{NAME}.md").write_text(table(rows), encoding="utf-8")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the cases as Markdown: what each command does, beside what is right."""
    lines = [
        "# Failing inputs of other people",
        "",
        f"{len(rows)} small inputs rebuilt from public bug reports, run by `benchmarks/cases.py`: the exit code and "
        "the sentence of each command, beside what is right.",
    ]
    for side in SIDES:
        lines += [
            "",
            f"## {side}",
            "",
            "| case | right | command | exit code | says |",
            "| --- | --- | --- | --- | --- |",
        ]
        for row in (row for row in rows if row["side"] == side):
            for index, run in enumerate(row["runs"]):
                start = [row["name"], row["right"]] if index == 0 else ["", ""]
                cells = [*start, f"`{_short_command(run['command'])}`", str(run["exit_code"]), _short(run["sentence"])]
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _short_command(command: str) -> str:
    """Return what was run, without the paths and the options that all cases share."""
    words = command.split()[1:]
    if words[0] == "export":
        start = words.index("OUT/model.onnx")
        return " ".join(["export", *words[start + 1 :]])
    return " ".join(words[:2]) if words[0] == "data" else words[0]


def _short(sentence: str) -> str:
    if len(sentence) <= _SHOWN:
        return sentence
    return f"{sentence[: _SHOWN - _END].rstrip()} ... {sentence[-_END:].lstrip()}"


if __name__ == "__main__":
    main()
