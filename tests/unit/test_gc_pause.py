"""The search for garbage is off while a command starts, and on again while it works."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tiny_models import write_model

from segtool.gc_pause import gc_paused

PROGRAM = """
import gc, json, sys
from segtool.__main__ import run
from segtool.runtime.segmenter import Segmenter

read, seen = Segmenter.read, []
def noting(self, *given, **named):
    seen.append(gc.isenabled())
    return read(self, *given, **named)
Segmenter.read = noting
try:
    run()
finally:
    print(json.dumps(seen))
"""


def test_it_is_left_as_it_was() -> None:
    assert gc.isenabled()
    with gc_paused():
        assert not gc.isenabled()
        with gc_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_predict_searches_again_when_it_works(tmp_path: Path) -> None:
    write_model(tmp_path / "model.onnx")
    Image.fromarray(np.zeros((64, 84), np.uint8)).save(tmp_path / "one.png")
    call = [sys.executable, "-c", PROGRAM, "predict", "one.png", "--model", "model.onnx", "-q"]
    result = subprocess.run(call, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert json.loads(result.stdout.splitlines()[-1]) == [True]
