"""Both sides of a rewrite, run with onnxruntime's own optimizations off."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from segtool.export.passes import rewrite

TYPES = {np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.float32): TensorProto.FLOAT}


def run(model, x):
    """The only output of `model` for its only input."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def make(nodes, constants, shape, *, dtype=np.float32, outputs=("y",), out_type=TensorProto.FLOAT):
    """A model with input x (`shape`, with the batch) and the outputs named."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TYPES[np.dtype(dtype)], shape)],
        [helper.make_tensor_value_info(name, out_type, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def random(*shape, seed=0):
    """Return normally distributed numbers, float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], name=output, **attributes)


def kinds(model):
    return [item.op_type for item in model.graph.node]


def assert_same(before, after, x, *, atol=0.0):
    """Fail unless both models give the same: bit for bit, or floats within `atol` and the arg-max of channels alike."""
    expected, found = run(before, x), run(after, x)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert np.isfinite(expected).all()
    if atol:
        np.testing.assert_allclose(found, expected, atol=atol, rtol=0)
        assert_same_labels(expected, found, atol=atol)
    else:
        np.testing.assert_array_equal(found, expected)


def assert_same_labels(expected, found, *, atol):
    """Fail unless the largest channel is the same wherever it is ahead by more than rounding: a fifth of `atol`.

    Two numbers that are each off by `atol` may change places, so the tolerance of the numbers alone does not say this.
    """
    if expected.ndim > 1 and expected.shape[1] > 1:
        second, first = np.moveaxis(np.sort(expected, axis=1), 1, 0)[-2:]
        clear = first - second > atol / 5
        np.testing.assert_array_equal(found.argmax(1)[clear], expected.argmax(1)[clear])


def rewritten(model, item, *, changes=1, refusals=()):
    """Apply one rewrite; check how often it changed something, what it refused, and that it is done then."""
    after, (outcome,) = rewrite(model, [item])
    assert len(outcome.changes) == changes, outcome
    assert len(outcome.refusals) == len(refusals), outcome
    for text, wanted in zip(outcome.refusals, refusals, strict=True):
        assert wanted in text
    onnx.checker.check_model(after, full_check=True)
    again, (second,) = rewrite(after, [item])
    assert not second.changes
    assert again == after
    if not changes:
        assert kinds(after) == kinds(model)
    return after
