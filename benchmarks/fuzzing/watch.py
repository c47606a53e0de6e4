"""Running workers under watch: a crash and a hang are outcomes too, and the cases behind them go on."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True)
class Limits:
    """What a case may take.

    Attributes
    ----------
    seconds
        Of one case.
    peak_bytes
        Of the process that reads it.
    """

    seconds: float = 20.0
    peak_bytes: int = 2 * 2**30


def outcomes(kind: str, *, seed: int, count: int, folder: Path, limits: Limits) -> Iterator[dict[str, Any]]:
    """Yield the outcome of cases 0 to `count` - 1 of a kind; after a crash or a hang in a new process."""
    start = 0
    while start < count:
        for row in _of_one_process([kind, *map(str, (seed, start, count, folder))], limits):
            yield row
            start = row["number"] + 1
            if row.get("stop"):
                break


def _of_one_process(arguments: list[str], limits: Limits) -> Iterator[dict[str, Any]]:
    process = subprocess.Popen(
        [sys.executable, str(WORKER), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    lines: queue.Queue[bytes | None] = queue.Queue()
    notes: list[bytes] = []
    readers = [
        threading.Thread(target=_pour, args=(process.stdout, lines), daemon=True),
        threading.Thread(target=_collect, args=(process.stderr, notes), daemon=True),
    ]
    for reader in readers:
        reader.start()
    current, begun = -1, False
    try:
        while True:
            try:
                line = lines.get(timeout=limits.seconds if begun else 120)
            except queue.Empty:
                yield _ended(current, f"hang of more than {limits.seconds:g} s")
                return
            if line is None:
                break
            row = json.loads(line)
            if "begin" in row:
                current, begun = row["begin"], True
                continue
            if row["peak_bytes"] > limits.peak_bytes:
                yield {**row, "outcome": f"memory of more than {limits.peak_bytes:,} bytes", "stop": True}
                return
            begun = False
            yield row
        code = process.wait()
        if code:
            if not begun:
                raise SystemExit(f"the worker ended with {code}: {b''.join(notes).decode(errors='replace')[-2000:]}")
            yield _ended(current, f"crash, {_signal_name(code)}")
    finally:
        process.kill()
        process.wait()
        for reader in readers:
            reader.join()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _ended(number: int, outcome: str) -> dict[str, Any]:
    return {"number": number, "outcome": outcome, "words": "", "seconds": 0.0, "peak_bytes": 0, "stop": True}


def _collect(stream: Any, notes: list[bytes]) -> None:
    notes.append(stream.read())


def _pour(stream: Any, lines: queue.Queue[bytes | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _signal_name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
