"""How every session of onnxruntime is set up: its threads, how they wait, and what it keeps to itself."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from typing import Any

from segtool.runtime.engine import ort

_SPIN_US = 100
_SILENT_FALLBACK = (1, 24)
_BOUNDED_SPIN = (1, 26)  # onnxruntime since which the time is certain to be known; before it, threads do not spin


def session_options_for(threads: int) -> Any:
    """Return the options of a session whose runs have that many threads and say nothing but errors."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    _wait_briefly(options)
    options.log_severity_level = 3
    # What was checked is an ONNX file; without this, onnxruntime goes by the name and reads its own format as well.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options


def _wait_briefly(options: Any) -> None:
    """Let threads spin for `_SPIN_US` microseconds between two operators, and sleep after that.

    onnxruntime's own waiting is some 20 ms of full load behind every run, taken from those that decode and from
    everything else on a small device; no waiting at all puts a thread to sleep and wakes it up for every operator.
    Measured on two quiet cores (fcn8 INT8, 2 threads, median ms): 0.81 with onnxruntime's, 0.82 with this, 1.05
    without; load after a run: 49 ms, 0.3 ms, 0.1 ms of processor time.
    """
    bounded = _version(ort.__version__) >= _BOUNDED_SPIN
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if bounded else "0")
    if bounded:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def fallback_print_kept(store: io.StringIO) -> AbstractContextManager[Any]:
    """Keep off stdout what onnxruntime before 1.24 prints there as it falls back to the CPU; later ones can be told."""
    return nullcontext() if _version(ort.__version__) >= _SILENT_FALLBACK else redirect_stdout(store)


def quieten() -> None:
    """Keep onnxruntime's warnings off stderr (what matters is raised), and stop usage events that are still on.

    They are where a host program imported onnxruntime before segtool, and on Windows; see `segtool.telemetry`.
    """
    ort.set_default_logger_severity(3)
    ort.disable_telemetry_events()
