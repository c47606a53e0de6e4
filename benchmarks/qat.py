"""What quantization-aware training recovers: results/qat.json.

`python benchmarks/qat.py RUN ... [--keras FILE --data SPEC] [--presets vnni,x86] [--epochs 2]` exports each run in
INT8 by calibration, trains it further with `--qat`, and exports that. All scores are on the run's validation images, on
which the best epoch of the training is chosen too. `--keras` names a network without a run, and `--data` what it was
trained on. For a run, `--data` names other images for `--qat`, such as a part of its training images with the same
validation images. Rows are added to those of the file.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from commands import RESULTS, write_result
from plots.results import processor

from segtool.export import ExportOptions, export_model
from segtool.files import write_json
from segtool.machine.machine import machine_info
from segtool.models.keras_file import load_keras_file
from segtool.qat import train_quantized

logger = logging.getLogger(__name__)
BATCH_SIZE = 4  # of a network without a run


def main() -> None:
    """Export, train, export, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--keras", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--presets", default="vnni,x86")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float)
    arguments = parser.parse_args()
    given: dict[str, Any] = {"epochs": arguments.epochs}
    if arguments.learning_rate:
        given["learning_rate"] = arguments.learning_rate
    if arguments.data and not arguments.keras:
        given["data"] = str(Path(arguments.data).resolve())
    runs = [run.resolve() for run in arguments.runs]
    with tempfile.TemporaryDirectory() as name:
        if arguments.keras:
            runs.append(_run_of(arguments.keras, arguments.data, Path(name, arguments.keras.stem)))
        os.chdir(name)
        for run in runs:
            for preset in arguments.presets.split(","):
                _add(_compared(run, preset, given, Path(name)))


def _compared(run: Path, preset: str, given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the scores of FP32, of INT8 by calibration, and of INT8 by training."""
    info = json.loads((run / "run.json").read_text())
    before = _exported(run, preset, folder / f"{run.name}-{preset}.onnx")
    out = folder / f"{run.name}-{preset}-qat"
    result = train_quantized(run, given=given, preset=preset, out=out)
    after = _exported(out, "auto", folder / f"{run.name}-{preset}-qat.onnx")
    trained = json.loads((out / "run.json").read_text())
    images = trained["data"]["splits"]
    return {
        "network": info["arch"],
        "preset": preset,
        "processor": processor(machine_info()),
        "train_images": images["train"],
        "val_images": images["val"],
        "epochs": result.epochs,
        "seconds": round(result.seconds, 1),
        "learning_rate": trained["recipe_values"]["learning_rate"],
        "float32": before["float32"],
        "int8": before["int8"],
        "int8_labels_of_float32": before["agreement"],
        "equalization": before["equalization"],
        "qat_float32": after["float32"],
        "qat_int8": after["int8"],
        "int8_labels_of_training": after["trained"],
    }


def _exported(run: Path, preset: str, out: Path) -> dict[str, Any]:
    options = ExportOptions(
        quantize=True, preset=preset, out=out, max_drop=100, waive=("speed", "trained"), winograd="off"
    )
    contract = export_model(run, options=options).int8_contract
    if contract is None:
        raise SystemExit(f"{run} has no INT8 file")
    accuracy = contract.gates["accuracy"]
    return {
        "float32": accuracy["float32"],
        "int8": accuracy["int8"],
        "agreement": accuracy["label_agreement"],
        "equalization": contract.quantization["equalization"],
        "trained": contract.gates.get("trained", {}).get("label_agreement"),
    }


def _run_of(file: Path, data: str, folder: Path) -> Path:
    """Write a run folder for a network without one."""
    from segtool.train.options import TrainOptions
    from segtool.train.plan import make_plan
    from segtool.train.run_info import describe_plan

    model = load_keras_file(file)
    options = TrainOptions(
        data=data, size=tuple(model.input_shape[1:3]), batch_size=BATCH_SIZE, augment="none", precision="float32"
    )
    folder.mkdir()
    write_json(
        folder / "run.json",
        {**describe_plan(make_plan(options), parameters=model.count_params()), "arch": file.stem},
    )
    model.save(folder / "model.keras")
    return folder


def _add(row: dict[str, Any]) -> None:
    """Add a row to the results, in place of an earlier one of the same network and preset."""
    path = RESULTS / "qat.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    key = (row["network"], row["preset"])
    write_result("qat", {"rows": [item for item in rows if (item["network"], item["preset"]) != key] + [row]})


if __name__ == "__main__":
    main()
