"""Compare the predicted kernel of each INT8 convolution with what onnxruntime does: results/kernel_classes.json.

`python benchmarks/kernel_classes.py NAME=FILE.onnx ...` takes INT8 files. Each INT8 convolution, as onnxruntime
optimizes it, is run alone at its own size twice: as it is, and with 1 subtracted from its weights and from their zero
points (or added, where preset amx subtracted it). That is exactly the same function, but weights with a zero point
always take the general kernel, which allocates a buffer of int32 sums; the others do not. If the peak memory of both
runs is about the same, the convolution took the general kernel as it is; otherwise the direct or the depthwise one.
This needs no quiet machine. The times of both runs, interleaved, show what the kernel gives; they need one.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from commands import write_result
from onnx import helper, numpy_helper

from segtool.benchmark.kernels import direct_kernel, kernel_of
from segtool.benchmark.profiler import Step, Tensor, profile_files
from segtool.benchmark.steps import LayerStep, assign
from segtool.runtime.engine import ort
from segtool.runtime.graph_reader import read_graph
from segtool.runtime.session_options import make_products_exact

NAME, WEIGHTS, ZERO_POINT, RUNS, WARMUP = "kernel_classes", 3, 5, 30, 3


def main(arguments: Sequence[str]) -> None:
    """Measure the files and write the results."""
    networks = [network(*argument.split("=", 1)) for argument in arguments]
    rows = [row for found in networks for row in found["layers"]]
    right = sum(row["agrees"] for row in rows)
    totals = {"layers": len(rows), "agree": right, "agreement": right / len(rows), "runs": RUNS}
    write_result(NAME, {**totals, "networks": networks})
    print(json.dumps(totals))


def network(name: str, file: str) -> dict[str, Any]:
    """Return the INT8 convolutions of a file, predicted and observed."""
    with tempfile.TemporaryDirectory() as folder:
        nodes, constants = optimized(Path(file), Path(folder))
        graph = read_graph(file)
        (steps,) = profile_files([Path(file)], runs=10)
        rows = []
        for found in assign(steps, graph):
            if (convolution := found.convolution) is not None:
                predicted = kernel_of(convolution, direct_kernel())
                alone = forced(found.step, nodes[found.step.name], constants, Path(folder))
                fast = "depthwise" if convolution.is_depthwise else "direct"
                observed = "general" if alone.pop("is_general") else fast
                rows.append({**described(found), "predicted": predicted, "observed": observed, **alone})
                rows[-1]["agrees"] = predicted == observed
    right = sum(row["agrees"] for row in rows)
    print(f"{name}: {right} of {len(rows)} agree", flush=True)
    return {"name": name, "agreement": right / len(rows), "layers": rows}


def described(found: LayerStep) -> dict[str, Any]:
    """Return the name, the size and the work of a layer, and its time in the network."""
    size = {"shape": found.shape_text, "macs": found.macs}
    return {"layer": found.name, **size, "us_in_network": found.step.microseconds}


def optimized(file: Path, folder: Path) -> tuple[dict[str, onnx.NodeProto], dict[str, onnx.TensorProto]]:
    """Return the nodes and the constants of the graph as onnxruntime runs it, by name."""
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    make_products_exact(options)
    ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(folder / "optimized.onnx").graph
    return {node.name: node for node in graph.node}, {item.name: item for item in graph.initializer}


def forced(step: Step, node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], folder: Path) -> dict[str, Any]:
    """Run one convolution as it is and with another zero point; return their times and whether the general kernel ran.

    Weights with a zero point other than 0 always take it, so the other zero point is such a one, and 0 for these.
    """
    tensors = {name: numpy_helper.to_array(constants[name]) for name in node.input if name in constants}
    weights, zero = (tensors[node.input[place]].astype(np.int16) for place in (WEIGHTS, ZERO_POINT))
    symmetric = not zero.any()
    shift = (-1 if weights.min() > -128 else 1) if symmetric else -zero.flat[0]
    shifted = {
        **tensors,
        node.input[WEIGHTS]: (weights + shift).astype(np.int8),
        node.input[ZERO_POINT]: (zero + shift).astype(np.int8),
    }
    value = step.inputs[0]
    image = np.random.default_rng(0).integers(0, 256, value.shape, np.uint8)
    image = image.view(np.int8) if value.kind == "int8" else image
    parts = {"own": tensors, "other": shifted}
    sessions = [session(node, value, part, folder / name) for name, part in parts.items()]
    outputs = [np.asarray(one.run(None, {node.input[0]: image})[0]) for one in sessions]
    for _ in range(RUNS + WARMUP):
        for one in sessions:
            one.run(None, {node.input[0]: image})
    own, other = (list(events(one)) for one in sessions)
    times = [min(event["dur"] for event in found[WARMUP:]) for found in (own, other)]
    memory = [int(found[-1]["args"]["mem_in_use_peak"]) for found in (own, other)]
    # On Arm, the weights of both runs are packed in another way, which takes far less than the sums.
    saved, sums = memory[1] - memory[0], 4 * math.prod(step.outputs[0].shape)
    return {
        "zero_point": int(zero.flat[0]),
        "us_alone": times[0],
        "us_with_other_zero_point": times[1],
        "other_over_own": times[1] / max(times[0], 1),
        "same_output": bool(np.array_equal(outputs[0], outputs[1])),
        "peak_bytes": memory,
        "is_general": saved < sums / 2 if symmetric else -saved > sums / 2,
    }


def session(node: onnx.NodeProto, value: Tensor, tensors: dict[str, np.ndarray], prefix: Path) -> Any:
    """Return a session of one node, with the profile in a file of this prefix."""
    element = {"uint8": onnx.TensorProto.UINT8, "int8": onnx.TensorProto.INT8}[value.kind]
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info(node.input[0], element, value.shape)],
        [helper.make_empty_tensor_value_info(node.output[0])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    options.enable_profiling, options.profile_file_prefix = True, str(prefix)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def events(one: Any) -> Iterator[dict[str, Any]]:
    """End the profile of a session and yield the events of its node, the first run left out."""
    path = Path(one.end_profiling())
    found = [event for event in json.loads(path.read_bytes()) if event.get("cat") == "Node"]
    path.unlink()
    yield from found[1:]


if __name__ == "__main__":
    main(sys.argv[1:])
