"""The folder of `segtool export --triton`, checked with what model servers read it by: results/servers.json.

`python benchmarks/servers.py [FILE.onnx ...]` needs the packages tritonclient and protobuf, for Triton's
model_config.proto, and openvino, the engine of OpenVINO Model Server. The model that ships with segtool is always among
the files. The servers themselves are not run. Labels are compared on generated digits, or on the golden images of files
with colour, in batches of 1 and of all images.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from commands import write_result
from google.protobuf import json_format, text_format

import segtool
from segtool.data.loading import load_dataset
from segtool.export.triton import CONFIG, MODEL, write_model
from segtool.machine.machine import package_versions
from segtool.models.shipped import SHIPPED

DIGITS = "m2nist-synthetic:20"


def main() -> None:
    """Write a repository for each file, and check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="*", metavar="FILE.onnx")
    proto = triton_definition()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate([SHIPPED, *parser.parse_args().files]):
            name = "shipped" if path == SHIPPED else path.parent.name
            repositories = {device: Path(folder, f"{number}-{device}") for device in ("cpu", "gpu")}
            folders = {key: write_model(path, each, gpu=key == "gpu") for key, each in repositories.items()}
            triton = {key: configuration(proto, each / CONFIG) for key, each in folders.items()}
            rows.append({"name": name, "triton": triton, "openvino": in_openvino(folders["cpu"] / MODEL)})
            print(rows[-1], flush=True)
    versions = package_versions(("tritonclient", "protobuf", "openvino", "onnxruntime"))
    write_result("servers", {"versions": versions, "files": rows})


def triton_definition() -> Any:
    """Return the module of Triton's model_config.proto, without the rest of its client, which needs gRPC."""
    client = importlib.util.find_spec("tritonclient")
    if client is None or not client.submodule_search_locations:
        raise SystemExit("tritonclient is not installed; run `pip install tritonclient protobuf`.")
    path = Path(client.submodule_search_locations[0], "grpc", "model_config_pb2.py")
    spec = importlib.util.spec_from_file_location("triton_model_config", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is missing; this tritonclient has no model_config.proto.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configuration(proto: Any, path: Path) -> dict[str, Any]:
    """Parse a config.pbtxt; an unknown field or value is an error."""
    config = text_format.Parse(path.read_text(encoding="utf-8"), proto.ModelConfig())
    found = json_format.MessageToDict(config, preserving_proto_field_name=True)
    kept = ("max_batch_size", "input", "output", "instance_group", "dynamic_batching")
    return {"parsed": True, **{key: found[key] for key in kept if key in found}}


def in_openvino(path: Path) -> dict[str, Any]:
    """Compare the labels of OpenVINO with those of segtool."""
    segmenter = segtool.load(path, threads=1)
    images = segmenter.golden().images
    if segmenter.contract.channels == 1:
        digits = load_dataset(DIGITS)
        images = digits.images(np.arange(len(digits)), size=segmenter.input_size)
    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    wanted = segmenter.predict_batch(images)
    shares = {}
    for batch in (1, len(images)):
        parts = [compiled(images[first : first + batch])[0] for first in range(0, len(images), batch)]
        shares[f"batch_of_{batch}"] = float((np.concatenate(parts) != wanted).mean())
    return {"precision": segmenter.contract.precision, "images": len(images), "differing_labels": shares}


if __name__ == "__main__":
    main()
