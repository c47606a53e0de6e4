"""The images of a file's golden pair: real ones, and small enough that they do not outweigh the network."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from segtool.contract import ModelContract
from segtool.export.data import ExportData
from segtool.images.pixels import resize_image

MAX_IMAGES = 4
MAX_BYTES = 1 << 17  # of all images before compression: photographs hardly shrink in it


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
