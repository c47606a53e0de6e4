"""Running a graph in memory on batches of images, and looking at values inside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from segtool.array_types import AnyArray
from segtool.export.keras_to_onnx import INPUT
from segtool.machine.processors import available_cpus


def run_batches(
    model: onnx.ModelProto, names: Sequence[str], batches: Iterator[npt.NDArray[np.uint8]], *, only: bool = False
) -> Iterator[dict[str, AnyArray]]:
    """Yield for each batch the named values, inner ones or outputs.

    Parameters
    ----------
    model
        Its input is ``image``.
    names
        Of values in its graph.
    batches
        Images, uint8 (n, H, W, C) each.
    only
        Compute no more of the graph than the named values take.
    """
    session = _session(model, names, only=only)
    for batch in batches:
        yield dict(zip(names, session.run(list(names), {INPUT: batch}), strict=True))


def run_labels(model: onnx.ModelProto, batches: Iterator[npt.NDArray[np.uint8]]) -> Iterator[AnyArray]:
    """Yield the labels (n, H, W) of each batch, of a model that gives labels or the scores (n, H, W, K) of classes."""
    name = model.graph.output[0].name
    for values in run_batches(model, [name], batches):
        yield values[name].argmax(-1) if values[name].ndim == 4 else values[name]


def label_agreement(ones: Iterable[AnyArray], others: Iterable[AnyArray]) -> float:
    """Return the fraction of all pixels, 0..1, with the same label in both; batches (n, H, W) count by their pixels."""
    same = pixels = 0
    for one, other in zip(ones, others, strict=True):
        same += int(np.count_nonzero(one == other))
        pixels += one.size
    return same / pixels


def _session(model: onnx.ModelProto, names: Sequence[str], *, only: bool) -> Any:
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    if only:
        del watched.graph.output[:]
    known = {output.name for output in watched.graph.output}
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = available_cpus()
    return onnxruntime.InferenceSession(
        watched.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
    )
