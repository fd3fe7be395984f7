"""A proven message -> sums over its chips that tell what their amplitudes follow.

With the message known, the sign of every chip is known; what its amplitude follows is seen by correlating
with the keyed signs of binding and flags. Blocks of which detector keys know nothing are summed apart.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.binding import block_content
from fastmark.codec.carrier import Carrier
from fastmark.codec.message import CODE_BITS, Decoded
from fastmark.codec.plane import canonical_plane
from fastmark.codec.tables import BLOCK, GRID, N_COEFFICIENTS
from fastmark.detection.affine import is_identity
from fastmark.detection.cutting import evidence_of, trimmed
from fastmark.detection.local_shifts import Field
from fastmark.detection.placement import Placement
from fastmark.detection.reading import ChipView, Finding
from fastmark.detection.resampling import FIELD_SPACING
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.smoothing import convolve, dilated, gaussian, spread_for
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.kernels import chips as chip_kernels
from fastmark.kernels import content as kernels
from fastmark.kernels import resample as resample_kernels

_SAMPLES = 2  # of luma in a block, each way
_TABLE = resample_kernels.cubic_table()
_NO_FIELD = np.zeros((2, 2, 2), np.float32)

# Blocks either way around one that tell its weight; energy with which the mean of all counts beside theirs,
# as a share of all energy; least weight.
_REACH, _PRIOR, _LEAST_FACTOR = 3, 0.02, 0.1
# benchmarks/binding.py --sweep tells what these do. Against blocks that show nothing, as a logarithm of the
# ratio of likelihoods, and at most as a share of the power that blocks show: the rows of a flat canvas add up
# to a border, and those of a weak mark do not.
_SHOWS_NOTHING, _SHOWS_LITTLE = 0.02, 0.1
# Of blocks that carry the mark, what their surroundings show at least of its mean, and of the usual energy;
# how much of that counts at most.
_LEAST_SHARE, _LEAST_SHOWN, _MOST_SHOWN = 0.3, 0.25, 2.0
BESIDE = 2
"""Blocks beside others: those that lie on the image in part, and the neighbours of which they are content."""
# Standard deviations of the window as far as blocks without the mark look as if they carried it.
_BLURRED = 2 / 3
_LEAST_ENERGY = 1e-12


class ChipSums(NamedTuple):
    """Sums over the chips of a part of the blocks; x is a chip's score times its known sign and its weight.

    Attributes:
        plain: ``sum x``.
        energy: ``sum x^2``.
        bound: ``sum b c x``, b the keyed signs of the binding, c the content of the block.
        expected: ``sum c^2 x``, which ``bound`` is expected to be for a depth of 1.
        bound_energy: ``sum (c x)^2``.
        flags: ``sum d x``, d the keyed signs of each class' flags.
    """

    plain: float
    energy: float
    bound: float
    expected: float
    bound_energy: float
    flags: tuple[float, ...]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> ChipSums:
        """Take the sums in this order, those of the flags last."""
        plain, energy, bound, expected, bound_energy, *flags = map(float, values)
        return cls(plain, energy, bound, expected, bound_energy, tuple(flags))

    def plus(self, other: ChipSums) -> ChipSums:
        """Return the sums over both parts."""
        return ChipSums(
            self.plain + other.plain,
            self.energy + other.energy,
            self.bound + other.bound,
            self.expected + other.expected,
            self.bound_energy + other.bound_energy,
            tuple(a + b for a, b in zip(self.flags, other.flags, strict=True)),
        )


def measure(
    planes: ScorePlanes, finding: Finding, carrier: Carrier, *, surely: bool = False
) -> tuple[ChipSums, ChipSums]:
    """Return the sums over the blocks that detector keys know, and over those that they do not.

    Args:
        planes: of the image; where a window of it was searched, that one's are looked at.
        finding: with a message.
        carrier: of the key, or of a detector key.
        surely: whether content counts only where all that it is made of carries the mark. Else what was put
            round a watermarked image, or over it, is taken for content as well.
    """
    if finding.window is not None:
        planes = finding.window.planes
    placement, view, decoded = finding.placement, finding.view, finding.message
    assert placement is not None and view is not None and decoded is not None
    luma = block_luma(planes, placement, view.origin, view.blocks.inside.shape, finding.field)
    sign = np.float32(-1 if placement.inverted else 1)
    seen, sure = view.blocks.inside > 0, None
    if surely or finding.window is not None:
        n, v = shown(view, carrier, decoded, sign)
        if finding.window is not None:
            # what lies round the image is no content of it
            inner = np.zeros_like(seen)
            inner[box_of(n, v)] = True
            seen &= inner
        if surely:
            sure = _surely_carry(n, v, seen)
    content = block_content(luma, carrier.binding.partners, view.origin, seen, sure)
    return sum_chips(view.blocks, view.origin, sign * content, carrier, decoded, sign)


def shown(
    view: ChipView, carrier: Carrier, decoded: Decoded, sign: np.float32
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what blocks show of the mark, n, and the energy of that, v: float32 ``(BY, BX)``.

    As with the chips' weights, only blocks that detector keys know are looked at, and no keyed sign but the
    chips' own.

    Args:
        view: of the chips.
        carrier: of the key.
        decoded: the message.
        sign: -1 where the image's greys are turned round.
    """
    down, across = places_of(view.origin, view.blocks.inside.shape)
    counted = view.blocks.inside * ~carrier.binding.withheld[down, across]
    x = view.blocks.coefficients * known_signs(carrier, decoded, sign)[:, down, across] * counted
    energies = x**2
    plain, energy = x.sum(axis=(1, 2), dtype=np.float64), energies.sum(axis=(1, 2), dtype=np.float64)
    weights = np.maximum(plain / np.maximum(energy, _LEAST_ENERGY), 0).astype(np.float32)
    return np.tensordot(weights, x, axes=1), np.tensordot(weights**2, energies, axes=1)


