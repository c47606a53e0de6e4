"""Importing what the extra `ray` brings, only where it is used."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from segtool.errors import MissingExtraError


def import_ray() -> ModuleType:
    """Import Ray with Ray Data; its usage statistics are off in this process and in what it starts.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is sent anywhere, whatever the user's Ray is set to
    # Its processes write to files what matters; on standard error it would warn of what Ray Data itself does.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import_extra("ray.data")
    return import_extra("ray")


def import_extra(name: str) -> ModuleType:
    """Import a module that the extra brings.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f'{name} could not be imported ({error}); install it with pip install "segtool[ray]".'
        ) from error
