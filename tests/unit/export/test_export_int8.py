"""The arithmetic of INT8 as pure functions: degenerate ranges, weights, histograms, channel factors."""

import numpy as np
import pytest

from segtool.export.int8.equalize import factors
from segtool.export.int8.qdq import parameters, quantized_weights
from segtool.export.int8.ranges import Histogram
from segtool.export.int8_file import fewest


@pytest.mark.parametrize(
    ("low", "high", "scale", "point"),
    [
        (0.0, 255.0, 1, 0),
        (-255.0, 0.0, 1, 255),
        (-100.0, 155.0, 1, 100),
        (0.0, 0.0, 1, 0),
        (0.0, 1e-40, np.finfo(np.float32).tiny, 0),
        (-1e30, 1e30, 2e30 / 255, 128),
    ],
)
def test_parameters(low, high, scale, point):
    found, unsigned = parameters(low, high, signed=False)
    assert found == pytest.approx(scale, rel=1e-6)
    assert (unsigned, unsigned.dtype) == (point, np.uint8)
    same, signed = parameters(low, high, signed=True)
    assert (same, signed, signed.dtype) == (found, point - 128, np.int8)


@pytest.mark.parametrize(("low", "high"), [(1.0, 2.0), (-2.0, -1.0), (0.0, np.inf), (np.nan, 1.0)])
def test_a_range_without_zero_is_refused(low, high):
    with pytest.raises(ValueError, match="hold 0"):
        parameters(low, high, signed=False)


@pytest.mark.parametrize("largest", [127, 64])
def test_weights_are_within_half_a_step_and_biases_too(largest):
    random = np.random.default_rng(0)
    weights, bias = random.normal(size=(4, 3, 3, 3)).astype(np.float32), random.normal(size=4).astype(np.float32)
    whole, scales, offsets = quantized_weights(weights, bias, 0.02, largest)
    assert (whole.dtype, offsets.dtype) == (np.int8, np.int32)
    assert np.abs(whole.astype(int)).reshape(4, -1).max(1).tolist() == [largest] * 4
    assert (np.abs(whole * scales[:, None, None, None] - weights) <= scales[:, None, None, None] * 0.5001).all()
    np.testing.assert_allclose(offsets * scales * 0.02, bias, atol=1e-3)


def test_a_channel_of_zeros_keeps_its_bias_and_a_huge_bias_fits():
    weights = np.zeros((2, 1, 1, 1), np.float32)
    weights[1] = 1e-6
    bias = np.array([0.5, 1e6], np.float32)
    _, scales, offsets = quantized_weights(weights, bias, 0.01, 127)
    assert np.abs(offsets.astype(np.int64)).max() <= 2**30 + 1
    np.testing.assert_allclose(offsets * scales.astype(np.float64) * 0.01, bias, rtol=1e-6)


def test_a_histogram_widens_without_losing_counts():
    histogram = Histogram(half=8)
    for part in ([0.5, -0.25], [3.9, 0.1], [-100.0]):
        histogram.add(np.array(part))
    assert histogram.counts.sum() == 5
    assert (histogram.low, histogram.high) == (-100, 3.9)
    assert histogram.counts[: histogram.half].sum() == 2


def test_the_smallest_squared_error_clips_a_far_outlier_and_nothing_of_an_even_distribution():
    histogram, even = Histogram(), Histogram()
    histogram.add(np.concatenate([np.random.default_rng(0).normal(size=1_000_000), [40.0]]))
    low, high = histogram.bounds()
    assert -6 < low < -3 < 3 < high < 30
    even.add(np.linspace(-1, 1, 200_001))
    assert even.bounds() == (-1, 1)
    assert Histogram().bounds() == (0, 0)


@pytest.mark.parametrize(("strength", "expected"), [(0, [1, 1, 1]), (1, [1, 4, 1000]), (0.5, [1, 2, 1000**0.5])])
def test_factors(strength, expected):
    np.testing.assert_allclose(factors(np.array([4.0, 1.0, 0.0]), strength), expected)


@pytest.mark.parametrize(("needed", "most"), [(1, 1), (1, 59), (2, 59), (5, 59), (23, 59), (40, 59), (59, 59)])
def test_few_layers_go_back_to_float_and_few_are_tried(needed, most):
    tried = []
    found = fewest(lambda count: tried.append(count) or count >= needed, most=most)
    assert needed <= found <= needed + needed // 7
    assert found in tried
    assert len(tried) == len(set(tried)) <= 10


@pytest.mark.parametrize("most", [0, 1, 5])
def test_no_number_of_layers_is_found_where_all_do_not_help(most):
    assert fewest(lambda count: False, most=most) is None  # noqa: ARG005
