"""Training from the data to the run folder, and resuming a stopped run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras

from segtool.array_types import IndexArray
from segtool.files import remove_unfinished, write_json
from segtool.models.backend import import_quietly
from segtool.models.fake_quantization import fake_quantized
from segtool.models.keras_file import load_keras_file
from segtool.models.quantization import read_quantization
from segtool.train.augmentation import Augmenter, parse_augmentations
from segtool.train.batches import TrainingBatches
from segtool.train.callbacks import TrainListener, draw_run, keep_freed_memory
from segtool.train.checkpoint import Progress, load_checkpoint
from segtool.train.class_balance import warn_of_rare_classes
from segtool.train.crops import CropBatches, CropRule
from segtool.train.epoch_end import EpochEnd, publish
from segtool.train.multi_worker import ReplicaTrainer, strategy_of
from segtool.train.networks import build_networks
from segtool.train.options import TrainOptions, TrainResult
from segtool.train.plan import Plan, make_plan
from segtool.train.qat import Start, resume_start
from segtool.train.run_folder import RunFolder, create_run_folder, open_run_folder, point_latest, refuse_used
from segtool.train.run_info import SCHEMA_VERSION, describe_plan, refuse_other_options, refuse_other_plan
from segtool.train.validation import ValidationSet

Networks = tuple[keras.Model, keras.Model]
"""The compiled network, and its copy in float32, which is saved."""


def train(
    options: TrainOptions,
    *,
    start: Start | None = None,
    out: str | Path | None = None,
    latest: bool = True,
    listener: TrainListener | None = None,
    arguments: Sequence[str] | None = None,
) -> TrainResult:
    """Train a network and write a run folder.

    Parameters
    ----------
    options
        The network, the data and the training options.
    start
        What a quantization-aware training begins with (`segtool.qat`); None for a new network.
    out
        The run folder; None for runs/<arch>-<date>-<time>.
    latest
        Whether runs/latest points to it; set before training begins.
    listener
        Receives the progress.
    arguments
        The arguments of `segtool train` as given. run.json keeps them, so that a report shows how to repeat the run.

    Raises
    ------
    SegtoolError
        The data, the device, the options or the output cannot be used.
    """
    if out:
        refuse_used(Path(out))
    plan = make_plan(options, start=start)
    networks = _built(plan)
    if not plan.device.cluster.is_chief:
        return _follow(plan, networks[0])
    description = describe_plan(plan, parameters=networks[1].count_params())
    if arguments is not None:
        description["arguments"] = list(arguments)
    folder = create_run_folder(out, arch=plan.options.arch)
    with folder.lock():
        folder.write_info(description)
        if latest:
            point_latest(folder)
        return _fit(plan, folder, networks, listener or TrainListener())


def resume(
    path: str | Path | None = None, *, expected: Mapping[str, Any] | None = None, listener: TrainListener | None = None
) -> TrainResult:
    """Resume a run that was stopped or killed at any moment.

    It ends with the same number of epochs and the same learning rates as a run without interruption.

    Parameters
    ----------
    path
        The run folder; None for runs/latest.
    expected
        Expected option values of the run, under the names of `TrainOptions`; another value in the run is an error.
    listener
        Receives the progress.

    Raises
    ------
    TrainingError
        The run does not exist, was started with other options, or its data have changed.
    """
    folder = open_run_folder(path)
    info = folder.read_info()
    refuse_other_options(folder.path, info, expected or {})
    start = resume_start(info["qat"]) if info.get("qat") else None
    options = TrainOptions.from_dict(
        {**info["config"], "precision": info["precision"]["name"], "batch_size": info["batch_size"]}
    )
    plan = make_plan(options, resumed=True, start=start)
    with folder.lock() if plan.device.cluster.is_chief else nullcontext():
        refuse_other_plan(folder.path, info, plan)
        networks = _built(plan)
        if not plan.device.cluster.is_chief:
            return _follow(plan, networks[0])
        return _fit(plan, folder, networks, listener or TrainListener())


def _built(plan: Plan) -> Networks:
    keep_freed_memory()
    if find_spec("tensorflow") is not None:
        import_quietly("tensorflow", extra="train")  # the seed is TensorFlow's too, on every backend
    keras.utils.set_random_seed(plan.options.seed)
    return build_networks(plan)


def _fit(plan: Plan, folder: RunFolder, networks: Networks, listener: TrainListener) -> TrainResult:
    model, best_model = networks
    remove_unfinished([folder.path])
    batches = training_batches(plan)
    validation = _validation_set(plan, plan.split.val)
    progress = Progress()
    if folder.checkpoint.exists():
        progress = load_checkpoint(folder.checkpoint, model)
        publish(folder, progress, model=model, best_model=best_model)
    first = len(progress.rows)
    listener.started(folder.read_info(), epochs=plan.recipe.epochs, first_epoch=first, steps=len(batches))
    at_end = EpochEnd(
        plan,
        folder,
        best_model,
        batches=batches,
        validation=validation,
        progress=progress,
        listener=listener,
    )
    ended = progress.exhausted(plan.recipe.patience)
    _train_epochs(plan, model, batches, first=plan.recipe.epochs if ended else first, callback=at_end)
    return _finish(plan, folder, progress, validation)


def _follow(plan: Plan, model: keras.Model) -> TrainResult:
    """Train as a worker that writes nothing."""
    started = time.perf_counter()
    first = _train_epochs(plan, model, training_batches(plan), first=0, callback=None)
    return TrainResult(Path(), plan.recipe.epochs - first, 0, {}, time.perf_counter() - started, is_chief=False)


def _train_epochs(
    plan: Plan, model: keras.Model, batches: TrainingBatches, *, first: int, callback: EpochEnd | None
) -> int:
    """Train from epoch `first` (0-based), or with several workers from the chief's epoch; return the first epoch."""
    epochs, replicas = plan.recipe.epochs, None
    if strategy := strategy_of(plan.device):
        replicas = ReplicaTrainer(strategy, model)
        replicas.agree({"config": plan.options.to_dict(), "data": plan.data.fingerprint(), **vars(plan.precision)})
        first = replicas.start_from_chief(first)
    if first < epochs:
        batches.start_epoch(first)
        with batches:
            if replicas:
                replicas.fit(batches, epochs=epochs, first=first, callback=callback)
            else:
                model.fit(
                    batches,
                    epochs=plan.recipe.epochs,
                    initial_epoch=first,
                    callbacks=[callback],
                    shuffle=False,
                    verbose=0,
                )
    return first


