"""Data-parallel training: two processors of one process, and two processes by TF_CONFIG."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

PROGRAM = """
import json, sys
from dataclasses import replace
import numpy as np
import tensorflow as tf
replicas = int(sys.argv[1])
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * replicas
)
import keras
from segtool.train import architectures, plan
from segtool.train.options import TrainOptions
from segtool.train import trainer

def small(height, width, channels, num_classes, **_):
    image = keras.Input((height, width, channels), dtype="uint8", name="image")
    x = keras.layers.Conv2D(4, 3, padding="same")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.LeakyReLU()(keras.layers.BatchNormalization(momentum=0.5)(x))
    return keras.Model(image, keras.layers.Softmax(dtype="float32")(keras.layers.Conv2D(num_classes, 1)(x)))

architectures.ARCHITECTURES["small"] = small
if replicas > 1:
    choose = plan.choose_device
    plan.choose_device = lambda requested: replace(choose(requested), count=replicas)
built = []
build = trainer.build_networks
trainer.build_networks = lambda plan: built.append(build(plan)) or built[-1]
options = TrainOptions(data=sys.argv[2], arch="small", epochs=2, batch_size=6, precision="float32")
if sys.argv[4] == "resume":
    result = trainer.resume(sys.argv[3])
else:
    result = trainer.train(options, out=sys.argv[3], latest=False)
weights = [np.asarray(weight.numpy()) for weight in built[-1][0].weights]
np.savez(sys.argv[5], *weights)
print(json.dumps({"chief": result.is_chief, "epochs": result.epochs, "metrics": sorted(result.metrics)}))
"""
RUNS = (("one", 1), ("two", 2))


def _start(data: Path, out: Path, weights: Path, **settings: Any) -> subprocess.Popen[str]:
    replicas, how = settings.pop("replicas", 1), settings.pop("how", "train")
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", **settings}
    call = [sys.executable, "-c", PROGRAM, str(replicas), str(data), str(out), how, str(weights)]
    return subprocess.Popen(
        call, env=environment, cwd=weights.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _end(process: subprocess.Popen[str]) -> dict[str, Any]:
    try:
        output, errors = process.communicate(timeout=900)
    finally:
        process.kill()
    assert process.returncode == 0, errors[-3000:]
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


def _weights(path: Path) -> list[np.ndarray]:
    with np.load(path) as stored:
        return [stored[name] for name in stored.files]


def _addresses(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def _together(data: Path, folder: Path, how: str = "train") -> list[dict[str, Any]]:
    """Train in two processes with one run folder; return what they said."""
    addresses = _addresses(2)
    processes = [
        _start(
            data,
            folder / "run",
            folder / f"weights{rank}.npz",
            how=how,
            TF_CONFIG=json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}),
        )
        for rank in range(2)
    ]
    try:
        return [_end(process) for process in processes]
    finally:
        for process in processes:
            process.kill()


def test_two_processors_train_as_one_does_on_the_whole_batch(squares: Path, tmp_path: Path) -> None:
    processes = [_start(squares, tmp_path / name, tmp_path / f"{name}.npz", replicas=count) for name, count in RUNS]
    for process in processes:
        _end(process)
    assert {path.name for path in (tmp_path / "two").iterdir()} == {path.name for path in (tmp_path / "one").iterdir()}
    for one, two in zip(_weights(tmp_path / "one.npz"), _weights(tmp_path / "two.npz"), strict=True):
        # Near, not equal: each normalizes by its own half of the batch.
        np.testing.assert_allclose(one, two, atol=0.1)


def test_two_processes_end_with_the_same_weights_and_one_run_folder(squares: Path, tmp_path: Path) -> None:
    chief, other = _together(squares, tmp_path)
    assert (chief["chief"], other["chief"]) == (True, False)
    assert (chief["metrics"], other["metrics"]) == (["best_epoch", "schema_version", "size", "val"], [])
    first, second = (_weights(tmp_path / f"weights{rank}.npz") for rank in range(2))
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["run"]
