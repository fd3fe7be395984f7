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

from fastmark.codec.carrier import BLOCK, TORUS, Carrier
from fastmark.codec.message import Decoded, MessageCode
from fastmark.detection import evidence
from fastmark.detection.deep import LOG_CLIMBS, coherent_geometries
from fastmark.detection.local_shifts import Field, local_shifts
from fastmark.detection.logpolar import Templates
from fastmark.detection.placement import STEP, Placement, TorusSpectrum, place_candidate
from fastmark.detection.resampling import resample
from fastmark.detection.scan import LARGE_PLANE, Candidate, Level, distinct, levels, scan
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.soft_bits import ChipBlocks

FLOORS = (4.0, 10.0, 1.0)
"""Floors of the scores under which chips are read, grey levels: usual, much compressed, shrunk or blurred."""

DETECTED, POSSIBLE = math.log(1e-9), math.log(1e-4)
LOG_SHARES = math.log(4)
"""The pilot, all keystreams together, straightened pictures and the message share the false-positive rate."""

MAX_SIDE = 2048

_MAX_CANDIDATES, _MAX_SMALL_CANDIDATES = 6, 12
_IDENTITY_SCORE = (
    5.2  # z of pilot and anchors of a picture as it is: chance gets there once in twenty pictures
)
_AGREES = math.log(1e-3)  # log_p of a placement that is read without a second look
_WORTH_A_DENSE_LOOK = 3.0
_MAX_DENSE_LOOKS = 3
_DENSE_SCORE = 5.6  # z of pilot and anchors together, of two million shifts
# What makes other floors worth a reading: standard deviations of the soft bits' power, or the evidence so
# far.
_POWER_AGREES, _EVIDENCE_AGREES = 0.5, 3.0
_PIECEWISE_SCORE = 7.0
_MAX_PIECEWISE = 3
_PIECE_AGREES = -1.0  # log_p of a piece's placement that is worth the work of straightening
_MAX_STRAIGHTENED = 2
_REGIONS = ((0.25, 0.75, 0.25, 0.75), (0, 0.5, 0, 0.5), (0, 0.5, 0.5, 1), (0.5, 1, 0, 0.5), (0.5, 1, 0.5, 1))


class Analysis:
    """What is known of a picture before any key is looked at, computed when first needed."""

    def __init__(self, planes: ScorePlanes) -> None:
        """Analyse the middle of a picture, at most 2048 samples a side."""
        self.planes = planes.middle(MAX_SIDE)
        self._identity: TorusSpectrum | None = None
        self._levels: dict[int, Level] = {}

    @property
    def identity(self) -> TorusSpectrum:
        """The spectrum on the torus of the plane as it is."""
        if self._identity is None:
            self._identity = TorusSpectrum(self.planes, np.eye(2))
        return self._identity

    @property
    def large(self) -> bool:
        """Whether the picture is looked at reduced by two first."""
        return bool(min(self.planes.shape) >= LARGE_PLANE)

    def levels(self) -> list[Level]:
        """The whitened spectra of the plane at the resolutions that are scanned."""
        for factor, least_scale in levels(self.planes.shape).items():
            if factor not in self._levels:
                known = None
                if factor == STEP and self.large and max(self.planes.shape) <= TORUS:
                    # the torus has shown this level's scores already, as finely as they need
                    known = (self.identity.power, self.identity.level)
                self._levels[factor] = Level(self.planes, factor, least_scale, known)
        return list(self._levels.values())