def training_batches(plan: Plan) -> TrainingBatches:
    """Return the batches of a training: of whole images, or of crops."""
    chosen, steps = plan.split.train, dict(parse_augmentations(plan.recipe.augment))
    # A crop of another scale shows more of the image than a crop that is zoomed.
    zoom = steps.pop("scale", 0.0) if plan.crop else 0.0
    warn_of_rare_classes(
        plan.data,
        plan.store.counts(chosen),
        validation=plan.store.counts(plan.split.val),
        remedy=_rare_remedy(plan),
    )
    make: Callable[..., TrainingBatches] = TrainingBatches
    if plan.crop:
        rule = CropRule(plan.crop, plan.data.num_classes, plan.options.rare_crops, (1 / (1 + zoom), 1 + zoom))
        make = partial(CropBatches, rule=rule, sizes=[plan.store.size(int(index)) for index in chosen])
    return make(
        plan.store.images(chosen),
        plan.store.labels(chosen),
        batch_size=plan.recipe.batch_size,
        augmenter=Augmenter(tuple(steps.items())),
        ignore_id=plan.data.ignore_id,
        seed=plan.options.seed,
    )


def _rare_remedy(plan: Plan) -> str:
    if plan.options.rare_crops:
        return ""
    return "--rare-crops 0.5" if plan.crop else "--crop HxW --rare-crops 0.5"


def _validation_set(plan: Plan, indices: IndexArray) -> ValidationSet:
    return ValidationSet(plan.store.images(indices), plan.store.labels(indices), plan.data.classes)


def _finish(plan: Plan, folder: RunFolder, progress: Progress, validation: ValidationSet) -> TrainResult:
    """Score the best model in float32, draw the pictures, mark the run as complete."""
    best = load_keras_file(folder.model)
    if quantization := read_quantization(folder.path):
        best = fake_quantized(best, quantization)
    metrics: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "best_epoch": progress.best_epoch}
    metrics["val"] = validation.score(best)[0].to_dict()
    if len(plan.split.test):
        metrics["test"] = _validation_set(plan, plan.split.test).score(best)[0].to_dict()
    metrics["size"] = list(plan.size)
    write_json(folder.metrics, metrics)
    draw_run(folder, progress.rows, validation, best)
    folder.write_info({**folder.read_info(), "status": "complete"})
    seconds = sum(row["seconds"] for row in progress.rows)
    return TrainResult(
        folder.path,
        len(progress.rows),
        progress.best_epoch,
        metrics,
        seconds,
        stopped_early=len(progress.rows) < plan.recipe.epochs,
    )
