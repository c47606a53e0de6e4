"""Check that the inputs and outputs of a model's graph match its contract."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.contract import ModelContract
from segtool.errors import ContractError

_HEAD_TYPES = {
    "labels": ("tensor(uint8)", "tensor(uint16)"),
    "logits": ("tensor(float)",),
    "probabilities": ("tensor(float)",),
}


def check_signature(session: Any, contract: ModelContract, path: Path) -> None:
    """Refuse a file whose graph does not match its contract.

    Raises
    ------
    ContractError
        A name in it is not text, its input is not one uint8 (N, height, width, channels), or its output is not that
        of the head.
    """
    try:
        inputs, outputs = session.get_inputs(), session.get_outputs()
        _described([*inputs, *outputs])
    except UnicodeDecodeError as error:
        raise ContractError(f"The names in {path} are not text, so the file is damaged; copy it again.") from error
    expected = [contract.height, contract.width, contract.channels]
    if len(inputs) != 1 or inputs[0].type != "tensor(uint8)" or inputs[0].shape[1:] != expected:
        raise ContractError(
            f"{path} has the input {_described(inputs)}, but its contract has uint8 "
            f"(N, {', '.join(map(str, expected))}); export it again."
        )
    if len(outputs) != 1 or outputs[0].type not in _HEAD_TYPES[contract.head]:
        raise ContractError(
            f"{path} has the output {_described(outputs)}, but its contract has the head {contract.head}; "
            "export it again."
        )


def check_output(output: npt.NDArray[Any], contract: ModelContract, *, images: int, path: Path) -> None:
    """Refuse an output that does not match the contract; shapes in a graph may depend on values.

    Raises
    ------
    ContractError
        The output has another size or type, or labels that are not class ids.
    """
    expected: tuple[int, ...] = (images, contract.height, contract.width)
    dtype: type = np.float32
    if contract.head == "labels":
        dtype = contract.label_dtype.type
    else:
        expected = (*expected, contract.num_classes)
    if output.shape != expected or output.dtype != dtype:
        raise ContractError(
            f"The output of {path} is {output.dtype} {output.shape}, but its contract has "
            f"{np.dtype(dtype)} {expected}; export it again."
        )
    if contract.head == "labels" and int(output.max(initial=0)) >= contract.num_classes:
        raise ContractError(
            f"The output of {path} has the label {output.max()}, but its contract has {contract.num_classes} classes; "
            "export it again."
        )


def _described(nodes: Sequence[Any]) -> str:
    return ", ".join(f"{node.name} {node.type} {node.shape}" for node in nodes)
