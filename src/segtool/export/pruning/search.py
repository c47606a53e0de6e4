"""Channels removed from a trained network while nearly all labels stay, without training.

Wide networks that were trained on few images have channels that others can stand in for. Each group of channels
(`groups`) is tried alone first, at a few sizes: how many labels change on images that nothing was fitted to. Then
sizes are taken, the cheapest labels a multiply-accumulate first, until their changes add up to what is allowed;
the graph is built with them from front to back, every reader fitted to the outputs of the original network
(`fitting`), and looked at again. Where more labels change together than alone, less is taken.

Images come from the training split; a quarter of them is only looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import onnx

from segtool.array_types import FloatingArray, UInt8Array
from segtool.export.pruning.fitting import Moments, channel_moments, fit, measure, removal_order
from segtool.export.pruning.groups import Group, find_groups, without_channels
from segtool.export.running import label_agreement, run_batches, run_labels
from segtool.export.stages import Progress
from segtool.export.stamp import census

logger = logging.getLogger(__name__)
SHARES = (7 / 8, 3 / 4, 1 / 2, 3 / 8, 1 / 4, 1 / 8)
"""Of a group's channels that stay: the sizes that are tried."""

_TRIES = 4  # to find what is allowed together
_ENOUGH, _AIM, _MOST_CORRECTED = 0.8, 0.9, 2.0  # of what is allowed: to stop at, to aim at; and by how much at once
_CHECKED = 4  # every so manieth batch is looked at, and not fitted to


@dataclass(frozen=True)
class Pruned:
    """A graph with fewer channels.

    Attributes
    ----------
    model
        The graph; input and output as before.
    channels
        By the name of each convolution that lost some: how many it made before, and now.
    macs_saved
        Share of the multiply-accumulates that are gone, 0..1.
    agreement
        Share of the pixels, 0..1, whose label is that of the graph before, on images that nothing was fitted to.
    images
        How many images were fitted to, and how many looked at.
    """

    model: onnx.ModelProto
    channels: Mapping[str, tuple[int, int]]
    macs_saved: float
    agreement: float
    images: tuple[int, int]


@dataclass(frozen=True)
class _Size:
    """A size of a group: the channels that stay, and the fraction of the labels that this alone changes."""

    kept: int
    changed: float


def prune(
    model: onnx.ModelProto, batches: Sequence[UInt8Array], *, allowed: float, progress: Progress | None = None
) -> Pruned:
    """Remove channels while at most a given fraction of the labels changes.

    Parameters
    ----------
    model
        Float model with input ``image`` uint8 (N, H, W, C), rewritten by `SHARED_REWRITES`. Not changed.
    batches
        Training images, uint8 (n, H, W, C) each, at least two.
    allowed
        Share of the pixels, 0..1, whose label may change.
    progress
        Called with (done, total) images that nothing is fitted to, once for each group of channels that is tried.
    """
    if len(batches) < 2:
        batches = np.array_split(batches[0], 2)
    checked = batches[:: min(_CHECKED, len(batches))]
    fitted = [batch for index, batch in enumerate(batches) if index % min(_CHECKED, len(batches))]
    work = _Work(model, fitted, checked, [*run_labels(model, iter(checked))])
    groups = find_groups(model)
    sizes = {}
    for done, group in enumerate(groups):
        sizes[group.maker] = work.tried(group, allowed)
        if progress is not None:
            looked_at = sum(map(len, checked))
            progress((done + 1) * looked_at, len(groups) * looked_at)
    best = _together(work, groups, sizes, allowed)
    channels = {group.maker: (group.channels, best.plan[group.maker]) for group in groups}
    return Pruned(
        best.model,
        {name: (before, now) for name, (before, now) in channels.items() if now < before},
        1 - best.macs / census(model).macs,
        1 - best.changed,
        (sum(map(len, fitted)), sum(map(len, checked))),
    )


@dataclass(frozen=True)
class _Built:
    """A graph with its groups at the sizes of a plan, its MACs, and the fraction of labels it changes."""

    model: onnx.ModelProto
    plan: Mapping[str, int]
    macs: int
    changed: float


def _together(work: _Work, groups: Sequence[Group], sizes: Mapping[str, Sequence[_Size]], allowed: float) -> _Built:
    """Return the smallest graph that was found to change few enough labels; the untouched one where none does.

    Changes add up to more or less than those of each group alone, so what they may add up to is corrected.
    """
    untouched = {group.maker: group.channels for group in groups}
    best = _Built(work.model, untouched, census(work.model).macs, 0.0)
    seen, limit = [untouched], allowed
    for _ in range(_TRIES):
        plan = _plan(groups, sizes, limit)
        if plan in seen:
            break
        seen.append(plan)
        model = work.built([group for group in groups if plan[group.maker] < group.channels], plan)
        built = _Built(model, plan, census(model).macs, 1 - work.agreement(model))
        logger.info("pruned together: %.3f%% of the labels change", built.changed * 100)
        if built.changed <= allowed and built.macs < best.macs:
            best = built
        if _ENOUGH * allowed <= built.changed <= allowed:
            break
        limit *= min(_MOST_CORRECTED, _AIM * allowed / max(built.changed, allowed / 10))
    return best


