"""The file of one case: always the same for a kind, a number and a seed."""

from __future__ import annotations

import functools

from fuzzing.model_changes import rewired
from fuzzing.mutations import damaged
from fuzzing.seeds import valid_files

_files = functools.cache(valid_files)


def case_file(kind: str, number: int, seed: int) -> bytes:
    """Return the damaged file."""
    files = _files(kind)
    return rewired(seed, number, files) if kind == "rewired_onnx" else damaged(seed, kind, number, files)
