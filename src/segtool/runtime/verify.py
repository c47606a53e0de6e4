"""The golden test of a model file: compare the labels on this device with those of the export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segtool.array_types import IntegerArray
from segtool.contract import GoldenPair, ModelContract
from segtool.errors import ContractError

# Processors sum in different orders, so a pixel on the edge between two classes may change its class. In INT8 such a
# number is rounded to another integer, which the layers behind it multiply: in fcn8-lite a single one, of an addition,
# changed 0.15 % of the labels between x86 and Arm. Where int8 activations are computed in integers (Arm) or in float32
# (x86), 0.3 % differ (benchmarks/arm.py). A kernel whose sums overflowed differed by 4 %.
MIN_AGREEMENT = {"float32": 0.9999, "int8": 0.99}


@dataclass(frozen=True)
class VerifyResult:
    """The result of the golden test of a model file.

    Attributes
    ----------
    path
        The model file.
    provider
        The execution provider that ran it.
    precision
        "float32" or "int8".
    images, pixels
        Number of compared images and pixels.
    mismatching_pixels
        Pixels whose class id differs from the one that the export recorded.
    required_agreement
        The minimum `agreement` to pass, 0..1.
    """

    path: Path
    provider: str
    precision: str
    images: int
    pixels: int
    mismatching_pixels: int
    required_agreement: float

    @property
    def agreement(self) -> float:
        """Fraction of the pixels with the recorded class id, 0..1."""
        return 1.0 - self.mismatching_pixels / self.pixels

    @property
    def passed(self) -> bool:
        """Whether the file passes the test on this device."""
        return self.agreement >= self.required_agreement

    def to_dict(self) -> dict[str, object]:
        """Return the result in plain Python types."""
        return {**vars(self), "path": str(self.path), "agreement": self.agreement, "passed": self.passed}


def required_agreement(contract: ModelContract) -> float:
    """Return the minimum agreement of a file, 0..1; that of INT8 for an unknown precision."""
    return MIN_AGREEMENT.get(contract.precision, min(MIN_AGREEMENT.values()))


def compare_golden(
    golden: GoldenPair, labels: IntegerArray, *, path: Path, provider: str, contract: ModelContract
) -> VerifyResult:
    """Compare the labels of a model on this device with those of its golden pair.

    Raises
    ------
    ContractError
        The golden pair is empty, or of another size than the model.
    """
    if golden.labels.size == 0 or golden.labels.shape != labels.shape:
        raise ContractError(
            f"The golden pair of {path} has labels of shape {golden.labels.shape}, but its model has {labels.shape}; "
            "export it again."
        )
    return VerifyResult(
        path=path,
        provider=provider,
        precision=contract.precision,
        images=len(labels),
        pixels=labels.size,
        mismatching_pixels=int((labels != golden.labels).sum()),
        required_agreement=required_agreement(contract),
    )
