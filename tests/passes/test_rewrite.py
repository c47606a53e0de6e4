"""The runner of the rewrites: it ends, or says which rewrites do not."""

import numpy as np
import pytest
from comparing import make, node

from segtool.errors import ExportError
from segtool.export.passes import Rewrite, rewrite
from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import MOST_SWEEPS


def growing(limit):
    """A rewrite that puts another Relu in front of a Relu until there are so many."""

    def apply(item):
        if item.graph.num_nodes() >= limit or item.name != "y":
            return None
        item.replace_input_with(0, g.insert(item, "Relu", [item.inputs[0]]))
        return "one more"

    return Rewrite("grows", frozenset({"Relu"}), apply)


def small():
    return make([node("Relu", "x", "y")], {}, ["N", 3], dtype=np.float32)


def test_rewrites_without_an_end_are_refused_by_name():
    idle = Rewrite("idle", frozenset({"Relu"}), lambda _: None)
    with pytest.raises(ExportError, match=r"\(grows\).*report"):
        rewrite(small(), [idle, growing(10**6)])


def test_the_last_sweep_counts():
    model, (outcome,) = rewrite(small(), [growing(MOST_SWEEPS)])
    assert len(model.graph.node) == MOST_SWEEPS
    assert len(outcome.changes) == MOST_SWEEPS - 1
