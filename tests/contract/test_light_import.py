"""The runtime stays light: a fresh interpreter that predicts has loaded none of the training libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tiny_models import write_model

HEAVY = (
    "tensorflow",
    "keras",
    "onnx",
    "tf2onnx",
    "onnx_ir",
    "matplotlib",
    "jinja2",
    "scipy",
    "sklearn",
    "jax",
    "torch",
)

PREDICT = """
import sys
import numpy
import segtool
from segtool.benchmark import latency
from segtool.predict import predict
segmenter = segtool.load(sys.argv[1])
labels = segmenter(numpy.full((64, 84), 100, numpy.uint8))
assert (labels == 4).all(), labels
assert isinstance(segmenter, segtool.Segmenter)
print([name for name in sys.argv[2:] if name in sys.modules])
"""

IMPORT = """
import sys
import segtool
print(segtool.__version__, segtool.DataError.__name__, [n for n in sys.argv[1:] if n in sys.modules])
"""


def run(code: str, *arguments: str) -> str:
    finished = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def test_a_prediction_loads_nothing_heavy(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.onnx")
    assert run(PREDICT, str(model), *HEAVY) == "[]"


def test_importing_the_package_loads_not_even_numpy() -> None:
    import segtool

    assert run(IMPORT, *HEAVY, "numpy", "onnxruntime", "PIL") == f"{segtool.__version__} DataError []"


def test_every_public_name_is_there() -> None:
    import segtool

    assert all(getattr(segtool, name) is not None for name in segtool.__all__)
    assert set(segtool.__all__) <= set(dir(segtool))
    assert not hasattr(segtool, "no_such_name")
