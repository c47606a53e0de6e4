"""Trainings of named variants, each in a folder of its own: the frame of ablation.py and photos.py.

Finished variants are kept in --work and stopped ones continue, so a script can be repeated. `--only` selects variants,
`--report` trains nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from commands import history


def parsed(
    doc: str, variants: Mapping[str, object], *, data: str, work: str, own: Mapping[str, str] | None = None
) -> argparse.Namespace:
    """Return the arguments of a script with these variants, and the options of its `own`, with their help.

    `trial` names the variant to train in this process.
    """
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("data", type=Path, help=data)
    parser.add_argument("--work", type=Path, default=Path(work), help="where runs are kept")
    parser.add_argument("--only", action="append", choices=list(variants), help="train this variant; may be repeated")
    parser.add_argument("--report", action="store_true", help="train nothing")
    for option, text in (own or {}).items():
        parser.add_argument(option, help=text)
    parser.add_argument("--trial", choices=list(variants), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.data, arguments.work = arguments.data.resolve(), arguments.work.resolve()
    return arguments


def train_missing(variants: Iterable[str], arguments: argparse.Namespace) -> None:
    """Train the variants that are not finished, each in a process of this script."""
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in [] if arguments.report else arguments.only or variants:
        if not is_finished(name, arguments.work):
            call = [sys.executable, sys.argv[0], arguments.data, "--work", arguments.work, "--trial", name]
            subprocess.run(list(map(str, call)), check=True)


def train(name: str, work: Path, options: Sequence[str]) -> int:
    """Train one variant in this process with these options, or continue it; return the exit code."""
    from segtool.cli import main as segtool

    run = folder_of(name, work)
    own = ["--resume"] if (run / "run.json").is_file() else options
    return int(segtool(["train", "--out", str(run), *own], standalone_mode=False) or 0)


def folder_of(name: str, work: Path) -> Path:
    """Return the run folder of a variant."""
    return work / name.replace(", ", "-").replace(" ", "-")


def is_finished(name: str, work: Path) -> bool:
    """Return whether the training of a variant ended."""
    return (folder_of(name, work) / "metrics.json").is_file()


def finished(name: str, work: Path) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, str]]]:
    """Return what all scripts report of a finished variant, its scores on validation, and its history."""
    run = folder_of(name, work)
    info, metrics = (json.loads((run / file).read_text()) for file in ("run.json", "metrics.json"))
    rows = history(run)
    facts = {
        "recipe_values": info["recipe_values"],
        "seed": info["seed"],
        "parameters": info["parameters"],
        "precision": info["precision"]["name"],
        "best_epoch": metrics["best_epoch"],
        "seconds": round(sum(float(row["seconds"]) for row in rows)),
    }
    return facts, metrics["val"], rows
