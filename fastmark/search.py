"""One key, one analysed picture: geometries tried, chips read, evidence gathered.

Every p-value pays for what was searched. Three keystreams are independent, and each is spent once: tone
frequencies choose geometries, from magnitudes; tone phases choose places, and count against all places of
that geometry; anchors and data chips then stand on their own. Where anchors helped to choose, they are priced
like phases; where phases chose a field of local shifts, they count for nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark import evidence
from fastmark.alignment import Placement, TorusSpectrum, place_candidate
from fastmark.bending import Field, local_shifts
from fastmark.carrier import BLOCK, Carrier
from fastmark.chips import ChipBlocks
from fastmark.coherent import LOG_CLIMBS, coherent_geometries
from fastmark.logpolar import Templates
from fastmark.message import Decoded, MessageCode
from fastmark.plane import Plane
from fastmark.scoring import ScorePlanes
from fastmark.sync import Candidate, Level, analyse, distinct, levels, scan
from fastmark.unitgrid import resample

FLOORS = (4.0, 10.0, 1.0)
"""Floors of the scores under which chips are read, grey levels: usual, much compressed, shrunk or blurred."""

DETECTED, POSSIBLE = math.log(1e-9), math.log(1e-4)
LOG_SHARES = math.log(4)
"""The pilot, all keystreams together, straightened pictures and the message share the false-positive rate."""

MAX_SIDE = 2048

# Least score and number of the candidates placed: of any geometry, upright, upright with another aspect.
_POOLS = ((4.5, 6), (2.0, 4), (3.0, 4))
_AGREES = math.log(1e-3)  # log_p of a placement that is read without a second look
_WORTH_A_DENSE_LOOK = 5.0
_MAX_DENSE_LOOKS = 3
_DENSE_SCORE = 5.8  # z of pilot and anchors together, of two million shifts
_PIECEWISE_SCORE = 5.5
_MAX_PIECEWISE = 3
_MAX_STRAIGHTENED = 2
_REGIONS = ((0.25, 0.75, 0.25, 0.75), (0, 0.5, 0, 0.5), (0, 0.5, 0.5, 1), (0.5, 1, 0, 0.5), (0.5, 1, 0.5, 1))


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


@dataclass(slots=True)
class Finding:
    """The best that was found of one key's mark so far; logarithms are natural."""

    log_p: float = 0.0
    placement: Placement | None = None
    message: Decoded | None = None
    message_log_p: float = 0.0


@dataclass(frozen=True, slots=True)
class Hopeful:
    """A candidate of the scan, its best place on the torus, and the price of its geometry."""

    candidate: Candidate
    placement: Placement
    price: float


