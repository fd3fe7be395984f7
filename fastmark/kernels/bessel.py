"""Kernels of the bound on sums over random phases: the modified Bessel function."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import kernel

RELATIVE_ERROR = 5e-7
"""Of I0, at most: Abramowitz & Stegun give 1.6e-7 below 3.75, above it 1.9e-7 of ``sqrt(x) exp(-x) I0``,
about 0.4.
"""


@kernel
def log_i0_sum(radii, scale):
    """Return ``sum ln I0(scale * r)`` over ``radii``, float64 of at least 0.

    Abramowitz & Stegun 1964, 9.8.1 and 9.8.2.
    """
    total = 0.0
    for i in range(radii.size):
        x = scale * radii[i]
        if x < 3.75:
            t = (x / 3.75) ** 2
            p = 0.2659732 + t * (0.0360768 + t * 0.0045813)
            total += np.log(1 + t * (3.5156229 + t * (3.0899424 + t * (1.2067492 + t * p))))
        else:
            t = 3.75 / x
            p = 0.02635537 + t * (-0.01647633 + t * 0.00392377)
            p = -0.00157565 + t * (0.00916281 + t * (-0.02057706 + t * p))
            total += x - 0.5 * np.log(x) + np.log(0.39894228 + t * (0.01328592 + t * (0.00225319 + t * p)))
    return total
