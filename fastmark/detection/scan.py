"""Image -> geometry, from spectral magnitudes alone: scan the log-polar grids, refine what stands out.

Nothing here looks at a phase, so that whatever is chosen here is given when phases are judged.
Matrices are 2 x 2 in (y, x) order. ``g`` maps tone frequencies in cycles per unit to cycles per sample of
the level analysed; ``A = g^-T`` maps units to samples.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.tables import TONE_COUNTS
from fastmark.detection.affine import Matrix, strain
from fastmark.detection.course import step
from fastmark.detection.levels import ScanLevel
from fastmark.detection.logpolar import GRIDS, MAX_SCALE, Hypothesis, Strains, Templates
from fastmark.kernels import geometry as kernels

# Least scores, in sigmas, of hypotheses that are refined and of the candidates that come of it. Chance
# reaches the first in most planes, and the last in one plane of ten (calibration-chance.csv).
_LEAST_FINE, _LEAST_UPRIGHT, _LEAST_STRAINED = 4.2, 4.2, 4.7
_LEAST_REFINED = 5.2
# Score of a coarsely refined one that is refined further.
_PROMISING_PEAK = 4.6

_TONES = 384
"""Tones whose power is summed, as far as the first of them are promising."""

# Strains through which upright images are seen: other aspects in steps of a logarithm, and shears. Rows of
# the grid that are tried with them, either side of upright: a shear is a strain across the axes and half as
# much turning, which is three rows at most.
_ASPECT_STEP, _MOST_ASPECT_STEPS, _ASPECT_ROWS = 0.03, 9, 1
_SHEARS, _SHEAR_ROWS = (-0.08, -0.04, 0.04, 0.08), 3
# Strains through which turned images are seen: along the axes, across, and both at once.
_WIDE_STRAINS = (-0.24, -0.16, -0.08, 0.08, 0.16, 0.24)
_OBLIQUE_STRAINS = (-0.12, 0.12)

_MOST_WIDE, _LEAST_WIDE = 2.0, 0.43  # their scales, samples of the level per unit

# Relative size of the first moves of refinement: about a cell of the grid on which a peak was seen; and of
# the last, which moves the edge of an image of 1000 samples by a tenth of one.
_FINE_MOVE, _UPRIGHT_MOVE, _WIDE_MOVE = 0.006, 0.01, 0.02
_LAST_MOVE = 0.0002
_COUNTS = np.array(TONE_COUNTS)
_SAME_GEOMETRY = 0.01  # relative difference of entries within which two candidates are one


@dataclass(frozen=True, slots=True)
class Candidate:
    """A geometry that stands out.

    Attributes:
        matrix: from units to samples of the plane.
        n_tones: the prefix of the pilot's tones that stands out most.
        score: of these, in sigmas.
        level: where it was seen.
    """

    matrix: Matrix
    n_tones: int
    score: float
    level: ScanLevel


@dataclass(frozen=True, slots=True)
class ScanPass:
    """Hypotheses tried on one log-polar grid.

    Attributes:
        pool: size of the grid's cells, in those of the finest.
        strains: through which the spectrum is seen.
        hypotheses, n_tones: see :meth:`fastmark.detection.logpolar.Templates.scan`.
        scales: the largest and the smallest sought, samples of the level per unit.
        least: score that is followed up.
        move: relative size of the first moves of refinement.
    """

    pool: int
    strains: Strains
    hypotheses: NDArray[np.int64]
    n_tones: int
    scales: tuple[float, float]
    least: float
    move: float

    @classmethod
    def of(
        cls,
        pool: int,
        matrices: Sequence[Matrix],
        rows_beside: int | None,
        mirrored: tuple[int, ...],
        scales: tuple[float, float],
        least: float,
        move: float,
    ) -> ScanPass:
        """Combine every strain and mirroring with every rotation, or with those near upright.

        ``rows_beside``: rows of the grid either side of upright, and of a quarter turn; None for all rows.
        """
        n = GRIDS[pool].n_angles
        if rows_beside is None:
            rows = np.arange(n)
        else:
            near = np.arange(-rows_beside, rows_beside + 1)
            rows = np.concatenate([near % n, near + n // 2])
        grid = np.meshgrid(np.arange(len(matrices)), mirrored, rows, indexing="ij")
        hypotheses = np.stack([part.ravel() for part in grid], axis=1).astype(np.int64)
        return cls(pool, Strains(np.array(matrices), GRIDS[pool]), hypotheses, _TONES, scales, least, move)


@functools.cache
def scan_passes(pools: tuple[int, int, int], least_scale: float) -> list[ScanPass]:
    """Return what is looked for on the grids of a level, in order.

    Every scale and rotation on the first grid; other aspects and mild shear of upright images on the second,
    of turned ones on the third.

    Args:
        pools: sizes of the grids' cells; the third may be 0, and then nothing is looked for there.
        least_scale: the smallest sought, samples of the level per unit.
    """
    every = (MAX_SCALE, least_scale)
    steps = range(-_MOST_ASPECT_STEPS, _MOST_ASPECT_STEPS + 1)
    aspects = [strain(_ASPECT_STEP * i, 0.0) for i in steps if i]
    shears = [strain(0.0, across) for across in _SHEARS]
    wide = [strain(size, 0.0) for size in _WIDE_STRAINS] + [strain(0.0, size) for size in _WIDE_STRAINS]
    wide += [strain(along, across) for along in _OBLIQUE_STRAINS for across in _OBLIQUE_STRAINS]
    fine, upright, turned = pools
    passes = [
        ScanPass.of(fine, [np.eye(2)], None, (0, 1), every, _LEAST_FINE, _FINE_MOVE),
        ScanPass.of(upright, aspects, _ASPECT_ROWS, (0, 1), every, _LEAST_UPRIGHT, _UPRIGHT_MOVE),
        ScanPass.of(upright, shears, _SHEAR_ROWS, (0, 1), every, _LEAST_UPRIGHT, _UPRIGHT_MOVE),
    ]
    if turned:
        passes.append(
            ScanPass.of(turned, wide, None, (0,), (_MOST_WIDE, _LEAST_WIDE), _LEAST_STRAINED, _WIDE_MOVE)
        )
    return passes


class Scanned(NamedTuple):
    """What a scan looked at, and the scores of what it returned, in sigmas."""

    n_hypotheses: int
    scores: tuple[float, ...]


def _noted(found: Sequence[Candidate], level: ScanLevel, _templates: Templates) -> Scanned:
    passes = scan_passes(level.plan.pools, level.plan.least_scale)
    n = sum(len(one.hypotheses) * GRIDS[one.pool].scales(*one.scales)[1].size for one in passes)
    return Scanned(n, tuple(candidate.score for candidate in found))


@step("scan", _noted)
def scan(level: ScanLevel, templates: Templates) -> list[Candidate]:
    """Search scale, rotation, mirror image, aspect and mild shear; return what stands out, best first."""
    found: list[tuple[Hypothesis, float]] = []
    for one in scan_passes(level.plan.pools, level.plan.least_scale):
        scored = templates.scan(
            level.views[one.pool],
            one.strains,
            one.hypotheses,
            one.n_tones,
            one.scales,
            one.least,
            level.plan.n_followed,
            level.threads,
        )
        found += [(hypothesis, one.move) for hypothesis in scored]
    found.sort(key=lambda pair: -pair[0].score)
    chosen = found[: level.plan.n_followed]
    refined = refine(
        level,
        templates,
        np.array([_geometry_of(hypothesis) for hypothesis, _ in chosen]).reshape(-1, 2, 2),
        [hypothesis.n_tones for hypothesis, _ in chosen],
        [move for _, move in chosen],
    )
    return distinct([candidate for candidate in refined if candidate.score >= _LEAST_REFINED])


def _geometry_of(hypothesis: Hypothesis) -> Matrix:
    """Return the map from tones to cycles per sample of the level of a hypothesis of the log-polar grid."""
    angle = hypothesis.rotation
    cosine, sine = math.cos(angle), math.sin(angle)
    flip = -1.0 if hypothesis.mirrored else 1.0
    turn = np.array([[flip * cosine, sine], [-flip * sine, cosine]]) / hypothesis.scale
    strained: Matrix = hypothesis.strain @ turn
    return strained


def refine(
    level: ScanLevel,
    templates: Templates,
    geometries: NDArray[np.float64],
    n_tones: Sequence[int],
    moves: Sequence[float],
    *,
    promising: float = _PROMISING_PEAK,
) -> list[Candidate]:
    """Climb from each geometry to the nearest peak of the tone score over the full 2 x 2 matrix.

    Args:
        level: where they were seen.
        templates: of the key.
        geometries: float64 ``(n, 2, 2)``, from tones in cycles per unit to cycles per sample of the level.
        n_tones: with which prefix each is refined.
        moves: relative size of the first moves of each.
        promising: score from which on a coarsely refined one is refined further.
    """
    g = np.array(geometries, dtype=np.float64, order="C")
    scores = np.empty((len(g), len(TONE_COUNTS)))
    kernels.refine_geometries(
        level.white, *level.moments, templates.tones, _COUNTS, np.array(n_tones, np.int64),
        np.array(moves, np.float64), _LAST_MOVE, promising, g, scores,
    )  # fmt: skip
    # in C order: kernels are compiled for one layout
    matrices = np.ascontiguousarray(np.linalg.inv(g).transpose(0, 2, 1)) * level.plan.factor
    prefixes = scores.argmax(axis=1)
    return [
        Candidate(matrix, TONE_COUNTS[p], float(row[p]), level)
        for matrix, row, p in zip(matrices, scores, prefixes.tolist(), strict=True)
    ]


def score_of(level: ScanLevel, templates: Templates, matrix: Matrix) -> tuple[float, int]:
    """Return the best prefix's score at one geometry, and the prefix."""
    g = np.ascontiguousarray(np.linalg.inv(matrix).T * level.plan.factor, np.float64)
    return _best_prefix(level, templates, g)


def _best_prefix(level: ScanLevel, templates: Templates, g: Matrix) -> tuple[float, int]:
    """Return the best prefix's score and the prefix; ``g`` maps tones to cycles per sample of the level."""
    scores = np.empty(len(TONE_COUNTS))
    kernels.tone_scores(level.white, *level.moments, templates.tones, _COUNTS, g, scores)
    best = int(np.argmax(scores))
    return float(scores[best]), TONE_COUNTS[best]


def distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Sort candidates best first and drop those that repeat a better one, or its half turn."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: -c.score):
        size = np.abs(candidate.matrix).max()
        if all(
            min(np.abs(candidate.matrix - k.matrix).max(), np.abs(candidate.matrix + k.matrix).max())
            > _SAME_GEOMETRY * size
            for k in kept
        ):
            kept.append(candidate)
    return kept
