"""Exact rewrites of a converted network: one a file, its algebra, preconditions and gain in the docstring there.

To add one: a file beside this one, and its constant in one of the lists below (docs/add-a-pass.md). The steps that
apply a list are named above it.
"""

from __future__ import annotations

from segtool.export.passes.activation_behind_pool import ACTIVATION_BEHIND_POOL
from segtool.export.passes.arg_max_before_crop import ARG_MAX_BEFORE_CROP
from segtool.export.passes.blocks_as_channels import BLOCKS_AS_CHANNELS
from segtool.export.passes.classes_last import CLASSES_LAST
from segtool.export.passes.concat_last import CONCAT_LAST
from segtool.export.passes.conv_before_copies import CONV_BEFORE_COPIES
from segtool.export.passes.conv_before_resize import CONV_BEFORE_RESIZE
from segtool.export.passes.conv_of_parts import CONV_OF_PARTS
from segtool.export.passes.copies_last import COPIES_LAST
from segtool.export.passes.crop_into_transposed import CROP_INTO_TRANSPOSED
from segtool.export.passes.dead_taps import DEAD_TAPS
from segtool.export.passes.flipped_convolution import FLIPPED_CONVOLUTION
from segtool.export.passes.gelu import GELU
from segtool.export.passes.hard_sigmoid import HARD_SIGMOID
from segtool.export.passes.labels_per_block import LABELS_PER_BLOCK
from segtool.export.passes.labels_per_cell import LABELS_PER_CELL
from segtool.export.passes.layout_first import LAYOUT_FIRST
from segtool.export.passes.mean_as_pool import MEAN_AS_POOL
from segtool.export.passes.min_max_as_clip import MIN_MAX_AS_CLIP
from segtool.export.passes.nearest_as_tile import NEAREST_AS_TILE
from segtool.export.passes.no_op import NO_OP
from segtool.export.passes.pad_into_conv import PAD_INTO_CONV
from segtool.export.passes.padded_channels import PADDED_CHANNELS
from segtool.export.passes.pixels_as_channels import PIXELS_AS_CHANNELS
from segtool.export.passes.product_into_conv import PRODUCT_INTO_CONV
from segtool.export.passes.rewrite import Outcome, Refused, Rewrite, log_outcomes, rewrite, to_ir, to_onnx
from segtool.export.passes.scale_back import SCALE_BACK
from segtool.export.passes.scores_by_pixels import SCORES_BY_PIXELS
from segtool.export.passes.scores_in_blocks import SCORES_IN_BLOCKS
from segtool.export.passes.shift_as_convolution import SHIFT_AS_CONVOLUTION
from segtool.export.passes.shift_back import SHIFT_BACK
from segtool.export.passes.shift_by_rows import SHIFT_BY_ROWS
from segtool.export.passes.tokens import TOKENS
from segtool.export.passes.winograd import WINOGRAD

__all__ = [
    "CPU_REWRITES",
    "FLOAT_REWRITES",
    "INT8_REWRITES",
    "PADDING_REWRITES",
    "QUANTIZED_REWRITES",
    "SHARED_REWRITES",
    "UPSAMPLING_REWRITES",
    "WINOGRAD_REWRITES",
    "Outcome",
    "Refused",
    "Rewrite",
    "log_outcomes",
    "rewrite",
    "to_ir",
    "to_onnx",
]

# What pays in float and in INT8, in the order in which each opens the way for the next (export/float32_file.py).
SHARED_REWRITES = (
    LAYOUT_FIRST,
    NO_OP,
    MIN_MAX_AS_CLIP,
    HARD_SIGMOID,
    GELU,
    PAD_INTO_CONV,
    SCALE_BACK,
    SHIFT_BACK,
    DEAD_TAPS,
    CROP_INTO_TRANSPOSED,
    ARG_MAX_BEFORE_CROP,
    LABELS_PER_BLOCK,
    FLIPPED_CONVOLUTION,
    TOKENS,
)
# What pays in both once normalizations are in their convolutions; not in a network that was trained in INT8, whose
# scales are those of the maps that these rewrites leave out (export/float32_file.py).
UPSAMPLING_REWRITES = (COPIES_LAST, CONV_BEFORE_RESIZE, PRODUCT_INTO_CONV, CONV_BEFORE_COPIES)
# What pays in one of them alone, or takes what the others leave (export/float32_file.py, export/quantize.py).
FLOAT_REWRITES = (SHIFT_AS_CONVOLUTION, SCORES_IN_BLOCKS)
INT8_REWRITES = (
    SCORES_IN_BLOCKS,
    PIXELS_AS_CHANNELS,
    BLOCKS_AS_CHANNELS,
    CONCAT_LAST,
    NEAREST_AS_TILE,
    MEAN_AS_POOL,
    ACTIVATION_BEHIND_POOL,
    SHIFT_BY_ROWS,
)
# What pays in INT8 on x86, whose fast kernels want multiples of 16 channels (export/quantize.py).
PADDING_REWRITES = (PADDED_CHANNELS,)
# What pays in float on some processors, where it was measured to (export/float32_file.py).
WINOGRAD_REWRITES = (WINOGRAD,)
# What pays on a CPU, in float and in INT8, behind the others: its products must not be taken for layers to quantize,
# and convolutions in INT8 are faster in one piece (export/float32_file.py, export/quantize.py).
CPU_REWRITES = (LABELS_PER_CELL, CLASSES_LAST, CONV_OF_PARTS)
# What pays around the float head of a graph that is quantized already (export/quantize.py).
QUANTIZED_REWRITES = (SCORES_BY_PIXELS,)
