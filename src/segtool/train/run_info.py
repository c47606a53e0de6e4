"""The content of run.json, and the check that a resumed training is the one that it describes."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

import segtool
from segtool.errors import TrainingError
from segtool.train.plan import Plan
from segtool.train.recipes import recipe_values

SCHEMA_VERSION = 1


def describe_plan(plan: Plan, *, parameters: int) -> dict[str, Any]:
    """Return the content of run.json: enough to describe, repeat and resume the run.

    Parameters
    ----------
    plan
        The plan of the training.
    parameters
        Number of weights of the network.
    """
    data, options = plan.data, plan.options
    return {
        "schema_version": SCHEMA_VERSION,
        "segtool_version": segtool.__version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "status": "running",
        "arch": options.arch,
        "recipe": options.recipe,
        "recipe_values": recipe_values(plan.recipe),
        "encoder": options.encoder,
        "weights": options.weights,
        "crop": plan.crop,
        "reasons": plan.reasons,
        "class_weights": plan.class_weights,
        "epochs": plan.recipe.epochs,
        "batch_size": plan.recipe.batch_size,
        "config": options.to_dict(),
        "seed": options.seed,
        "val_split": options.val_split,
        "test_split": options.test_split,
        "qat": plan.start.describe() if plan.start else None,
        "parameters": parameters,
        "data": {
            "spec": options.data,
            "fingerprint": data.fingerprint(),
            "class_names": list(data.class_names),
            "background_id": data.background_id,
            "ignore_id": data.ignore_id,
            "height": plan.size[0],
            "width": plan.size[1],
            "channels": data.channels,
            "size_policy": "tile" if options.crop else "resize",
            "splits": {"train": len(plan.split.train), "val": len(plan.split.val), "test": len(plan.split.test)},
        },
        "precision": vars(plan.precision),
        "device": {
            "processor": plan.device.processor,
            "description": plan.device.description,
            "count": plan.device.count,
        },
        "backend": keras.backend.backend(),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("keras", backend, "numpy")},
    }


def refuse_other_options(run: Path, info: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse to resume with options that differ from those of the run, because they would be ignored.

    Parameters
    ----------
    run
        The run folder, for messages.
    info
        Its run.json.
    expected
        The given options, under the names of `TrainOptions`.

    Raises
    ------
    TrainingError
        An option differs.
    """
    config = info["config"]
    for name, value in expected.items():
        wanted = list(value) if isinstance(value, tuple) else value
        if config.get(name) != wanted:
            raise TrainingError(
                f"{run} was started with {name} = {config.get(name)}, and --resume was given {wanted}; "
                "leave the option out to continue with the run's value, or start a new run."
            )


def refuse_other_plan(run: Path, info: Mapping[str, Any], plan: Plan) -> None:
    """Refuse to resume a run whose recipe or data have changed.

    Parameters
    ----------
    run, info
        As for `refuse_other_options`.
    plan
        The plan of the resumed training.

    Raises
    ------
    TrainingError
        The plan is not that of the run.
    """
    if recipe_values(plan.recipe) != info["recipe_values"]:
        raise TrainingError(
            f"The recipe {plan.options.recipe} of this segtool differs from the one that {run} was started with; "
            f"resume it with segtool {info['segtool_version']}, or start a new run."
        )
    if plan.data.fingerprint() != info["data"]["fingerprint"]:
        raise TrainingError(
            f"The data at {plan.options.data} differ from those that {run} was started with (another fingerprint); "
            "restore the old data, or start a new run."
        )
