"""Disk size and cold start of each engine with the same network: results/engines_footprint.json.

`python benchmarks/engines_footprint.py WORK --ours model.int8.onnx --keras model.keras` uses the models that
`export_engines.py` converted into the folder WORK. Each engine is installed into a separate fresh environment. Its cold
start is that of a fresh process, which imports, opens the INT8 model (TensorFlow the trained file) and predicts one
image: the median of 10, with the engines interleaved and without the first round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from commands import write_result
from engines.openvino_engine import USAGE_STATISTICS_OFF
from install_size import ROOT, fresh_environment, sizes

from segtool.benchmark.cold_start import PHASES

ENVIRONMENTS = ROOT / "build" / "engines_footprint"
ROUNDS = 10

_PROBE = """
import time
marks = [time.time()]
import json, sys
path, shape = json.loads(sys.argv[1])
import numpy
{imports}
marks.append(time.time())
{load}
marks.append(time.time())
image = numpy.zeros((1, *shape), numpy.uint8)
{first}
marks.append(time.time())
print(json.dumps(marks))
"""


@dataclass(frozen=True)
class Installed:
    """An engine's packages, the model that it opens, and how.

    Attributes
    ----------
    title
        For people.
    specs
        What pip is given.
    model
        Below WORK; None for the file given as `--ours` or `--keras`.
    imports, load, first
        Python of the three phases.
    """

    title: str
    specs: tuple[str, ...]
    model: str | None
    imports: str
    load: str
    first: str


ENGINES = {
    "segtool": Installed(
        "segtool, its INT8",
        (str(ROOT),),
        None,
        "import segtool",
        "model = segtool.load(path, provider='cpu', threads=1)",
        "model(image[0])",
    ),
    "onnxruntime": Installed(
        "onnxruntime, quantize_static",
        ("onnxruntime", "numpy"),
        "stock-int8/model.onnx",
        "import onnxruntime",
        "model = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])",
        "model.run(None, {model.get_inputs()[0].name: image})",
    ),
    "openvino": Installed(
        "OpenVINO, NNCF INT8",
        ("openvino",),
        "openvino-int8/model.xml",
        "import openvino",
        "model = openvino.Core().compile_model(path, 'CPU', {'PERFORMANCE_HINT': 'LATENCY'}).create_infer_request()",
        "model.infer([image])",
    ),
    "litert": Installed(
        "LiteRT, full-integer INT8",
        ("ai-edge-litert", "numpy"),
        "litert-int8/model.tflite",
        "from ai_edge_litert.interpreter import Interpreter",
        "model = Interpreter(path, num_threads=1); model.allocate_tensors()",
        "model.set_tensor(model.get_input_details()[0]['index'], image); model.invoke()",
    ),
    "tensorflow": Installed(
        "TensorFlow with Keras, trained file",
        ("tensorflow",),
        None,
        "import tensorflow, keras",
        "model = keras.models.load_model(path, compile=False)",
        "model.predict_on_batch(image)",
    ),
}


def main() -> None:
    """Install, weigh, start, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder with stock-int8/, openvino-int8/ and litert-int8/")
    parser.add_argument("--ours", type=Path, required=True, help="our INT8 file of the same network")
    parser.add_argument("--keras", type=Path, required=True, help="the trained file; without layers of our own")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="folder that keeps the environments")
    arguments = parser.parse_args()
    given = {"segtool": arguments.ours, "tensorflow": arguments.keras}
    models = {name: given.get(name) or arguments.work / str(engine.model) for name, engine in ENGINES.items()}
    if missing := [str(path) for path in models.values() if not path.is_file()]:
        sys.exit(f"Not there: {', '.join(missing)}")
    pythons = {name: _python(name, engine, arguments.environments) for name, engine in ENGINES.items()}
    starts = _starts(pythons, {name: path.resolve() for name, path in models.items()}, _shape(arguments.ours))
    rows = [_row(name, sizes(pythons[name]), starts[name]) for name in ENGINES]
    write_result("engines_footprint", {"rounds": ROUNDS, "engines": rows})


def _shape(model: Path) -> list[int]:
    import segtool

    segmenter = segtool.load(model, provider="cpu")
    return [*segmenter.input_size, segmenter.contract.channels]


def _python(name: str, engine: Installed, folder: Path) -> str:
    """Return the Python of an engine's environment, made where it is not there yet."""
    python = folder.resolve() / name / "bin" / "python"
    if python.is_file():
        return str(python)
    print("installing", *engine.specs, file=sys.stderr, flush=True)
    return fresh_environment(folder.resolve() / name, engine.specs)


def _starts(pythons: dict[str, str], models: dict[str, Path], shape: list[int]) -> dict[str, np.ndarray]:
    """Return the milliseconds (rounds, phases) of each engine's fresh processes."""
    times: dict[str, list[np.ndarray]] = {name: [] for name in pythons}
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": "1"}
    environment |= USAGE_STATISTICS_OFF
    environment.pop("PYTHONPATH", None)
    for number in range(ROUNDS + 1):
        for name, engine in ENGINES.items():
            code = _PROBE.format(imports=engine.imports, load=engine.load, first=engine.first)
            call = [pythons[name], "-c", code, json.dumps([str(models[name]), shape])]
            started = time.time()
            finished = subprocess.run(call, capture_output=True, text=True, check=False, env=environment)
            if finished.returncode:
                sys.exit(f"{name} failed:\n{finished.stderr[-2000:]}")
            if number:
                times[name].append(np.diff([started, *json.loads(finished.stdout.splitlines()[-1])]) * 1e3)
    return {name: np.array(rows) for name, rows in times.items()}


def _row(name: str, packages: list[dict[str, Any]], times: np.ndarray) -> dict[str, Any]:
    totals = times.sum(axis=1)
    return {
        "engine": name,
        "title": ENGINES[name].title,
        "install_bytes": sum(package["bytes"] for package in packages),
        "packages": [{key: package[key] for key in ("package", "version", "bytes")} for package in packages],
        "cold_start_ms": {"median": float(np.median(totals)), "min": float(totals.min()), "max": float(totals.max())},
        "phases_ms": dict(zip(PHASES, np.median(times, axis=0).tolist(), strict=True)),
    }


if __name__ == "__main__":
    main()
