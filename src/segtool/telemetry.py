"""Disable the usage events of onnxruntime before its import, in this process and its child processes.

Since 1.29, its official packages send events from the import on, and write a device id and a database to the user's
cache folder. `disable_telemetry_events()` can only be called after the import, so it does not prevent this. The
environment variable does, if it is set before the import; onnxruntime reads it once.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # not from typing, whose import would take most of the time until signals are handled
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    State = Literal["none", "off", "on"]

VARIABLE = "ORT_DISABLE_TELEMETRY"

_FIRST = (1, 29)
_TRUE = ("1", "true", "yes", "on", "y")  # the values that onnxruntime accepts as yes


def switch_off() -> None:
    """Set the variable unless the user has, and log a warning if onnxruntime was imported without it.

    The variable stays set, because child processes inherit it and import onnxruntime themselves.
    """
    if os.environ.get(VARIABLE):
        return
    engine = sys.modules.get("onnxruntime")
    version = getattr(engine, "__version__", None)
    started = engine is not None and usage_events(version) == "on"
    os.environ[VARIABLE] = "1"
    if started:
        import logging

        logging.getLogger(__name__).warning(
            "onnxruntime %s was imported before segtool, so this process may send usage events; import segtool "
            "first, or set %s=1 in the environment.",
            version,
            VARIABLE,
        )


def usage_events(version: str | None, environment: Mapping[str, str] = os.environ) -> State:
    """Return whether an onnxruntime that is imported in this environment sends usage events.

    Parameters
    ----------
    version
        Version of onnxruntime; None if it is not installed.

    Returns
    -------
    str
        "none" if this version sends no usage events over the network; otherwise "off" or "on".

    Examples
    --------
    >>> usage_events("1.28.0", {}), usage_events("1.32.0", {}), usage_events("1.32.0", {"ORT_DISABLE_TELEMETRY": "1"})
    ('none', 'on', 'off')
    """
    numbers = [int(part) for part in (version or "").split(".")[:2] if part.isdecimal()]
    if tuple(numbers) < _FIRST:
        return "none"
    return "off" if environment.get(VARIABLE, "").strip().lower() in _TRUE else "on"
