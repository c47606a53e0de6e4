"""Putting the contract and the golden pair into an ONNX file."""

from __future__ import annotations

import onnx

from segtool.contract import GOLDEN_KEY, METADATA_KEY, GoldenPair, ModelContract


def with_metadata(model: onnx.ModelProto, contract: ModelContract, golden: GoldenPair) -> onnx.ModelProto:
    """Return a copy of `model` that carries the contract and the golden pair, and names its maker."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.producer_name = "segtool"
    result.producer_version = contract.versions.get("segtool", "")
    onnx.helper.set_model_props(result, {METADATA_KEY: contract.to_json(), GOLDEN_KEY: golden.to_json()})
    return result
