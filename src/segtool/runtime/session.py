"""Open an ONNX file with onnxruntime, with a checked provider and number of threads."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segtool.errors import ModelFileError, ProviderError, first_line
from segtool.runtime.assignment import RECORD_ASSIGNMENT, REFUSE_CPU, Assignment, assignment_of, refuse_fallback
from segtool.runtime.engine import INFERENCE_SESSION, ORT_ERRORS, ort
from segtool.runtime.model_file import ModelFile, check_model_file
from segtool.runtime.native_log import captured_errors, plain_message, printed_error
from segtool.runtime.providers import (
    AUTO_ORDER,
    CPU,
    DIRECTML,
    available_providers,
    plugin_devices,
    provider_name,
    provider_settings,
)
from segtool.runtime.session_options import fallback_print_kept, quieten, session_options_for

__all__ = ["CPU", "ORT_ERRORS", "OpenedSession", "open_session", "provider_name"]

logger = logging.getLogger(__name__)
MAX_THREADS = 1024
"""The maximum number of threads; more help on no machine, and onnxruntime starts all of them."""

# Below this fraction of the nodes a provider is not useful: the CPU would do most of the work, plus the copies.
_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class OpenedSession:
    """An open session, and the reason for its provider.

    Attributes
    ----------
    session
        The onnxruntime.InferenceSession.
    provider
        The execution provider that runs the model, by onnxruntime's name.
    threads
        Threads of one run on the CPU.
    reason
        One sentence: why this provider was selected.
    options
        The options of the provider.
    assignment
        The number of nodes of the graph that it runs; None if onnxruntime does not report it (before 1.24).
    refused
        With auto: the better providers that were not selected, with the reasons.
    metadata
        The file's metadata.
    """

    session: Any
    provider: str
    threads: int
    reason: str
    options: Mapping[str, str] = field(default_factory=dict)
    assignment: Assignment | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """Return the facts about the provider for a manifest and --json."""
        return {
            "provider": self.provider,
            "provider_reason": self.reason,
            "provider_options": dict(self.options),
            "provider_nodes": None if self.assignment is None else vars(self.assignment),
            "refused_providers": [{"provider": name, "reason": why} for name, why in self.refused.items()],
            "threads": self.threads,
        }


def open_session(
    path: str | Path | ModelFile,
    *,
    provider: str = "auto",
    threads: int | None = None,
    provider_options: Mapping[str, Any] | None = None,
) -> OpenedSession:
    """Open an ONNX file after `check_model_file`.

    Parameters
    ----------
    path
        The model.
    provider
        "auto" for the best one that starts, or a name: "cpu", "cuda", "CUDAExecutionProvider", ...
    threads
        Threads of one run on the CPU; None for `segtool.machine.processors.default_threads`.
    provider_options
        The provider's options, with its own keys; they require a named provider.

    Raises
    ------
    ModelFileError
        The file is missing, unsafe to open, or not a model that onnxruntime runs.
    ProviderError
        A named provider is missing, does not start, refuses an option, or leaves the model to the CPU; or the number
        of threads is not positive.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise ProviderError(f"The number of threads is {threads}, expected 1 to {MAX_THREADS}; pass such a number.")
    checked = path if isinstance(path, ModelFile) else check_model_file(path)
    quieten()
    opened = _open(checked.path, provider, options=provider_options, threads=threads)
    checked.require_unchanged()
    return replace(opened, metadata=checked.metadata)


def _open(path: Path, provider: str, *, options: Mapping[str, Any] | None, threads: int | None) -> OpenedSession:
    if provider != "auto":
        name = provider_name(provider, available_providers())
        opened = _start(path, name, options=options, threads=threads)
        if _runs_little(opened):
            logger.warning("%s runs only %s of this model; the CPU runs the other nodes.", name, opened.assignment)
        return opened
    if options:
        raise ProviderError(
            f"Provider options ({', '.join(options)}) were given without a provider; name it with --provider."
        )
    return _open_best(path, threads)


