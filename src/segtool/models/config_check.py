"""The allow-list of objects that a model.keras file may name.

Keras rebuilds a model by importing and calling the objects that ``config.json`` names. Its safe mode refuses serialized
lambdas, but still allows thousands of Keras objects, and some of these read files or access the network. Segmentation
networks need few layers, so only these pass. The check runs before Keras sees the file.
"""

from __future__ import annotations

from typing import Any

from segtool.errors import ModelFileError

_LAYER_NAMES = """
    Activation Add Average AveragePooling2D BatchNormalization Concatenate Conv2D Conv2DTranspose Cropping2D
    DepthwiseConv2D Dropout ELU GaussianNoise GlobalAveragePooling2D GroupNormalization Identity InputLayer
    LayerNormalization LeakyReLU MaxPooling2D Maximum Multiply PReLU Permute ReLU Rescaling Reshape SeparableConv2D
    Softmax SpatialDropout2D Subtract UpSampling2D ZeroPadding2D
"""
_INITIALIZER_NAMES = """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Ones Orthogonal RandomNormal
    RandomUniform TruncatedNormal VarianceScaling Zeros
"""
_ALLOWED: dict[str, frozenset[str]] = {
    "keras": frozenset({"DTypePolicy", "Functional", "Model", "Sequential"}),
    "keras.models": frozenset({"Functional", "Model", "Sequential"}),
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.models.sequential": frozenset({"Sequential"}),
    "keras.layers": frozenset(_LAYER_NAMES.split()),
    "keras.initializers": frozenset(_INITIALIZER_NAMES.split()),
    "keras.regularizers": frozenset({"L1", "L1L2", "L2"}),
    "keras.constraints": frozenset({"MaxNorm", "NonNeg", "UnitNorm"}),
    "keras.dtype_policies": frozenset({"DTypePolicy"}),
}
# Notation of the Keras format for the position of a tensor in the graph; it names no code.
_NOTATION = frozenset({"__keras_tensor__"})
_MAX_DEPTH = 64


def check_config(config: Any, *, source: str) -> None:
    """Refuse a model configuration that names an object outside the allow-list.

    Parameters
    ----------
    config
        The parsed ``config.json``, without its top-level ``compile_config``.
    source
        Name of the file, for error messages.

    Raises
    ------
    ModelFileError
        An object is not allowed; the message names it. Nothing was imported or run.
    """
    if not isinstance(config, dict) or config.get("class_name") not in ("Functional", "Sequential"):
        found = config.get("class_name") if isinstance(config, dict) else type(config).__name__
        raise ModelFileError(
            f"{source} holds {found!r}, expected a Functional or Sequential Keras model; it was not opened."
        )
    _walk(config, source, depth=0)


def _walk(value: Any, source: str, *, depth: int, place: str = "") -> None:
    if depth > _MAX_DEPTH:
        raise ModelFileError(
            f"The configuration in {source} is nested more than {_MAX_DEPTH} levels deep; it was not opened."
        )
    if isinstance(value, dict):
        _check_object(value, source, place)
        for item in value.values():
            _walk(item, source, depth=depth + 1, place=place)
    elif isinstance(value, list):
        for number, item in enumerate(value, start=1):
            _walk(item, source, depth=depth + 1, place=_layer_place(item, number, len(value), place))


def _layer_place(item: Any, number: int, count: int, outer: str) -> str:
    """Return the location of a list item: for a layer its name and number, else that of the list."""
    config = item.get("config") if isinstance(item, dict) else None
    if not isinstance(config, dict) or not isinstance(config.get("name"), str):
        return outer
    return f" in layer {config['name']!r} ({number} of {count}{f',{outer}' if outer else ''})"


def _check_object(value: dict[str, Any], source: str, place: str) -> None:
    """Check one dictionary of the configuration: if it names an object, the object must be allowed."""
    if not {"class_name", "module", "registered_name"} & value.keys():
        return
    name, module, registered = value.get("class_name"), value.get("module"), value.get("registered_name")
    named = isinstance(name, str)
    if named and name in _NOTATION and module is None and registered is None:
        return
    known = named and isinstance(module, str) and name in _ALLOWED.get(module, ())
    # With another registered name, Keras would look the object up among custom objects.
    if not known or registered not in (None, name):
        raise ModelFileError(
            f"{source} names {_spell(module, name, registered)}{place}, which is not one of the objects that "
            "segtool allows. A model file can run code through such an object, so it was not opened; rebuild the "
            "model without it."
        )


def _spell(module: Any, name: Any, registered: Any) -> str:
    text = ".".join(str(part) for part in (module, name) if part is not None)
    return text if registered in (None, name) else f"{text} (registered as {registered})"
