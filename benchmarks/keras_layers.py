"""Export one small network for each Keras layer that a segmentation network may hold: results/keras_layers.json.

`python benchmarks/keras_layers.py [--only TEXT ...]` builds the networks of tests/unit/keras_layer_networks.py: one
layer between two convolutions, with random weights and 16 x 16 inputs. Each is converted, rewritten and quantized as
`segtool export` does. FP32 is compared with Keras by probabilities, INT8 with FP32 by labels, on random images.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from commands import RESULTS, update_result, write_result

from segtool.errors import SegtoolError
from segtool.export.heads import with_head
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.passes import SHARED_REWRITES, rewrite
from segtool.export.presets import preset_for
from segtool.export.quantize import calibrate_for, quantize

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "unit"))
from keras_layer_networks import NETWORKS, SIZE, build

NAME = "keras_layers"
PARITY = 1e-4
IMAGES = np.random.default_rng(0).integers(0, 256, (32, SIZE, SIZE, 3), np.uint8)


def main() -> None:
    """Export every network, or those whose name holds a text, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="TEXT", default=[""])
    arguments = parser.parse_args()
    rows = {}
    for name in NETWORKS:
        if any(text in name for text in arguments.only):
            rows[name] = measured(name)
            print(name, rows[name], flush=True)
    if arguments.only == [""]:
        write_result(NAME, {"images": len(IMAGES), "parity_limit": PARITY, "layers": rows})
    else:
        update_result(NAME, {"layers": _earlier() | rows})
    (RESULTS / f"{NAME}.md").write_text(f"# Keras layers\n\n{table(_earlier())}\n", encoding="utf-8")


def measured(name: str) -> dict[str, Any]:
    """Return how exactly a network is exported: the difference in FP32, the labels kept in INT8, or why not."""
    model = build(name)
    try:
        converted = keras_to_onnx(model)
    except SegtoolError as error:
        return {"refused": str(error)}
    scores, _ = rewrite(with_head(converted, "probabilities"), SHARED_REWRITES)
    found = {"max_difference": float(np.abs(_run(scores) - np.asarray(model(IMAGES, training=False))).max())}
    labels, _ = rewrite(with_head(converted, "labels"), SHARED_REWRITES)
    try:
        made = quantize(calibrate_for(preset_for("vnni"), labels, lambda: iter([IMAGES])))
    except (SegtoolError, ValueError, RuntimeError) as error:
        return {**found, "int8_refused": str(error)}
    agreement = float((_run(made.model) == _run(labels)).mean())
    return {**found, "int8_layers": len(made.layers), "int8_agreement": agreement}


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| layer | FP32: largest difference | INT8: labels kept % |", "| --- | --- | --- |"]
    for name, row in rows.items():
        if "refused" in row:
            lines.append(f"| {name} | refused: {_reason(row['refused'])} | - |")
            continue
        refused = row.get("int8_refused")
        int8 = f"refused: {_reason(refused)}" if refused else f"{100 * row['int8_agreement']:.1f}"
        lines.append(f"| {name} | {row['max_difference']:.0e} | {int8} |")
    return "\n".join(lines)


def _reason(text: str) -> str:
    """Return the innermost reason of a refusal: what is in its brackets."""
    return text.partition("exact conversion to ONNX (")[2].rpartition(")")[0].replace("|", "/") or text


def _run(graph: Any) -> Any:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": IMAGES})[0]


def _earlier() -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = json.loads((RESULTS / f"{NAME}.json").read_bytes())["layers"]
    return rows


if __name__ == "__main__":
    main()