class Search:
    """One run over geometries, cheapest and likeliest first, until the message is proven.

    Attributes:
        finding: the best so far.
    """

    def __init__(self, analysis: Analysis, carrier: Carrier, templates: Templates, code: MessageCode) -> None:
        """Prepare to search ``analysis`` for the mark of ``carrier``."""
        self.finding = Finding()
        self._analysis = analysis
        self._carrier = carrier
        self._templates = templates
        self._code = code
        self._geometries = 0
        self._readings = 0
        self._straightened = 0
        self._dense_looks = 0

    def run(self, *, deep: bool) -> None:
        """Search until the message is proven or the hypotheses are used up."""
        identity = self._analysis.identity
        placement = identity.place(self._carrier)
        if self._judge(placement, self._next_price(), identity) or self._scan(placement) or not deep:
            return
        for matrix, tried in coherent_geometries(self._analysis.planes, self._carrier):
            torus = TorusSpectrum(self._analysis.planes, matrix)
            price = evidence.open_list(self._geometries + tried) + LOG_CLIMBS
            if (
                self._judge(torus.place(self._carrier), price, torus)
                or self.finding.log_p <= DETECTED - LOG_SHARES
            ):
                return

    def _next_price(self) -> float:
        """Return the price of the next geometry: Bonferroni over an open-ended list."""
        self._geometries += 1
        return evidence.open_list(self._geometries)

    def _scan(self, identity: Placement) -> bool:
        """Try what the spectrum's magnitudes suggest; return whether the message is now proven."""
        hopefuls = self._hopefuls()
        for hopeful in hopefuls:
            torus = None
            if (
                _AGREES < hopeful.placement.log_p <= _WORTH_A_DENSE_LOOK
                and self._dense_looks < _MAX_DENSE_LOOKS
            ):
                self._dense_looks += 1
                torus = TorusSpectrum(self._analysis.planes, hopeful.candidate.matrix)
            if self._judge(hopeful.placement, hopeful.price, torus):
                return True
        # NOTE: the choice is by phases alone, so that anchors and chips may judge what comes of it.
        likeliest = min([identity, *(h.placement for h in hopefuls)], key=lambda p: p.log_p)
        if likeliest.log_p <= _AGREES:
            return self._straighten(likeliest)
        bent = [h for h in hopefuls if h.candidate.score >= _PIECEWISE_SCORE][:_MAX_PIECEWISE]
        return self._examine_pieces([TorusSpectrum(self._analysis.planes, h.candidate.matrix) for h in bent])

    def _hopefuls(self) -> list[Hopeful]:
        """Scan all levels and place the candidates; likeliest first.

        Prices go by the scan's order, the best of every pool first: it knows nothing of the phases.
        """
        pools: list[list[tuple[Candidate, Level]]] = [[], [], []]
        for factor, scales in levels(self._analysis.planes.shape).items():
            level = self._analysis.level(factor)
            found = scan(level, self._templates, scales)
            for pool, candidates in zip(pools, (found.anyhow, found.upright, found.strained), strict=True):
                pool += [(candidate, level) for candidate in candidates]
        chosen: list[list[tuple[Candidate, Level]]] = []
        for pool, (least, most) in zip(pools, _POOLS, strict=True):
            known = [pair for part in chosen for pair in part]
            chosen.append(_distinct([pair for pair in pool if pair[0].score >= least], known)[:most])
        hopefuls = []
        for rank in range(max(map(len, chosen))):
            for part in chosen:
                if rank < len(part):
                    candidate, level = part[rank]
                    placement = place_candidate(level, candidate, self._carrier)
                    hopefuls.append(Hopeful(candidate, placement, self._next_price()))
        return sorted(hopefuls, key=lambda hopeful: hopeful.placement.log_p)

    def _judge(self, placement: Placement, price: float, torus: TorusSpectrum | None) -> bool:
        """Read one geometry as far as its phases warrant; return whether the message is now proven.

        ``torus``, where given, is asked for a better place with the anchors' help.
        """
        self._note(evidence.union_bound(placement.log_p, price), placement)
        if placement.log_p <= _AGREES:
            return self._read(placement, price)
        if torus is None:
            return False
        z, placement = torus.place_densely(self._carrier)
        return z >= _DENSE_SCORE and self._read(placement, price)

    def _examine_pieces(self, tori: list[TorusSpectrum]) -> bool:
        """Judge geometries that the spectrum shows but that no one shift fits: bent pictures.

        The pilot only proposes where a piece of the picture lies; anchors and chips must prove it.
        """
        placements = [torus.restricted(region).place(self._carrier) for torus in tori for region in _REGIONS]
        placements.sort(key=lambda placement: placement.log_p)
        return any(self._straighten(placement) for placement in placements[:_MAX_STRAIGHTENED])

    def _straighten(self, placement: Placement) -> bool:
        """Read the chips with the local shifts taken out; return whether the message is now proven."""
        self._straightened += 1
        price = evidence.open_list(self._straightened)
        field = local_shifts(self._analysis.planes, placement, self._carrier)
        return self._read(placement, price, field)

    def _read(self, placement: Placement, price: float, field: Field | None = None) -> bool:
        """Read the chips at one placement; return whether the message is now proven.

        ``price`` is that of the geometry, or of the field of local shifts.
        """
        phases = 0.0
        price += math.log(len(FLOORS))
        if field is None:
            phases = placement.log_phases
            price += placement.log_trials
        sign = -1.0 if placement.inverted else 1.0
        planes = self._analysis.planes
        for floor in FLOORS:
            grid = resample(planes, placement.matrix, placement.offset, floor=floor, field=field)
            origin = (grid.origin[0] // BLOCK, grid.origin[1] // BLOCK)
            soft = ChipBlocks.of(grid.scores, grid.inside).soft_bits(self._carrier, origin)
            soft[0] *= sign
            anchors = evidence.sign_sum_bound(float(soft[0, -1]), float(soft[1, -1]))
            decoded = self._code.decode(_log_likelihood_ratios(soft[:, :-1]))
            chips = 0.0 if decoded is None else self._message_bound(decoded, soft)
            self._note(evidence.union_bound(evidence.product_bound(phases, anchors, chips), price), placement)
            # Data chips helped to choose nothing: they pay for the readings alone.
            self._readings += 1
            chips = evidence.union_bound(chips, evidence.open_list(self._readings))
            if chips < self.finding.message_log_p:
                self.finding.message, self.finding.message_log_p = decoded, chips
                self.finding.placement = placement
            if chips <= DETECTED - LOG_SHARES:
                return True
        return False

    def _message_bound(self, decoded: Decoded, soft: NDArray[np.float64]) -> float:
        """Bound the chance that any codeword fits as well: 2^K of them at every k.

        k is given ``2^-k`` of the total.
        """
        total = float((1.0 - 2.0 * decoded.codeword) @ soft[0, :-1])
        log_words = (self._code.message_bits + decoded.k) * math.log(2)
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
