"""Open a model file: its contract and a session that runs it, without the image modules."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtool.contract import ModelContract
from segtool.runtime.model_file import MAX_MODEL_BYTES, check_model_file
from segtool.runtime.session import CPU, OpenedSession, open_session
from segtool.runtime.signature import check_signature

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedModel:
    """An open model file.

    Attributes
    ----------
    path
        The file.
    session
        The session that runs it, and its provider.
    contract
        The contract in the file.
    """

    path: Path
    session: OpenedSession
    contract: ModelContract


def open_model(
    path: str | Path,
    *,
    provider: str = "auto",
    threads: int | None = None,
    provider_options: Mapping[str, Any] | None = None,
    max_bytes: int = MAX_MODEL_BYTES,
    sandbox: bool = False,
) -> OpenedModel:
    """Open a model that segtool exported; arguments and errors as in `segtool.load`."""
    checked = check_model_file(path, max_bytes=max_bytes)
    contract = ModelContract.from_metadata(checked.metadata, source=str(checked.path))
    if sandbox:
        from segtool.runtime.sandbox import try_in_sandbox

        try_in_sandbox(checked.path, provider=provider, threads=threads)
    session = open_session(checked, provider=provider, threads=threads, provider_options=provider_options)
    check_signature(session.session, contract, checked.path)
    if contract.convolutions.get("algorithm") == "winograd" and session.provider != CPU:
        logger.warning(
            "%s has Winograd's convolutions for a CPU, but runs on %s; export it again with --winograd off.",
            checked.path,
            session.provider,
        )
    return OpenedModel(checked.path, session, contract)
