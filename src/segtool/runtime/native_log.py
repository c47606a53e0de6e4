"""Errors that onnxruntime writes to stderr instead of raising them: why a provider did not start."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO

_STDERR = 2
_lock = threading.Lock()

# "<colour>2026-01-31 12:00:00.0 [E:onnxruntime:Default, file.cc:310 Create] message<colour>"; further lines of a
# message have no header.
_HEAD = re.compile(r"^(?:\x1b\[[\d;]*m)*\d{4}-\d\d-\d\d .*?\[([VIWEF]):onnxruntime[^\]]*\] ")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
# The position in onnxruntime's sources at the start of a message: "/folder/file.cc:12 void name(arguments) ".
_PLACE = re.compile(r"^\S+\.(?:cc|cpp|h):\d+ .*?\)(?:::<lambda.*?\)>)? ")
_LEVELS = re.compile(r"^(?:\[(?:ONNXRuntimeError|ERROR)\] (?:: \d+ : \w+ : )?)")


@contextmanager
def captured_errors() -> Generator[list[str], None, None]:
    """Collect the errors that onnxruntime logs within the block; the list is filled at the end of the block.

    They are read from file descriptor 2, because onnxruntime had no callback for them before version 1.32. Text of
    other writers is passed on afterwards.
    """
    import tempfile  # imported here, because the CPU provider does not need it

    errors: list[str] = []
    with _lock, tempfile.TemporaryFile() as store:
        try:
            before = os.dup(_STDERR)
        except OSError:  # a service without stderr
            yield errors
            return
        try:
            os.dup2(store.fileno(), _STDERR)
            yield errors
        finally:
            os.dup2(before, _STDERR)
            os.close(before)
            errors += _pass_on(store)


def _pass_on(store: IO[bytes]) -> list[str]:
    """Return the errors of onnxruntime in the captured text, and write the other lines to stderr."""
    store.seek(0)
    errors, others, inside = [], [], False
    for line in store.read().decode(errors="replace").splitlines():
        head = _HEAD.match(line)
        if head:
            inside = True
            if head[1] in "EF":
                errors.append(plain_message(_COLOUR.sub("", line[head.end() :])))
        elif not (inside and _COLOUR.sub("", line).strip() == ""):
            others.append(line)
    if others:
        os.write(_STDERR, ("\n".join(others) + "\n").encode())
    return errors


def printed_error(text: str) -> str:
    """Return the error that onnxruntime before 1.24 prints at a fallback; empty without one."""
    mark = "EP Error "
    return next((plain_message(line.removeprefix(mark)) for line in text.splitlines() if line.startswith(mark)), "")


def plain_message(text: str) -> str:
    """Return the first line of a message of onnxruntime, without source position and error number."""
    first = text.strip().split("\n", maxsplit=1)[0]
    for _ in range(2):  # a message may be nested in another
        first = _LEVELS.sub("", _PLACE.sub("", first))
    return first.strip().rstrip(".")
