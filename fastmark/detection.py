"""Plane + geometry -> soft bits -> message, evidence, decision."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark import evidence
from fastmark.alignment import Placement, TorusSpectrum, place_candidate, resample
from fastmark.bending import local_shifts
from fastmark.carrier import BLOCK, Carrier
from fastmark.chips import ChipBlocks
from fastmark.coherent import coherent_geometries
from fastmark.logpolar import Templates
from fastmark.message import Decoded, MessageCode
from fastmark.perception import Plane
from fastmark.results import Detection, State
from fastmark.scoring import ScorePlanes
from fastmark.sync import Candidate, Level, Matrix, analyse, distinct, levels, scan

FLOORS = (4.0, 10.0, 1.0)
DETECTED, POSSIBLE = math.log(1e-9), math.log(1e-4)

MIN_SIDE = 48
"""Samples; planes with a shorter side are not looked at."""

MAX_SIDE = 2048
# Least score and number of the candidates placed: of any geometry, upright, upright with another aspect.
_POOLS = ((4.5, 6), (2.0, 4), (3.0, 4))
_WORTH_A_DENSE_LOOK = 5.0  # log_p of a placement
_MAX_DENSE_LOOKS = 3
_MAX_PIECEWISE = 3
_PIECEWISE_SCORE = 5.5
_MAX_STRAIGHTENED = 2
_REGIONS = ((0.25, 0.75, 0.25, 0.75), (0, 0.5, 0, 0.5), (0, 0.5, 0.5, 1), (0.5, 1, 0, 0.5), (0.5, 1, 0.5, 1))
_CANDIDATE_AGREES = math.log(1e-3)
_DENSE_SCORE = 5.8  # z of pilot and anchors together, of a million shifts
_SHARES = math.log(3)  # the pilot alone, all together, and the message share the false-positive rate


@dataclass(slots=True)
class Finding:
    """The best that was found of one key's mark so far; logarithms are natural."""

    log_p: float = 0.0
    placement: Placement | None = None
    message: Decoded | None = None
    message_log_p: float = 0.0


@dataclass(frozen=True, slots=True)
class Hopeful:
    """A candidate of the scan and its best place on the torus."""

    candidate: Candidate
    placement: Placement


class Analysis:
    """What is known of a picture before any key is looked at, computed when first needed."""

    def __init__(self, plane: Plane) -> None:
        """Analyse the middle of a plane, at most 2048 samples a side."""
        height, width = (min(n, MAX_SIDE) for n in plane.shape)
        top, left = (plane.shape[0] - height) // 2, (plane.shape[1] - width) // 2
        self.planes = ScorePlanes(np.ascontiguousarray(plane[top : top + height, left : left + width]))
        self._identity: TorusSpectrum | None = None
        self._levels: dict[int, Level] = {}

    @property
    def identity(self) -> TorusSpectrum:
        """The spectrum on the torus of the plane as it is."""
        if self._identity is None:
            self._identity = TorusSpectrum(self.planes, np.eye(2))
        return self._identity

    def level(self, factor: int) -> Level:
        """The whitened spectrum of the plane averaged ``factor`` times."""
        if factor not in self._levels:
            self._levels[factor] = analyse(self.planes, factor)
        return self._levels[factor]


class Detector:
    """One key's carriers, ready to be looked for."""

    def __init__(self, carrier: Carrier, code: MessageCode) -> None:
        """Prepare templates for the scan."""
        self.carrier = carrier
        self.code = code
        self.templates = Templates(carrier)

    def detect(self, analysis: Analysis, k: int, n_keys: int = 1, *, deep: bool = False) -> Detection:
        """Search one analysed picture, marked or not.

        Args:
            analysis: of the picture's plane.
            k: pixels per unit of that plane.
            n_keys: how many keys are tried on this picture; their number is paid for.
            deep: search harder.
        """
        finding = Finding()
        search = _Search(self, analysis, finding)
        if min(analysis.planes.shape) >= MIN_SIDE:
            search.run(deep=deep)
        log_p = min(finding.log_p, finding.message_log_p) + _SHARES + math.log(n_keys)
        message_log_p = finding.message_log_p + _SHARES + math.log(n_keys)
        return _report(self, finding, min(log_p, 0.0), min(message_log_p, 0.0), k)


