"""The golden test of a model file: whether it gives, on this device, the labels that its export gave."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segtool.contract import GoldenPair
from segtool.errors import ContractError
from segtool.images.arrays import IntegerArray

# Processors sum in different orders, so that a pixel on the edge between two classes may fall either way; INT8 adds
# the rounding of every layer to that. A wrong kernel or a saturating one is off by far more.
MIN_AGREEMENT = {"float32": 0.9999, "int8": 0.999}


@dataclass(frozen=True)
class VerifyResult:
    """What a model file's golden pair showed.

    Attributes
    ----------
    path
        The model file.
    provider
        The execution provider that ran it.
    precision
        "float32" or "int8".
    images, pixels
        How many were compared.
    mismatching_pixels
        Pixels whose class id is not the one that the export recorded.
    required_agreement
        The least `agreement` that passes, 0..1.
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
        """Share of the pixels with the recorded class id, 0..1."""
        return 1.0 - self.mismatching_pixels / self.pixels

    @property
    def passed(self) -> bool:
        """Whether the file computes here what it should."""
        return self.agreement >= self.required_agreement

    def to_dict(self) -> dict[str, object]:
        """Return the result in plain Python types."""
        return {
            "path": str(self.path),
            "provider": self.provider,
            "precision": self.precision,
            "images": self.images,
            "pixels": self.pixels,
            "mismatching_pixels": self.mismatching_pixels,
            "agreement": self.agreement,
            "required_agreement": self.required_agreement,
            "passed": self.passed,
        }


def compare_golden(
    golden: GoldenPair, labels: IntegerArray, *, path: Path, provider: str, precision: str
) -> VerifyResult:
    """Compare the labels that a model gave here with those of its golden pair.

    Raises
    ------
    ContractError
        The golden pair is empty, or of another size than the model.
    """
    if golden.labels.size == 0 or golden.labels.shape != labels.shape:
        raise ContractError(
            f"The golden pair of {path} has labels {golden.labels.shape}, its model gives {labels.shape}; "
            "export it again."
        )
    return VerifyResult(
        path=path,
        provider=provider,
        precision=precision,
        images=len(labels),
        pixels=labels.size,
        mismatching_pixels=int((labels != golden.labels).sum()),
        required_agreement=MIN_AGREEMENT.get(precision, min(MIN_AGREEMENT.values())),
    )
