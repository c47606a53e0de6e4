"""The bar of a training."""

from __future__ import annotations

import time
from typing import Any

from segtool.cli.live import LiveTraining

INFO: dict[str, Any] = {
    "arch": "small", "parameters": 1, "recipe": "standard", "config": {}, "reasons": ["network small"],
    "data": {"spec": "d", "splits": {"train": 24, "val": 8, "test": 0}},
    "device": {"description": "CPU"}, "precision": {"name": "float32", "reason": "asked for"},
}  # fmt: skip
ROW = {
    "epoch": 1, "loss": 1.0, "val_loss": 1.0, "val_pixel_accuracy": 0.5, "val_foreground_mean_iou": 0.5,
    "val_foreground_mean_dice": 0.5, "seconds": 1.0,
}  # fmt: skip


def test_an_epoch_of_one_call_has_a_rate_once_the_first_has_compiled() -> None:
    live = LiveTraining()
    live.started(INFO, epochs=2, first_epoch=0, steps=3)
    rates = []
    for epoch in (1, 2):
        time.sleep(0.01)
        live.step(epoch, 3, 0.5)
        rates.append(live._progress.tasks[0].fields["rate"])
        live.epoch({**ROW, "epoch": epoch}, best=True)
    assert rates[0] == 0
    assert 0 < rates[1] <= 300
