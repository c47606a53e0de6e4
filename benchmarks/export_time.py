"""Time of each stage of an export, in seconds of the clock and of the processor: results/export_time.json.

`python benchmarks/export_time.py NETWORK --data DATA [--float32] [--calibration-images N]` exports a network with every
gate, once, to a temporary folder. Refusals of the accuracy gate and of the speed gate are waived, so that each stage is
timed; layers still go back to float until the accuracy holds. Run it on a quiet machine: the load is in the result.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from commands import write_result

from segtool.export import ExportOptions, ExportResult, export_model
from segtool.machine.processors import available_cpus

NAME = "export_time"


class Stopwatch:
    """Adds up the times of the stages that an export reports."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}
        self._stage, self._begun = "imports", (time.perf_counter(), time.process_time())

    def __call__(self, stage: str, _done: int, _total: int) -> None:
        """Take note of the stage that is running."""
        if stage != self._stage:
            self.end()
            self._stage = stage

    def end(self) -> None:
        """Add the time since the stage began."""
        now = (time.perf_counter(), time.process_time())
        total = self.stages.setdefault(self._stage, {"seconds": 0.0, "processor_seconds": 0.0, "times": 0})
        total["seconds"] += now[0] - self._begun[0]
        total["processor_seconds"] += now[1] - self._begun[1]
        total["times"] += 1
        self._begun = now


def main() -> None:
    """Export, and write the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--float32", action="store_true", help="no INT8 file")
    parser.add_argument("--calibration-images", type=int)
    arguments = parser.parse_args()
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        options = ExportOptions(
            data=arguments.data,
            out=Path(folder) / "model.onnx",
            quantize=not arguments.float32,
            calibration_images=arguments.calibration_images,
            waive=() if arguments.float32 else ("accuracy", "speed"),
        )
        result = export_model(arguments.network, options=options, progress=watch)
    watch.end()
    write_result(NAME, described(result, watch, arguments))


def described(result: ExportResult, watch: Stopwatch, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what was exported, its times, and what came out, for the JSON."""
    contract = result.int8_contract or result.contract
    return {
        "network": arguments.network.name,
        "size": [contract.height, contract.width],
        "classes": contract.num_classes,
        "validation_images": contract.metrics["float32"]["images"],
        "calibration_images": contract.quantization.get("images"),
        "int8_layers": contract.quantization.get("layers"),
        "float_layers": len(contract.quantization.get("float_layers", ())),
        "threads": available_cpus(),
        "seconds": sum(item["seconds"] for item in watch.stages.values()),
        "processor_seconds": sum(item["processor_seconds"] for item in watch.stages.values()),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "stages": watch.stages,
        "accuracy": contract.gates.get("accuracy"),
        "parity": contract.gates["parity"],
    }


if __name__ == "__main__":
    main()
