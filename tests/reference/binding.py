"""Twins of ``fastmark.codec.binding`` and ``fastmark.detection.chip_sums``: block by block, chip by chip."""

import numpy as np

PARTNERS = [(dy, dx) for dy in range(-5, 6) for dx in range(-5, 6) if 9 <= dy * dy + dx * dx <= 25]


def block_content(means, partners, origin, inside):
    n_rows, n_columns = means.shape

    def seen(y, x):
        return 0 <= y < n_rows and 0 <= x < n_columns and inside[y, x]

    def around(y, x):
        nine = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        return np.mean([float(means[place]) for place in nine if seen(*place)])

    out = np.zeros(means.shape)
    for y, x in np.ndindex(means.shape):
        dy, dx = PARTNERS[partners[(y + origin[0]) % 128, (x + origin[1]) % 128]]
        if seen(y, x) and seen(y + dy, x + dx):
            out[y, x] = min(max((around(y, x) - around(y + dy, x + dx)) / 6, -1), 1)
    return out


def fold(coefficients, factor, origin):
    out = np.zeros((len(coefficients), 128, 128))
    for y, x in np.ndindex(factor.shape):
        out[:, (origin[0] + y) % 128, (origin[1] + x) % 128] += coefficients[:, y, x] * float(factor[y, x])
    return out


def chip_weight(x, known, place):
    """One chip's weight: what its coefficient and its surroundings, less its block, have per energy."""
    c, y, x0 = place
    total, energy = (x * known).sum(), (x**2 * known).sum()
    factors = []
    nearby = np.zeros((128, 128), bool)
    for dy in range(-3, 4):
        for dx in range(-3, 4):
            nearby[(y + dy) % 128, (x0 + dx) % 128] = True
    nearby[y, x0] = False
    for part in (x[:, nearby & known], x[c][known]):
        share = (part.sum() + 0.02 * total) / ((part**2).sum() + 0.02 * energy)
        factors.append(max(share / (total / energy), 0.1))
    return factors[0] * factors[1]


def chip_sums(x, followed, expected, signs, flags, part):
    """Sums over the chips of a part of the blocks, in the order of ``ChipSums``."""
    sums = np.zeros(7)
    for y, x0 in np.argwhere(part):
        for c in range(len(x)):
            place = c, y, x0
            sums += (
                x[place],
                x[place] ** 2,
                signs[place] * followed[place],
                expected[place],
                followed[place] ** 2,
                flags[0][place] * x[place],
                flags[1][place] * x[place],
            )
    return sums
