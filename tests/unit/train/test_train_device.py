"""TF_CONFIG: what it may say, and one clear sentence for what it may not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from segtool.errors import ProviderError
from segtool.train.device import ALONE, Cluster, read_cluster
from segtool.train.multi_worker import share

WORKERS = ["a:1", "b:2"]


def _read(cluster: Any, task: Any) -> Cluster:
    return read_cluster({"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})})


def test_without_it_this_process_is_alone() -> None:
    assert read_cluster({}) == read_cluster({"TF_CONFIG": ""}) == ALONE
    assert ALONE.is_chief


@pytest.mark.parametrize(
    ("cluster", "task", "rank", "workers"),
    [
        ({"worker": WORKERS}, ("worker", 0), 0, 2),
        ({"worker": WORKERS}, ("worker", 1), 1, 2),
        ({"worker": WORKERS, "chief": ["c:3"]}, ("chief", 0), 0, 3),
        ({"worker": WORKERS, "chief": ["c:3"]}, ("worker", 0), 1, 3),
    ],
)
def test_a_worker_knows_its_place(cluster: Any, task: tuple[str, int], rank: int, workers: int) -> None:
    assert _read(cluster, {"type": task[0], "index": task[1]}) == Cluster(workers, rank)


@pytest.mark.parametrize(
    ("cluster", "task", "found"),
    [
        ({"worker": WORKERS}, {"type": "worker", "index": 2}, "its task is 'worker' 2, expected one of worker 0"),
        ({"worker": WORKERS}, {"type": "worker", "index": "0"}, "its task is 'worker' '0'"),
        ({"worker": WORKERS}, {"type": "worker", "index": True}, "its task is 'worker' True"),
        ({"worker": WORKERS}, {}, "its task is None None"),
        ({"worker": WORKERS, "ps": ["p:1"]}, {"type": "worker", "index": 0}, "its cluster has ps tasks"),
        ({"worker": ["a"]}, {"type": "worker", "index": 0}, "no list of addresses host:port"),
        ({"worker": "a:1"}, {"type": "worker", "index": 0}, "no list of addresses host:port"),
        ({}, {"type": "worker", "index": 0}, "no list of addresses host:port"),
        ({"worker": ["a:1", "a:1"]}, {"type": "worker", "index": 0}, "a duplicate address"),
        ([], {}, "it has no objects cluster and task"),
    ],
)
def test_what_cannot_be_used_is_said(cluster: Any, task: Any, found: str) -> None:
    with pytest.raises(ProviderError, match=f"TF_CONFIG cannot be used: .*{found}.*; correct it, or unset it"):
        _read(cluster, task)


def test_what_is_no_json_is_said() -> None:
    with pytest.raises(ProviderError, match="TF_CONFIG cannot be used: it is not valid JSON"):
        read_cluster({"TF_CONFIG": "{worker"})


@pytest.mark.parametrize("count", [1, 2, 3, 7, 32])
def test_every_image_of_a_batch_is_trained_on_and_no_replica_is_left_without(count: int) -> None:
    shares = [share(count, replica, 3) for replica in range(3)]
    assert all(len(part) for part in shares)
    assert set(np.concatenate(shares)) == set(range(count))
    assert sum(map(len, shares)) == max(count, 3)
