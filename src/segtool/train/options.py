"""What a training is asked to do, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from segtool.data.generator import GENERATOR_NAME
from segtool.data.split import VAL_SPLIT
from segtool.errors import TrainingError

MAX_SEED = 2**32 - 1  # what numpy, Keras and TensorFlow all take
_RANGES = (
    ("width", 0.05, 16),
    ("learning_rate", 1e-8, 100),
    ("weight_decay", 0, 1),
    ("ema", 0, 0.99999),
    ("patience", 0, 10**9),
    ("temperature", 0.1, 100),
)


@dataclass(frozen=True)
class TrainOptions:
    """The options of one training.

    Attributes
    ----------
    data
        What to train on, as in `segtool.data.loading.load_dataset`.
    arch, recipe
        Names from the registries.
    epochs
        Passes over the training images; None for the recipe's own.
    batch_size
        Images a step; None for the recipe's own.
    width
        Multiplier of the number of channels of each layer.
    augment, loss, class_weights, optimizer, schedule, learning_rate, weight_decay, ema, patience
        In place of the recipe's own values (see `Recipe`); None to keep those.
    teacher
        A run or .keras file whose answers the network learns as well; None for none.
    temperature
        How soft the teacher's answers are made, see `segtool.train.distillation`; None for its default.
    deterministic
        Whether two runs with the same options on one machine end with the same bits.
    val_split, test_split
        Shares of the images held out for validation (the best epoch is chosen on them) and for a test that nothing
        is chosen on.
    size
        (height, width) in pixels that images are resized to; None for the data's own.
    crop
        (height, width) of random crops to train on at the images' own scale, which makes it the network's input; larger
        images are then predicted by tiles. None to train on whole images.
    rare_crops
        Share of the crops, 0..1, that are drawn around a pixel of a class that is drawn first.
    seed
        Seed of the split, the weights, the order and the augmentation.
    device, precision
        See `choose_device` and `choose_precision`.
    """

    data: str = GENERATOR_NAME
    arch: str = "fcn8-edge"
    recipe: str = "standard"
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
    loss: str | None = None
    class_weights: str | None = None
    optimizer: str | None = None
    schedule: str | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    ema: float | None = None
    patience: int | None = None
    teacher: str | None = None
    temperature: float | None = None
    deterministic: bool = False

    def __post_init__(self) -> None:
        if any(number is not None and number < 1 for number in (self.batch_size, self.epochs)):
            raise TrainingError(
                f"Epochs and batch size must be at least 1, found {self.epochs} and {self.batch_size}; pass "
                "positive numbers."
            )
        if self.temperature is not None and self.teacher is None:
            raise TrainingError("A temperature was given without a teacher, whose answers it softens; name a teacher.")
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise TrainingError(
                    f"The option {name} takes a number from {least:g} to {most:g}, found {value}; pass one of these."
                )
        if not 0 <= self.seed <= MAX_SEED:
            raise TrainingError(f"A seed is a number from 0 to {MAX_SEED}, found {self.seed}; pass another.")
        if not 0 < self.val_split < 1 or not 0 <= self.test_split < 1 - self.val_split:
            raise TrainingError(
                "The validation share must lie above 0, the test share at 0 or above, and both together below 1, "
                f"found {self.val_split} and {self.test_split}."
            )

        self._check_crop()

    def _check_crop(self) -> None:
        if self.crop and self.size:
            raise TrainingError(
                "A size to resize to and a size of crops were given, which a prediction could not follow: it tiles "
                "images at their own scale; leave one of them out, or resize the files."
            )
        if not 0 <= self.rare_crops <= 1:
            raise TrainingError(
                f"A share of crops around rare classes is a number from 0 to 1, found {self.rare_crops:g}; pass "
                "another."
            )
        if self.rare_crops and not self.crop:
            raise TrainingError(
                f"A share of crops around rare classes ({self.rare_crops:g}) was given without a size of crops; give "
                "that too, or leave the share out."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainOptions:
        """Read what `to_dict` wrote.

        Raises
        ------
        TrainingError
            There are options that this version does not know.
        """
        unknown = values.keys() - {item.name for item in fields(cls)}
        if unknown:
            raise TrainingError(
                f"The run has options that this segtool does not know ({', '.join(unknown)}); upgrade it."
            )
        sizes = {name: tuple(values[name]) for name in ("size", "crop") if values.get(name)}
        return cls(**{**values, **sizes})


@dataclass(frozen=True)
class TrainResult:
    """What a training left behind.

    Attributes
    ----------
    folder
        The run folder.
    epochs
        Epochs in its history.
    best_epoch
        The epoch that model.keras is from, 1-based.
    metrics
        What metrics.json holds: figures on "val" and, where there is a test part, on "test".
    seconds
        Time spent in the epochs, over all resumes.
    stopped_early
        Whether it ended before its last epoch because no better one came.
    is_chief
        Whether this process wrote the run; the other workers of TF_CONFIG write nothing and have no metrics.
    """

    folder: Path
    epochs: int
    best_epoch: int
    metrics: dict[str, Any]
    seconds: float
    stopped_early: bool = False
    is_chief: bool = True
