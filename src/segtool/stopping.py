"""SIGINT and SIGTERM: one set of handlers and one state, from the entry point to the end of the process.

The state determines the effect of a signal:

- START: modules are imported and nothing is written. The handler prints the message and ends the process.
- WORK: the handler raises `Stop`, so that the command undoes its unfinished work.
- FINISH: the signal is recorded, and the command finishes the work in progress. A second signal ends the process.
- END: the command has its result or its message. The signal is recorded, and the process keeps its own exit code.

A signal before the call of `handle_signals` is handled by Python. `segtool.__main__` therefore imports this module
first, and this module imports little.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import contextmanager

TYPE_CHECKING = False  # not from typing, whose import takes longer than all other imports here
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from subprocess import CompletedProcess
    from types import FrameType
    from typing import Any

START, WORK, FINISH, END = "start", "work", "finish", "end"

NOTHING_KEPT = "nothing was written"

_AGAIN_SECONDS = 0.02


class Stop(KeyboardInterrupt):
    """A signal asked the command to stop.

    Not KeyboardInterrupt itself: if one passes through an `exec` of a string, as in the definition of a dataclass or a
    named tuple, CPython ends the process with SIGINT's default action, although the exception was caught
    (`unhandled_keyboard_interrupt` in its pythonrun.c).

    A library may drop it, in a callback of the garbage collector or a bare `except`. It is then raised again.
    """

    def __del__(self) -> None:
        """Raise it again if it was dropped before the command handled it."""
        if _state.phase == WORK and hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, _raise_again)
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
            _state.is_timed = True


class _State:
    """The present effect of a signal, and the received signals."""

    def __init__(self) -> None:
        self.phase = END
        self.came: list[int] = []
        self.replaced: dict[int, Any] = {}
        self.is_program = False
        self.is_timed = False  # whether an alarm was set that raises a dropped `Stop` again
        self.is_held = False


_state = _State()


def handle_signals(*, starting: bool = False) -> None:
    """Handle SIGINT and SIGTERM from now on; with `starting`, modules are still imported for the command.

    A signal that the process ignores from its start, or that a host program handles, is not changed. The same holds
    outside the main thread, where Python handles no signals.
    """
    if starting:
        _state.phase, _state.is_program = START, True
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is default:
            try:
                signal.signal(number, _handle)
            except ValueError:  # not the main thread
                return
            _state.replaced[number] = default
    if starting:
        sys.unraisablehook = _report_unraisable
        atexit.register(_ignore)  # the first to register is the last to run


def begin() -> None:
    """Record that a command begins its work: until `end`, a signal raises `Stop`."""
    _state.came.clear()
    _state.phase = WORK


def end() -> None:
    """Record that a command has its result or its message: signals have no effect any more.

    The handlers of a host program that called the command are restored.
    """
    _state.phase = END
    if _state.is_timed:  # without Python's handlers, an alarm would end the process
        signal.setitimer(signal.ITIMER_REAL, 0)
        _state.is_timed = False
    if not _state.is_program:
        for number, handler in _state.replaced.items():
            signal.signal(number, handler)
        _state.replaced.clear()


def was_stopped() -> bool:
    """Return whether `Stop` was raised since `begin`."""
    return bool(_state.came)


@contextmanager
def finish_work() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal arrived; in this block, a signal raises no exception.

    A second signal ends the process at once.
    """
    noted: list[int] = []
    came, _state.came = _state.came, noted
    before, _state.phase = _state.phase, FINISH
    try:
        yield lambda: bool(noted)
    finally:
        _state.phase = before
        _state.came = came
        if noted:
            _set(_handle)


@contextmanager
def postponed() -> Iterator[None]:
    """Raise `Stop` only at the end of this block, for code that an exception would abort or leave half done."""
    before, _state.is_held = _state.is_held, True
    try:
        yield
    finally:
        _state.is_held = before
    if _state.came and _state.phase == WORK:
        raise Stop


def run_process(command: Sequence[str], *, seconds: float | None = None) -> CompletedProcess[str]:
    """Run another program to its end; return its exit code and its output. A stop also ends the program.

    `subprocess.run` would leave the program running if a signal arrives during its start.

    Raises
    ------
    subprocess.TimeoutExpired
        It took longer than `seconds` and was ended.
    OSError
        It cannot be started.
    """
    import subprocess

    process = None
    try:
        with postponed():
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603
        stdout, stderr = process.communicate(timeout=seconds)
    except BaseException:
        if process is not None:
            process.kill()
            process.communicate()
        raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _handle(number: int, _: FrameType | None) -> None:
    _state.came.append(number)
    if _state.phase == START:
        _end_now()
    if _state.phase == WORK:
        if not _state.is_held:
            raise Stop
        return
    _set(signal.SIG_DFL)  # the default of the system, which nothing in this process can delay


def _raise_again(*_: object) -> None:
    if _state.phase == WORK and not _state.is_held:
        raise Stop


def _end_now() -> None:
    """End a process that has written nothing. The imported code could drop an exception."""
    named = " ".join(["segtool", *(word for word in sys.argv[1:2] if word.isidentifier())])
    os.write(2, f"Stopped: `{named}` did not finish; {NOTHING_KEPT}.\n".encode())
    os._exit(1)


def _set(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in _state.replaced:
        signal.signal(number, handler)


def _ignore() -> None:
    """Ignore signals in the last steps of the interpreter, which remove its handlers and free the libraries."""
    if not _state.came:
        _set(signal.SIG_IGN)


def _report_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Print an unraisable exception as Python does, except a `Stop`, which is raised again."""
    if not isinstance(unraisable.exc_value, Stop):
        sys.__unraisablehook__(unraisable)
