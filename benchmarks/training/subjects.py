"""segtool and PyTorch as subjects that take turns of training steps."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from training import torch_twin

WARM_STEPS, TIMED_STEPS = 5, 10
"""Steps of each turn. Whoever ran before has emptied the caches, so the first do not count."""


def _keras_loss(scores: Any, labels: Any) -> Any:
    import keras

    return keras.ops.sparse_categorical_crossentropy(labels, scores, from_logits=True)


LITE = "fcn8-lite"
"""Trained without its auxiliary loss, which the twin lacks."""

PIECES: dict[str, tuple[str, Any]] = {
    "fused normalization": ("FusedBatchNormalization", "BatchNormalization"),
    "crop by tf.slice": ("SlicedCropping2D", "Cropping2D"),
    "leaky ReLU by its output": ("OutputLeakyReLU", "LeakyReLU"),
    "gradient of wide depthwise kernels in parts": ("WideDepthwiseConv2D", "DepthwiseConv2D"),
    "loss and accuracy from the scores": ("scores_behind", lambda _: None),
    "loss and its gradient in one compiled call": ("negative_log", _keras_loss),
    "update of the weights compiled by XLA": ("faster_optimizer", lambda optimizer, _: optimizer),
}
"""The pieces of `segtool.train.faster`: what each is called there, and what Keras has in its place."""

ONEDNN = "oneDNN"
"""One more piece: the library, which TensorFlow uses by default only with VNNI, bfloat16 or AMX instructions."""


@dataclass(frozen=True)
class Work:
    """What is trained.

    Attributes
    ----------
    arch, data, batch_size, precision
        As in `TrainOptions`; the recipe is the default one, with its augmentation.
    network
        Where `torch_twin.describe` writes the network.
    """

    arch: str
    data: str
    batch_size: int
    precision: str
    network: Path

    def plan(self) -> Any:
        """Return segtool's plan of the training."""
        from segtool.train.options import TrainOptions
        from segtool.train.plan import make_plan

        return make_plan(
            TrainOptions(
                data=self.data,
                arch=self.arch,
                batch_size=self.batch_size,
                precision=self.precision,
                weights="none" if self.arch == LITE else None,
                auxiliary=0 if self.arch == LITE else None,
            )
        )


class OursSubject:
    """segtool's training: `keras.Model.fit` with the model, the batches and the callback's work of `segtool train`.

    With `ready`, the batches are made beforehand: the difference is what the steps wait for them. `without` is one of
    `PIECES`, or `ONEDNN`, which is left out.
    """

    def __init__(self, work: Work, *, ready: bool = False, without: str = "") -> None:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        if without == ONEDNN:
            os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
        from segtool.models.backend import import_quietly

        import_quietly("tensorflow", extra="train")
        import keras

        from segtool.train import faster, networks, trainer
        from segtool.train.callbacks import keep_freed_memory

        keep_freed_memory()
        if without in PIECES:
            name, plain = PIECES[without]
            setattr(faster, name, getattr(keras.layers, plain) if isinstance(plain, str) else plain)
        keras.utils.set_random_seed(0)
        plan = work.plan()
        self._model = networks.build_networks(plan)[0]
        self._batches = _few(trainer.training_batches(plan))
        if ready:
            made = [self._batches[index] for index in range(len(self._batches))]
            self._batches.__class__ = type("Ready", (type(self._batches),), {"__getitem__": lambda _, i: made[i]})
        self._clock = _clock(keras)

    def turn(self, number: int) -> list[float]:
        """Return the seconds of each timed step."""
        self._batches.start_epoch(number)
        self._clock.ends.clear()
        self._model.fit(self._batches, callbacks=[self._clock], shuffle=False, verbose=0)
        return _between(self._clock.ends)


class TorchSubject:
    """The training that a PyTorch user writes: channels_last, autocast, the same batches from a thread of their own."""

    def __init__(self, work: Work, *, compiled: bool = False, fused: bool = False) -> None:
        os.environ["KERAS_BACKEND"] = "torch"
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        torch.manual_seed(0)
        from segtool.train import trainer

        plan = work.plan()
        self._batches = _few(trainer.training_batches(plan))
        network = torch_twin.build(work.network).train()
        recipe = plan.recipe
        make = torch.optim.AdamW if recipe.weight_decay else torch.optim.Adam
        self._optimizer = make(
            network.parameters(), lr=recipe.learning_rate, eps=1e-7, weight_decay=recipe.weight_decay, fused=fused
        )
        self._network = torch.compile(network) if compiled else network
        self._autocast = torch.autocast("cpu", torch.bfloat16, enabled=work.precision == "bfloat16")

    def turn(self, number: int) -> list[float]:
        """Return the seconds of each timed step."""
        self._batches.start_epoch(number)
        ends = []
        for batch in _prefetched(self._batches):
            self._step(*batch)
            ends.append(time.perf_counter())
        return _between(ends)

    def _step(self, images: Any, labels: Any, weights: Any) -> float:
        import torch
        from torch.nn import functional

        labels, weights = torch.from_numpy(labels).long(), torch.from_numpy(weights)
        self._optimizer.zero_grad(set_to_none=True)
        with self._autocast:
            scores = self._network(torch.from_numpy(images))
        losses = functional.cross_entropy(scores.float(), labels, reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        self._optimizer.step()
        return float(loss.item())


def write_network(work: Work) -> None:
    """Write the network for PyTorch, as a training starts with it."""
    import keras

    from segtool.train import networks

    keras.utils.set_random_seed(0)
    plan = work.plan()
    torch_twin.describe(networks.build_network(plan, plan.crop), work.network)


def _few(batches: Any) -> Any:
    """Return the batches, with as many an epoch as a turn takes."""
    few = {"__len__": lambda _: WARM_STEPS + TIMED_STEPS}
    batches.__class__ = type("Few", (type(batches),), few)
    batches.start_epoch(0)
    return batches


def _between(ends: list[float]) -> list[float]:
    """Return the seconds of the timed steps from the times at which all steps ended."""
    return [later - earlier for earlier, later in pairwise(ends[WARM_STEPS - 1 :])]


def _prefetched(batches: Any) -> Iterator[Any]:
    """Yield the batches, made by a thread that is two ahead."""
    ready: queue.Queue[Any] = queue.Queue(2)

    def make() -> None:
        for index in range(len(batches)):
            ready.put(batches[index])
        ready.put(None)

    threading.Thread(target=make, daemon=True).start()
    while (batch := ready.get()) is not None:
        yield batch


def _clock(keras: Any) -> Any:
    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        """Notes when each step has ended; reads the loss as `EpochEnd` does."""

        def __init__(self) -> None:
            super().__init__()
            self.ends: list[float] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            float(logs["loss"])
            self.ends.append(time.perf_counter())

    return Clock()
