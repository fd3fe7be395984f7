"""P-values that hold for any image: bounds on sums over keyed signs and phases.

Probabilities are carried as natural logarithms. Each bound is over the key, for an image that does
not depend on it: all that was computed from the image alone (magnitudes, weights, geometry found
from magnitudes) counts as given.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from fastmark.kernels import bessel as kernels

Real = NDArray[np.float64]

DETECTED, POSSIBLE = math.log(1e-9), math.log(1e-4)
"""Bounds on the rate of false positives at which a mark is said to be there, or to be possible."""

LOG_SHARES = math.log(4)
"""The pilot, all keystreams together, straightened images and the message share the false-positive rate."""

# lambda of the Chernoff bound, in units of 1 / root mean square of the radii. Any choice is valid.
_LAMBDAS = 1.13 ** np.arange(-40, 40)
_WORTH_A_SEARCH = 12.0  # natural logarithm; places on the torus cost more
_MOST_ARGUMENT = 300.0  # of I0: a larger lambda, of the largest radius, is never the best


def phase_sum_bound(total: float, radii: Real) -> float:
    """Bound ``ln P(sum r_i cos(phi_i) >= total)``, phases independent and uniform.

    Chernoff: ``min over lambda of sum ln I0(lambda r_i) - lambda total`` (``I0`` the modified Bessel
    function, the moment generating function of a cosine of uniform phase). At most 0. Where a search
    for lambda would not pay, the bound is that of the Gaussian above it, ``-total^2 / sum r_i^2``, as
    I0(x) <= exp(x^2 / 4).
    """
    square = float(radii @ radii)
    if total <= 0 or square == 0:
        return 0.0
    gaussian = -total * total / square
    if gaussian > -_WORTH_A_SEARCH:
        return gaussian
    scale = math.sqrt(square / radii.size)
    lambdas = _LAMBDAS[_LAMBDAS * float(radii.max()) / scale < _MOST_ARGUMENT] / scale

    error = radii.size * kernels.RELATIVE_ERROR

    @functools.cache
    def bound(i: int) -> float:
        return float(kernels.log_i0_sum(radii, lambdas[i])) + error - float(lambdas[i]) * total

    # convex in lambda: walk down from where the Gaussian has its minimum
    best = min(int(np.searchsorted(lambdas, 2 * total / square)), lambdas.size - 1)
    for step in (1, -1):
        while 0 <= best + step < lambdas.size and bound(best + step) < bound(best):
            best += step
    return min(gaussian, bound(best))


def sign_sum_bound(total: float, sum_of_squares: float) -> float:
    """Bound ``ln P(sum s_i x_i >= total)`` over independent fair signs (Hoeffding 1963, theorem 2)."""
    if not (total > 0 and sum_of_squares > 0):
        return 0.0
    return -total * total / (2.0 * sum_of_squares)


def product_bound(*log_ps: float) -> float:
    """Combine bounds on independent p-values by their product q (Fisher 1932).

    ``P(p_1 ... p_n <= q) <= q sum_{i < n} (-ln q)^i / i!`` (the gamma tail of -ln q).
    """
    log_q = math.fsum(log_ps)
    terms = math.fsum((-log_q) ** i / math.factorial(i) for i in range(len(log_ps)))
    return min(0.0, log_q + math.log(terms))


def union_bound(log_p: float, log_trials: float) -> float:
    """Pay for ``exp(log_trials)`` places where the statistic was looked for."""
    return min(0.0, log_p + log_trials)


def open_list(n: int) -> float:
    """Return the price of the n-th hypothesis of an open-ended list.

    Its share of the total is ``1 / (n (n + 1))``.
    """
    return math.log(n * (n + 1))
