"""The choice of the training precision by what the machine supports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from segtool.errors import TrainingError
from segtool.machine.machine import instruction_sets

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "gpu")  # what a user can ask for
Processor = Literal["cpu", "gpu"]
_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@dataclass(frozen=True)
class Precision:
    """A training precision: its name, the Keras policy for it, and why it was chosen."""

    name: str
    policy: str
    reason: str


def choose_precision(
    requested: str, *, processor: Processor, capability: tuple[int, int] | None = None, depthwise: bool = False
) -> Precision:
    """Return the precision to train in.

    Parameters
    ----------
    requested
        "auto", "float32", "bfloat16" or "float16". Weights are float32 with each of them.
    processor
        "cpu" or "gpu".
    capability
        CUDA compute capability of the GPU; None if unknown.
    depthwise
        Whether most layers are depthwise and 1x1 convolutions: on a CPU, TensorFlow's are faster in float32 (a step of
        fcn8-lite took 0.49 s, and 0.75 s in bfloat16, on a Xeon with AMX).

    Raises
    ------
    TrainingError
        The name is unknown, or float16 is requested on a CPU (TensorFlow emulates it there, and it overflows).
    """
    if requested not in PRECISIONS:
        raise TrainingError(f"There is no precision {requested!r}; choose one of {', '.join(PRECISIONS)}.")
    if requested == "float16" and processor == "cpu":
        raise TrainingError(
            "float16 training was requested on a CPU, which has no fast float16; use bfloat16 or float32."
        )
    if requested != "auto":
        return Precision(requested, _POLICIES[requested], "requested")
    if processor == "cpu" and depthwise:
        return Precision("float32", "float32", "depthwise convolutions are faster in it than in bfloat16 on a CPU")
    name, reason = _for_gpu(capability) if processor == "gpu" else _for_cpu()
    return Precision(name, _POLICIES[name], reason)


def _for_cpu() -> tuple[str, str]:
    known = instruction_sets()
    native = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in known]
    if native:
        return "bfloat16", f"this CPU multiplies bfloat16 natively ({', '.join(native)})"
    return "float32", "this CPU has no native bfloat16 (neither AVX512-BF16 nor AMX)"


def _for_gpu(capability: tuple[int, int] | None) -> tuple[str, str]:
    if capability is None:
        return "float32", "the GPU's compute capability is unknown"
    label = f"compute capability {capability[0]}.{capability[1]}"
    if capability >= (8, 0):
        return "bfloat16", f"the GPU has bfloat16 tensor cores ({label})"
    if capability >= (7, 0):
        return "float16", f"the GPU has float16 tensor cores ({label})"
    return "float32", f"the GPU has no tensor cores ({label})"
