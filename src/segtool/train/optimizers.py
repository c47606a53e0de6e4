"""The optimizers and the schedules of the learning rate by name; the command line's choices come from here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from segtool.errors import TrainingError


@dataclass(frozen=True)
class OptimizerKind:
    """An optimizer that a recipe can name.

    Attributes
    ----------
    make
        (learning rate or schedule, weight decay, further arguments) -> keras optimizer.
    summary
        For people.
    weight_decay
        Its weight decay where none is given; None for one that has none.
    rate_scale
        What a learning rate that suits Adam is multiplied by to suit this one.
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
    # Scales and shifts are no slopes that could grow with what they fit.
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
    "sgd": OptimizerKind(_sgd, "momentum 0.9, Nesterov's form; at 25 times the rate of the others", None, 25.0),
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
"""Name -> maker (peak rate, warmup=, steps=) of a rate or schedule, in optimizer steps.

A schedule lives in the optimizer's step count and so survives a resume. Both rise linearly from a tenth of the peak
while warming up; "constant" then stays there, "cosine" falls to zero on a half cosine (Loshchilov, Hutter: SGDR, ICLR
2017).
"""


def make_optimizer(
    name: str, *, schedule: str, learning_rate: float, weight_decay: float, warmup: int, steps: int, ema: float
) -> Any:
    """Return an optimizer by name.

    Parameters
    ----------
    name, schedule
        From the registries.
    learning_rate
        Peak learning rate.
    weight_decay
        Share of each weight taken off a step, times the learning rate.
    warmup, steps
        Steps in which the rate rises, and of the whole training.
    ema
        Decay of the moving average of the weights a step (Polyak, Juditsky: Acceleration of Stochastic Approximation
        by Averaging, 1992); 0 for none. It is kept among the optimizer's variables.
    """
    rate = SCHEDULES[schedule](learning_rate, warmup=warmup, steps=steps)
    return OPTIMIZERS[name].make(rate, weight_decay, **({"use_ema": True, "ema_momentum": ema} if ema else {}))


def refuse_unknown(kind: str, name: str, known: Mapping[str, Any]) -> None:
    """Refuse a name that is not in a registry.

    Raises
    ------
    TrainingError
        `name` is not in `known`.
    """
    if name not in known:
        raise TrainingError(f"There is no {kind} {name!r}; choose one of {', '.join(known)}.")
