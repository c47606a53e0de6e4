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


@pytest.mark.parametrize(("shift", "is_same"), [(4e-6, False), (1e-6, True)])
def test_channels_that_change_places_within_the_tolerance_fail(shift, is_same):
    """Each number is off by less than the tolerance, and yet another class wins."""

    def shifted(*numbers):
        return make([node("Add", "x c", "y")], {"c": np.array(numbers, np.float32)[:, None, None]}, ["N", 3, 2, 2])

    x = np.zeros((1, 3, 2, 2), np.float32)
    before, after = shifted(shift, 0, -1), shifted(0, shift, -1)
    if is_same:
        assert_same(before, after, x, atol=1e-5)
        return
    with pytest.raises(AssertionError):
        assert_same(before, after, x, atol=1e-5)


def test_another_shape_or_type_fails():
    flat = make([node("ReduceMax", "x", "y", keepdims=0)], {}, ["N", 3])
    with pytest.raises(AssertionError):
        assert_same(scaled(2), flat, X)
