"""The options of each session of onnxruntime: threads, their waiting, and logging."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from functools import cache
from typing import Any

from segtool.machine.machine import VNNI, instruction_sets
from segtool.runtime.engine import ort

EXACT_PRODUCTS = ("session.x64quantprecision", "1")
_SPIN_US = 100
_SILENT_FALLBACK = (1, 24)
_BOUNDED_SPIN = (
    1,
    26,
)  # the first onnxruntime that is known to support a time limit; with older ones, threads do not spin


def session_options_for(threads: int) -> Any:
    """Return the options of a session with a number of threads, which logs only errors."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    _wait_briefly(options)
    options.log_severity_level = 3
    # The checked file is an ONNX file. Without this, onnxruntime selects the format, also its own, by the file name.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    make_products_exact(options)
    return options


def make_products_exact(options: Any) -> None:
    """Make a session add the products of INT8 convolutions exactly, if this processor does not.

    Without VNNI, x86 adds two products of uint8 and int8 in 16 bits, which overflows with weights outside of -64 to 64.
    With `EXACT_PRODUCTS`, onnxruntime makes such weights uint8, whose products it adds in 32 bits. It does so with VNNI
    too, where nothing overflows and products of uint8 are slow: fcn8-lite takes 36 ms in place of 16.
    """
    if may_overflow():
        options.add_session_config_entry(*EXACT_PRODUCTS)


@cache
def may_overflow() -> bool:
    """Return whether this processor has no instructions for exact sums, or an unknown one."""
    return not VNNI.intersection(instruction_sets())


def _wait_briefly(options: Any) -> None:
    """Let threads spin for `_SPIN_US` microseconds between two operators, and sleep after that.

    By default, onnxruntime spins for about 20 ms after each run, and takes this time from the decoding threads and
    other programs. Without spinning, a thread sleeps and wakes up for each operator. Measured on two quiet cores (fcn8
    INT8, 2 threads, median): 0.81 ms with the default, 0.82 ms with this setting, 1.05 ms without spinning. Processor
    time after a run: 49 ms, 0.3 ms, 0.1 ms.
    """
    bounded = _version(ort.__version__) >= _BOUNDED_SPIN
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if bounded else "0")
    if bounded:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def fallback_print_kept(store: io.StringIO) -> AbstractContextManager[Any]:
    """Suppress the text that onnxruntime before 1.24 prints on stdout at a fallback; newer versions have an option."""
    return nullcontext() if _version(ort.__version__) >= _SILENT_FALLBACK else redirect_stdout(store)


def quieten() -> None:
    """Suppress onnxruntime's warnings on stderr (errors are raised), and disable remaining usage events.

    They remain if a host program imported onnxruntime before segtool, and on Windows; see `segtool.telemetry`.
    """
    ort.set_default_logger_severity(3)
    ort.disable_telemetry_events()
