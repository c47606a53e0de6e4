"""The plan of a training: options resolved to data, split, size, device and precision."""

from __future__ import annotations

import logging
import platform
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import keras
import numpy as np

import segtool
from segtool.data.base import Dataset, show_size
from segtool.data.loading import is_generated, load_dataset
from segtool.data.split import Split, require_labelled, training_split
from segtool.errors import DataError, TrainingError
from segtool.machine.memory import available_memory
from segtool.train.architectures import MIDDLE_LAYERS, WITH_ENCODER, build
from segtool.train.architectures.encoders import DEFAULT, Weights
from segtool.train.augmentation import check_augmentations, parse_augmentations, too_far
from segtool.train.callbacks import make_deterministic
from segtool.train.choices import affordable_batch, choose, training_crop
from segtool.train.class_balance import class_weights
from segtool.train.crops import crops_in
from segtool.train.device import Device, choose_device
from segtool.train.distillation import Teacher, load_teacher, warn_of_leaks
from segtool.train.multi_worker import strategy_of
from segtool.train.options import TrainOptions
from segtool.train.precision import Precision, choose_precision
from segtool.train.pretrained import read_weights
from segtool.train.qat import Start
from segtool.train.recipes import IMAGENET, NONE, Recipe, recipe_values, resolve_recipe
from segtool.train.sample_store import SampleStore

