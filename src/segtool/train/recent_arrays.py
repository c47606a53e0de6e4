"""The images and label maps that were decoded last, so that the crops of one image decode it once."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from threading import Lock

from segtool.array_types import AnyArray

Key = tuple[str, int]
"""What an array is ("image" or "label"), and the index of its sample."""


class RecentArrays:
    """Arrays up to a number of bytes; the one that was used the longest time ago is dropped first.

    Several threads may ask for arrays. Threads that ask for the same one wait for one decoding.

    Parameters
    ----------
    budget
        Bytes. The array that was decoded last is kept even if it is larger.
    """

    def __init__(self, budget: int) -> None:
        self._budget, self._used, self._lock = budget, 0, Lock()
        self._arrays: OrderedDict[Key, AnyArray] = OrderedDict()
        self._decoding: defaultdict[Key, Lock] = defaultdict(Lock)

    def get(self, key: Key, make: Callable[[int], AnyArray]) -> AnyArray:
        """Return an array: the one that is kept, or what `make` returns for the index."""
        with self._lock:
            turn = self._decoding[key]
        with turn:
            with self._lock:
                if key in self._arrays:
                    self._arrays.move_to_end(key)
                    return self._arrays[key]
            array = make(key[1])
            self._add(key, array)
        return array

    def _add(self, key: Key, array: AnyArray) -> None:
        with self._lock:
            self._arrays[key] = array
            self._used += array.nbytes
            while self._used > self._budget and len(self._arrays) > 1:
                self._used -= self._arrays.popitem(last=False)[1].nbytes
