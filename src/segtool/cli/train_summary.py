"""What `segtool train` prints at its end: the scores of the best epoch, and the next command."""

from __future__ import annotations

import shlex
from pathlib import Path

from segtool.cli.common import emit_json, say
from segtool.cli.tables import emit_table
from segtool.text import counted, percent
from segtool.train.options import TrainOptions, TrainResult


def print_summary(result: TrainResult, *, as_json: bool) -> None:
    """Print the scores of the best epoch and the next command.

    Parameters
    ----------
    result
        The result of the training.
    as_json
        Print one JSON object instead.
    """
    if not result.is_chief:
        _report_follower(result, as_json=as_json)
        return
    _write_sample_images(result)
    scores = {part: result.metrics[part] for part in ("val", "test") if part in result.metrics}
    if as_json:
        emit_json(
            "train",
            {
                "run": str(result.folder),
                "epochs": result.epochs,
                "best_epoch": result.best_epoch,
                "stopped_early": result.stopped_early,
                "seconds": result.seconds,
                "metrics": scores,
            },
        )
        return
    emit_table(
        ["part", "images", "pixel accuracy %", "foreground mean IoU %", "foreground mean Dice %"],
        [
            [
                part,
                score["images"],
                *(percent(score[key]) for key in ("pixel_accuracy", "foreground_mean_iou", "foreground_mean_dice")),
            ]
            for part, score in scores.items()
        ],
        title=f"{result.folder}: epoch {result.best_epoch} of {result.epochs}, {result.seconds:.0f} s of training",
    )
    if result.stopped_early:
        say(f"Stopped early after epoch {result.epochs} (--patience): none was better than epoch {result.best_epoch}.")
    latest = Path("runs/latest").resolve() == result.folder.resolve()
    say(f"Next: segtool export {'' if latest else f'{shlex.quote(str(result.folder))} '}--quantize")


def _report_follower(result: TrainResult, *, as_json: bool) -> None:
    """Report the end of a worker that writes no run folder."""
    say(f"{counted(result.epochs, 'epoch')} trained; the first worker writes the run folder.")
    if as_json:
        emit_json("train", {"run": None, "epochs": result.epochs, "seconds": result.seconds})


def _write_sample_images(result: TrainResult) -> None:
    """After a training on built-in data, write a few validation images to images/, unless this folder exists."""
    from segtool.data.loading import is_generated, load_dataset
    from segtool.data.make import write_samples
    from segtool.data.split import split
    from segtool.train.run_folder import RunFolder

    options = TrainOptions.from_dict(RunFolder(result.folder).read_info()["config"])
    folder = Path("images")
    if not is_generated(options.data) or folder.exists():
        return
    data = load_dataset(options.data, seed=options.seed, val_split=options.val_split, test_split=options.test_split)
    parts = split(data, val_fraction=options.val_split, test_fraction=options.test_split, seed=options.seed)
    write_samples(data, parts.val[:8], folder)
    say(f"Wrote {counted(len(parts.val[:8]), 'validation image')} to {folder}/ to try the model on.")
