"""The samples that were decoded last, so that the crops of one image decode it once."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from threading import Lock

from segtool.array_types import IntegerArray, UInt8Array

Sample = tuple[UInt8Array, IntegerArray]
"""An image uint8 (H, W, C) and its label map (H, W)."""


class RecentSamples:
    """Samples by index, up to a number of bytes; the one that was used the longest time ago is dropped first.

    Several threads may ask for samples. Threads that ask for the same one wait for one decoding.

    Parameters
    ----------
    budget
        Bytes. The sample that was decoded last is kept even if it is larger.
    bytes_of
        Returns the bytes that a sample adds.
    """

    def __init__(self, budget: int, bytes_of: Callable[[int], int]) -> None:
        self._budget, self._bytes_of = budget, bytes_of
        self._used, self._lock = 0, Lock()
        self._samples: OrderedDict[int, Sample] = OrderedDict()
        self._decoding: defaultdict[int, Lock] = defaultdict(Lock)

    def get(self, index: int, make: Callable[[int], Sample]) -> Sample:
        """Return a sample: the one that is kept, or the result of `make`."""
        with self._lock:
            turn = self._decoding[index]
        with turn:
            with self._lock:
                if index in self._samples:
                    self._samples.move_to_end(index)
                    return self._samples[index]
            sample = make(index)
            self._add(index, sample)
        return sample

    def _add(self, index: int, sample: Sample) -> None:
        with self._lock:
            self._samples[index] = sample
            self._used += self._bytes_of(index)
            while self._used > self._budget and len(self._samples) > 1:
                old, _ = self._samples.popitem(last=False)
                self._used -= self._bytes_of(old)
