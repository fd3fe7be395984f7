"""Windows and masks over the nodes of a found mark, against plain loops."""

import numpy as np
import pytest

from fastmark.detection.smoothing import convolve, dilated, gaussian, smoothed_z, spread_for


@pytest.mark.parametrize("spread", [0.6, 1.7, 6.0])
def test_a_window_is_a_gaussian_of_odd_length(spread):
    window = gaussian(spread)
    middle = window.size // 2
    assert window.size % 2 == 1 and window[middle] == 1 and middle >= 3 * spread
    assert window[middle + 1] == pytest.approx(np.exp(-0.5 / spread**2))
    np.testing.assert_array_equal(window, window[::-1])


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (25, 7)])
def test_convolution_is_the_sum_over_the_window_with_zeros_beyond(shape):
    rng = np.random.default_rng(sum(shape))
    values, window = rng.normal(size=shape).astype(np.float32), gaussian(1.3)
    reach = window.size // 2
    expected = np.zeros(shape)
    for y, x in np.ndindex(shape):
        for j in range(max(0, y - reach), min(shape[0], y + reach + 1)):
            for i in range(max(0, x - reach), min(shape[1], x + reach + 1)):
                expected[y, x] += window[reach + j - y] * window[reach + i - x] * values[j, i]
    np.testing.assert_allclose(convolve(values, window), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reach", [0, 1, 4])
@pytest.mark.parametrize("shape", [(1, 1), (12, 30), (31, 9)])
def test_dilation_reaches_so_far_each_way(shape, reach):
    mask = np.random.default_rng(reach).random(shape) < 0.05
    expected = [
        [
            mask[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].any()
            for x in range(shape[1])
        ]
        for y in range(shape[0])
    ]
    np.testing.assert_array_equal(dilated(mask, reach), expected)


def test_the_weaker_a_mark_the_wider_the_window():
    spreads = [spread_for(energy) for energy in (0.0, 0.01, 0.1, 1.0, 10.0, 1e6)]
    assert spreads == sorted(spreads, reverse=True)
    assert (spreads[0], spreads[-1]) == (6.0, 0.6)
    # at this spread the mark shows by 4.5 standard deviations: n = v = energy in all nodes
    energy = np.full((61, 61), 0.5, np.float32)
    assert smoothed_z(energy, energy, spread_for(0.5))[30, 30] == pytest.approx(4.5, rel=0.02)
