"""What each part of the recipe `standard` and of fcn8-edge is worth: results/ablation.json and .md.

`python benchmarks/ablation.py DATA` trains named variants for a few epochs each, from the most informative on, all on
the same images and scored on the same validation images; the test images of the shipped model's split take no part.
A finished variant is kept in --work and one that was stopped goes on, so the command can be given again and again;
what an earlier results/ablation.json holds of the same images and epochs counts as finished. `--only` picks variants,
`--report` writes what is finished. `--whole` trains on all training images for the recipe's 60 epochs, which turns
what a short training likes into what a user gets: results/ablation_whole.json and .md; of these only what `--only`
names is trained, and another --work is needed.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from commands import RESULTS, write_result

from segtool.data.dataset import split
from segtool.data.loading import load_dataset

SPLIT = {"val_fraction": 0.1, "test_fraction": 0.1, "seed": 0}  # that of the shipped model
FIGURES = ("pixel_accuracy", "foreground_mean_iou", "foreground_mean_dice")


@dataclass(frozen=True)
class Length:
    """How long the trainings are: the name of the results, epochs, and images to train on; validated on `val`."""

    name: str
    epochs: int
    train: int
    val: int = 400


SHORT, WHOLE = Length("ablation", 24, 1600), Length("ablation_whole", 60, 3200)


@dataclass(frozen=True)
class Variant:
    """What differs from `segtool train`: its options, and constants of fcn8_edge.py."""

    group: str
    options: tuple[str, ...] = ()
    constants: dict[str, Any] = field(default_factory=dict)


def _augmented(*names: str) -> Variant:
    return Variant("augmentation", ("--augment", ",".join(names) or "none"))


# The most informative first: what is cut short still says most.
VARIANTS: dict[str, Variant] = {
    "standard": Variant("baseline"),
    "standard, seed 1": Variant("baseline", ("--seed", "1")),
    "no augmentation": _augmented(),
    "and recompose": _augmented("shift:12", "recompose"),
    "EMA 0.99": Variant("averaging", ("--ema", "0.99")),
    "combined loss": Variant("loss", ("--loss", "combined")),
    "batches of 8": Variant("batch", ("--batch-size", "8")),
    "standard, seed 2": Variant("baseline", ("--seed", "2")),
    "shift 4": _augmented("shift:4"),
    "no dark tones": Variant("architecture", constants={"TONES": (1.0,)}),
    "adam": Variant("optimizer", ("--optimizer", "adam")),
    "and elastic": _augmented("shift:12", "elastic"),
    "batches of 32": Variant("batch", ("--batch-size", "32")),
    "one refinement": Variant("architecture", constants={"REFINEMENT": (32,)}),
    "twice the rate": Variant("optimizer", ("--learning-rate", "0.004")),
    "and scale": _augmented("shift:12", "scale"),
    "focal loss": Variant("loss", ("--loss", "focal")),
    "and brightness": _augmented("shift:12", "brightness"),
    "two deep layers": Variant("architecture", constants={"DEEP_LAYERS": 2}),
    "half the rate": Variant("optimizer", ("--learning-rate", "0.001")),
    "dice loss": Variant("loss", ("--loss", "dice")),
    "shift 8": _augmented("shift:8"),
    "half the width": Variant("architecture", ("--width", "0.5")),
    "and noise": _augmented("shift:12", "noise"),
    "balanced classes": Variant("loss", ("--class-weights", "balanced")),
    "constant rate": Variant("optimizer", ("--schedule", "constant")),
    "sgd": Variant("optimizer", ("--optimizer", "sgd")),
    "and contrast": _augmented("shift:12", "contrast"),
    "twice the width": Variant("architecture", ("--width", "2")),
}


def main() -> None:
    """Train what is missing, then write what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="M2NIST")
    parser.add_argument("--work", type=Path, default=Path("edge_trials"), help="where runs are kept")
    parser.add_argument("--only", action="append", choices=list(VARIANTS), help="train this variant; may be repeated")
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--whole", action="store_true", help="60 epochs on all training images")
    parser.add_argument("--trial", choices=list(VARIANTS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work: Path = arguments.work.resolve()
    length = WHOLE if arguments.whole else SHORT
    if arguments.trial:
        sys.exit(_train(arguments.trial, work, length))
    data = _write_data(arguments.data, work, length)
    earlier = _earlier(data, length)
    for name in [] if arguments.report else arguments.only or ([] if arguments.whole else VARIANTS):
        if name not in earlier and not _finished(name, work):
            call = [sys.executable, __file__, str(arguments.data), "--work", str(work), "--trial", name]
            subprocess.run([*call, *(["--whole"] if arguments.whole else [])], check=True)
    _write(work, data, earlier, length)


def _earlier(data: dict[str, Any], length: Length) -> dict[str, dict[str, Any]]:
    """Return the rows of the results that are there by their names, if they are of the same images and epochs."""
    path = RESULTS / f"{length.name}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    same = (found.get("data"), found.get("epochs")) == (data, length.epochs)
    return {row["name"]: row for row in found["variants"]} if same else {}


def _finished(name: str, work: Path) -> bool:
    return (_run(name, work) / "metrics.json").is_file()


def _run(name: str, work: Path) -> Path:
    return work / name.replace(", ", "-").replace(" ", "-")


def _write_data(source: Path, work: Path, length: Length) -> dict[str, Any]:
    """Write the images of all variants as one file with given parts; return what is in it."""
    path = work / "data.npz"
    if not path.is_file():
        dataset = load_dataset(str(source))
        parts = split(dataset, **SPLIT)
        train, val = parts.train[: length.train], parts.val[: length.val]
        images, labels = dataset.arrays(np.concatenate([train, val]))
        work.mkdir(parents=True, exist_ok=True)
        given = {"train": [0, len(train)], "val": [len(train), len(train) + len(val)]}
        classes = [{"name": name} for name in dataset.class_names]
        background = dataset.class_names[dataset.background_id or 0]
        description = {"classes": classes, "background": background, "splits": given}
        (work / "dataset.json").write_text(json.dumps(description))
        np.savez(path, images=images, labels=labels)
    found = load_dataset(str(path))
    parts = {name: len(part) for name, part in (found.splits or {}).items()}
    return {"fingerprint": found.fingerprint(), "parts": parts, "split": SPLIT}


def _train(name: str, work: Path, length: Length) -> int:
    """Train one variant in this process, or go on with it."""
    from segtool.cli import main as segtool
    from segtool.train.architectures import fcn8_edge

    for constant, value in VARIANTS[name].constants.items():
        setattr(fcn8_edge, constant, value)
    run = _run(name, work)
    resume = ["--resume"] if (run / "run.json").is_file() else []
    own = [] if resume else [*VARIANTS[name].options, "--epochs", str(length.epochs), "--data", str(work / "data.npz")]
    return int(segtool(["train", "--out", str(run), *own, *resume], standalone_mode=False) or 0)


def _write(work: Path, data: dict[str, Any], earlier: dict[str, dict[str, Any]], length: Length) -> None:
    new = {name: _row(name, _run(name, work)) for name in VARIANTS if _finished(name, work)}
    found = {**earlier, **new}
    rows = [found[name] for name in VARIANTS if name in found]
    noise = _noise(rows)
    missing = [name for name in VARIANTS if name not in found] if length is SHORT else []
    result = {"epochs": length.epochs, "data": data, "noise": noise, "missing": missing, "variants": rows}
    write_result(length.name, result)
    (RESULTS / f"{length.name}.md").write_text(_table(rows, noise, missing, length), encoding="utf-8")


def _row(name: str, run: Path) -> dict[str, Any]:
    """Return the figures of one finished variant on validation."""
    info, metrics = (json.loads((run / file).read_text()) for file in ("run.json", "metrics.json"))
    with (run / "history.csv").open(newline="") as handle:
        history = list(csv.DictReader(handle))
    variant = VARIANTS[name]
    return {
        "name": name,
        "group": variant.group,
        "options": list(variant.options),
        "constants": variant.constants,
        "recipe_values": info["recipe_values"],
        "seed": info["seed"],
        "parameters": info["parameters"],
        "precision": info["precision"]["name"],
        "best_epoch": metrics["best_epoch"],
        "val": {key: metrics["val"][key] for key in FIGURES},
        "seconds": round(sum(float(row["seconds"]) for row in history)),
    }


def _noise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what seeds alone change: mean and range of the mean IoU of `standard`, which comes first."""
    found = [row["val"]["foreground_mean_iou"] for row in rows if row["group"] == "baseline"]
    if not found:
        sys.exit("Nothing can be compared before `standard` is trained; train it first.")
    return {"seeds": len(found), "mean_iou": statistics.fmean(found), "range": max(found) - min(found)}


def _table(rows: list[dict[str, Any]], noise: dict[str, Any], missing: list[str], length: Length) -> str:
    """Return the figures as Markdown, group by group."""
    groups = list(dict.fromkeys(variant.group for variant in VARIANTS.values()))
    lines = [
        f"# What each part of `standard` is worth{'' if length is SHORT else ', trained in full'}",
        "",
        f"fcn8-edge on {length.train} M2NIST images, {length.epochs} epochs each, scored on {length.val} validation "
        f"images (`benchmarks/ablation.py{'' if length is SHORT else ' --whole'}`). {_said_of_noise(noise)} Trained "
        "beside other work, so the seconds are no measure.",
        "",
        "| variant | part | pixel accuracy % | mean IoU, digits % | against `standard` | mean Dice % | parameters |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: groups.index(row["group"])):
        accuracy, iou, dice = (100 * row["val"][key] for key in FIGURES)
        lines.append(
            f"| {row['name']} | {row['group']} | {accuracy:.2f} | {iou:.2f} | {iou - 100 * noise['mean_iou']:+.2f} | "
            f"{dice:.2f} | {row['parameters']:,} |"
        )
    if missing:
        lines += ["", f"Not trained yet: {', '.join(missing)}."]
    return "\n".join([*lines, ""])


def _said_of_noise(noise: dict[str, Any]) -> str:
    if noise["seeds"] == 1:
        return "Each was trained once: a difference of a few tenths may be the seed's."
    return (
        f"Over seeds alone the mean IoU of `standard` ranges over {100 * noise['range']:.2f} points ({noise['seeds']} "
        "seeds), and differences are against their mean: smaller differences mean nothing."
    )


if __name__ == "__main__":
    main()
