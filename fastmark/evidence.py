"""P-values that hold for any picture: bounds on sums over keyed signs and phases.

Probabilities are carried as natural logarithms. Each bound is over the key, for a picture that does
not depend on it: whatever was computed from the picture alone (magnitudes, weights, geometry found
from magnitudes) counts as given.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]

# lambda of the Chernoff bound, in units of 1 / root mean square of the radii. Any choice is valid.
_LAMBDAS = 1.13 ** np.arange(-40, 40)


def phase_sum_bound(total: float, radii: Real) -> float:
    """Bound ``ln P(sum r_i cos(phi_i) >= total)``, phases independent and uniform.

    Chernoff: ``min over lambda of sum ln I0(lambda r_i) - lambda total`` (``I0`` the modified Bessel
    function, the moment generating function of a cosine of uniform phase). At most 0.
    """
    scale = float(np.sqrt(np.mean(radii**2))) if radii.size else 0.0
    if total <= 0 or scale == 0:
        return 0.0
    lambdas = _LAMBDAS[_LAMBDAS * float(radii.max()) / scale < 300] / scale
    bounds = np.log(np.i0(lambdas[:, None] * radii)).sum(axis=1) - lambdas * total
    return min(0.0, float(bounds.min()))


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
