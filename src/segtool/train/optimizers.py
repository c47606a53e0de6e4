"""The registries of optimizers and learning rate schedules; the command line takes its choices from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from segtool.errors import TrainingError


@dataclass(frozen=True)
class OptimizerKind:
    """An optimizer for recipes.

    Attributes
    ----------
    make
        (learning rate or schedule, weight decay, further arguments) -> Keras optimizer.
    summary
        One line for users.
    weight_decay
        The default weight decay; None for an optimizer without weight decay.
    rate_scale
        Factor from a learning rate that suits Adam to one that suits this optimizer.
    """

    make: Callable[..., Any]
    summary: str
    weight_decay: float | None = None
    rate_scale: float = 1.0


def _adam(rate: Any, weight_decay: float, **more: Any) -> Any:  # noqa: ARG001 (it has none)
    import keras

    return keras.optimizers.Adam(rate, **more)


def _adamw(rate: Any, weight_decay: float, **more: Any) -> Any:
    import keras

    optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay, **more)
    # Weight decay is for kernels: scales, offsets and biases do not overfit by growing.
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def _sgd(rate: Any, weight_decay: float, **more: Any) -> Any:  # noqa: ARG001 (it has none)
    import keras

    return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **more)


OPTIMIZERS: Mapping[str, OptimizerKind] = {
    "adam": OptimizerKind(_adam, "Kingma, Ba: Adam, ICLR 2015"),
    "adamw": OptimizerKind(
        _adamw, "Adam with weight decay; Loshchilov, Hutter: Decoupled Weight Decay, ICLR 2019", 1e-4
    ),
    "sgd": OptimizerKind(_sgd, "Nesterov momentum 0.9; learning rate 25 times that of the others", None, 25.0),
}


def _constant(rate: float, *, warmup: int, steps: int) -> Any:  # noqa: ARG001 (it has no end)
    import keras

    if not warmup:
        return rate
    return keras.optimizers.schedules.PolynomialDecay(rate / 10, decay_steps=warmup, end_learning_rate=rate)


def _cosine(rate: float, *, warmup: int, steps: int) -> Any:
    import keras

    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=rate / 10 if warmup else rate,
        decay_steps=steps - warmup,
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )


SCHEDULES: Mapping[str, Callable[..., Any]] = {"constant": _constant, "cosine": _cosine}
"""Name -> maker (peak rate, warmup=, steps=) of a rate or schedule; warmup and steps are optimizer steps.

A schedule depends on the optimizer's step count, so a resume continues it. Both rise linearly from a tenth of the peak
during warm-up. "constant" then stays at the peak; "cosine" falls to zero on a half cosine (Loshchilov, Hutter: SGDR,
ICLR 2017).
"""


def make_optimizer(
    name: str, *, schedule: str, learning_rate: float, weight_decay: float, warmup: int, steps: int
) -> Any:
    """Return an optimizer by name.

    Parameters
    ----------
    name, schedule
        Names from the registries.
    learning_rate
        Peak learning rate.
    weight_decay
        Fraction of each weight subtracted per step, multiplied by the learning rate.
    warmup, steps
        Number of steps of the warm-up, and of the whole training.
    """
    rate = SCHEDULES[schedule](learning_rate, warmup=warmup, steps=steps)
    return OPTIMIZERS[name].make(rate, weight_decay)


def refuse_unknown(kind: str, name: str, known: Mapping[str, Any]) -> None:
    """Refuse a name that is not in a registry.

    Raises
    ------
    TrainingError
        `name` is not in `known`.
    """
    if name not in known:
        raise TrainingError(f"There is no {kind} {name!r}; choose one of {', '.join(known)}.")
