"""The other Keras backends train the same network; what they leave behind opens, and converts, on TensorFlow."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from segtool.errors import MissingExtraError
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.models.backend import import_quietly
from segtool.models.keras_file import load_keras_file

PROGRAM = """
import json, sys
import numpy as np
from segtool.models.keras_file import load_keras_file
from segtool.train.callbacks import TrainListener
from segtool.train.options import TrainOptions
from segtool.train.trainer import resume, train

class Stop(TrainListener):
    def step(self, epoch, step, loss):
        if (epoch, step) == (2, 1):
            raise KeyboardInterrupt

options = TrainOptions(data=sys.argv[1], arch="fcn8-edge-half", epochs=2, batch_size=12)
try:
    train(options, out="run", latest=False, listener=Stop())
except KeyboardInterrupt:
    result = resume("run")
with np.load(sys.argv[1]) as stored:
    images = stored["images"][:4, ..., None]
np.save("probabilities.npy", np.asarray(load_keras_file("run/model.keras").predict_on_batch(images)))
print(json.dumps({"epochs": result.epochs, "score": result.metrics["val"]["pixel_accuracy"]}))
"""


def _run(backend: str, folder: Path, *call: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    # JAX spends most of the test compiling; the passes left out change how fast a step is, not what it computes.
    environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    return subprocess.run(
        [sys.executable, *call], env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=900
    )


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_run_of_another_backend_goes_on_and_is_exported_on_tensorflow(
    backend: str, squares: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install {backend}")
    result = _run(backend, tmp_path, "-c", PROGRAM, str(squares))
    assert result.returncode == 0, result.stderr[-3000:]
    assert "oneDNN" not in result.stderr  # a message of TensorFlow
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert answer["epochs"] == 2
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (info["backend"], info["status"]) == (backend, "complete")
    model = load_keras_file(tmp_path / "run" / "model.keras")
    assert keras.backend.backend() == "tensorflow"
    with np.load(squares) as stored:
        images = stored["images"][:4, ..., None]
    theirs = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(model.predict_on_batch(images), theirs, atol=1e-4)
    assert keras_to_onnx(model).graph.output[0].name == "probabilities"


def test_a_backend_that_does_not_train_is_named(tmp_path: Path) -> None:
    result = _run("numpy", tmp_path, "-m", "segtool", "train")
    assert (result.returncode, result.stdout) == (1, "")
    assert "KERAS_BACKEND is 'numpy', expected one of tensorflow, jax, torch" in result.stderr


def test_workers_need_tensorflow(squares: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: pip install jax")
    task = {"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"type": "worker", "index": 0}}
    program = (
        f"import os; os.environ['TF_CONFIG'] = {json.dumps(json.dumps(task))}\n"
        "from segtool.train.device import choose_device\nchoose_device('cpu')"
    )
    result = _run("jax", tmp_path, "-c", program)
    assert "TF_CONFIG names 2 workers, which only the TensorFlow backend supports" in result.stderr


def test_a_backend_that_is_missing_is_installed_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr("importlib.import_module", _missing)
    with pytest.raises(MissingExtraError, match=r"install it with pip install torch\.$"):
        import_quietly("torch", extra="train")


def _missing(name: str) -> Any:
    raise ModuleNotFoundError(f"No module named {name!r}")
