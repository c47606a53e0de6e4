"""Every field of a contract is checked: whatever a file says there, it is read or refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_contract

from segtool.contract import ModelContract
from segtool.errors import ContractError

LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
KINDS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
NEAR = st.lists(st.integers(-1, 300) | st.booleans(), min_size=1, max_size=3)  # close to what sizes and colours are
SIDE = range(1, 2**28 + 1)


def is_whole(value: Any, allowed: range) -> bool:
    return type(value) is int and value in allowed


def is_size(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(is_whole(side, SIDE) for side in value)


def maps_to(kind: type) -> Any:
    return lambda value: isinstance(value, Mapping) and all(isinstance(item, kind) for item in value.values())


def are_colors(value: Any) -> bool:
    return all(
        isinstance(color, tuple) and [is_whole(part, range(256)) for part in color] == [True] * 3 for color in value
    )


# What a reader may rely on, field by field, written down a second time.
RIGHT = {
    "height": lambda value: is_whole(value, SIDE),
    "width": lambda value: is_whole(value, SIDE),
    "channels": lambda value: is_whole(value, range(1, 4)) and value != 2,
    "class_names": lambda value: isinstance(value, tuple) and all(isinstance(name, str) for name in value),
    "palette": are_colors,
    "background_id": lambda value: value is None or is_whole(value, range(11)),
    "ignore_id": lambda value: value is None or is_whole(value, range(2**16)),
    "head": lambda value: value in ("labels", "logits", "probabilities"),
    "size_policy": lambda value: value in ("resize", "tile"),
    "precision": lambda value: value in ("float32", "int8"),
    "quantization": maps_to(object),
    "convolutions": maps_to(object),
    "data_fingerprint": lambda value: value == "" or (isinstance(value, str) and len(value) == 64),
    "split": maps_to(object),
    "metrics": maps_to(Mapping),
    "gates": maps_to(Mapping),
    "versions": maps_to(str),
    "trained_size": lambda value: value is None or is_size(value),
    "network": lambda value: isinstance(value, dict) and all(isinstance(key, str) for key in value),
    "arguments": lambda value: isinstance(value, tuple) and all(isinstance(item, str) for item in value),
    "version": lambda value: is_whole(value, range(1, 2)),
}


def test_no_field_is_left_out() -> None:
    assert set(RIGHT) == {item.name for item in fields(ModelContract)}


@pytest.mark.parametrize("name", RIGHT)
@settings(max_examples=50)
@given(value=KINDS | NEAR)
def test_a_field_is_right_or_refused(name: str, value: Any) -> None:
    text = json.dumps({**json.loads(tiny_contract().to_json()), name: value})
    try:
        contract = ModelContract.from_json(text, source="some.onnx")
    except ContractError as error:
        message = str(error)
        assert "some.onnx" in message
        assert len(message) < 500
        return
    assert RIGHT[name](getattr(contract, name)), value
    assert ModelContract.from_json(contract.to_json()) == contract


@pytest.mark.parametrize("name", RIGHT)
def test_a_field_that_is_left_out_is_refused_or_has_its_default(name: str) -> None:
    raw = json.loads(tiny_contract().to_json())
    del raw[name]
    needed = {"height", "width", "channels", "class_names", "palette", "version"}
    try:
        ModelContract.from_json(json.dumps(raw))
    except ContractError:
        assert name in needed
    else:
        assert name not in needed