def places_of(origin: tuple[int, int], shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of blocks on the torus' grid: rows as a column, and columns.

    Args:
        origin: place of the first block, any representative.
        shape: number of blocks, down and across.
    """
    n_rows, n_columns = shape
    return (origin[0] + np.arange(n_rows)[:, None]) % GRID, (origin[1] + np.arange(n_columns)) % GRID


def box_of(n: NDArray[np.float32], v: NDArray[np.float32]) -> tuple[slice, slice]:
    """Return the rows and columns of blocks in which the mark lies: a window is cut by its pilot, coarsely.

    ``n``, ``v``: of :func:`shown`.
    """
    prior = min(_SHOWS_NOTHING, _SHOWS_LITTLE * float(v.mean()))
    return trimmed(evidence_of(n, v) - np.float32(prior), (slice(0, n.shape[0]), slice(0, n.shape[1])))


def _surely_carry(
    n: NDArray[np.float32], v: NDArray[np.float32], seen: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the blocks that carry the mark with all of their neighbours: bool ``(BY, BX)``.

    Around a block that does, ``sum n`` is about ``sum v``, and that is not much less than elsewhere. What
    lies beside the mark looks like it for a part of the window's standard deviation. Where an image ends, v
    is far above what the mark makes it, and counts no more than that. What lies beyond the ``seen`` blocks
    is not known.
    """
    usual = _median_of_busy(v)
    inside: NDArray[np.float32] = seen.astype(np.float32)
    counted: NDArray[np.float32] = np.minimum(_MOST_SHOWN * usual / np.maximum(v, _LEAST_ENERGY), 1) * inside
    spread = spread_for(usual)
    window = gaussian(spread)
    total: NDArray[np.float32] = np.maximum(convolve(inside, window), np.float32(_LEAST_ENERGY))
    plain, energy = convolve(n * counted, window) / total, convolve(v * counted, window) / total
    carry = (plain > _LEAST_SHARE * energy) & (energy > _LEAST_SHOWN * _median_of_busy(energy))
    # beside others are blocks that lie on the image in part, and then their neighbours
    beyond = dilated(np.pad(~seen, BESIDE, constant_values=True), BESIDE)
    beside = dilated(seen & ~carry, math.ceil(BESIDE + _BLURRED * spread))
    return ~beside & ~beyond[BESIDE:-BESIDE, BESIDE:-BESIDE]


def _median_of_busy(energy: NDArray[np.float32]) -> float:
    """Return the median of what is not much less than the mean, as blocks of a flat canvas are."""
    return float(np.median(energy[energy >= energy.mean() / 2]))


def known_signs(carrier: Carrier, decoded: Decoded | None, sign: np.float32) -> NDArray[np.float32]:
    """Return the chips' signs as the image shows them: float32 ``(10, 128, 128)``, 0 where not known.

    Args:
        carrier: of the key; of a detector key it does not know them all.
        decoded: the message; None for anchors alone.
        sign: -1 where the image's greys are turned round.
    """
    bits = np.zeros(CODE_BITS + 1, np.float32)
    bits[-1] = 1  # anchors
    if decoded is not None:
        bits[:-1] = 1 - 2 * decoded.codeword.astype(np.float32)
    known = np.empty((N_COEFFICIENTS, GRID, GRID), np.float32)
    chip_kernels.code_signs(carrier.signs, carrier.code_bit, sign * bits, known)
    return known


def block_luma(
    planes: ScorePlanes,
    placement: Placement,
    origin: tuple[int, int],
    shape: tuple[int, ...],
    field: Field | None = None,
) -> NDArray[np.float32]:
    """Return the mean luma, less 128, of ``shape`` blocks from ``origin`` on: float32 ``(BY, BX)``.

    Where blocks start at whole samples of an image that was not resampled they are averaged; else luma is
    taken at 2 x 2 places of a block, from the plane averaged over about as many samples as lie between them.
    """
    n_rows, n_columns = shape
    whole = np.rint(placement.offset)
    first = BLOCK * np.array(origin) + whole.astype(int)
    last = first + BLOCK * np.array(shape)
    covered = first.min() >= 0 and bool((last <= planes.shape).all())
    as_it_was = field is None and is_identity(placement.matrix) and np.array_equal(whole, placement.offset)
    if as_it_was and covered:
        return _averaged(planes, first, (n_rows, n_columns))
    step = BLOCK // _SAMPLES
    reduction = max(1, round(step * math.sqrt(abs(np.linalg.det(placement.matrix)))))
    source = planes.reduced(reduction)
    start = BLOCK * np.array(origin) + (step - 1) / 2
    at = (placement.matrix @ start + placement.offset - (reduction - 1) / 2) / reduction
    shifts = _NO_FIELD if field is None else field / np.float32(reduction)
    samples = np.empty((_SAMPLES * n_rows, _SAMPLES * n_columns), np.float32)
    inside = np.empty(samples.shape, np.uint8)
    matrix = placement.matrix * (step / reduction)
    resample_kernels.warp_plane(source, _TABLE, matrix, at, shifts, FIELD_SPACING / step, samples, inside)
    means: NDArray[np.float32] = samples.reshape(n_rows, _SAMPLES, n_columns, _SAMPLES).mean(axis=(1, 3))
    return means - np.float32(128)


def _averaged(planes: ScorePlanes, start: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the mean luma, less 128, of 8 x 8 samples from ``start`` on: float32 of ``shape``, in blocks."""
    reduction = math.gcd(BLOCK // 2, *map(int, start))
    side = BLOCK // reduction
    y, x = (int(n) // reduction for n in start)
    part = planes.reduced(reduction)[y : y + side * shape[0], x : x + side * shape[1]]
    return canonical_plane(np.ascontiguousarray(part), side) - np.float32(128)


def sum_chips(
    blocks: ChipBlocks,
    origin: tuple[int, int],
    content: NDArray[np.float32],
    carrier: Carrier,
    decoded: Decoded,
    sign: np.float32,
) -> tuple[ChipSums, ChipSums]:
    """Return the sums over the blocks that detector keys know, and over those that they do not.

    Chips that the image shows more than once are summed before anything is squared.

    Args:
        blocks: statistics of the chips.
        origin: place of the first block on the torus' grid.
        content: float32 ``(BY, BX)``, -1..1, of the blocks as they were marked.
        carrier: of the key.
        decoded: the message.
        sign: -1 where the image's greys are turned round.
    """
    tables, place = carrier.binding, (origin[0] % GRID, origin[1] % GRID)
    folded = np.zeros((3, N_COEFFICIENTS, GRID, GRID), np.float32)
    factor = blocks.inside
    for power in range(3):
        chip_kernels.fold_chips(blocks.coefficients, factor, *place, folded[power])
        factor = factor * content
    known = known_signs(carrier, decoded, sign)
    weights = chip_weights(folded[0] * known, ~tables.withheld)
    sums = np.empty((2, 5 + len(tables.flags)))
    kernels.sum_parts(folded, known, weights, tables.signs, tables.flags, tables.withheld, sums)
    return ChipSums.of(sums[0]), ChipSums.of(sums[1])


def chip_weights(x: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return how much chips say, by what is left of the mark around them: float32 ``(10, 128, 128)``.

    A chip's best weight is its mean over its variance. That is told from the blocks around its own, and from
    the chips of its coefficient, both shrunk towards that of all. Only blocks that detector keys know are
    looked at, and no keyed sign but the chips' own: so bounds over the signs of binding and flags hold for
    all blocks, and those over the chips' signs for withheld blocks.

    Args:
        x: float32 ``(10, 128, 128)``, scores times known signs.
        known: bool ``(128, 128)``, blocks that detector keys know.
    """
    by_block, by_coefficient = np.empty((2, *known.shape), np.float32), np.empty((2, len(x)))
    kernels.sum_disclosed(x, known.astype(np.float32), by_block, by_coefficient)
    plain, energy = map(float, by_coefficient.sum(axis=1))
    if plain <= 0:
        return np.ones_like(x)
    share, prior = plain / energy, _PRIOR * energy
    sums = np.empty_like(by_block)
    for part, total in zip(by_block, sums, strict=True):
        kernels.sum_around(part, _REACH, total)
    around, around_energy = sums - by_block
    by_place = np.maximum((around / share + prior) / (around_energy + prior), _LEAST_FACTOR)
    alike, alike_energy = by_coefficient
    by_frequency = np.maximum((alike / share + prior) / (alike_energy + prior), _LEAST_FACTOR)
    weights: NDArray[np.float32] = by_frequency.astype(np.float32)[:, None, None] * by_place
    return weights
