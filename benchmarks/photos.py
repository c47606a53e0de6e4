"""fcn8-lite on photographs, and what each part of the recipe `photos` gives: results/photos.json.

`python benchmarks/photos.py DATA` runs `segtool train --data DATA` with no other option, then named variants for a few
epochs each, the most informative first, all scored on the validation part of DATA. The options are those of
variants.py. Rows with an `ema` among their values are of earlier versions, whose recipe scored and saved a moving
average of the weights; `last_epoch_mean_iou` has the scores of the last weights and of their average. DATA is CamVid:
Brostow, Fauqueur, Cipolla: Semantic object classes in video, Pattern Recognition Letters 30, 2009, in the split of
SegNet. Neither its images nor a network trained on them are part of this project.

Its validation images are of a drive that half of the training images are of too, so they say little about new places.
`--unseen DRIVE` validates on the images of one drive, by the beginning of their names, and trains on those of all
others: results/photos_unseen.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import variants
from commands import RESULTS, write_result
from plots.results import processor

from segtool.machine.machine import machine_info

SHORT_EPOCHS = 6


@dataclass(frozen=True)
class Variant:
    """What differs from `segtool train --data DATA`: its options, and a change of the code."""

    group: str
    options: tuple[str, ...] = ()
    change: Callable[[], None] | None = None
    epochs: int | None = SHORT_EPOCHS

    @property
    def arguments(self) -> tuple[str, ...]:
        """The options, with the number of epochs if it is not that of the recipe."""
        return ("--epochs", str(self.epochs), *self.options) if self.epochs else self.options


def _transposed_scores() -> None:
    """Make the scores by a transposed convolution whose kernel is its stride."""
    from keras import layers

    from segtool.train.architectures import fcn8_lite

    def scores(x: Any, num_classes: int) -> Any:
        return layers.Conv2DTranspose(num_classes, 4, strides=4, use_bias=False, name="scores")(x)

    fcn8_lite.scores = scores


def _slow_encoder() -> None:
    """Give the weights of the encoder 0.3 times the learning rate."""
    from keras import ops

    from segtool.train import faster
    from segtool.train.architectures.encoders import PREFIX

    inner = faster.faster_optimizer

    def slower(optimizer: Any, device: Any) -> Any:
        optimizer = inner(optimizer, device)
        plain = optimizer.apply

        def apply(gradients: Any, weights: Any = None) -> None:
            encoder = [weight for weight in weights if weight.path.startswith(PREFIX)]
            before = [ops.copy(weight) for weight in encoder]
            plain(gradients, weights)
            for weight, old in zip(encoder, before, strict=True):
                weight.assign(old + 0.3 * (weight - old))

        optimizer.apply = apply
        return optimizer

    faster.faster_optimizer = slower


def _frozen_start() -> None:
    """Let the layers of the encoder up to stride 4 keep their weights and statistics."""
    from segtool.train import faster
    from segtool.train.architectures.encoders import PREFIX

    inner = faster.faster_network

    def frozen(network: Any, device: Any) -> Any:
        network = inner(network, device)
        encoder = [layer for layer in network.layers if layer.name.startswith(PREFIX)]
        height = encoder[0].input.shape[1]
        last = max(place for place, layer in enumerate(encoder) if layer.output.shape[1] * 4 >= height)
        for layer in encoder[: last + 1]:
            layer.trainable = False
        return network

    faster.faster_network = frozen


def _augmented(*names: str, epochs: int = SHORT_EPOCHS) -> Variant:
    return Variant("augmentation", ("--augment", ",".join(names) or "none"), epochs=epochs)


FLIP, SCALE, COLOURS = "flip-horizontal", "scale:0.7", ("brightness:0.3", "contrast:0.3", "saturation:0.3")

# The most informative first: what is cut short still says most.
VARIANTS: dict[str, Variant] = {
    "default": Variant("default", epochs=None),
    "default, seed 1": Variant("default", ("--seed", "1"), epochs=None),
    "default, seed 2": Variant("default", ("--seed", "2"), epochs=None),
    "long": Variant("long", epochs=60),
    "frozen to stride 4": Variant("frozen layers", change=_frozen_start, epochs=None),
    "20 epochs": Variant("baseline of 20 epochs", epochs=20),
    "no scales, 20 epochs": _augmented(FLIP, *COLOURS, epochs=20),
    "combined loss, 20 epochs": Variant("loss", ("--loss", "combined"), epochs=20),
    "short": Variant("baseline"),
    "random weights": Variant("weights", ("--weights", "none")),
    "fcn8-edge": Variant("weights", ("--arch", "fcn8-edge")),
    "no class weights": Variant("loss", ("--class-weights", "none")),
    "no auxiliary loss": Variant("loss", ("--auxiliary", "0")),
    "no scales": _augmented(FLIP, *COLOURS),
    "short, seed 1": Variant("baseline", ("--seed", "1")),
    "combined loss": Variant("loss", ("--loss", "combined")),
    "slow encoder": Variant("learning rate", change=_slow_encoder),
    "transposed scores": Variant("decoder", change=_transposed_scores),
    "transposed scores, seed 1": Variant("decoder", ("--seed", "1"), _transposed_scores),
    "transposed scores, seed 2": Variant("decoder", ("--seed", "2"), _transposed_scores),
    "transposed scores, random weights": Variant("decoder", ("--weights", "none"), _transposed_scores),
    "no colours": _augmented(FLIP, SCALE),
    "short, seed 2": Variant("baseline", ("--seed", "2")),
    "half the rate": Variant("learning rate", ("--learning-rate", "0.001")),
    "lite2": Variant("encoder", ("--encoder", "lite2")),
    "twice the decoder": Variant("decoder", ("--width", "2")),
    "balanced classes": Variant("loss", ("--class-weights", "balanced")),
    "no flip": _augmented(SCALE, *COLOURS),
}


def main() -> None:
    """Train what is missing, then write what is there."""
    data = "CamVid: a folder with train/ and val/"
    own = {"--unseen": "validate on this drive alone, and train on the others"}
    arguments = variants.parsed(__doc__ or "", VARIANTS, data=data, work="photo_trials", own=own)
    if arguments.trial:
        sys.exit(_train(VARIANTS[arguments.trial], arguments))
    facts = {"short_epochs": SHORT_EPOCHS}
    name = "photos"
    if arguments.unseen:
        name, arguments.work = "photos_unseen", arguments.work / arguments.unseen
        arguments.data, counts = by_drive(arguments.data, arguments.unseen, arguments.work / "data")
        facts |= {"unseen": arguments.unseen, **counts}
    variants.train_missing(VARIANTS, arguments)
    here = processor(machine_info())
    rows = [_row(item, arguments.work, here) for item in VARIANTS if variants.is_finished(item, arguments.work)]
    write_result(name, {**facts, "variants": _with_earlier(rows, name)})


def by_drive(data: Path, drive: str, folder: Path) -> tuple[Path, dict[str, int]]:
    """Make a folder of links to the images and masks of a drive as `val`, of the others as `train`; count images."""
    for image in sorted(data.glob("*/images/*")):
        part = "val" if image.name.startswith(drive) else "train"
        (mask,) = image.parents[1].glob(f"masks/{image.stem}.*")
        for file in (image, mask):
            link = folder / part / file.parent.name / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(file)
    (folder / "dataset.json").write_bytes((data / "dataset.json").read_bytes())
    return folder, {part: len(list(folder.glob(f"{part}/images/*"))) for part in ("train", "val")}


def _train(variant: Variant, arguments: argparse.Namespace) -> int:
    """Train one variant in this process, or go on with it."""
    if variant.change:
        variant.change()
    return variants.train(arguments.trial, arguments.work, ["--data", str(arguments.data), *variant.arguments])


def _with_earlier(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return these rows and those of a result that they do not replace, in the order of `VARIANTS`, others last."""
    path = RESULTS / f"{name}.json"
    earlier = json.loads(path.read_text())["variants"] if path.exists() else []
    new = {(row["name"], row["processor"]) for row in rows}
    kept = [row for row in earlier if (row["name"], row["processor"]) not in new]
    order = {variant: place for place, variant in enumerate(VARIANTS)}
    return sorted(kept + rows, key=lambda row: order.get(row["name"], len(order)))


def _row(name: str, work: Path, processor_name: str) -> dict[str, Any]:
    """Return the figures of one finished variant on validation, trained on this processor."""
    facts, val, history = variants.finished(name, work)
    info = json.loads((variants.folder_of(name, work) / "run.json").read_text())
    seconds = [float(row["seconds"]) for row in history]
    return {
        "name": name,
        "group": VARIANTS[name].group,
        "options": list(VARIANTS[name].arguments),
        "changed_code": VARIANTS[name].change is not None,
        "processor": processor_name,
        **{key: info[key] for key in ("arch", "recipe", "crop")},
        **facts,
        "epochs": len(history),
        "pixel_accuracy": val["pixel_accuracy"],
        "mean_iou": val["mean_iou"],
        "iou": {item["name"]: item["iou"] for item in val["classes"]},
        "history_mean_iou": [float(row["val_foreground_mean_iou"]) for row in history],
        "seconds_an_epoch": {"least": min(seconds), "most": max(seconds)},
    }


if __name__ == "__main__":
    main()
