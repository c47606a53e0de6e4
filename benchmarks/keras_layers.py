"""Export one small network for each Keras layer that a segmentation network may hold: `python benchmarks/keras_layers.py`.

Each network is one layer between two convolutions, with random weights. It is converted to ONNX and compared with Keras
on random images, in FP32 and in INT8. The result is benchmarks/results/keras_layers.json and the table in the docs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "unit"))
