"""What an export adds to a file: the contract and the golden pair, whose images are real and small."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import onnx

from segtool.contract import GOLDEN_KEY, METADATA_KEY, GoldenPair, ModelContract
from segtool.export.data import ExportData
from segtool.images.pixels import resize_image

MAX_IMAGES = 4
MAX_BYTES = 1 << 17  # of all images before compression: photographs hardly shrink in it


def with_metadata(model: onnx.ModelProto, contract: ModelContract, golden: GoldenPair) -> onnx.ModelProto:
    """Return a copy of `model` that carries the contract and the golden pair, and names its maker."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.producer_name = "segtool"
    result.producer_version = contract.versions.get("segtool", "")
    onnx.helper.set_model_props(result, {METADATA_KEY: contract.to_json(), GOLDEN_KEY: golden.to_json()})
    return result


def golden_images(data: ExportData, contract: ModelContract) -> npt.NDArray[np.uint8]:
    """Return up to `MAX_IMAGES` real images of the model's size, uint8 (n, H, W, C), of `MAX_BYTES` together.

    Where even one is larger, it is drawn in square blocks of one colour each, which compress to a pixel a block. What
    the network says of that is as good a proof: it goes the same way through every layer.
    """
    one = contract.height * contract.width * contract.channels
    images = data.real_images(max(1, min(MAX_IMAGES, MAX_BYTES // one)), contract)
    block = math.ceil(math.sqrt(one / MAX_BYTES))
    return images if block == 1 else np.stack([_in_blocks(image, block) for image in images[:1]])


def _in_blocks(image: npt.NDArray[np.uint8], block: int) -> npt.NDArray[np.uint8]:
    height, width = image.shape[:2]
    small = resize_image(image, math.ceil(height / block), math.ceil(width / block))
    return np.ascontiguousarray(small.repeat(block, axis=0).repeat(block, axis=1)[:height, :width])
