"""Running the command line as a user does, and recording its output."""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segtool.machine.machine import machine_info

RESULTS = Path(__file__).parent / "results"

# Where Python may not keep what it compiles, each process compiles all of segtool anew, which no user's does.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def segtool(*arguments: str, cwd: Path) -> dict[str, Any]:
    """Run `segtool ARGUMENTS`; return the command, its exit code, its seconds and the last lines that it said."""
    print("$ segtool", *arguments, flush=True)
    started = time.perf_counter()
    result = subprocess.run(call(*arguments), cwd=cwd, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    print(result.stdout, result.stderr[-600:], sep="\n", flush=True)
    return {
        "command": " ".join(["segtool", *arguments]),
        "exit_code": result.returncode,
        "seconds": round(seconds, 1),
        "stdout": result.stdout.strip().splitlines()[-12:],
    }


def segtool_json(*arguments: str, cwd: Path) -> dict[str, Any]:
    """Run `segtool ARGUMENTS --json` and return what it printed; stop the benchmark where it fails."""
    print("$ segtool", *arguments, "--json", flush=True)
    result = subprocess.run(call(*arguments, "--json"), cwd=cwd, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(result.stderr)
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def call(*arguments: str | bytes) -> Sequence[str | bytes]:
    """Return the command line that runs segtool in this interpreter's environment."""
    return [sys.executable, "-m", "segtool", *arguments]


def in_threes(parser: argparse.ArgumentParser, given: Sequence[str], names: str) -> list[Sequence[str]]:
    """Return the arguments three by three, named `names`; end with the parser's error if some are missing."""
    if len(given) % 3:
        parser.error(f"each network takes three arguments: {names}")
    return [given[start : start + 3] for start in range(0, len(given), 3)]


def numbers(text: str) -> list[int]:
    """Return the numbers of an option such as "1,2"."""
    return [int(number) for number in text.split(",")]


def history(run: Path) -> list[dict[str, str]]:
    """Return the rows of a run's history.csv, one an epoch."""
    with (run / "history.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def write_result(name: str, payload: dict[str, Any]) -> None:
    """Write results/NAME.json with the machine and the command that made it."""
    _write(name, {"schema_version": 1, "made_by": _this_command(), "machine": machine_info(), **payload})


def update_result(name: str, payload: dict[str, Any]) -> None:
    """Replace some figures of results/NAME.json; this command is added to those that made it."""
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_bytes())
    earlier = [command for command in result["made_by"].split("; ") if command != _this_command()]
    _write(name, {**result, "made_by": "; ".join([*earlier, _this_command()]), **payload})


def _write(name: str, result: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print("wrote", RESULTS / f"{name}.json")


def _this_command() -> str:
    return " ".join(["python", "benchmarks/" + Path(sys.argv[0]).name, *map(_public, sys.argv[1:])])


def _public(argument: str) -> str:
    """Return an argument without the folders of this machine."""
    return Path(argument).name if os.sep in argument else argument
