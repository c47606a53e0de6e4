"""Which layer or operation of a network could not be converted: each is tried on its own, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Culprit:
    """A layer that cannot be converted.

    Attributes
    ----------
    name
        Its name; behind that of the model around it, with a slash, where it is nested.
    kind
        Its class.
    place
        Its number among all layers, from 1, and theirs: "layer 5 of 24".
    """

    name: str
    kind: str
    place: str


def find_culprit(
    model: Any, convert: Callable[[Any], object], *, errors: tuple[type[Exception], ...]
) -> Culprit | None:
    """Return the first layer that `convert` fails on alone; None where each alone is converted.

    Parameters
    ----------
    model
        keras.Model.
    convert
        Takes a keras.Model of one layer.
    errors
        What it raises where it fails.
    """
    import keras

    layers = list(_leaves(model))
    for number, (name, layer) in enumerate(layers, start=1):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        try:
            convert(_alone(layer))
        except errors:
            return Culprit(name, type(layer).__name__, f"layer {number} of {len(layers)}")
    return None


def _leaves(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    # A functional model holds operations of keras.ops beside its layers.
    for layer in getattr(model, "operations", model.layers):
        if hasattr(layer, "layers"):
            yield from _leaves(layer, f"{prefix}{layer.name}/")
        else:
            yield f"{prefix}{layer.name}", layer


def _alone(layer: Any) -> Any:
    """Return a model of this layer, with inputs as it has them where it is first used."""
    import keras

    # `layer.input` says the same of a layer that is used once, and raises for one that is used twice.
    node = layer._inbound_nodes[0]
    inputs = {
        id(tensor): keras.Input(batch_shape=(None, *tensor.shape[1:]), dtype=tensor.dtype)
        for tensor in node.input_tensors
    }
    given = (node.arguments.args, node.arguments.kwargs)
    args, options = keras.tree.map_structure(lambda value: inputs.get(id(value), value), given)
    return keras.Model(list(inputs.values()), layer(*args, **options))
