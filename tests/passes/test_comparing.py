"""The helper that compares both sides fails on a corrupted one."""

import numpy as np
import pytest
from comparing import assert_same, make, node


def scaled(factor):
    return make([node("Mul", "x c", "y")], {"c": np.float32(factor)}, ["N", 3])


X = np.linspace(1, 2, 6, dtype=np.float32).reshape(2, 3)


def test_the_same_model_passes():
    assert_same(scaled(2), scaled(2), X)


@pytest.mark.parametrize(("factor", "atol"), [(2 + 1e-6, 0.0), (2.001, 1e-5), (np.inf, 1e-5), (np.nan, 1e-5)])
def test_another_answer_fails(factor, atol):
    with pytest.raises(AssertionError):
        assert_same(scaled(2), scaled(factor), X, atol=atol)


def test_another_shape_or_type_fails():
    flat = make([node("ReduceMax", "x", "y", keepdims=0)], {}, ["N", 3])
    with pytest.raises(AssertionError):
        assert_same(scaled(2), flat, X)
