"""Channels of a trained network that others can stand in for, removed without training: see `search`."""

from segtool.export.pruning.search import Pruned, prune

__all__ = ["Pruned", "prune"]
