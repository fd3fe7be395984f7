"""A proven message -> whether its mark was made for this image, and with the key itself.

Chips follow the content of their blocks (:mod:`fastmark.codec.binding`). With the message known, the sign of
every chip is known; what its amplitude follows is seen by correlating with the keyed signs of binding and
flags. Blocks of which detector keys know nothing are looked at apart: whoever holds one can neither draw a
mark there nor bind one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.binding import CLASSES, block_content
from fastmark.codec.carrier import Carrier
from fastmark.codec.message import Decoded
from fastmark.codec.plane import canonical_plane
from fastmark.codec.tables import BLOCK, GRID, N_COEFFICIENTS
from fastmark.detection import evidence
from fastmark.detection.affine import is_identity
from fastmark.detection.course import step
from fastmark.detection.local_shifts import Field
from fastmark.detection.placement import Placement
from fastmark.detection.reading import Finding
from fastmark.detection.resampling import FIELD_SPACING
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.kernels import chips as chip_kernels
from fastmark.kernels import content as kernels
from fastmark.kernels import resample as resample_kernels
from fastmark.results import Binding, MadeWith

_SAMPLES = 2  # of luma in a block, each way
_TABLE = resample_kernels.cubic_table()
_NO_FIELD = np.zeros((2, 2, 2), np.float32)

# Blocks either way around one that tell its weight; energy with which the mean of all counts beside theirs,
# as a share of all energy; least weight.
_REACH, _PRIOR, _LEAST_FACTOR = 3, 0.02, 0.1

# Models of z over its expectation, mean and standard deviation, that of noise left out: benchmarks/binding.py
_GENUINE, _OTHER = (0.97, 0.2), (0.01, 0.09)
_WITHHELD_SPREAD = 0.07  # of what withheld blocks show over what others do, of the mark and of its binding

_MATCH, _MISMATCH = math.log(100), math.log(7)  # least ratio of likelihoods, either way
_BOUND_MATCH = math.log(1e-5)  # of z of the binding, where the mark is not bound
_BOUND_FLAGS = math.log(3e-4)  # of the flags' z, where the mark is not bound
# Standard deviations by which withheld chips show less: what they carry alone, or together with how they are
# bound, at least in forgeries; together where a match is doubted, and at most in whole marks.
_LACKS, _LACKS_BOTH, _DOUBT, _WHOLE = 4.0, 3.5, 2.5, 1.5
_CLEAR = math.log(20)  # ratio of likelihoods of the binding in withheld blocks, or in the others
_BOUND_KEY = math.log(1e-6)  # of the chips in withheld blocks, where they carry no mark
_RADEMACHER = 3.1788  # 1 / (4 P(N >= root of 2)) of a standard Gaussian N, rounded up
_LEAST_ENERGY, _LEAST_WEIGHT, _LEAST_DUE = 1e-12, 1e-12, 0.1


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


@dataclass(frozen=True, slots=True)
class Origins:
    """Where a mark comes from, as far as it can be told.

    Attributes:
        binding: whether it was made for this image.
        log_ratio: natural logarithm of how much likelier the binding is if it was, than if it was made for
            another; None where nothing proves that the mark is bound at all.
        made_with: the key or a detector key.
    """

    binding: Binding = "unknown"
    log_ratio: float | None = None
    made_with: MadeWith = "unknown"


UNKNOWN = Origins()
"""What is known without a message."""


@step("binding")
def examine(planes: ScorePlanes, finding: Finding, carrier: Carrier) -> Origins:
    """Judge the mark whose message was found.

    Args:
        planes: of the image.
        finding: with a message.
        carrier: of the key, or of a detector key: then nothing is said of what the mark was made with.
    """
    return judge(*measure(planes, finding, carrier))


def measure(planes: ScorePlanes, finding: Finding, carrier: Carrier) -> tuple[ChipSums, ChipSums]:
    """Return the sums over the blocks that detector keys know, and over those that they do not.

    Arguments as of :func:`examine`.
    """
    placement, view, decoded = finding.placement, finding.view, finding.message
    assert placement is not None and view is not None and decoded is not None
    luma = block_luma(planes, placement, view.origin, view.blocks.inside.shape, finding.field)
    content = block_content(luma, carrier.binding.partners, view.origin, view.blocks.inside > 0)
    sign = np.float32(-1 if placement.inverted else 1)
    return sum_chips(view.blocks, view.origin, sign * content, carrier, decoded, sign)


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
    # anchors take the last; where a chip is withheld its sign is 0
    bits = np.append(1.0 - 2.0 * decoded.codeword, 1.0).astype(np.float32)
    known = np.empty((N_COEFFICIENTS, GRID, GRID), np.float32)
    chip_kernels.code_signs(carrier.signs, carrier.code_bit, sign * bits, known)
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


def judge(others: ChipSums, withheld: ChipSums) -> Origins:
    """Judge sums over the blocks that detector keys know, and over the withheld ones.

    The sums of withheld blocks are 0 where the key is a detector key.
    """
    total = others.plus(withheld)
    weights = class_weights(total)
    ratio = log_ratio(total, weights)
    log_bound, log_flags = sign_bound(total.bound, total.bound_energy), flags_bound(total)
    binding: Binding = "unknown"
    if ratio >= _MATCH and log_bound <= _BOUND_MATCH:
        binding = "match"
    elif ratio <= -_MISMATCH and log_flags <= _BOUND_FLAGS:
        binding = "mismatch"
    known = log_bound <= _BOUND_MATCH or log_flags <= _BOUND_FLAGS
    made_with: MadeWith = "unknown"
    if withheld.energy > 0:
        made_with, doubt = _made_with(others, withheld, weights)
        if made_with == "detector key":  # its holder may bind a mark to any image
            return Origins("unknown", None, made_with)
        if binding == "match" and doubt:
            binding = "unknown"
        if made_with == "key" and binding != "match" and log_flags <= _BOUND_FLAGS:
            # a copy whose known blocks were added to a little looks whole
            made_with = "unknown"
    return Origins(binding, ratio if known else None, made_with)


def class_weights(sums: ChipSums) -> NDArray[np.float64]:
    """Return how likely each class is by its flags, if the mark is bound: they add up to 1.

    A class' z is its expectation, give or take 1, and the others' are 0, give or take 1.
    """
    norm = math.sqrt(max(sums.energy, _LEAST_ENERGY))
    expected = np.array([kind.flag for kind in CLASSES]) * (sums.plain / norm)
    logs = expected * (np.array(sums.flags) / norm) - expected**2 / 2
    likelihoods = np.exp(logs - logs.max())
    weights: NDArray[np.float64] = likelihoods / likelihoods.sum()
    return weights


def log_ratio(sums: ChipSums, weights: NDArray[np.float64]) -> float:
    """Return the logarithm of the likelihood of the binding's z in the image it was made for over another.

    z over its expectation is taken for normal, with the models' means, and their variances beside that of
    the noise.

    Args:
        sums: over any part of the blocks.
        weights: of the classes.
    """
    norm = math.sqrt(max(sums.bound_energy, _LEAST_ENERGY))
    z, expected = sums.bound / norm, max(sums.expected / norm, 0.0)
    logs = np.empty((2, len(CLASSES)))
    for i, kind in enumerate(CLASSES):
        for j, (mean, spread) in enumerate((_GENUINE, _OTHER)):
            due = kind.depth * expected
            variance = 1 + (spread * due) ** 2
            logs[j, i] = -((z - mean * due) ** 2) / (2 * variance) - math.log(variance) / 2
    genuine, other = logs + np.log(np.maximum(weights, _LEAST_WEIGHT))
    return float(np.logaddexp.reduce(genuine) - np.logaddexp.reduce(other))


def sign_bound(total: float, sum_of_squares: float) -> float:
    """Bound ``ln P(sum s_i x_i >= total)`` over independent fair signs.

    It is at most 3.178 times that of the Gaussian of the same variance (Bentkus & Dzindzalieta 2015),
    which is less than Hoeffding's bound where it matters here.
    """
    hoeffding = evidence.sign_sum_bound(total, sum_of_squares)
    if hoeffding == 0.0:
        return 0.0
    tail = math.erfc(total / math.sqrt(2 * sum_of_squares)) / 2
    return min(hoeffding, math.log(_RADEMACHER * tail)) if tail > 0 else hoeffding


def flags_bound(sums: ChipSums) -> float:
    """Return the logarithm of a bound on the chance of such flags where there are none; classes paid for."""
    best = min(sign_bound(total, sums.energy) for total in sums.flags)
    return evidence.union_bound(best, math.log(len(sums.flags)))


def lack(others: ChipSums, withheld: ChipSums) -> float:
    """Return by how many standard deviations withheld chips show less of the mark than the others.

    Of a whole mark the evidence per energy, ``sum x / sum x^2``, is the same in both parts, but for the noise
    of both and a spread of its own.
    """
    if min(others.energy, withheld.energy) <= 0 or others.plain <= 0:
        return 0.0
    z = withheld.plain / math.sqrt(withheld.energy)
    due = others.plain / others.energy * math.sqrt(withheld.energy)
    variance = 1 + due**2 * (_WITHHELD_SPREAD**2 + others.energy / others.plain**2)
    return (due - z) / math.sqrt(variance)


def lack_of_binding(others: ChipSums, withheld: ChipSums, weights: NDArray[np.float64]) -> float:
    """Return by how many standard deviations withheld chips are bound less to this image than the others.

    Whether a mark was made for the image or for another, z of the binding over its expectation is the same in
    both parts, but for the noise of both and a spread of its own.
    """
    depth = float(weights @ [kind.depth for kind in CLASSES])
    difference, variance = 0.0, _WITHHELD_SPREAD**2
    for part, sign in ((others, 1), (withheld, -1)):
        due = depth * part.expected / math.sqrt(max(part.bound_energy, _LEAST_ENERGY))
        if due <= _LEAST_DUE:
            return 0.0
        difference += sign * part.bound / (depth * part.expected)
        variance += 1 / due**2
    return difference / math.sqrt(variance)


def _made_with(others: ChipSums, withheld: ChipSums, weights: NDArray[np.float64]) -> tuple[MadeWith, bool]:
    """Return what a mark was made with, and whether withheld blocks make its binding doubtful."""
    missing = lack(others, withheld)
    both = (missing + lack_of_binding(others, withheld, weights)) / math.sqrt(2)
    # a copied mark fills the withheld blocks, but its holder cannot bind it there to another image
    known, hidden = log_ratio(others, weights), log_ratio(withheld, weights)
    contradict = known >= _CLEAR and hidden <= -_CLEAR
    if missing >= _LACKS or both >= _LACKS_BOTH or contradict:
        return "detector key", True
    proven = sign_bound(withheld.plain, withheld.energy) <= _BOUND_KEY
    if proven and both <= _WHOLE and (known < _CLEAR or hidden >= _CLEAR):
        return "key", False
    return "unknown", both >= _DOUBT
