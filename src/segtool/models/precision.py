"""Opening networks of other precisions in float32: mixed_float16, mixed_bfloat16, float16, bfloat16 and float64.

With a mixed policy Keras keeps the weights in float32 and computes in 16 bits, to train faster. An ONNX file for
processors computes in float32, which is the more exact form of the same network. The configuration is rewritten before
Keras sees it, so weights of another type are cast when they are loaded.
"""

from __future__ import annotations

from typing import Any

from segtool.errors import ModelFileError

_FLOAT = "float32"
_OTHER = frozenset({"mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64"})
_QUANTIZED = ("int8_", "int4_", "int4/", "float8_", "gptq", "awq")
_POLICIES = frozenset({"DTypePolicy", "DTypePolicyMap", "FloatDTypePolicy", "Policy"})


def as_float32(config: Any, *, source: str) -> set[str]:
    """Change the precision of a network to float32, in its configuration, and return the names of what was replaced.

    Parameters
    ----------
    config
        The parsed configuration, checked; changed in place.
    source
        Name of the file, for error messages.

    Raises
    ------
    ModelFileError
        Keras quantized the network, so it has no weights in floating point.
    """
    found: set[str] = set()
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            _replace_in(value, "dtype", found, source=source)
            if value.get("class_name") in _POLICIES and isinstance(value.get("config"), dict):
                _replace_in(value["config"], "name", found, source=source)
            waiting.extend(value.values())
    return found


def _replace_in(value: dict[str, Any], key: str, found: set[str], *, source: str) -> None:
    name = value.get(key)
    if not isinstance(name, str):
        return
    if name.startswith(_QUANTIZED):
        raise ModelFileError(
            f"The network in {source} was quantized by Keras ({name}), expected weights in floating point; save the "
            "network before model.quantize(), and export it with segtool export --quantize."
        )
    if name in _OTHER:
        found.add(name)
        value[key] = _FLOAT
