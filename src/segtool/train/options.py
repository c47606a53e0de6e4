"""The options of a training, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from segtool.data.generator import GENERATOR_NAME
from segtool.data.split import VAL_SPLIT
from segtool.errors import TrainingError
from segtool.train.architectures import WITH_ENCODER

AUTO = "auto"
"""The architecture and the recipe that suit the data."""

MAX_SEED = 2**32 - 1  # the range that numpy, Keras and TensorFlow accept
RANGES: Mapping[str, tuple[float, float]] = {
    "width": (0.05, 16),
    "learning_rate": (1e-8, 100),
    "weight_decay": (0, 1),
    "auxiliary": (0, 10),
    "patience": (0, 10**9),
    "rare_crops": (0, 1),
}
"""Name of an option -> its smallest and largest value."""

_NOT_WITH_QAT = ("arch", "width", "size", "crop", "encoder", "weights", "auxiliary")
"""Options that the network of a run decides, or that its further training does not use."""


@dataclass(frozen=True)
class TrainOptions:
    """The options of one training.

    Attributes
    ----------
    data
        The spec of the training data, as in `segtool.data.loading.load_dataset`.
    arch, recipe
        Names from the registries; "auto" for those that suit the data, see `segtool.train.choices`.
    encoder
        The encoder of an architecture that has one, a name from its registry; None for its default.
    weights
        The weights that the training starts from: "none" (random), "imagenet", or a path, see
        `segtool.train.pretrained`. None for "imagenet" where the architecture has an encoder, else "none".
    epochs
        Passes over the training images; None for the recipe's value.
    batch_size
        Images per step; None for the recipe's value.
    width
        Factor on the number of channels of each layer.
    augment, auxiliary, loss, class_weights, optimizer, schedule, learning_rate, weight_decay, patience
        Replace the recipe's values (see `Recipe`); None to keep them.
    qat
        A run whose network is trained further in fake quantization, see `segtool.train.qat`; None for a new network.
    deterministic
        Whether two runs with the same options on one machine give bit-identical results.
    val_split, test_split
        Fractions of the images held out for validation (they select the best epoch) and for a test (they select
        nothing).
    size
        (height, width) in pixels that images are resized to; None for the size of the data.
    crop
        (height, width) in pixels of random crops to train on, at the scale of the images. It becomes the input size of
        the network, and larger images are predicted in tiles. None to train on whole images.
    rare_crops
        Fraction of the crops, 0..1, that are drawn around a pixel of a random class.
    seed
        Seed of the split, the weights, the order and the augmentation.
    device, precision
        See `choose_device` and `choose_precision`.
    """

    data: str = GENERATOR_NAME
    arch: str = AUTO
    recipe: str = AUTO
    encoder: str | None = None
    weights: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    val_split: float = VAL_SPLIT
    test_split: float = 0.0
    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    rare_crops: float = 0.0
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    width: float = 1.0
    augment: str | None = None
    auxiliary: float | None = None
    loss: str | None = None
    class_weights: str | None = None
    optimizer: str | None = None
    schedule: str | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    patience: int | None = None
    deterministic: bool = False
    qat: str | None = None

    def __post_init__(self) -> None:
        if any(number is not None and number < 1 for number in (self.batch_size, self.epochs)):
            raise TrainingError(
                f"Epochs and batch size must be at least 1, found {self.epochs} and {self.batch_size}; pass positive "
                "numbers."
            )
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise TrainingError(
                    f"The option {name} takes a number from {least:g} to {most:g}, found {value}; "
                    "pass a value in this range."
                )
        if not 0 <= self.seed <= MAX_SEED:
            raise TrainingError(
                f"A seed is a number from 0 to {MAX_SEED}, found {self.seed}; pass a seed in this range."
            )
        if not 0 < self.val_split < 1 or not 0 <= self.test_split < 1 - self.val_split:
            raise TrainingError(
                "The validation fraction must be above 0, the test fraction at least 0, and their sum below 1, "
                f"found {self.val_split} and {self.test_split}; change --val-split or --test-split."
            )
        self._refuse_combinations()

    def _refuse_combinations(self) -> None:
        if self.crop and self.size:
            raise TrainingError("--size resizes the images and --crop keeps their scale; give one of them.")
        if self.encoder is not None and self.arch not in (AUTO, *WITH_ENCODER):
            raise TrainingError(
                f"The architecture {self.arch} has no encoder to choose, found --encoder {self.encoder}; use --arch "
                f"{' or '.join(WITH_ENCODER)}, or remove --encoder."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON-serializable values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainOptions:
        """Read what `to_dict` wrote; options of other versions that were not used (None) are ignored.

        Raises
        ------
        TrainingError
            An option is unknown to this version.
        """
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in values.items() if name in known or value is not None}
        if unknown := sorted(values.keys() - known):
            raise TrainingError(
                f"The run has options that this segtool does not know ({', '.join(unknown)}); use the version of "
                "segtool that started the run, or start a new run."
            )
        sizes = {name: tuple(values[name]) for name in ("size", "crop") if values.get(name)}
        return cls(**{**values, **sizes})


def refuse_with_qat(given: Mapping[str, Any]) -> None:
    """Refuse options that quantization-aware training cannot use.

    Parameters
    ----------
    given
        The options that the user gave, under the names of `TrainOptions`.

    Raises
    ------
    TrainingError
        The network of the run decides an option, or the training does not use it.
    """
    if wrong := [name for name in _NOT_WITH_QAT if given.get(name)]:
        raise TrainingError(f"--qat trains the network of a run as it is, and --{wrong[0]} was given; remove it.")
    if given.get("precision") not in (None, "auto", "float32"):
        raise TrainingError(
            f"--qat rounds to 256 levels, which {given['precision']} does not hold; remove --precision, or choose "
            "float32."
        )


@dataclass(frozen=True)
class TrainResult:
    """The result of a training.

    Attributes
    ----------
    folder
        The run folder.
    epochs
        Number of epochs in its history.
    best_epoch
        The epoch of model.keras, 1-based.
    metrics
        The content of metrics.json: scores on "val" and, if there is a test part, on "test".
    seconds
        Duration of all epochs in seconds, over all resumes.
    stopped_early
        Whether the training ended early because the score did not improve.
    is_chief
        Whether this process wrote the run. The other workers of TF_CONFIG write nothing and have no metrics.
    """

    folder: Path
    epochs: int
    best_epoch: int
    metrics: dict[str, Any]
    seconds: float
    stopped_early: bool = False
    is_chief: bool = True