def _open_best(path: Path, threads: int | None) -> OpenedSession:
    """Open a model on the first provider, in order of preference, that starts; the CPU always does."""
    available = available_providers()
    refused: dict[str, str] = {}
    for name in (name for name in AUTO_ORDER if name in available):
        try:
            opened = _start(path, name, options=None, threads=threads)
        except ProviderError as error:
            refused[name] = str(error)
            continue
        if not _runs_little(opened):
            reason = f"{name} is the best provider that starts on this machine{_share_text(opened)}."
            return replace(opened, reason=" ".join((reason, *refused.values())), refused=refused)
        refused[name] = f"{name} starts, but would run only {opened.assignment} of this model."
    why = " ".join(refused.values()) or "this onnxruntime has no provider for an accelerator."
    return replace(_start(path, CPU, options=None, threads=threads), reason=f"{CPU} was chosen: {why}", refused=refused)


def _start(path: Path, provider: str, *, options: Mapping[str, Any] | None, threads: int | None) -> OpenedSession:
    """Start a session on one provider, and check that this provider runs the model."""
    settings, count = provider_settings(provider, options, threads=threads)
    opened = OpenedSession(None, provider, count, f"{provider} was requested.", settings)
    if provider == CPU:
        return replace(opened, session=cpu_session(path, session_options_for(count)))
    session = _session(path, opened, RECORD_ASSIGNMENT)
    opened = replace(opened, session=session, assignment=assignment_of(session, provider))
    if opened.assignment is None:
        _warn_of_unknown_share(path, opened)
    return replace(opened, reason=f"{provider} was requested{_share_text(opened)}.")


def cpu_session(path: Path, options: Any) -> Any:
    """Start a session of a checked file on the CPU.

    Raises
    ------
    ModelFileError
        onnxruntime cannot run the file.
    """
    try:
        # onnxruntime's own fallback would write to stdout, where results go, and open the file a second time.
        return INFERENCE_SESSION(str(path), options, providers=[CPU], enable_fallback=0)
    except ORT_ERRORS as error:
        raise ModelFileError(
            f"onnxruntime {ort.__version__} cannot run {path} ({first_line(error)}); "
            "expected an .onnx file of `segtool export`."
        ) from error


def _session(path: Path, opened: OpenedSession, entry: str) -> Any:
    """Start a session on another provider than the CPU, with one option of onnxruntime enabled."""
    switches = session_options_for(opened.threads)
    switches.add_session_config_entry(entry, "1")
    if opened.provider == DIRECTML:
        switches.enable_mem_pattern = False  # DirectML does not start with it
    providers: list[Any] | None = [(opened.provider, dict(opened.options)), *([] if entry == REFUSE_CPU else [CPU])]
    if devices := plugin_devices(opened.provider):
        switches.add_provider_for_devices(devices[:1], dict(opened.options))
        providers = None
    printed = io.StringIO()
    try:
        with captured_errors() as errors, fallback_print_kept(printed):
            # onnxruntime's own fallback would continue with the CPU, here and in each run.
            session = INFERENCE_SESSION(str(path), switches, providers=providers, enable_fallback=0)
        session.disable_fallback()
    except ORT_ERRORS as error:
        cpu_session(path, session_options_for(1))  # report a file that the CPU cannot run either
        raise ProviderError(
            f"{opened.provider} does not start on {path} ({plain_message(str(error))}); use --provider cpu."
        ) from error
    refuse_fallback(session, opened.provider, why=next(iter(errors), printed_error(printed.getvalue())))
    for message in errors:
        logger.warning("%s started, but logged an error: %s", opened.provider, message)
    return session


def _warn_of_unknown_share(path: Path, opened: OpenedSession) -> None:
    """Warn if onnxruntime before 1.24 assigns nodes to the CPU, because their number is unknown."""
    try:
        _session(path, opened, REFUSE_CPU)
    except ProviderError:
        logger.warning(
            "%s leaves nodes of %s to the CPU, perhaps all; onnxruntime %s does not report how many (1.24 does).",
            *(opened.provider, path, ort.__version__),
        )


def _runs_little(opened: OpenedSession) -> bool:
    """Return whether a provider runs less than `_LEAST_SHARE` of the nodes."""
    return opened.assignment is not None and opened.assignment.share < _LEAST_SHARE


def _share_text(opened: OpenedSession) -> str:
    return "" if opened.assignment is None else f" and runs {opened.assignment}"
