"""The machines that train together, from TF_CONFIG, as TensorFlow's multi-worker strategies read it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segtool.errors import ProviderError

VARIABLE = "TF_CONFIG"
_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
_KINDS = ("chief", "worker")


@dataclass(frozen=True)
class Cluster:
    """The number of processes that train together, and the rank of this one; rank 0, the chief, writes the run."""

    workers: int = 1
    rank: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run."""
        return self.rank == 0


ALONE = Cluster()


def read_cluster(environment: Mapping[str, str] = os.environ) -> Cluster:
    """Return the cluster that TF_CONFIG describes; this process alone if it is not set.

    Raises
    ------
    ProviderError
        TF_CONFIG is not valid for TensorFlow's multi-worker training.
    """
    text = environment.get(VARIABLE)
    if not text:
        return ALONE
    addresses, task = _parse(text)
    kind, index = task.get("type"), task.get("index")
    members = [(name, number) for name in _KINDS for number in range(len(addresses.get(name, [])))]
    # bool is a subclass of int, but not a valid index.
    if not isinstance(index, int) or isinstance(index, bool) or (kind, index) not in members:
        raise _refused(
            f"its task is {kind!r} {index!r}", "one of " + ", ".join(f"{name} {number}" for name, number in members)
        )
    return Cluster(len(members), members.index((str(kind), index)))


def _parse(text: str) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Return the addresses by task type, and the task of this process."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _refused(f"it is not valid JSON ({error})", _EXAMPLE) from error
    if not isinstance(value, dict) or not all(isinstance(value.get(key), dict) for key in ("cluster", "task")):
        raise _refused("it has no objects cluster and task", _EXAMPLE)
    cluster: dict[str, list[str]] = value["cluster"]
    if odd := sorted(cluster.keys() - set(_KINDS)):
        raise _refused(f"its cluster has {odd[0]} tasks", "only workers, or a chief and workers")
    every = [cluster[kind] for kind in cluster]
    if not every or not all(isinstance(part, list) and part and all(map(_is_address, part)) for part in every):
        raise _refused("its cluster has no list of addresses host:port", _EXAMPLE)
    addresses = [address for part in every for address in part]
    if len(set(addresses)) != len(addresses) or len(cluster.get("chief", [])) > 1:
        raise _refused("its cluster has a duplicate address or two chiefs", "each process once and at most one chief")
    return cluster, value["task"]


def _is_address(value: Any) -> bool:
    host, colon, port = str(value).rpartition(":")
    return isinstance(value, str) and bool(host and colon) and port.isdigit()


def _refused(found: str, expected: str) -> ProviderError:
    return ProviderError(
        f"{VARIABLE} cannot be used: {found}, expected {expected}; correct it, or unset it to train on this machine "
        "only."
    )
