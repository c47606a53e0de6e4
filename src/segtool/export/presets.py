"""Which integers are fast and right on which processor."""

from __future__ import annotations

from dataclasses import dataclass

from segtool.errors import ExportError
from segtool.machine.machine import VNNI, machine_info


@dataclass(frozen=True)
class Preset:
    """Which integers a processor is fast and right with.

    Attributes
    ----------
    name
        "amx", "vnni", "x86" or "arm".
    processors
        The same in words, in the plural.
    not_faster
        Processors among these on which INT8 is not expected to be faster than FP32, in words.
    signed_activations
        int8 activations in place of uint8; weights are always int8.
    largest_weight
        Absolute value of the largest integer of a kernel. 64, which takes 7 bits, without VNNI: there x86 adds two
        products in 16 bits, and full 8-bit weights overflow.
    matrix_products
        Convolutions of many channels as products of matrices (`int8.qdq`), which AMX computes. The integers are
        those of "vnni".
    """

    name: str
    processors: str
    not_faster: str = ""
    signed_activations: bool = False
    largest_weight: int = 127
    matrix_products: bool = False


PRESETS = {
    "amx": Preset("amx", "x86 processors with AMX", matrix_products=True),
    "vnni": Preset("vnni", "x86 processors with VNNI"),
    "x86": Preset("x86", "x86 processors without VNNI", largest_weight=64),
    "arm": Preset(
        "arm", "Arm processors", "those without dot products, such as a Raspberry Pi 4's", signed_activations=True
    ),
}
PRESET_NAMES = ("auto", *PRESETS)


def preset_for(name: str = "auto") -> Preset:
    """Return a preset by name, or for "auto" this processor's.

    Raises
    ------
    ExportError
        There is no such preset.
    """
    if name == "auto":
        name = _this_processor()
    if name not in PRESETS:
        raise ExportError(f"There is no quantization preset {name!r}; choose {', '.join(PRESET_NAMES)}.")
    return PRESETS[name]


def is_own(preset: Preset) -> bool:
    """Return whether a preset suits this processor, so that a time measured here says something of its file."""
    own = _this_processor()
    # uint8 activations reach UMMLA on Arm processors with i8mm, int8 ones do not (`benchmark.kernels`).
    has_ummla = own == "arm" and "i8mm" in machine_info()["instruction_sets"]
    return preset.name == own or (preset.name == "vnni" and (own == "amx" or has_ummla))


def _this_processor() -> str:
    machine = machine_info()
    if str(machine["architecture"]).lower().startswith(("arm", "aarch64")):
        return "arm"
    # Where the instruction sets are not known (outside Linux), the x86 preset is right on all.
    if "amx_int8" in machine["instruction_sets"]:
        return "amx"
    return "vnni" if VNNI.intersection(machine["instruction_sets"]) else "x86"
