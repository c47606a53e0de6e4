"""A Keras network as the export reads it: its inputs and outputs, a way to run it, and its graph at one size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx

from segtool.array_types import AnyArray
from segtool.errors import ExportError
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.network.interface import Tensor, image_input, named_output
from segtool.export.options import ExportOptions
from segtool.export.resize.rebuild import rebuild
from segtool.export.running import keras_runner


@dataclass(frozen=True)
class KerasNetwork:
    """A keras.Model; see `opening.Raw` for what its members are for."""

    model: Any
    source: str
    opset: int

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Its inputs."""
        if not self.model.built or not getattr(self.model, "inputs", None):
            raise ExportError(
                f"{self.source} was saved before it was built, so the shape of its input is unknown; call it once on "
                "an image, or begin it with keras.Input(shape=(height, width, 3)), and save it again."
            )
        return tuple(Tensor(str(tensor.name), tuple(tensor.shape)) for tensor in self.model.inputs)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Its outputs, under the keys of a dict or the names of their layers."""
        return tuple(Tensor(name, tuple(tensor.shape)) for name, tensor in self._outputs().items())

    @property
    def dtype(self) -> str:
        """Of its input."""
        return str(self.model.inputs[0].dtype)

    def _outputs(self) -> dict[str, Any]:
        structure = self.model.output
        if isinstance(structure, dict):
            return {str(key): tensor for key, tensor in structure.items()}
        names = [str(tensor._keras_history.operation.name) for tensor in self.model.outputs]
        unique = [name if names.count(name) == 1 else f"{name}:{i}" for i, name in enumerate(names)]
        return dict(zip(unique, self.model.outputs, strict=True))

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of its input; None where a side is free."""
        height, width = image_input(self.inputs, source=self.source).size
        return (height, width) if height and width else None

    def class_axis(self, _output: str) -> int | None:
        """Return None: an arg-max inside a Keras network is refused by the type of its output."""
        return None

    def runner(self, output: str, _size: tuple[int, int]) -> Callable[[AnyArray], AnyArray]:
        """Return a function from images in the network's own layout and scaling to one output, on the CPU."""
        return keras_runner(self.ending_in(output))

    def graph(self, output: str, size: tuple[int, int]) -> onnx.ModelProto:
        """Return the graph of one output at one size."""
        return keras_to_onnx(self.ending_in(output), opset=self.opset, size=size)

    def ending_in(self, output: str) -> Any:
        """Return the keras.Model that gives one output alone."""
        import keras

        if not any(isinstance(end, dict | list | tuple) for end in (self.model.input, self.model.output)):
            return self.model
        return keras.Model(self.model.inputs[0], self._outputs()[output], name=self.model.name)


def rebuilt_for(network: KerasNetwork, options: ExportOptions) -> KerasNetwork | None:
    """Return the network rebuilt for another size than its own, where that is asked for."""
    if options.size is None or network.size in (None, options.size):
        return None
    model = network.ending_in(named_output(network.source, network.outputs, options.output))
    return KerasNetwork(rebuild(model, options.size), network.source, network.opset)
