"""The speed gate: INT8 that is slower than FP32, on the processor that it is made for, is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from segtool.benchmark.latency import Ratio, compare_interleaved
from segtool.export.presets import Preset, is_own
from segtool.export.verdict import GateName, Refusal
from segtool.machine.machine import machine_info

Verdict = Literal["faster", "no difference", "slower"]


@dataclass(frozen=True)
class Speed:
    """How INT8 compares with FP32 at batch 1 on this machine.

    Attributes
    ----------
    ratio, low, high
        How many times as fast INT8 is, with the 95 % interval.
    verdict
        What the interval says.
    sentence
        The same in words.
    threads, cpu
        Where it was measured.
    target
        Name of the preset: the kind of processor that the file is for.
    on_target
        Whether this machine is one; only then a slower file is refused.
    """

    gate: ClassVar[GateName] = "speed"
    ratio: float
    low: float
    high: float
    verdict: Verdict
    sentence: str
    threads: int
    cpu: str
    target: str
    on_target: bool

    def refusal(self) -> Refusal | None:
        """Refuse what is slower with confidence on the processor that it is for."""
        if self.verdict != "slower" or not self.on_target:
            return None
        return Refusal(
            f"Speed gate: on this machine the INT8 file is {self.sentence} "
            f"(it takes {1 / self.high:.2f} to {1 / self.low:.2f} times as long)",
            "the INT8 file was not written, --waive speed writes it all the same",
        )


def measure_speed(
    float32: Callable[[], Any], int8: Callable[[], Any], *, threads: int, preset: Preset, rounds: int = 60
) -> Speed:
    """Time both alternately and return how they compare.

    Parameters
    ----------
    float32, int8
        One run of each.
    threads
        What both were opened with.
    preset
        What the INT8 file is for.
    rounds
        Measured pairs.
    """
    return describe_speed(compare_interleaved(float32, int8, rounds=rounds), threads=threads, preset=preset)


def describe_speed(ratio: Ratio, *, threads: int, preset: Preset) -> Speed:
    """Put the ratio of the FP32 time to the INT8 time in words; its interval decides, not its middle."""
    verdict, on_target = _verdict(ratio), is_own(preset)
    words = _faster(ratio) if verdict == "faster" else verdict
    if not on_target:
        words += f" (timed on another kind of processor; the file is for {preset.processors})"
    elif verdict == "slower":
        words += ": use the FP32 file"
    cpu = str(machine_info()["cpu"])
    return Speed(ratio.median, ratio.low, ratio.high, verdict, words, threads, cpu, preset.name, on_target)


def _verdict(ratio: Ratio) -> Verdict:
    if ratio.low > 1:
        return "faster"
    return "slower" if ratio.high < 1 else "no difference"


def _faster(ratio: Ratio) -> str:
    digits = 2 if ratio.low < 1.1 else 1
    return f"{ratio.low:.{digits}f}x to {ratio.high:.{digits}f}x faster"
