"""A process for each subject of the comparison, of which only the one whose turn it is may run.

Thread pools differ: TensorFlow's belong to the whole process, XNNPACK's and onnxruntime's spin for a while after a
run. So every engine has a process, with its processors and its number of threads set before anything is imported,
and every process but one is stopped (SIGSTOP). What is timed is timed inside it; the pipe is not.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

_SPAWN = get_context("spawn")
_PATIENCE_SECONDS = 900.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Worker:
    """A process that holds one subject and calls its methods on request.

    Parameters
    ----------
    name
        For errors.
    make
        Makes the subject, in the process; picklable.
    threads
        Processors that the process is pinned to, and the threads that libraries may start by default.
    """

    def __init__(self, name: str, make: Callable[[], Any], *, threads: int) -> None:
        self.name = name
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, make), daemon=True)
        with _pinned(threads):
            self._process.start()
        theirs.close()
        self._pid = int(self._process.pid or 0)
        self._answer()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Let the process run, call a method of the subject, stop the process again; return the answer."""
        self._signal(signal.SIGCONT)
        self._connection.send((method, arguments))
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()  # works on a stopped process too
        self._process.join()
        self._connection.close()

    def _answer(self) -> Any:
        if not self._connection.poll(_PATIENCE_SECONDS):
            sys.exit(f"{self.name} gave no answer within {_PATIENCE_SECONDS:.0f} seconds.")
        try:
            answer = self._connection.recv()
        except EOFError:
            sys.exit(f"{self.name} failed; its own message is above.")
        self._signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._pid, os.WSTOPPED)  # every thread of it, before anybody else begins
        return answer

    def _signal(self, number: int) -> None:
        os.kill(self._pid, number)


@contextlib.contextmanager
def workers(*, threads: Mapping[str, int], makers: Mapping[str, Callable[[], Any]]) -> Iterator[dict[str, Worker]]:
    """Start a worker for each of `makers`, with as many threads as the same name has in `threads`; end them all."""
    started: dict[str, Worker] = {}
    try:
        for name, make in makers.items():
            print("starting", name, file=sys.stderr, flush=True)
            started[name] = Worker(name, make, threads=threads[name])
        yield started
    finally:
        for worker in started.values():
            worker.close()


def take_turns(team: dict[str, Worker], *, rounds: int, warmup: int) -> dict[str, list[list[float]]]:
    """Let each worker take its turn once a round; return the seconds of its runs, a list for each counted round.

    Another worker begins each round, so that nobody always comes after the same neighbour's first turn.
    """
    names = list(team)
    times: dict[str, list[list[float]]] = {name: [] for name in names}
    for number in range(-warmup, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds = team[name].ask("turn", number + warmup)
            if number >= 0:
                times[name].append(seconds)
        if number % 10 == 9:
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return times


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own on all processors, so that what it imports ends with it."""
    with _pinned(len(os.sched_getaffinity(0))), ProcessPoolExecutor(1, mp_context=_SPAWN) as pool:
        return pool.submit(function, *arguments).result()


def _serve(connection: Connection, make: Callable[[], Any]) -> None:
    # A stopped process cannot see that its parent is gone; the kernel ends it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    subject = make()
    connection.send(None)
    while True:
        method, arguments = connection.recv()
        connection.send(getattr(subject, method)(*arguments))


@contextlib.contextmanager
def _pinned(threads: int) -> Iterator[None]:
    """Let processes that are started meanwhile inherit `threads` processors, the last ones, and settings to match."""
    allowed = os.sched_getaffinity(0)
    settings = {
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    os.sched_setaffinity(0, sorted(allowed)[-threads:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