class _Search:
    """One run over geometries, cheapest and likeliest first, until the message is proven."""

    def __init__(self, detector: Detector, analysis: Analysis, finding: Finding) -> None:
        self.detector = detector
        self.analysis = analysis
        self.finding = finding
        self.geometries = 0
        self.readings = 0
        self.dense_looks = 0

    def run(self, *, deep: bool) -> None:
        """Search until the message is proven or the hypotheses are used up."""
        if self.examine(self.analysis.identity):
            return
        if self.scan() or not deep:
            return
        for matrix in coherent_geometries(self.analysis.planes, self.detector.carrier):
            if self.examine(TorusSpectrum(self.analysis.planes, matrix)) or self.finding.log_p <= DETECTED:
                return

    def scan(self) -> bool:
        """Try what the spectrum's magnitudes suggest; return whether the message is now proven."""
        hopefuls = self.hopefuls()
        if any(self.judge(hopeful) for hopeful in hopefuls):
            return True
        if self.finding.log_p <= _CANDIDATE_AGREES and self.finding.placement is not None:
            return self.straighten(self.finding.placement)
        bent = [h for h in hopefuls if h.candidate.score >= _PIECEWISE_SCORE][:_MAX_PIECEWISE]
        return self.examine_pieces([TorusSpectrum(self.analysis.planes, h.candidate.matrix) for h in bent])

    def hopefuls(self) -> list[Hopeful]:
        """Scan all levels and place the candidates; likeliest first."""
        pools: list[list[tuple[Candidate, Level]]] = [[], [], []]
        for factor, scales in levels(self.analysis.planes.shape).items():
            level = self.analysis.level(factor)
            found = scan(level, self.detector.templates, scales)
            for pool, candidates in zip(pools, (found.anyhow, found.upright, found.strained), strict=True):
                pool += [(candidate, level) for candidate in candidates]
        chosen: list[tuple[Candidate, Level]] = []
        for pool, (least, most) in zip(pools, _POOLS, strict=True):
            chosen += _distinct([pair for pair in pool if pair[0].score >= least], chosen)[:most]
        hopefuls = []
        for candidate, level in chosen:
            self.geometries += 1
            placement = place_candidate(level, candidate, self.detector.carrier)
            self._note(evidence.union_bound(placement.log_p, evidence.open_list(self.geometries)), placement)
            hopefuls.append(Hopeful(candidate, placement))
        return sorted(hopefuls, key=lambda hopeful: hopeful.placement.log_p)

    def judge(self, hopeful: Hopeful) -> bool:
        """Read a placed candidate as far as its phases warrant; return whether the message is now proven."""
        if hopeful.placement.log_p <= _CANDIDATE_AGREES:
            return self.read(hopeful.placement)
        if hopeful.placement.log_p > _WORTH_A_DENSE_LOOK or self.dense_looks >= _MAX_DENSE_LOOKS:
            return False
        self.dense_looks += 1
        return self.look_densely(TorusSpectrum(self.analysis.planes, hopeful.candidate.matrix))

    def examine(self, torus: TorusSpectrum) -> bool:
        """Judge one geometry; return whether the message is now proven."""
        self.geometries += 1
        placement = torus.place(self.detector.carrier)
        # Bonferroni over an open-ended list: the n-th geometry is given 1 / (n (n + 1)) of the total.
        pilot = evidence.union_bound(placement.log_p, evidence.open_list(self.geometries))
        self._note(pilot, placement)
        return self.read(placement) if placement.log_p <= _CANDIDATE_AGREES else self.look_densely(torus)

    def look_densely(self, torus: TorusSpectrum) -> bool:
        """Seek the shift with the anchors' help; return whether the message is now proven."""
        z, placement = torus.place_densely(self.detector.carrier)
        return z >= _DENSE_SCORE and self.read(placement)

    def examine_pieces(self, tori: list[TorusSpectrum]) -> bool:
        """Judge geometries that the spectrum shows but that no one shift fits: bent pictures.

        The pilot only proposes where a piece of the picture lies; anchors and chips must prove it.
        """
        carrier = self.detector.carrier
        placements = [torus.restricted(region).place(carrier) for torus in tori for region in _REGIONS]
        placements.sort(key=lambda placement: placement.log_p)
        return any(self.straighten(placement) for placement in placements[:_MAX_STRAIGHTENED])

    def straighten(self, placement: Placement) -> bool:
        """Read the chips with the local shifts taken out; return whether the message is now proven."""
        field = local_shifts(self.analysis.planes, placement, self.detector.carrier)
        return self.read(placement, field)

    def read(self, placement: Placement, field: NDArray[np.float32] | None = None) -> bool:
        """Read the chips at one placement; return whether the message is now proven.

        Where the pilot's phases chose a ``field`` they prove nothing any more: anchors and chips must.
        """
        phases, trials = (placement.log_phases, placement.log_trials) if field is None else (0.0, 0.0)
        carrier = self.detector.carrier
        sign = -1.0 if placement.inverted else 1.0
        for floor in FLOORS:
            grid = resample(
                self.analysis.planes, placement.matrix, placement.offset, floor=floor, field=field
            )
            origin = (grid.origin[0] // BLOCK, grid.origin[1] // BLOCK)
            soft = ChipBlocks.of(grid.scores, grid.inside).soft_bits(carrier, origin)
            soft[0] *= sign
            self.readings += 1
            price = evidence.open_list(self.readings)
            anchors = evidence.sign_sum_bound(float(soft[0, -1]), float(soft[1, -1]))
            decoded = self.detector.code.decode(_log_likelihood_ratios(soft[:, :-1]))
            chips = 0.0 if decoded is None else self._message_bound(decoded, soft)
            # phases, anchors' signs and data's signs are independent: one price for the three together
            joint = evidence.product_bound(phases, anchors, chips)
            self._note(evidence.union_bound(joint, trials + price), placement)
            chips = evidence.union_bound(chips, price)
            if chips < self.finding.message_log_p:
                self.finding.message, self.finding.message_log_p = decoded, chips
                self.finding.placement = placement
            if chips <= DETECTED - _SHARES:
                return True
        return False

    def _message_bound(self, decoded: Decoded, soft: NDArray[np.float64]) -> float:
        """Bound the chance that any codeword fits as well: 2^K of them at every k.

        k is given ``2^-k`` of the total.
        """
        total = float((1.0 - 2.0 * decoded.codeword) @ soft[0, :-1])
        log_words = (self.detector.code.message_bits + decoded.k) * math.log(2)
        return evidence.union_bound(evidence.sign_sum_bound(total, float(soft[1, :-1].sum())), log_words)

    def _note(self, log_p: float, placement: Placement) -> None:
        if log_p < self.finding.log_p:
            self.finding.log_p = log_p
            if self.finding.message is None:
                self.finding.placement = placement


def _distinct(
    found: list[tuple[Candidate, Level]], known: list[tuple[Candidate, Level]]
) -> list[tuple[Candidate, Level]]:
    """Sort candidates best first, each with its level, without those that repeat others."""
    level_of = {id(candidate): level for candidate, level in found}
    kept = distinct([candidate for candidate, _ in found], [candidate for candidate, _ in known])
    return [(candidate, level_of[id(candidate)]) for candidate in kept]


def _log_likelihood_ratios(soft: NDArray[np.float64]) -> NDArray[np.float32]:
    """Soft bits as LLRs: Gaussian of variance V = sum z^2 and mean +-a V.

    A score's mean under a weak signal is in proportion to its variance (its Fisher information), so the LLR
    is ``2 a L``; a is told by what the second moment of L exceeds V by.
    """
    total, variance = soft
    excess = float(np.mean(total**2) - np.mean(variance))
    spread = float(np.mean(variance**2))
    if spread <= 0:
        return np.zeros(total.size, np.float32)
    gain = math.sqrt(max(excess, 0.02 * float(np.mean(variance))) / spread)
    ratios: NDArray[np.float64] = np.clip(2.0 * gain * total, -60, 60)
    return ratios.astype(np.float32)


def _report(detector: Detector, finding: Finding, log_p: float, message_log_p: float, k: int) -> Detection:
    state: State = "absent"
    if log_p <= POSSIBLE:
        state = "detected" if log_p <= DETECTED else "possible"
    message = finding.message if message_log_p <= DETECTED else None
    scale = rotation = aspect = None
    mirrored = inverted = False
    if state != "absent" and finding.placement is not None:
        original_k = message.k if message is not None else k
        scale, rotation, aspect, mirrored = describe(finding.placement.matrix * (k / original_k))
        inverted = finding.placement.inverted
    return Detection(
        state=state,
        log10_p=log_p / math.log(10),
        message=None if message is None else message.message,
        message_bits=detector.code.message_bits,
        message_log10_p=message_log_p / math.log(10) if finding.message is not None else 0.0,
        scale=scale,
        rotation_deg=rotation,
        aspect=aspect,
        mirrored=mirrored,
        inverted=inverted,
        key_id=detector.carrier.key_id,
    )


def describe(matrix: Matrix) -> tuple[float, float, float, bool]:
    """Return scale, counterclockwise rotation in degrees, aspect and mirroring of a 2 x 2 (y, x) matrix.

    The matrix is read as: mirror left and right, stretch, then turn.
    """
    determinant = float(np.linalg.det(matrix))
    mirrored = determinant < 0
    if mirrored:
        matrix = matrix @ np.diag([1.0, -1.0])
    rotation = math.degrees(math.atan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1]))
    stretch_y, stretch_x = np.linalg.norm(matrix, axis=0)
    return math.sqrt(abs(determinant)), rotation, float(stretch_x / stretch_y), mirrored
