"""Open a model file: its contract, and a session that runs it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtool.contract import ModelContract
from segtool.errors import GateError
from segtool.runtime.model_file import MAX_MODEL_BYTES, check_model_file
from segtool.runtime.segmenter import Segmenter
from segtool.runtime.session import CPU, open_session
from segtool.runtime.signature import check_signature

logger = logging.getLogger(__name__)


def load(
    path: str | Path,
    *,
    provider: str = "auto",
    threads: int | None = None,
    provider_options: Mapping[str, Any] | None = None,
    max_bytes: int = MAX_MODEL_BYTES,
    sandbox: bool = False,
) -> Segmenter:
    """Open a model that segtool exported.

    Parameters
    ----------
    path
        The .onnx file.
    provider
        "auto" for the best one that starts, or a name: "cpu", "cuda", ...
    threads
        Threads of one run on the CPU; None for OMP_NUM_THREADS, or without it all processors of this process. With 1,
        `Segmenter.stream` runs an image on each processor, which gives the highest throughput.
    provider_options
        The provider's options with its own keys, such as {"device_type": "GPU"} for OpenVINO. They require a named
        provider, and an unknown option is an error.
    max_bytes
        Larger files are refused without reading them; a service for untrusted models sets it as low as possible.
    sandbox
        Open and run the file in a new process first, so that a graph that crashes onnxruntime is an error: for
        untrusted models. It takes the time of starting Python and the model.

    Raises
    ------
    ModelFileError
        The file is missing, not a model, damaged, too large, or would make onnxruntime read other files or run
        operators of a library.
    ContractError
        It has no contract, one of a newer version, or one that does not fit its graph.
    ProviderError
        A named provider does not run it, or refuses an option.
    """
    checked = check_model_file(path, max_bytes=max_bytes)
    contract = ModelContract.from_metadata(checked.metadata, source=str(checked.path))
    if sandbox:
        from segtool.runtime.sandbox import try_in_sandbox

        try_in_sandbox(checked.path, provider=provider, threads=threads)
    opened = open_session(checked, provider=provider, threads=threads, provider_options=provider_options)
    check_signature(opened.session, contract, checked.path)
    if contract.convolutions.get("algorithm") == "winograd" and opened.provider != CPU:
        logger.warning(
            "%s has Winograd's convolutions for a CPU, but runs on %s; export it again with --winograd off.",
            checked.path,
            opened.provider,
        )
    return Segmenter(checked.path, contract, opened)


def require_verified(path: str | Path) -> None:
    """Run the golden pair of a file on this CPU, before a copy of it goes to another device.

    Raises
    ------
    GateError
        Its labels are not those of the export.
    SegtoolError
        As in `load` and `Segmenter.verify`.
    """
    found = load(path, provider="cpu").verify()
    if not found.passed:
        raise GateError(
            f"{path} fails `segtool verify` here: {found.agreement:.2%} of its golden pixels have the label of the "
            f"export, expected {found.required_agreement:.2%}; nothing was written. Copy the file again, or export the "
            "model again."
        )
