"""Random changes of training images; written in numpy, so they are the same on every Keras backend."""

from segtool.train.augmentation.registry import (
    AUGMENTATIONS,
    NONE,
    Augmenter,
    parse_augmentations,
    spell,
    too_far,
)

__all__ = ["AUGMENTATIONS", "NONE", "Augmenter", "parse_augmentations", "spell", "too_far"]
