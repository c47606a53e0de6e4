"""Running a network, a graph or a file on images: the functions that the gates compare, and values inside a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from segtool.array_types import AnyArray, UInt8Array
from segtool.contract_check import Head
from segtool.errors import ExportError, first_line
from segtool.export.heads import End
from segtool.export.keras_to_onnx import INPUT
from segtool.machine.processors import available_cpus
from segtool.models.backend import without_advice
from segtool.runtime.postprocess import softmax
from segtool.runtime.session import ORT_ERRORS, open_session
from segtool.runtime.session_options import make_products_exact

Batches = Callable[[], Iterator[UInt8Array]]
"""Gives batches of images, uint8 (n, H, W, C) each, again at every call."""


def keras_runner(model: Any, *, batch: int = 32) -> Callable[[UInt8Array], AnyArray]:
    """Return a function from uint8 (N, H, W, C) to what Keras's network gives, float32 (N, H, W, K), on the CPU."""
    import tensorflow as tf

    def run(images: UInt8Array) -> AnyArray:
        # On the CPU: a GPU's TF32 alone is further off than the parity gate allows.
        with tf.device("/CPU:0"), without_advice():
            parts = [model(images[i : i + batch], training=False).numpy() for i in range(0, len(images), batch)]
        return np.concatenate(parts)

    return run


def onnx_runner(path: Path, *, threads: int | None = None) -> tuple[Callable[[UInt8Array], AnyArray], int]:
    """Return a function from uint8 (N, H, W, C) to a file's output on the CPU, and the threads it uses."""
    opened = open_session(path, provider="cpu", threads=threads)
    return lambda images: np.asarray(opened.session.run(None, {INPUT: images})[0]), opened.threads


def as_probabilities(run: Callable[[UInt8Array], AnyArray], end: End | Head) -> Callable[[UInt8Array], AnyArray]:
    """Return `run`, which ends in `end`, behind a softmax where that is in logits."""
    return (lambda images: softmax(run(images))) if end == "logits" else run


def as_labels(run: Callable[[UInt8Array], AnyArray], dtype: np.dtype[Any]) -> Callable[[UInt8Array], AnyArray]:
    """Return `run` with the class scores, where it gives those, turned into labels (N, H, W) of `dtype`."""

    def labels(images: UInt8Array) -> AnyArray:
        found = run(images)
        return labels_of(found).astype(dtype) if found.ndim == 4 else found

    return labels


def labels_of(found: AnyArray) -> AnyArray:
    """Return the labels (N, H, W) of what a model gives: labels, or the scores (N, H, W, K) of classes."""
    return np.asarray(found.argmax(-1)) if found.ndim == 4 else found


def save(graph: onnx.ModelProto, path: Path) -> Path:
    """Write a graph to a private file and return its path."""
    onnx.save(graph, path)
    return path


def run_batches(
    model: onnx.ModelProto, names: Sequence[str], batches: Iterator[UInt8Array]
) -> Iterator[dict[str, AnyArray]]:
    """Yield for each batch the named values, inner ones or outputs; no more of the graph is computed than they take.

    Parameters
    ----------
    model
        Its input is ``image``.
    names
        Of values in its graph.
    batches
        Images, uint8 (n, H, W, C) each.
    """
    watched = deepcopy(model)
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = open_graph(watched)
    for batch in batches:
        yield dict(zip(names, session.run(list(names), {INPUT: batch}), strict=True))


def run_labels(model: onnx.ModelProto, batches: Iterator[UInt8Array]) -> Iterator[AnyArray]:
    """Yield the labels (n, H, W) of each batch, of a model that gives labels or the scores (n, H, W, K) of classes."""
    name = model.graph.output[0].name
    for values in run_batches(model, [name], batches):
        yield labels_of(values[name])


def label_agreement(ones: Iterable[AnyArray], others: Iterable[AnyArray]) -> float:
    """Return the fraction of all pixels, 0..1, with the same label in both; batches (n, H, W) count by their pixels."""
    same = pixels = 0
    for one, other in zip(ones, others, strict=True):
        same += int(np.count_nonzero(one == other))
        pixels += one.size
    return same / pixels


def reduced(
    model: onnx.ModelProto, names: Sequence[str], ops: Sequence[str]
) -> tuple[onnx.ModelProto, dict[str, dict[str, str]]]:
    """Return a model that also reduces some of its values, so that no map has to be copied out of it.

    Parameters
    ----------
    model
        Not changed.
    names
        Of values in its graph.
    ops
        The operators that reduce each of them: "ReduceMin" and the like to one number, a pooling to one a channel.

    Returns
    -------
    onnx.ModelProto
        The model with the reductions among its values.
    dict
        By the operator, the name of each value's reduction.
    """
    result = deepcopy(model)
    found: dict[str, dict[str, str]] = {op: {name: f"{name}/{op}" for name in names} for op in ops}
    result.graph.node.extend(
        onnx.helper.make_node(op, [name], [output], **({"keepdims": 0} if op.startswith("Reduce") else {}))
        for op, outputs in found.items()
        for name, output in outputs.items()
    )
    return result, found


def open_graph(model: onnx.ModelProto) -> Any:
    """Return an onnxruntime.InferenceSession of a graph in memory, on the CPU.

    Raises
    ------
    ExportError
        onnxruntime cannot run the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # it grows by doubling, and keeps what a calibration took
    options.intra_op_num_threads = available_cpus()
    make_products_exact(options)
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except ORT_ERRORS as error:
        raise ExportError(
            f"onnxruntime {onnxruntime.__version__} cannot run a graph that was made of this network "
            f"({first_line(error)[:300]}); please report this network."
        ) from error
