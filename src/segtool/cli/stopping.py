"""Stopping well: on the first Ctrl-C or SIGTERM what is in work is finished, on the second nothing is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether SIGINT or SIGTERM came; a second one ends the process at once.

    The handlers are put back at the end. Off the main thread, where Python handles no signals, and for signals that
    the process was started to ignore, everything stays as it is.
    """
    came: list[int] = []
    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        previous = {number: handler for number, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}

    def handle(number: int, _: FrameType | None) -> None:
        came.append(number)
        for each in previous:
            signal.signal(each, signal.SIG_DFL)  # the system's own, which nothing in this process can hold up

    try:
        for number in previous:
            signal.signal(number, handle)
        yield lambda: bool(came)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
