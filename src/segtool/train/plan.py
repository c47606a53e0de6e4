"""The plan of a training: options resolved to data, split, size, device and precision."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from segtool.data.base import Dataset, show_size
from segtool.data.loading import is_generated, load_dataset
from segtool.data.split import Split, require_labelled, training_split
from segtool.errors import DataError, TrainingError
from segtool.train.architectures import WITH_ENCODER
from segtool.train.architectures.encoders import Weights
from segtool.train.augmentation import parse_augmentations, too_far
from segtool.train.callbacks import make_deterministic
from segtool.train.choices import choose, training_crop, with_affordable_batch
from segtool.train.class_balance import class_weights
from segtool.train.device import Device, choose_device
from segtool.train.multi_worker import strategy_of
from segtool.train.options import TrainOptions
from segtool.train.precision import Precision, choose_precision
from segtool.train.pretrained import read_weights
from segtool.train.qat import Start
from segtool.train.recipes import Recipe, resolve_recipe
from segtool.train.sample_store import SampleStore

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
    start: Start | None = None


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
    device = choose_device(options.device)
    strategy_of(device)  # TensorFlow must connect the workers before it runs anything
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
    options, size = choices.options, choices.size
    recipe = resolve_recipe(options, data.class_names)
    crop = _crop(options, recipe, size, data, start=start)
    _refuse_unused_auxiliary(options)
    _check_strengths(options, recipe, crop or size)
    weights = {} if resumed or start else read_weights(str(options.weights), options.encoder, channels=data.channels)
    recipe, reasons = with_affordable_batch(options, recipe, crop or size, device)
    precision = choose_precision(
        options.precision,
        processor=device.processor,
        capability=device.capability,
        depthwise=options.arch in WITH_ENCODER,
    )
    store = SampleStore(data, np.concatenate([parts.train, parts.val]), size=None if options.crop else size)
    store.read()  # takes the longest: what can be refused without it was refused above
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
        start=start,
    )


def _crop(
    options: TrainOptions, recipe: Recipe, size: tuple[int, int], data: Dataset, *, start: Start | None
) -> tuple[int, int] | None:
    """Return the size of the training crops; None to train on whole images."""
    crop = options.crop
    if crop:
        _check_crop(crop, data)
    elif recipe.crop_pixels and start is None:  # a given network is trained at its own size
        crop = training_crop(size, recipe.crop_pixels)
    if options.rare_crops and crop is None:
        raise TrainingError(
            f"A fraction of crops around rare classes ({options.rare_crops:g}) was given, and the recipe "
            f"{options.recipe} trains on whole images; add --crop HxW, or remove --rare-crops."
        )
    return crop


def _refuse_unused_auxiliary(options: TrainOptions) -> None:
    if options.auxiliary and options.arch not in WITH_ENCODER:
        raise TrainingError(
            f"An auxiliary loss ({options.auxiliary:g}) was requested, which only {', '.join(WITH_ENCODER)} has; "
            "remove --auxiliary."
        )


def _check_strengths(options: TrainOptions, recipe: Recipe, size: tuple[int, int]) -> None:
    """Refuse augmentations that are too strong for the size of the training images; only warn of the recipe's own."""
    if (message := too_far(parse_augmentations(recipe.augment), size)) is None:
        return
    if options.augment is not None:
        raise TrainingError(message)
    logger.warning(message)


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
