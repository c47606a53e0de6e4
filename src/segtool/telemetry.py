"""The usage events of onnxruntime: off before it is imported, in this process and in those that it starts.

Since 1.29 its official packages send events from the moment of the import, and leave a device id and a database in the
user's cache folder. `disable_telemetry_events()` can only be called after the import and does not prevent that. The
environment variable does, if it is set before the import; onnxruntime reads it once.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # not typing's, whose import would take most of the time until signals are handled
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    State = Literal["none", "off", "on"]

VARIABLE = "ORT_DISABLE_TELEMETRY"

_FIRST = (1, 29)
_TRUE = ("1", "true", "yes", "on", "y")  # what onnxruntime takes for yes


def switch_off() -> None:
    """Set the variable where the user has not, and log a warning where onnxruntime was imported without it.

    The variable stays set: processes that are started later inherit it, and import onnxruntime themselves.
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
            "onnxruntime %s was imported before segtool and may send usage events from this process; import segtool "
            "first, or set %s=1 in the environment.",
            version,
            VARIABLE,
        )


def usage_events(version: str | None, environment: Mapping[str, str] = os.environ) -> State:
    """Return what an onnxruntime that is imported in this environment does.

    Parameters
    ----------
    version
        Of onnxruntime; None where it is not installed.

    Returns
    -------
    str
        "none" where this version has no usage events that leave the machine; "off" or "on" where it has.

    Examples
    --------
    >>> usage_events("1.28.0", {}), usage_events("1.32.0", {}), usage_events("1.32.0", {"ORT_DISABLE_TELEMETRY": "1"})
    ('none', 'on', 'off')
    """
    numbers = [int(part) for part in (version or "").split(".")[:2] if part.isdecimal()]
    if tuple(numbers) < _FIRST:
        return "none"
    return "off" if environment.get(VARIABLE, "").strip().lower() in _TRUE else "on"
