"""Which kernel of onnxruntime computes an INT8 convolution on this processor, and what a faster one needs.

onnxruntime chooses when it opens a file, from the weights alone (`QLinearConv::TryConvSymPrepack` in its
``core/providers/cpu/quantization/qlinearconv.cc``, `MlasConvSymPackWSize` in ``core/mlas/lib/convsym.cpp``, and the
tables of ``core/mlas/lib/platform.cpp``; read at version 1.32). benchmarks/kernel_classes.py compares this prediction
with what onnxruntime does.

==========  ====================================================================================================
direct      reads the input through pointers, sums in registers and writes the rounded output
depthwise   the same, for convolutions of one channel a group
general     copies the input into a matrix (except for 1x1), multiplies it in blocks, writes int32 sums to memory,
            and rounds them in a second pass; a depthwise convolution without the copy
matrix      an integer matrix product
float       float32
==========  ====================================================================================================

On Arm (Linux, 64 bits) the instruction that multiplies depends on the kernel, on the processor, and on the type of the
activations. benchmarks/arm.py compares this table with the instructions that onnxruntime executes there:

==================  ===============================  ====================  =======================================
kernel              no dot products (Cortex-A72)     asimddp (Cortex-A76)  asimddp and i8mm
==================  ===============================  ====================  =======================================
direct              SMLAL                            SDOT                  SDOT
general, matrix     SMLAL                            int8: SDOT;           int8: SDOT; uint8: UMMLA
                                                     uint8: UDOT
depthwise           SMLAL                            SMLAL                 SMLAL
==================  ===============================  ====================  =======================================
"""

from __future__ import annotations

import math
import platform
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from segtool.machine.machine import VNNI, instruction_sets

Kernel = Literal["direct", "depthwise", "general", "matrix", "float"]


@dataclass(frozen=True)
class Convolution:
    """What decides on the kernel of an INT8 convolution.

    Attributes
    ----------
    input_channels, output_channels
        Of one group.
    groups
        Their number.
    taps
        Weights per pair of channels: 9 for 3x3.
    symmetric_weights
        int8 weights whose zero points are all 0.
    largest_weight
        The largest absolute value of the weights; 0 if unknown.
    """

    input_channels: int
    output_channels: int
    groups: int = 1
    taps: int = 1
    symmetric_weights: bool = True
    largest_weight: int = 0

    @property
    def is_depthwise(self) -> bool:
        """Whether each group has one input and one output channel."""
        return self.groups > 1 and self.input_channels == self.output_channels == 1


@dataclass(frozen=True)
class DirectKernel:
    """What the direct kernels of a processor need.

    Attributes
    ----------
    input_multiple, output_multiple, least_outputs
        Channels must be multiples of these, and at least so many.
    depthwise_multiple
        Groups of a depthwise convolution must be a multiple of it.
    least_inputs, least_taps
        Below these onnxruntime does not use the direct kernel, because the general one is faster.
    matrix_unit
        Whether the general kernel runs on AMX.
    largest_weight
        Products of larger weights overflow 16 bits: onnxruntime makes them uint8
        (`segtool.runtime.session_options`), which the general kernel alone computes.
    """

    input_multiple: int
    output_multiple: int
    least_outputs: int
    depthwise_multiple: int = 16
    least_inputs: int = 0
    least_taps: int = 1
    matrix_unit: bool = False
    largest_weight: int = 128


_CHANNELS = {" input": "input_channels", " output": "output_channels", "": "groups"}

# Where AMX's matrix product was faster than the direct kernel (benchmarks/kernel_classes.py, Sapphire Rapids): products
# that a sum has, of a 1x1 convolution and of larger ones, output channels and positions, and the largest matrix, in
# bytes, that larger ones copy their input into.
_AMX_PRODUCTS, _AMX_PRODUCTS_COPIED, _AMX_OUTPUTS, _AMX_POSITIONS, _AMX_COPY = 240, 576, 64, 24, 4 << 20


def direct_kernel(sets: Collection[str] | None = None, machine: str | None = None) -> DirectKernel | None:
    """Return what the direct kernels of a processor need; None where it has none.

    Parameters
    ----------
    sets
        Instruction sets by Linux's names; None for this processor's. An empty collection means unknown: the processor
        is then taken for one with AVX2, or with Arm's dot product.
    machine
        "x86_64", "aarch64", ...; None for this processor's.
    """
    known = instruction_sets() if sets is None else sets
    name = (platform.machine() if machine is None else machine).lower()
    if on_arm(name):
        outputs, inputs = (16, 4) if not known or "asimddp" in known else (8, 8)
        return DirectKernel(inputs, outputs, outputs, depthwise_multiple=8, least_inputs=64, least_taps=2)
    if name not in ("x86_64", "amd64") or (known and "avx2" not in known):
        return None
    has_avx512 = {"avx512f", "avx512bw", "avx512vl"} <= set(known)
    return DirectKernel(
        4,
        4 if has_avx512 else 8,
        16,
        matrix_unit={"amx_tile", "amx_int8"} <= set(known),
        largest_weight=128 if VNNI.intersection(known) else 64,
    )


def on_arm(machine: str | None = None) -> bool:
    """Return whether a machine, by default this one, has a 64-bit Arm processor."""
    return (machine or platform.machine()).lower().startswith(("arm64", "aarch64"))


