"""Opening an ONNX file with onnxruntime: which provider really runs it, and on how many threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from segtool.errors import ModelFileError, ProviderError
from segtool.runtime.model_file import ModelFile, check_model_file
from segtool.runtime.processors import available_cpus

__all__ = ["CPU", "ORT_ERRORS", "OpenedSession", "available_cpus", "first_line", "open_session", "provider_name"]

CPU = "CPUExecutionProvider"

# Best first. TensorRT is left out on purpose: it compiles the model for minutes at its first start, which nobody
# should get without asking for it.
_AUTO_ORDER = (
    "CUDAExecutionProvider",
    "ROCMExecutionProvider",
    "MIGraphXExecutionProvider",
    "DmlExecutionProvider",
    "CoreMLExecutionProvider",
    "OpenVINOExecutionProvider",
)
MAX_THREADS = 1024
"""More than any machine gains from; onnxruntime starts each of them, and a million of them never end to start."""

_SPIN_US = 100
_BOUNDED_SPIN = (1, 26)  # onnxruntime since which the time is certain to be known; before it, threads do not spin
_GRAPH_ASSIGNMENT = "session.record_ep_graph_assignment_info"

ORT_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)
"""What onnxruntime raises; its own exceptions have no common base class."""


@dataclass(frozen=True)
class OpenedSession:
    """A session that runs, and why it runs where it does.

    Attributes
    ----------
    session
        The onnxruntime.InferenceSession.
    provider
        The execution provider that really runs the model, by onnxruntime's name.
    threads
        Threads of one run on the CPU.
    reason
        One sentence: why this provider.
    metadata
        The file's metadata.
    """

    session: Any
    provider: str
    threads: int
    reason: str
    metadata: Mapping[str, str]


def open_session(path: str | Path | ModelFile, *, provider: str = "auto", threads: int | None = None) -> OpenedSession:
    """Open an ONNX file, once `check_model_file` lets it pass.

    Parameters
    ----------
    path
        The model, or what `check_model_file` gave for it.
    provider
        "auto" for the best that starts, or a name: "cpu", "cuda", "CUDAExecutionProvider", ...
    threads
        Threads of one run on the CPU; None for as many as `available_cpus`.

    Raises
    ------
    ModelFileError
        The file is missing, unsafe to open, or not a model that onnxruntime runs.
    ProviderError
        A provider that was named is not there, does not start, or leaves the model to the CPU; or the number
        of threads is not positive.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise ProviderError(f"A model runs on 1 to {MAX_THREADS} threads, {threads} were asked for; ask for fewer.")
    source = path if isinstance(path, ModelFile) else check_model_file(path)
    count = available_cpus() if threads is None else threads
    _quieten()
    session, name, reason = _open(source.path, provider, count)
    source.require_unchanged()
    return OpenedSession(session, name, count, reason, source.metadata)


def _open(path: Path, provider: str, threads: int) -> tuple[Any, str, str]:
    """Return a session, its provider, and why that one."""
    if provider == "auto":
        return _open_best(path, threads)
    name = provider_name(provider, ort.get_available_providers())
    return _start(path, name, threads), name, f"{name} was asked for."


def provider_name(provider: str, available: Sequence[str]) -> str:
    """Return onnxruntime's name for "cuda", "CUDA" or "CUDAExecutionProvider".

    Raises
    ------
    ProviderError
        It is not among those `available`.
    """
    wanted = _short(provider)
    for name in available:
        if _short(name) == wanted:
            return name
    offered = ", ".join(_short(name) for name in available)
    raise ProviderError(
        f"The provider {provider!r} is not in this onnxruntime, which has {offered}; "
        "choose one of them or install the onnxruntime package that brings it (for CUDA: onnxruntime-gpu)."
    )


def _open_best(path: Path, threads: int) -> tuple[Any, str, str]:
    """Open a model on the first provider in order of preference that really starts; the CPU always does."""
    available = ort.get_available_providers()
    refusals = []
    for name in (name for name in _AUTO_ORDER if name in available):
        try:
            session = _start(path, name, threads)
        except ProviderError as error:
            refusals.append(str(error))
        else:
            return session, name, f"{name} is the best provider that starts here."
    why = " ".join(refusals) or "no accelerator's provider is in this onnxruntime."
    return _start(path, CPU, threads), CPU, f"{CPU} was chosen: {why}"


def _start(path: Path, provider: str, threads: int) -> Any:
    """Start a session on one provider, and make sure that this provider is the one that runs the model."""
    fallback = [] if provider == CPU else [CPU]
    options = _session_options(threads, record_assignment=provider != CPU)
    try:
        # Its own fallback would write to stdout, where results go, and open the file a second time.
        session = ort.InferenceSession(str(path), options, providers=[provider, *fallback], enable_fallback=0)
    except ORT_ERRORS as error:
        if provider == CPU:
            raise ModelFileError(
                f"{path} is not a model that onnxruntime {ort.__version__} can run ({first_line(error)}); "
                "expected an .onnx file made by `segtool export`."
            ) from error
        raise ProviderError(
            f"{provider} does not start on {path} ({first_line(error)}); use --provider cpu."
        ) from error
    _refuse_fallback(session, provider)
    return session


def _refuse_fallback(session: Any, provider: str) -> None:
    """Refuse a session that onnxruntime quietly made without the provider, or with nothing for it to do."""
    started = session.get_providers()
    if provider not in started:
        raise ProviderError(
            f"{provider} was asked for but onnxruntime fell back to {', '.join(started)}; "
            "its libraries or its device are missing (see `segtool doctor`), or use --provider cpu."
        )
    if provider != CPU and _runs_nothing(session, provider):
        raise ProviderError(
            f"{provider} starts but leaves every node of this model to the CPU; use --provider cpu, or another file."
        )


def _runs_nothing(session: Any, provider: str) -> bool:
    """Tell whether no part of the graph is assigned to a provider; False where onnxruntime cannot say (before 1.24)."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return False
    return all(part.ep_name != provider for part in session.get_provider_graph_assignment_info())


def _session_options(threads: int, *, record_assignment: bool) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    _wait_briefly(options)
    options.log_severity_level = 3
    # What was checked is an ONNX file; without this, onnxruntime goes by the name and reads its own format as well.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if record_assignment:
        options.add_session_config_entry(_GRAPH_ASSIGNMENT, "1")
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


def _quieten() -> None:
    """Keep onnxruntime's warnings off stderr (what matters is raised) and its usage events off the network."""
    ort.set_default_logger_severity(3)
    ort.disable_telemetry_events()


def _short(provider: str) -> str:
    return provider.lower().removesuffix("executionprovider")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; onnxruntime adds traces and hints below it."""
    return str(error).strip().split("\n", maxsplit=1)[0].rstrip(".")
