"""The check of the objects that a model file names, before Keras sees the file.

Keras rebuilds a model by importing and calling the objects that its configuration names. Its safe mode refuses
serialized lambdas, but still allows thousands of Keras objects, and some of these read files or access the network. So
only the layers, operations and functions of `allowed_objects` pass, and those that the user defines in a file of
their own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from segtool.errors import ModelFileError
from segtool.models.allowed_objects import ALLOWED, FUNCTIONS, LEGACY, NOTATION, REFUSED

_MAX_DEPTH = 64
_FUNCTION_MODULES = ("builtins", "keras.activations")


@dataclass(frozen=True)
class _Check:
    """A check of one configuration.

    Attributes
    ----------
    source
        Name of the file, for error messages.
    legacy
        The file is of Keras 2, which names classes without their modules.
    custom
        Registered names of the user's own layers.
    """

    source: str
    legacy: bool
    custom: Collection[str]


def check_config(config: Any, *, source: str, legacy: bool = False, custom: Collection[str] = ()) -> None:
    """Refuse a model configuration that names an object outside the allow-list.

    Parameters
    ----------
    config
        The parsed ``config.json``, without its top-level ``compile_config``.
    source
        Name of the file, for error messages.
    legacy
        The configuration is that of a legacy .h5 file, where objects may be named by their class alone.
    custom
        Registered names of the user's own layers and functions, which are allowed too.

    Raises
    ------
    ModelFileError
        An object is not allowed; the message names it. Nothing was imported or run.
    """
    if not isinstance(config, dict) or config.get("class_name") not in ("Functional", "Sequential", "Model"):
        found = config.get("class_name") if isinstance(config, dict) else type(config).__name__
        raise ModelFileError(
            f"{source} holds {found!r}, expected a Functional or Sequential Keras model; it was not opened."
        )
    _walk(config, _Check(source, legacy, custom), depth=0)


def _walk(value: Any, check: _Check, *, depth: int, place: str = "") -> None:
    if depth > _MAX_DEPTH:
        raise ModelFileError(
            f"The configuration in {check.source} is nested more than {_MAX_DEPTH} levels deep; it was not opened."
        )
    if isinstance(value, dict):
        _check_object(value, check, place)
        for item in value.values():
            _walk(item, check, depth=depth + 1, place=place)
    elif isinstance(value, list):
        for number, item in enumerate(value, start=1):
            _walk(item, check, depth=depth + 1, place=_layer_place(item, number, len(value), place))


def _layer_place(item: Any, number: int, count: int, outer: str) -> str:
    """Return the location of a list item: for a layer its name and number, else that of the list."""
    if not isinstance(item, dict) or not isinstance(config := item.get("config"), dict):
        return outer
    name = config.get("name", item.get("name"))
    return f" in layer {name!r} ({number} of {count}{f',{outer}' if outer else ''})" if isinstance(name, str) else outer


def _check_object(value: dict[str, Any], check: _Check, place: str) -> None:
    """Check one dictionary of the configuration: if it names an object, the object must be allowed."""
    if not {"class_name", "module", "registered_name"} & value.keys():
        return
    if _is_custom(value, check.custom) or _is_allowed(value, legacy=check.legacy):
        return
    raise ModelFileError(_refusal(value, check.source, place))


def _is_allowed(value: dict[str, Any], *, legacy: bool) -> bool:
    name, module, registered = value.get("class_name"), value.get("module"), value.get("registered_name")
    if not isinstance(name, str):
        return False
    if name == "function":
        return module in _FUNCTION_MODULES and _is_activation(value.get("config"), registered)
    if module is None and registered is None and (name in NOTATION or (legacy and name in LEGACY)):
        return True
    # With another registered name, Keras would look the object up among custom objects.
    return isinstance(module, str) and name in ALLOWED.get(module, ()) and registered in (None, name)


def _is_activation(name: Any, registered: Any) -> bool:
    return isinstance(name, str) and name in FUNCTIONS and registered in (None, "function", name)


def _is_custom(value: dict[str, Any], custom: Collection[str]) -> bool:
    """Return whether Keras takes this object from the user's own: it looks those up by their registered names."""
    name, module, registered = value.get("class_name"), value.get("module"), value.get("registered_name")
    wanted = registered if "registered_name" in value else name
    key = value.get("config") if name == "function" else wanted
    builtin = isinstance(module, str) and module.partition(".")[0] == "keras"
    return isinstance(key, str) and key in custom and not builtin


def _refusal(value: dict[str, Any], source: str, place: str) -> str:
    """Return the sentence on an object that is not allowed: what it is, and what to do."""
    name, module, registered = value.get("class_name"), value.get("module"), value.get("registered_name")
    if name == "function" and isinstance(value.get("config"), str):
        name = f"{value['config']} (function)"
    text = ".".join(str(part) for part in (module, name) if part is not None)
    if registered not in (None, value.get("class_name")):
        text += f" (registered as {registered})"
    if isinstance(name, str) and name in REFUSED:
        return (
            f"{source} names {text}{place}, which {REFUSED[name]}. So the file was not opened. Replace it by other "
            "layers of Keras or operations of keras.ops, or write it as a layer class in a file of your own and name "
            f"that file: segtool export {source} --custom FILE.py."
        )
    return (
        f"{source} names {text}{place}, which is not one of the objects that segtool allows. A model file can run "
        "code through such an object, so it was not opened. If it is a layer of your own, name the Python file that "
        f"defines it, which is then run: segtool export {source} --custom FILE.py."
    )
