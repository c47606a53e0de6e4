"""Export the ONNX networks of other tools: results/onnx_networks.json and results/onnx_networks.md.

    python benchmarks/onnx_networks.py FOLDER [--only NAME ...]

With --only, the results of other networks in the file are kept.
FOLDER is what `torch_networks.py` wrote. Each network is exported with `--quantize --waive speed`, once without and,
if its scaling cannot be told by measurement, once with `--input-scale`. `verify`, `predict`, `evaluate` and `benchmark`
then run on the FP32 file. A refusal is a result like any other: its sentence is in the table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import onnx
from commands import RESULTS, call, write_result

NAME = "onnx_networks"
EXPORT = ("--quantize", "--waive", "speed", "--overwrite")


def main() -> None:
    """Run every network, and write both results after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    arguments = parser.parse_args()
    earlier = RESULTS / f"{NAME}.json"
    found = json.loads(earlier.read_text())["networks"] if arguments.only and earlier.is_file() else []
    rows = {row["name"]: row for row in found}
    for facts in sorted(arguments.folder.glob("*.json")):
        if not arguments.only or facts.stem in arguments.only:
            row = run(json.loads(facts.read_text()), facts.with_suffix(".onnx"), arguments.folder / "data")
            rows[row["name"]] = row
            listed = [rows[name] for name in sorted(rows)]
            write_result(NAME, {"networks": listed})
            (RESULTS / f"{NAME}.md").write_text(table(listed), encoding="utf-8")
            print(row["name"], row.get("refused") or row["parity"], flush=True)


def run(facts: dict[str, Any], model: Path, data: Path) -> dict[str, Any]:
    """Export one network and run the commands on its FP32 file."""
    graph = onnx.load(model, load_external_data=False)
    row = {
        **facts,
        "opset": max(item.version for item in graph.opset_import if item.domain in ("", "ai.onnx")),
        "input": [side.dim_param or side.dim_value for side in graph.graph.input[0].type.tensor_type.shape.dim],
        "bytes": model.stat().st_size,
    }
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "model.onnx"
        command = ("export", str(model), "--data", str(data), "--out", str(out), *EXPORT, "--json")
        begin = time.perf_counter()
        found = said(*command)
        row["scaling"] = "measured"
        if not out.is_file() and "--input-scale" in found.stderr:
            row["scaling"] = "asked for"
            given = "{}/{}".format(*(",".join(f"{value:g}" for value in facts[key]) for key in ("mean", "std")))
            found = said(*command, "--input-scale", given)
        row["seconds"] = round(time.perf_counter() - begin, 1)
        row["exit_code"] = found.returncode
        if not out.is_file():
            return row | {"refused": last_sentence(found.stderr)}
        contract = json.loads(said("info", str(out), "--json").stdout)
        row["scale"] = contract["network"]["input_scale"]["name"]
        row["parity"] = contract["gates"]["parity"]
        row["float32"] = contract["metrics"]["float32"]["mean_iou"]
        int8 = out.with_name("model.int8.onnx")
        if int8.is_file():
            quantized = json.loads(said("info", str(int8), "--json").stdout)
            row["int8"] = {
                "mean_iou": quantized["metrics"]["int8"]["mean_iou"],
                "label_agreement": quantized["gates"]["accuracy"]["label_agreement"],
                "float_layers": len(quantized["quantization"]["float_layers"]),
                "speed": quantized["gates"]["speed"]["verdict"],
            }
        else:
            row["int8_refused"] = last_sentence(found.stderr)
        row["commands"] = {
            name: said(*arguments).returncode
            for name, arguments in {
                "verify": ("verify", str(out)),
                "predict": ("predict", str(data / "images"), "--model", str(out), "--out", str(out.with_name("p"))),
                "evaluate": ("evaluate", str(out), "--data", str(data), "--split", "val"),
                "benchmark": ("benchmark", str(out), "--runs", "10"),
            }.items()
        }
    return row


def said(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run segtool and return what it said."""
    return subprocess.run(call(*arguments), capture_output=True, text=True, check=False)


def last_sentence(text: str) -> str:
    """Return the message of an error, without the name of the file's folder."""
    return text.strip().splitlines()[-1].removeprefix("Error: ") if text.strip() else ""


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as a table in Markdown."""
    head = "| network | source | opset | input | scaling | parity: difference, labels | FP32 mIoU (PyTorch's) | INT8 |"
    lines = [head, "| --- " * 8 + "|"]
    for row in rows:
        size = "x".join(map(str, row["input"]))
        if "refused" in row:
            cells = ["", f"refused: {row['refused']}", "", ""]
        else:
            parity, int8 = row["parity"], row.get("int8")
            cells = [
                f"{row['scale']} ({row['scaling']})",
                f"{parity['max_difference']:.1e}, {parity['label_agreement']:.3%}",
                f"{row['float32']:.1%} ({row['mean_iou_torch']:.1%})",
                f"{int8['label_agreement']:.2%} of the labels, {int8['float_layers']} layers in float, {int8['speed']}"
                if int8
                else f"refused: {row['int8_refused']}",
            ]
        lines.append(" | ".join(["| " + row["name"], row["source"], str(row["opset"]), size, *cells]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