@dataclass(frozen=True)
class _Work:
    """The untouched graph, the images, and the labels that it gives those that are only looked at."""

    model: onnx.ModelProto
    fitted: Sequence[UInt8Array]
    checked: Sequence[UInt8Array]
    labels: Sequence[npt.NDArray[np.integer]]

    def tried(self, group: Group, allowed: float) -> list[_Size]:
        """Return the sizes of a group that change few enough labels by themselves, the largest first."""
        moments = self._moments(self.model, group)
        order = _order(group, moments)
        found = []
        for kept in _sizes(group.channels):
            share = 1 - self.agreement(_with(self.model, group, moments, order, kept))
            if share > allowed:
                break
            found.append(_Size(kept, share))
        logger.info(
            "%s: %s",
            group.maker,
            ", ".join(f"{size.kept} channels change {size.changed:.3%}" for size in found) or "all",
        )
        return found

    def built(self, groups: Sequence[Group], plan: Mapping[str, int]) -> onnx.ModelProto:
        """Return the graph with each group at its size, from front to back."""
        model = self.model
        for group in groups:
            now = next(item for item in find_groups(model) if item.maker == group.maker)
            moments = self._moments(model, now)
            model = _with(model, now, moments, _order(now, moments), plan[group.maker])
        return model

    def agreement(self, model: onnx.ModelProto) -> float:
        """Return the fraction of the pixels that keep their label."""
        return label_agreement(run_labels(model, iter(self.checked)), self.labels)

    def _moments(self, model: onnx.ModelProto, group: Group) -> dict[str, Moments]:
        """Return the moments of each reader of a group: what it reads now, and what it gave in the untouched graph."""
        images = sum(map(len, self.fitted))
        return {
            reader.name: measure(reader, self._pairs(model, group.source, reader.output), images=images)
            for reader in group.readers
        }

    def _pairs(self, model: onnx.ModelProto, source: str, output: str) -> Iterator[tuple[FloatingArray, FloatingArray]]:
        if model is self.model:
            for values in run_batches(model, [source, output], iter(self.fitted)):
                yield values[source], values[output]
            return
        read, wanted = (
            run_batches(graph, [name], iter(self.fitted)) for graph, name in ((model, source), (self.model, output))
        )
        for values, answers in zip(read, wanted, strict=True):
            yield values[source], answers[output]


def _with(
    model: onnx.ModelProto, group: Group, moments: Mapping[str, Moments], order: npt.NDArray[np.intp], count: int
) -> onnx.ModelProto:
    kept = np.sort(order[-count:])
    fits = {reader.name: fit(reader, moments[reader.name], kept) for reader in group.readers}
    return without_channels(model, group, kept, fits)


def _order(group: Group, moments: Mapping[str, Moments]) -> npt.NDArray[np.intp]:
    first = group.readers[0]
    weights = [reader.weights.transpose(0, 2, 3, 1).reshape(-1, group.channels) for reader in group.readers]
    return removal_order(channel_moments(first, moments[first.name]), np.concatenate(weights))


def _sizes(channels: int) -> list[int]:
    """Return the numbers of channels to try: multiples of what processors take at a time."""
    step = 16 if channels >= 64 else 4
    found = {int(np.ceil(channels * share / step)) * step for share in SHARES}
    return sorted((size for size in found if size < channels), reverse=True)


def _plan(groups: Sequence[Group], sizes: Mapping[str, Sequence[_Size]], limit: float) -> dict[str, int]:
    """Return how many channels of each group stay: step by step what costs the fewest labels for the work it saves."""
    plan = {group.maker: group.channels for group in groups}
    steps = {group.maker: [_Size(group.channels, 0.0), *sizes[group.maker]] for group in groups}
    macs = {group.maker: group.macs for group in groups}
    left = limit
    while True:
        moves = [
            (max(after.changed - before.changed, 0.0) / ((before.kept - after.kept) * macs[name]), name, before, after)
            for name, way in steps.items()
            for before, after in [*pairwise(way)][:1]
            if after.changed - before.changed <= left
        ]
        if not moves:
            return plan
        _, name, before, after = min(moves, key=lambda move: move[0])
        left -= max(after.changed - before.changed, 0.0)
        plan[name] = after.kept
        steps[name] = steps[name][1:]
