"""What the quickstart says that it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from segtool.models.shipped import SHIPPED
from segtool.quickstart import QuickstartOptions, draw_predictions, quickstart
from segtool.train.callbacks import TrainListener
from segtool.train.options import TrainOptions


class Stop(TrainListener):
    """Ends the road where the training begins."""

    def started(self, *_: object, **__: object) -> None:
        raise KeyboardInterrupt


def test_it_names_the_network_that_it_trains(tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        quickstart(QuickstartOptions(tmp_path / "q", images=50, epochs=1), listener=Stop(), say=lines.append)
    assert lines == [f"1/5  Train {TrainOptions.arch} on 50 generated images for 1 epoch"]


def test_its_picture_is_drawn(tmp_path: Path) -> None:
    draw_predictions(SHIPPED, tmp_path / "predictions.png", data="m2nist-synthetic:20")
    with Image.open(tmp_path / "predictions.png") as picture:
        assert picture.width > 300
