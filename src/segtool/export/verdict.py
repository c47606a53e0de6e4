"""The decision of a gate: the export continues, is refused, or continues because the user waived the gate.

A waiver by name (``--waive speed``) turns that gate's refusal into a warning, and the contract records both. It
cannot waive what leaves nothing sound to publish: figures that are not numbers, outputs of another shape, too few
images to compare, or a finished file that fails its own golden test.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Protocol, get_args

from segtool.errors import GateError
from segtool.export.presets import PRESETS
from segtool.metrics import most_frequent

logger = logging.getLogger(__name__)
GateName = Literal["parity", "trained", "accuracy", "speed"]
GATES: tuple[GateName, ...] = get_args(GateName)
MAX_DROP = 0.5
"""Points of foreground mean IoU that INT8 may lose by default, and still keeps the accuracy."""
WIDE = 1.25
"""Where the ends of the interval of a ratio of times are further apart than this factor, other work disturbed them."""


@dataclass(frozen=True)
class Refusal:
    """Why a gate refuses.

    Attributes
    ----------
    found
        What was found and what was expected: the first half of a sentence.
    advice
        What to do: its second half.
    final
        Whether no waiver helps.
    """

    found: str
    advice: str
    final: bool = False


class Figures(Protocol):
    """What a gate measured: a dataclass that knows its gate and judges itself."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    gate: ClassVar[GateName]

    def refusal(self) -> Refusal | None:
        """Return why the gate refuses; None where it does not."""


@dataclass(frozen=True)
class Recommendation:
    """Which file to deploy, "float32" or "int8", and why; None where the measurements do not decide."""

    file: str | None
    reason: str


def judge(figures: Figures, *, waive: Collection[str] = ()) -> dict[str, Any]:
    """Return a gate's figures as the contract records them.

    Parameters
    ----------
    figures
        What the gate measured.
    waive
        The gates whose refusal is a warning; the record then holds `waived` true, and the `refusal`.

    Raises
    ------
    GateError
        The gate refuses and is not waived, or cannot be.
    """
    refusal = figures.refusal()
    if refusal is None:
        return asdict(figures)
    if refusal.final or figures.gate not in waive:
        raise GateError(f"{refusal.found}; {refusal.advice}.")
    record = {**asdict(figures), "waived": True, "refusal": refusal.found}
    logger.warning(_waived(figures.gate, record))
    return record


def warnings_of(gates: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return a sentence for each gate that was waived, an optimistic drop, and a slow INT8 file."""
    waived = [_waived(name, record) for name, record in gates.items() if record.get("waived")]
    speed = gates.get("speed", {})
    slow = [] if speed.get("verdict", "faster") == "faster" or speed.get("waived") else [speed_warning(speed)]
    chosen = optimistic(gates.get("accuracy", {}))
    return (*waived, *([chosen] if chosen else []), *slow)


def optimistic(accuracy: Mapping[str, Any]) -> str:
    """Return a sentence where an INT8 file was chosen by the images that its drop is measured on; else an empty one."""
    tried = accuracy.get("candidates", 1)
    if tried < 2:
        return ""
    return (
        f"The INT8 file is the first of {tried} that held on the {accuracy['images']} validation images. Its drop of "
        f"{accuracy['drop_points']:.2f} points is measured on the same images, so it is optimistic; score both files "
        "on other images with `segtool evaluate`."
    )


def speed_warning(speed: Mapping[str, Any]) -> str:
    """Return the sentence on an INT8 file that passed and is not faster."""
    interval = f"FP32 takes {speed['low']:.2f} to {speed['high']:.2f} times as long as INT8"
    return f"INT8 against FP32 on this machine: {speed['sentence']} ({interval})."


def is_undecided(verdict: str, low: float, high: float) -> bool:
    """Return whether neither file is faster and the interval of the ratio of their times says little."""
    return verdict == "no difference" and high > WIDE * low


def useless(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a sentence where the FP32 file is right no more often than one class everywhere; else the empty string."""
    figures = metrics.get("float32", {})
    trivial, found = most_frequent(figures.get("classes", ())), figures.get("pixel_accuracy")
    if trivial is None or found is None:
        return ""
    usual, constant = trivial
    if found > constant or constant == 1:
        return ""
    return (
        f"The network is not better than one class everywhere: {found:.2%} of the validation pixels are right, and "
        f"{usual} everywhere would have {constant:.2%}; train it longer, or on other data, before you deploy it."
    )


def recommend(gates: Mapping[str, Mapping[str, Any]]) -> Recommendation:
    """Return which file to deploy, from the gates of the last file that an export wrote."""
    speed, accuracy = gates.get("speed"), gates.get("accuracy", {})
    if gates["parity"].get("waived"):
        return Recommendation(None, "neither is proven: the parity gate refused and was waived")
    if speed is None:
        return Recommendation("float32", "it is the only file")
    if accuracy.get("waived"):
        return Recommendation("float32", f"INT8 loses {accuracy['drop_points']:.2f} points of foreground mean IoU")
    if not speed["on_target"]:
        target = PRESETS[speed["target"]]
        reason = f"the INT8 file is for {target.processors}: time both files on one with segtool benchmark"
        slow = f". On {target.not_faster}, INT8 is not expected to be faster" if target.not_faster else ""
        return Recommendation(None, reason + slow)
    if speed["verdict"] == "faster":
        return Recommendation("int8", f"it is {speed['sentence']} and {_kept(accuracy)}")
    reason = f"INT8 is {'slower' if speed['verdict'] == 'slower' else 'not faster'} here"
    if is_undecided(speed["verdict"], speed["low"], speed["high"]):
        reason = (
            "whether INT8 is faster is not decided: time both files with segtool benchmark when nothing else runs here"
        )
    return Recommendation("float32", reason)


def _kept(accuracy: Mapping[str, Any]) -> str:
    drop = accuracy.get("drop_points", 0.0)
    if drop <= MAX_DROP:
        return "keeps the accuracy"
    return f"loses {drop:.2f} points of foreground mean IoU, which --max-drop {accuracy['max_drop']:g} allows"


def _waived(gate: str, record: Mapping[str, Any]) -> str:
    return f"{record['refusal']}; it was written because the {gate} gate was waived (--waive {gate})."