@dataclass(slots=True)
class Finding:
    """The best that was found of one key's mark so far; logarithms are natural.

    ``message_z`` is the signal-to-noise ratio of ``message``.
    """

    log_p: float = 0.0
    placement: Placement | None = None
    message: Decoded | None = None
    message_log_p: float = 0.0
    message_z: float = 0.0


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
        self._dense_looks = 0

    def run(self, *, deep: bool) -> None:
        """Search until the message is proven or the hypotheses are used up."""
        identity = self._analysis.identity
        # NOTE: a picture turned by 180 degrees is left to the scan: few are, and all would pay for it
        z, placement = identity.place_densely(self._carrier, turns=(False,))
        if self._judge(placement, self._next_price(), z, _IDENTITY_SCORE):
            return
        if self._scan(sure=placement.log_p <= _AGREES) or not deep:
            return
        for matrix, tried in coherent_geometries(self._analysis.planes, self._carrier):
            torus = TorusSpectrum(self._analysis.planes, matrix)
            price = evidence.open_list(self._geometries + tried) + LOG_CLIMBS
            z, placement = torus.place_densely(self._carrier)
            if self._judge(placement, price, z) or self.finding.log_p <= DETECTED - LOG_SHARES:
                return

    def _next_price(self) -> float:
        """Return the price of the next geometry: Bonferroni over an open-ended list."""
        self._geometries += 1
        return evidence.open_list(self._geometries)

    def _scan(self, *, sure: bool) -> bool:
        """Try what the spectrum's magnitudes suggest; return whether the message is now proven.

        ``sure``: whether the picture as it is shows the mark, if not the message.
        """
        hopefuls = self._hopefuls()
        for hopeful in hopefuls:
            if self._judge(hopeful.placement, hopeful.price):
                return True
            if (
                _AGREES < hopeful.placement.log_p <= _WORTH_A_DENSE_LOOK
                and self._dense_looks < _MAX_DENSE_LOOKS
            ):
                self._dense_looks += 1
                torus = TorusSpectrum(self._analysis.planes, hopeful.candidate.matrix)
                z, placement = torus.place_densely(self._carrier)
                if self._judge(placement, hopeful.price, z):
                    return True
        # NOTE: the choice is by phases alone, so that anchors and chips may judge what comes of it. Anchors
        # tell whether the picture as it is is looked at once more, and so it has a number of its own, used or
        # not.
        likely = [(hopeful.placement, 2) for hopeful in hopefuls]
        if sure:
            likely.append((self._analysis.identity.place(self._carrier), 1))
        likely = [(placement, number) for placement, number in likely if placement.log_p <= _AGREES]
        if likely:
            placement, number = min(likely, key=lambda pair: pair[0].log_p)
            return self._straighten(placement, number)
        bent = [h for h in hopefuls if h.candidate.score >= _PIECEWISE_SCORE][:_MAX_PIECEWISE]
        return self._examine_pieces([TorusSpectrum(self._analysis.planes, h.candidate.matrix) for h in bent])

    def _hopefuls(self) -> list[Hopeful]:
        """Scan all levels and place the candidates; likeliest first.

        Prices go by the scan's order, the best first: it knows nothing of the phases.
        """
        pool = [
            (candidate, level)
            for level in self._analysis.levels()
            for candidate in scan(level, self._templates)
        ]
        hopefuls = []
        most = _MAX_SMALL_CANDIDATES if self._analysis.levels()[0].small else _MAX_CANDIDATES
        for candidate, level in _distinct(pool)[:most]:
            placement = place_candidate(level, candidate, self._carrier)
            hopefuls.append(Hopeful(candidate, placement, self._next_price()))
        return sorted(hopefuls, key=lambda hopeful: hopeful.placement.log_p)

    def _judge(self, placement: Placement, price: float, z: float = 0.0, least: float = _DENSE_SCORE) -> bool:
        """Read one geometry as far as its phases, or z, warrant; return whether the message is now proven."""
        self._note(evidence.union_bound(placement.log_p, price), placement)
        return (placement.log_p <= _AGREES or z >= least) and self._read(placement, price)

    def _examine_pieces(self, tori: list[TorusSpectrum]) -> bool:
        """Judge geometries that the spectrum shows but that no one shift fits: bent pictures.

        The pilot only proposes where a piece of the picture lies; anchors and chips must prove it.
        """
        placements = [torus.restricted(region).place(self._carrier) for torus in tori for region in _REGIONS]
        likely = sorted((p for p in placements if p.log_p <= _PIECE_AGREES), key=lambda p: p.log_p)
        numbered = enumerate(likely[:_MAX_STRAIGHTENED], start=2)
        return any(self._straighten(placement, number) for number, placement in numbered)

    def _straighten(self, placement: Placement, number: int) -> bool:
        """Read the chips with the local shifts taken out, as the n-th picture so treated.

        Returns whether the message is now proven.
        """
        price = evidence.open_list(number)
        field = local_shifts(self._analysis.planes, placement, self._carrier)
        return self._read(placement, price, field)

    def _read(self, placement: Placement, price: float, field: Field | None = None) -> bool:
        """Read the chips at one placement; return whether the message is now proven.

        ``price`` is that of the geometry, or of the field of local shifts.
        """
        phases = 0.0
        price += math.log(len(FLOORS) + 1)
        # where phases agree all floors are read; where it is for anchors that one looks, if there may be a
        # mark
        sure = field is not None or placement.log_p <= _AGREES
        if field is None:
            phases = placement.log_phases
            price += placement.log_trials
            blocks = self._blocks_at_half(placement)
            if blocks is not None:
                proven, promising = self._weigh_evidence(*blocks, placement, price, phases)
                if proven or not (sure or promising):
                    self._readings += len(FLOORS)
                    return proven
        planes = self._analysis.planes
        for i, floor in enumerate(FLOORS, start=1):
            grid = resample(planes, placement.matrix, placement.offset, floor=floor, field=field)
            origin = (grid.origin[0] // BLOCK, grid.origin[1] // BLOCK)
            chips = ChipBlocks.of(grid.scores, grid.inside)
            proven, promising = self._weigh_evidence(chips, origin, placement, price, phases)
            if proven or not (sure or promising):
                # NOTE: what is left out is paid for all the same, as what was read decided it
                self._readings += len(FLOORS) - i
                return proven
        return False

    def _blocks_at_half(self, placement: Placement) -> tuple[ChipBlocks, tuple[int, int]] | None:
        """Return the chips of a large picture as they show at half its resolution, and the place of the first
        block.

        Only where blocks start at even samples, as in every picture that was not cropped: else None.
        """
        start = np.mod(placement.offset, BLOCK)
        if (
            not self._analysis.large
            or not np.array_equal(placement.matrix, np.eye(2))
            or np.any(np.mod(placement.offset, STEP))
        ):
            return None
        y, x = (start // STEP).astype(int)
        scores = np.ascontiguousarray(self._analysis.planes.weighted(STEP)[y:, x:])
        place = ((start - placement.offset) // BLOCK).astype(int)
        return ChipBlocks.of(scores, step=STEP), (int(place[0]), int(place[1]))

    def _weigh_evidence(
        self,
        blocks: ChipBlocks,
        origin: tuple[int, int],
        placement: Placement,
        price: float,
        phases: float,
    ) -> tuple[bool, bool]:
        """Decode one reading of the chips and note what it proves.

        Returns:
            Whether the message is now proven; and whether another reading may prove more.
        """
        soft = blocks.soft_bits(self._carrier, origin)
        if placement.inverted:
            soft[0] *= -1
        anchors = evidence.sign_sum_bound(float(soft[0, -1]), float(soft[1, -1]))
        decoded = self._code.decode(_log_likelihood_ratios(soft[:, :-1]))
        chips = 0.0 if decoded is None else self._message_bound(decoded, soft)
        together = evidence.product_bound(phases, anchors, chips) + price
        self._note(min(together, 0.0), placement)
        # Data chips helped to choose nothing: they pay for the readings alone.
        self._readings += 1
        chips = evidence.union_bound(chips, evidence.open_list(self._readings))
        if chips < self.finding.message_log_p:
            assert decoded is not None  # without one, nothing is proven
            self.finding.message, self.finding.message_log_p = decoded, chips
            self.finding.message_z = message_z(decoded, soft)
            self.finding.placement = placement
        promising = power_excess(soft) >= _POWER_AGREES or together <= _EVIDENCE_AGREES
        return chips <= DETECTED - LOG_SHARES, promising

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


def _distinct(found: list[tuple[Candidate, Level]]) -> list[tuple[Candidate, Level]]:
    """Sort candidates best first, each with its level, without those that repeat others."""
    level_of = {id(candidate): level for candidate, level in found}
    return [(candidate, level_of[id(candidate)]) for candidate in distinct([c for c, _ in found])]


def message_z(decoded: Decoded, soft: NDArray[np.float64]) -> float:
    """Return ``sum c_j L_j / sqrt(sum V_j)``, the SNR of a codeword in soft bits ``(2, 1025)``."""
    total = float((1.0 - 2.0 * decoded.codeword) @ soft[0, :-1])
    return total / math.sqrt(max(float(soft[1, :-1].sum()), 1e-12))


def power_excess(soft: NDArray[np.float64]) -> float:
    """Return by how many standard deviations the power of soft bits ``(2, 1025)`` exceeds what chance gives.

    Whatever they say: ``sum (L^2 / V - 1) / sqrt(2 n)`` over the code bits.
    """
    variance = np.maximum(soft[1, :-1], 1e-12)
    return float(np.sum(soft[0, :-1] ** 2 / variance - 1)) / math.sqrt(2 * variance.size)


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
