"""What a rewrite is, and the runner that applies a list of them until nothing changes.

A rewrite looks at one node. It returns None where its pattern is not there, a sentence on what it changed where it
did, and raises `Refused` with the reason where the pattern is there and a precondition is not. Applied to its own
result it changes nothing more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, RemoveUnusedOpsetsPass, ShapeInferencePass

from segtool.errors import ExportError

logger = logging.getLogger(__name__)
logging.getLogger("onnx_ir").setLevel(logging.WARNING)  # it logs every unused node that it removes
MOST_SWEEPS = 50  # a list of rewrites that is still changing the graph after this many does not terminate


class Refused(Exception):  # noqa: N818  a refusal is a result, not an error
    """The pattern is there and a precondition is not; the message says which."""


@dataclass(frozen=True)
class Rewrite:
    """An exact rewrite.

    Attributes
    ----------
    name
        What it does, as in the log.
    ops
        Operators whose nodes it looks at.
    apply
        Changes the graph around one node; see the module.
    """

    name: str
    ops: frozenset[str]
    apply: Callable[[ir.Node], str | None]


@dataclass(frozen=True)
class Outcome:
    """What a rewrite did to a graph: a sentence for each change, and one for each place where it refused."""

    name: str
    changes: tuple[str, ...]
    refusals: tuple[str, ...]


def to_ir(model: onnx.ModelProto) -> ir.Model:
    """Return a copy of a model to query and to change, with the shapes of its values."""
    work = ir.from_proto(model)
    ShapeInferencePass(strict_mode=False)(work)
    return work


def to_onnx(work: ir.Model) -> onnx.ModelProto:
    """Return a changed model for onnx and onnxruntime, which infer the shapes again."""
    result = ir.to_proto(work)
    del result.graph.value_info[:]
    return result


def rewrite(model: onnx.ModelProto, rewrites: Sequence[Rewrite]) -> tuple[onnx.ModelProto, tuple[Outcome, ...]]:
    """Apply rewrites in order, again and again until none of them changes anything.

    Parameters
    ----------
    model
        Not changed.
    rewrites
        In the order in which each opens the way for the next.

    Returns
    -------
    onnx.ModelProto
        The rewritten model: inputs, outputs and opset as before; operator sets that no node uses are not declared.
    tuple of Outcome
        One for each rewrite, in order; the refusals are those that still stand in the result.

    Raises
    ------
    ExportError
        The rewrites do not come to an end.
    """
    work = to_ir(model)
    changes: dict[str, list[str]] = {item.name: [] for item in rewrites}
    for _ in range(MOST_SWEEPS):
        before = {name: len(done) for name, done in changes.items()}
        refusals = {item.name: _sweep(work, item, changes[item.name]) for item in rewrites}
        changing = [name for name, done in changes.items() if len(done) > before[name]]
        if not changing:
            break
    else:
        raise ExportError(
            f"The rewrites still changed the graph after {MOST_SWEEPS} sweeps ({', '.join(changing)}); please report "
            "this network."
        )
    outcomes = tuple(Outcome(item.name, tuple(changes[item.name]), refusals[item.name]) for item in rewrites)
    RemoveUnusedOpsetsPass()(work)
    return to_onnx(work), outcomes


def _sweep(model: ir.Model, item: Rewrite, changes: list[str]) -> tuple[str, ...]:
    """Apply one rewrite to every node once, and return the refusals.

    Unused nodes go after each change, and new shapes are inferred at the end. What is refused for want of a shape is so
    again in the next sweep, or not.
    """
    before, refusals = len(changes), []
    for node in tuple(model.graph):
        if node.graph is None or node.op_type not in item.ops or node.domain:
            continue
        name = node.name or node.outputs[0].name
        try:
            change = item.apply(node)
        except Refused as reason:
            refusals.append(f"{name}: {reason}")
            continue
        if change is not None:
            changes.append(f"{name}: {change}")
            RemoveUnusedNodesPass()(model)
    if len(changes) > before:
        ShapeInferencePass(strict_mode=False)(model)
    return tuple(refusals)


def log_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Log what each rewrite changed, and where it refused and why: what `export -v` shows."""
    for outcome in outcomes:
        for change in outcome.changes:
            logger.info("%s: %s", outcome.name, change)
        for refusal in outcome.refusals:
            logger.info("%s refused at %s", outcome.name, refusal)