def arm_instruction(kernel: Kernel, sets: Collection[str], *, signed: bool) -> str | None:
    """Return the instruction that multiplies in an INT8 kernel on an Arm processor; None for float32, or if unknown.

    SMLAL multiplies 8 pairs of integers, SDOT and UDOT 16, UMMLA 32; FMLA, in float32, 4.

    Parameters
    ----------
    kernel
        As from `kernel_of`.
    sets
        Instruction sets of the processor by Linux's names; an empty collection means unknown.
    signed
        Whether the activations are int8, as with the preset "arm"; else uint8.

    Examples
    --------
    >>> arm_instruction("general", {"asimd", "asimddp"}, signed=True)
    'SDOT'
    >>> arm_instruction("general", {"asimd"}, signed=True)
    'SMLAL'
    """
    if kernel == "float" or not sets:
        return None
    if kernel == "depthwise" or "asimddp" not in sets:
        return "SMLAL"
    if kernel == "direct" or signed:
        return "SDOT"
    return "UMMLA" if "i8mm" in sets else "UDOT"


def kernel_of(convolution: Convolution, direct: DirectKernel | None) -> Kernel:
    """Return the kernel that computes an INT8 convolution.

    Examples
    --------
    >>> avx2 = DirectKernel(input_multiple=4, output_multiple=8, least_outputs=16)
    >>> kernel_of(Convolution(64, 32, taps=9), avx2)
    'direct'
    >>> kernel_of(Convolution(64, 31, taps=9), avx2)
    'general'
    """
    if direct is None or not convolution.symmetric_weights or convolution.largest_weight > direct.largest_weight:
        return "general"
    if _padded(convolution, direct) != convolution:
        return "general"
    return "depthwise" if convolution.is_depthwise else "direct"


def prefers_amx(convolution: Convolution, direct: DirectKernel | None, *, positions: int) -> bool:
    """Return whether a convolution that takes the direct kernel would be faster in AMX's matrix product.

    Weights with a zero point other than 0 take it: subtract 1 from the weights and from their zero points.

    Parameters
    ----------
    convolution, direct
        As in `kernel_of`.
    positions
        Height times width of the output.
    """
    if direct is None or not direct.matrix_unit or kernel_of(convolution, direct) != "direct":
        return False
    products = convolution.input_channels * convolution.taps
    enough = products >= (_AMX_PRODUCTS if convolution.taps == 1 else _AMX_PRODUCTS_COPIED)
    fits = convolution.taps == 1 or products * positions <= _AMX_COPY
    return enough and fits and positions >= _AMX_POSITIONS and convolution.output_channels >= _AMX_OUTPUTS


def advice(convolution: Convolution, direct: DirectKernel | None, *, positions: int = 0) -> str | None:
    """Return what would give an INT8 convolution a faster kernel; None if it has the fastest, or nothing would help.

    Parameters
    ----------
    convolution, direct
        As in `kernel_of`.
    positions
        Height times width of the output; 0 if unknown.

    Examples
    --------
    >>> advice(Convolution(64, 31, taps=9), DirectKernel(input_multiple=4, output_multiple=8, least_outputs=16))
    '31 output channels: 32 would take the direct kernel'
    """
    if direct is None:
        return None
    if not convolution.symmetric_weights:
        if prefers_amx(replace(convolution, symmetric_weights=True), direct, positions=positions):
            return None
        return "weights with a zero point: int8 weights with zero point 0 would take a faster kernel"
    if convolution.largest_weight > direct.largest_weight:
        return "8-bit weights: those of --preset x86, 7 bits, would take a faster kernel"
    if prefers_amx(convolution, direct, positions=positions):
        products = convolution.input_channels * convolution.taps
        return f"{products} products a sum: AMX is faster; weights with zero point -1 would take it"
    return _shape_advice(convolution, direct)


def _shape_advice(convolution: Convolution, direct: DirectKernel) -> str | None:
    if convolution.groups > 1 and not convolution.is_depthwise:
        return f"{convolution.groups} groups: onnxruntime has fast kernels for one group, or one channel a group"
    padded = _padded(convolution, direct)
    if padded is None or padded == convolution:
        return None
    pairs = [(name, getattr(convolution, key), getattr(padded, key)) for name, key in _CHANNELS.items()]
    short = [(f"{count}{name}", str(needed)) for name, count, needed in pairs if count != needed]
    found, wanted = (" and ".join(texts) for texts in zip(*short, strict=True))
    return f"{found} channels: {wanted} would take the {kernel_of(padded, direct)} kernel"


def _padded(convolution: Convolution, direct: DirectKernel) -> Convolution | None:
    """Return the convolution with the next numbers of channels that a fast kernel takes; None if no number helps."""
    if convolution.is_depthwise:
        return replace(convolution, groups=_next(convolution.groups, direct.depthwise_multiple))
    is_small = convolution.input_channels < direct.least_inputs or convolution.taps < direct.least_taps
    if convolution.groups > 1 or is_small:
        return None
    outputs = max(_next(convolution.output_channels, direct.output_multiple), direct.least_outputs)
    inputs = _next(convolution.input_channels, direct.input_multiple)
    return replace(convolution, input_channels=inputs, output_channels=outputs)


def _next(count: int, multiple: int) -> int:
    return math.ceil(count / multiple) * multiple