SCHEMA_VERSION = 1
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Everything that a training needs.

    `options` names the network and the recipe that were chosen, and `reasons` says why. `recipe` includes the values of
    the options. `size` is (height, width) of the network's input in pixels; `crop` is that of the training images, None
    for `size`. `store` holds the samples at `size`, or at their own sizes with `options.crop`. `weights` are those that
    the training starts from, by the name of the layer. `class_weights` are K numbers; None for 1 each.
    `start` is what a quantization-aware training begins with.
    """

    options: TrainOptions
    recipe: Recipe
    data: Dataset
    split: Split
    store: SampleStore
    size: tuple[int, int]
    crop: tuple[int, int] | None
    reasons: tuple[str, ...]
    weights: Weights
    device: Device
    precision: Precision
    class_weights: list[float] | None
    teacher: Teacher | None
    start: Start | None = None

    @property
    def epochs(self) -> int:
        """Passes over the training images."""
        return self.recipe.epochs

    @property
    def batch_size(self) -> int:
        """Images per step."""
        return self.recipe.batch_size


def make_plan(options: TrainOptions, *, resumed: bool = False, start: Start | None = None) -> Plan:
    """Load and split the data, and choose network, recipe, size, device and precision.

    Parameters
    ----------
    options
        The options of the training.
    resumed
        Whether a run is continued; the initial weights are then not read.
    start
        What a quantization-aware training begins with; None for a new network.

    Raises
    ------
    SegtoolError
        The data, the device or the options cannot be used.
    """
    if options.deterministic:
        make_deterministic()
    data = load_dataset(options.data, seed=options.seed, val_split=options.val_split, test_split=options.test_split)
    _refuse_unused_fractions(options, data)
    parts = training_split(
        len(data),
        data.splits or {},
        spec=options.data,
        val_fraction=options.val_split,
        test_fraction=options.test_split,
        seed=options.seed,
    )
    require_labelled(data, parts)
    if data.classes.background_assumed:
        logger.warning(data.classes.background_note)
    choices = choose(options, data)
    options, recipe = choices.options, resolve_recipe(choices.options, data.class_names)
    size, crop = choices.size, options.crop
    if crop:
        _check_crop(crop, data)
    if crop is None and recipe.crop_pixels and start is None:  # a given network is trained at its own size
        crop = training_crop(size, recipe.crop_pixels)
    if options.rare_crops and crop is None:
        raise TrainingError(
            f"A fraction of crops around rare classes ({options.rare_crops:g}) was given, and the recipe "
            f"{options.recipe} trains on whole images; add --crop HxW, or remove --rare-crops."
        )
    if options.auxiliary and (options.arch not in MIDDLE_LAYERS or options.teacher or start):
        raise TrainingError(
            f"An auxiliary loss ({options.auxiliary:g}) was requested, which only {', '.join(MIDDLE_LAYERS)} has, "
            "without a teacher and without --qat; remove --auxiliary."
        )
    _check_augmentations(options, recipe, data, crop or size, cropped=crop is not None)
    weights = {} if resumed or start else read_weights(*_start(options), channels=data.channels)
    device = choose_device(options.device)
    recipe, reasons = _with_affordable_batch(options, recipe, crop or size, device)
    strategy_of(device)  # TensorFlow must connect the workers before it runs anything
    precision = choose_precision(
        options.precision,
        processor=device.processor,
        capability=device.capability,
        depthwise=options.arch in WITH_ENCODER,
    )
    store = SampleStore(data, np.concatenate([parts.train, parts.val]), size=None if options.crop else size)
    store.read()
    return Plan(
        options=options,
        recipe=recipe,
        data=data,
        split=parts,
        store=store,
        size=size,
        crop=crop,
        reasons=(*choices.reasons, *reasons),
        weights=weights,
        device=device,
        precision=precision,
        class_weights=class_weights(recipe.class_weights, store.counts(parts.train)),
        teacher=_teacher(options, data, crop or size),
        start=start,
    )


def _check_augmentations(
    options: TrainOptions, recipe: Recipe, data: Dataset, size: tuple[int, int], *, cropped: bool
) -> None:
    """Refuse augmentations that the data or the size do not allow; only warn of too strong ones of the recipe."""
    steps = parse_augmentations(recipe.augment)
    check_augmentations(steps, data.classes, cropped=cropped)
    if (message := too_far(steps, size)) is None:
        return
    if options.augment is not None:
        raise TrainingError(message)
    logger.warning(message)


def _teacher(options: TrainOptions, data: Dataset, size: tuple[int, int]) -> Teacher | None:
    if options.teacher is None:
        return None
    teacher = load_teacher(options.teacher, size=size, channels=data.channels, class_names=data.class_names)
    split_by = {"seed": options.seed, "val_split": options.val_split, "test_split": options.test_split}
    if "val" not in (data.splits or {}):
        warn_of_leaks(teacher, data.fingerprint(), split_by)
    return teacher


def _refuse_unused_fractions(options: TrainOptions, data: Dataset) -> None:
    """Refuse split fractions for data with given splits, because they would be ignored."""
    given = data.splits or {}
    if is_generated(options.data):
        return  # the generator uses these fractions
    if ("val" in given and options.val_split != TrainOptions.val_split) or ("test" in given and options.test_split):
        raise DataError(
            f"{options.data} has its own splits ({', '.join(given)}), so --val-split and --test-split would be "
            "ignored; remove these options."
        )


def _check_crop(crop: tuple[int, int], data: Dataset) -> None:
    """Refuse a crop size if all images are smaller, and warn if some are."""
    sizes = data.sizes()
    small = sum(height < crop[0] or width < crop[1] for height, width in sizes)
    if small == len(sizes):
        raise DataError(
            f"Crops of {show_size(crop)} were requested, and all images of {data.spec} are smaller (the largest is "
            f"{show_size(max(sizes))}); choose a smaller --crop."
        )
    if small:
        logger.warning(
            "%d of %d images are smaller than the crops of %s. They are extended with their border pixels, and the "
            "added pixels do not count.",
            small,
            len(sizes),
            show_size(crop),
        )


def _with_affordable_batch(
    options: TrainOptions, recipe: Recipe, size: tuple[int, int], device: Device
) -> tuple[Recipe, tuple[str, ...]]:
    """Return the recipe with a smaller batch if the memory needs it and the user chose none, and the reason.

    The memory is that of this process: it is not the GPU's, and several workers need the same batch.
    """
    if options.batch_size is not None or options.arch not in WITH_ENCODER:
        return recipe, ()
    if device.processor != "cpu" or device.cluster.workers > 1:
        return recipe, ()
    memory = available_memory()
    batch_size = affordable_batch(recipe.batch_size, size[0] * size[1], memory)
    if memory is None or batch_size == recipe.batch_size:
        return recipe, ()
    reason = f"batches of {batch_size} in place of {recipe.batch_size}, for {memory / 1e9:.1f} GB of free memory"
    return replace(recipe, batch_size=batch_size), (reason,)


def _start(options: TrainOptions) -> tuple[str, str | None]:
    """Return the weights to start from and the encoder of the network, None if it has none."""
    has_encoder = options.arch in WITH_ENCODER
    return options.weights or (IMAGENET if has_encoder else NONE), options.encoder or DEFAULT if has_encoder else None


def steps_an_epoch(plan: Plan) -> int:
    """Return the number of batches in an epoch."""
    crop, chosen = plan.crop, plan.split.train
    sizes = plan.data.sizes() if plan.options.crop else [plan.size] * len(plan.data)
    count = sum(crops_in(sizes[int(index)], crop) for index in chosen) if crop else len(chosen)
    return -(-count // plan.batch_size)


def build_network(plan: Plan, size: tuple[int, int] | None = None) -> keras.Model:
    """Build the architecture of the plan in the current Keras precision, for images of `size` or of the plan's size."""
    return build(
        plan.options.arch,
        size=size or plan.size,
        encoder=plan.options.encoder,
        channels=plan.data.channels,
        num_classes=plan.data.num_classes,
        width=plan.options.width,
    )


def describe_plan(plan: Plan) -> dict[str, Any]:
    """Return the content of run.json: enough to describe, repeat and resume the run."""
    data, options = plan.data, plan.options
    network = plan.start.model if plan.start else build_network(plan)
    return {
        "schema_version": SCHEMA_VERSION,
        "segtool_version": segtool.__version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "status": "running",
        "arch": options.arch,
        "recipe": options.recipe,
        "recipe_values": recipe_values(plan.recipe),
        "encoder": _start(options)[1],
        "weights": _start(options)[0],
        "crop": plan.crop,
        "reasons": plan.reasons,
        "class_weights": plan.class_weights,
        "teacher": {"path": options.teacher, "sha256": plan.teacher.sha256} if plan.teacher else None,
        "epochs": plan.epochs,
        "batch_size": plan.batch_size,
        "config": options.to_dict(),
        "seed": options.seed,
        "val_split": options.val_split,
        "test_split": options.test_split,
        "qat": plan.start.describe() if plan.start else None,
        "parameters": int(network.count_params()),
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
