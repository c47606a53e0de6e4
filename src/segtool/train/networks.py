"""The networks of a training: the one that is trained, compiled, and its copy in float32, which is saved."""

from __future__ import annotations

import keras

from segtool.models.fake_quantization import fake_quantized
from segtool.train import faster
from segtool.train.architectures import WITH_ENCODER, build
from segtool.train.auxiliary import with_auxiliary
from segtool.train.crops import count_crops
from segtool.train.losses import PixelAccuracy, PixelLoss
from segtool.train.multi_worker import strategy_scope
from segtool.train.optimizers import make_optimizer
from segtool.train.plan import Plan
from segtool.train.pretrained import set_weights


def build_networks(plan: Plan) -> tuple[keras.Model, keras.Model]:
    """Return the compiled network in the training precision, and a float32 copy without an optimizer.

    Raises
    ------
    TrainingError
        The initial weights do not fit the network.
    """
    previous = keras.config.dtype_policy()
    try:
        with strategy_scope(plan.device):
            keras.config.set_dtype_policy(plan.precision.policy)
            model = _network(plan)
            model.compile(
                optimizer=faster.faster_optimizer(_optimizer(plan), plan.device),
                loss=PixelLoss(plan.recipe.loss, plan.class_weights),
                weighted_metrics=[PixelAccuracy()],
            )
        keras.config.set_dtype_policy("float32")
        return model, plan.start.model if plan.start else build_network(plan)
    finally:
        keras.config.set_dtype_policy(previous)


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


def _network(plan: Plan) -> keras.Model:
    """Return the network to train in the current precision, with its initial weights."""
    if plan.start:
        return fake_quantized(plan.start.model, plan.start.quantization)
    network = build_network(plan, plan.crop)
    if plan.weights:
        set_weights(network, plan.weights, spec=str(plan.options.weights))
    network = faster.faster_network(network, plan.device)
    if plan.recipe.auxiliary and plan.options.arch in WITH_ENCODER:
        layer, stride = WITH_ENCODER[plan.options.arch]
        return with_auxiliary(network, layer, stride=stride, share=plan.recipe.auxiliary)
    return network


def _optimizer(plan: Plan) -> keras.optimizers.Optimizer:
    recipe = plan.recipe
    steps = steps_an_epoch(plan)
    return make_optimizer(
        recipe.optimizer,
        schedule=recipe.schedule,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup=min(recipe.warmup_epochs, recipe.epochs // 4) * steps,
        steps=recipe.epochs * steps,
    )


def steps_an_epoch(plan: Plan) -> int:
    """Return the number of batches in an epoch."""
    crop, chosen = plan.crop, plan.split.train
    sizes = plan.data.sizes() if plan.options.crop else [plan.size] * len(plan.data)
    count = int(count_crops([sizes[int(index)] for index in chosen], crop).sum()) if crop else len(chosen)
    return -(-count // plan.recipe.batch_size)
