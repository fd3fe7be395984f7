"""One key, one analysed image: geometries tried in turn, each as far as its phases and anchors warrant.

A geometry must show more than chance does before its chips are read: each threshold says how often chance
reaches it. :mod:`fastmark.detection.reading` says how evidence is counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fastmark.codec.carrier import Carrier
from fastmark.codec.message import MessageCode
from fastmark.detection import evidence, integer_units, windows
from fastmark.detection.affine import Matrix
from fastmark.detection.analysis import Analysis
from fastmark.detection.course import step
from fastmark.detection.cutting import cut_to_pilot
from fastmark.detection.deep import LOG_CLIMBS, coherent_geometries
from fastmark.detection.integer_units import whole_units
from fastmark.detection.local_shifts import local_shifts
from fastmark.detection.logpolar import Templates
from fastmark.detection.origins import TONES_MISSING
from fastmark.detection.placement import Placement, place_candidate
from fastmark.detection.plan import HALF
from fastmark.detection.reading import AGREES, ChipReader, Finding
from fastmark.detection.scan import Candidate, distinct, scan
from fastmark.detection.tiles import looks_at, sights
from fastmark.detection.torus import TorusSpectrum
from fastmark.detection.trace import Kind, Trace, Trial
from fastmark.detection.windows import Window

# z of pilot and anchors of an image as it is, at the places of one that was not cropped: chance gets there
# in one image of a hundred; and at all whole shifts, in one of eighty.
_ORIGIN_SCORE = 5.0
_SHIFT_SCORE = 5.4
# Standard deviations of the tones' power in an image as it is from which on all whole shifts are tried:
# chance gets there in one image of eight. Small images are likelier to be crops, show less of their tones,
# and cost little: chance gets there in one of three.
_WORTH_A_CROP, _WORTH_A_SMALL_CROP = 1.2, 0.2
_SMALL = 200 * 200  # samples of a plane
_DENSE_SCORE = 5.6  # z of pilot and anchors together, of two million shifts; by chance, one look of a hundred
_WORTH_A_DENSE_LOOK = 3.0  # log_p of a candidate's placement that anchors may still save
_MAX_DENSE_LOOKS = 3
_MOST_DENSE_UNITS = 1  # scales of whole units that are asked with anchors: periodic images suggest more
_LOG_PARTS = math.log(2)  # all of the image, and the part in which the pilot lies
_HALF_SHOWS_ALL = 0.75  # samples per unit under which half a sample per unit shows about as much
# Bent images: the candidates that no one shift fits, and the pieces of the image in which they are placed.
_PIECEWISE_SCORE = 7.0  # sigmas of a candidate that is taken for a mark though its phases do not agree
_MAX_PIECEWISE = 2
_PIECE_AGREES = -1.0  # log_p of a piece's placement that is worth the work of straightening
_MAX_STRAIGHTENED = 2
_REGIONS = ((0.25, 0.75, 0.25, 0.75), (0, 0.5, 0, 0.5), (0, 0.5, 0.5, 1), (0.5, 1, 0, 0.5), (0.5, 1, 0.5, 1))
# Straightened images are an open-ended list of their own: the image as it is has the first number, whether
# or not it is straightened, the likeliest candidate the second; pieces follow from the second on.
_STRAIGHT_IDENTITY, _STRAIGHT_CANDIDATE = 1, 2


@dataclass(frozen=True, slots=True)
class PlacedCandidate:
    """A candidate of the scan with its best place on the torus.

    ``log_trials``: natural logarithm of the number of geometries that is paid for.
    """

    candidate: Candidate
    placement: Placement
    log_trials: float


class Search:
    """One run over geometries, cheapest and likeliest first, until the message is proven.

    Attributes:
        reader: of the chips; ``finding`` is the best that it found so far.
        trace: the geometries tried so far, each followed by the readings of its chips.
    """

    def __init__(self, analysis: Analysis, carrier: Carrier, templates: Templates, code: MessageCode) -> None:
        """Prepare to search ``analysis`` for the mark of ``carrier``."""
        self.trace: Trace = []
        self.reader = ChipReader(analysis, carrier, code, self.trace)
        self._analysis = analysis
        self._carrier = carrier
        self._templates = templates
        self._n_geometries = 1
        # NOTE: origins and whole shifts are places of one geometry, and share its price
        self._identity_trials = evidence.open_list(1)
        self._n_dense_looks = 0

    @property
    def finding(self) -> Finding:
        """The best that was found so far."""
        return self.reader.finding

    @property
    def n_whole_units(self) -> int:
        """The number of scales of whole samples per unit that are asked."""
        return len(integer_units.scales_of(self._analysis.planes.shape))

    @step("search", lambda _, search: search)
    def run(self, *, deep: bool) -> None:
        """Search until the message is proven or the hypotheses are used up."""
        placement = self.try_as_it_is(sure=deep)
        if self.finding.proven:
            return
        if self.try_whole_units() or self.try_busy_part():
            return
        if self.try_candidates(self.place_candidates(), identity_agrees=placement.log_p <= AGREES):
            return
        if deep and not (self.try_tiles() or self.try_whole_units(deep=True)):
            self._try_deep()

    @step("image as it is")
    def try_as_it_is(self, *, sure: bool = False) -> Placement:
        """Try the image as it is, and cropped where its tones show that it may be; return the likelier place.

        ``sure``: whether that needs no showing.
        """
        shown = self._analysis.origins.place(self._carrier)
        placement = shown.placement
        self._judge("origin", placement, self._identity_trials, shown.z, _ORIGIN_SCORE)
        excess = shown.view.excess
        small = math.prod(self._analysis.planes.shape) <= _SMALL
        worth = excess >= (_WORTH_A_SMALL_CROP if small else _WORTH_A_CROP)
        cropped = shown.lies_beside() if self.finding.proven else sure or worth or excess <= TONES_MISSING
        if cropped:
            placement = min(placement, self._try_shifts(), key=lambda one: one.log_p)
        return placement

    @step("all whole shifts")
    def _try_shifts(self) -> Placement:
        """Place the mark in an image that may be cropped, and read it if z suffices."""
        # NOTE: an image turned by 180 degrees is left to the scan: few are, and all would pay for it
        z, placement = self._analysis.identity.place_densely(self._carrier, turns=(False,))
        self._judge("shift", placement, self._identity_trials, z, _SHIFT_SCORE)
        return placement

    @step("crops of whole units", lambda _, search: search.n_whole_units)
    def try_whole_units(self, *, deep: bool = False) -> bool:
        """Try scales of whole samples per unit, as crops of large images have them."""
        least = -math.inf if deep else integer_units.SHOWN
        for i, unit in enumerate(whole_units(self._analysis, self._templates, least)):
            log_trials = self._next_log_trials() + integer_units.LOG_LOOKS
            looks = unit.looks(self._analysis, self._carrier, sure=deep, dense=deep or i < _MOST_DENSE_UNITS)
            for kind, z, placement in looks:
                if self._judge(kind, placement, log_trials, z):
                    return True
        return False

    @step("canvas")
    def try_busy_part(self) -> bool:
        """Scan the busy part of a flat canvas by itself; return whether the message is now proven."""
        part = self._analysis.busy_part
        if part is None:
            return False
        window, level = part
        for candidate in scan(level, self._templates)[: self._analysis.plan.n_candidates]:
            log_trials = self._next_log_trials() + windows.LOG_LOOKS
            placement = place_candidate(candidate, self._carrier)
            if self._judge("canvas", placement, log_trials, window=window):
                return True
            if AGREES < placement.log_p <= _WORTH_A_DENSE_LOOK:
                torus = TorusSpectrum(window.planes, candidate.matrix, _step_for(candidate.matrix, 1))
                z, placement = torus.place_densely(self._carrier)
                if self._judge("dense canvas", placement, log_trials, z, window=window):
                    return True
        return False

    @step("tiles")
    def try_tiles(self) -> bool:
        """Try what overlapping tiles of a large canvas show at its own resolution."""
        for sight in sights(self._analysis.tiles, self._templates):
            log_trials = self._next_log_trials() + windows.LOG_LOOKS
            looks = looks_at(sight, self._analysis.tiles, self._templates, self._carrier)
            for kind, z, placement, window in looks:
                if self._judge(kind, placement, log_trials, z, window=window):
                    return True
        return False

    @step("candidates")
    def place_candidates(self) -> list[PlacedCandidate]:
        """Scan all levels and place the candidates; likeliest first.

        They are paid for in the scan's order, the best first: it knows nothing of the phases.
        """
        found = [c for level in self._analysis.levels for c in scan(level, self._templates)]
        placed = []
        for candidate in distinct(found)[: self._analysis.plan.n_candidates]:
            placement = place_candidate(candidate, self._carrier)
            placed.append(PlacedCandidate(candidate, placement, self._next_log_trials() + _LOG_PARTS))
        return sorted(placed, key=lambda one: one.placement.log_p)

    @step("candidates")
    def try_candidates(self, placed: Sequence[PlacedCandidate], *, identity_agrees: bool) -> bool:
        """Try what the spectrum's magnitudes suggest; return whether the message is now proven.

        Args:
            placed: candidates, likeliest first.
            identity_agrees: whether the image as it is shows the mark, if not the message.
        """
        for one in placed:
            if self._judge("candidate", one.placement, one.log_trials):
                return True
            if one.placement.log_p <= AGREES and self._read_cut_out(one):
                return True
            if AGREES < one.placement.log_p <= _WORTH_A_DENSE_LOOK and self._n_dense_looks < _MAX_DENSE_LOOKS:
                self._n_dense_looks += 1
                z, placement = self._torus(one).place_densely(self._carrier)
                if self._judge("dense", placement, one.log_trials, z):
                    return True
        # NOTE: the choice is by phases alone, so that anchors and chips may judge what comes of it. Anchors
        # tell whether the image as it is is looked at once more, and so it has a number of its own, used or
        # not.
        identity = self._analysis.identity.place(self._carrier) if identity_agrees else None
        chosen = choose_to_straighten([one.placement for one in placed], identity)
        if chosen is not None:
            return self._straighten(*chosen)
        pieces = self._place_pieces(placed)
        return any(self._straighten(*piece) for piece in choose_pieces(pieces))

    @step("pieces")
    def _place_pieces(self, placed: Sequence[PlacedCandidate]) -> list[Placement]:
        """Place the mark in pieces of an image that may be bent: candidates that no one shift fits."""
        bent = [one for one in placed if one.candidate.score >= _PIECEWISE_SCORE][:_MAX_PIECEWISE]
        # The pilot only proposes where a piece of the image lies; anchors and chips must prove it. Half a
        # sample per unit shows all of it.
        tori = [TorusSpectrum(self._analysis.planes, one.candidate.matrix, HALF) for one in bent]
        pieces = [torus.restricted(region).place(self._carrier) for torus in tori for region in _REGIONS]
        self.trace += [Trial("piece", piece, 0.0, 0.0, False) for piece in pieces]
        return pieces

    def _read_cut_out(self, one: PlacedCandidate) -> bool:
        """Read the part of the image in which the pilot lies: phases choose it, chips judge it."""
        whole = Window.over(self._analysis.planes)
        placement, window = cut_to_pilot(one.placement, whole, self._carrier)
        return self.reader.read(placement, one.log_trials, window=window)

    @step("deep")
    def _try_deep(self) -> None:
        """Try geometries that pilot and anchors suggest together."""
        for matrix, tried in coherent_geometries(self._analysis, self._carrier):
            torus = TorusSpectrum(self._analysis.planes, matrix, self._analysis.plan.step)
            log_trials = evidence.open_list(self._n_geometries + tried) + LOG_CLIMBS
            z, placement = torus.place_densely(self._carrier)
            proven = self._judge("deep", placement, log_trials, z)
            if proven or self.finding.log_p <= evidence.DETECTED - evidence.LOG_SHARES:
                return

    def _next_log_trials(self) -> float:
        """Return what the next geometry pays: Bonferroni over an open-ended list."""
        self._n_geometries += 1
        return evidence.open_list(self._n_geometries)

    def _torus(self, one: PlacedCandidate) -> TorusSpectrum:
        matrix = one.candidate.matrix
        return TorusSpectrum(self._analysis.planes, matrix, _step_for(matrix, self._analysis.plan.step))

    def _judge(
        self,
        kind: Kind,
        placement: Placement,
        log_trials: float,
        z: float = 0.0,
        least: float = _DENSE_SCORE,
        window: Window | None = None,
    ) -> bool:
        """Read one geometry if its phases agree or z is ``least``.

        Returns whether the message is now proven.
        """
        self.finding.note(evidence.union_bound(placement.log_p, log_trials), placement, window)
        read = placement.log_p <= AGREES or z >= least
        self.trace.append(Trial(kind, placement, log_trials, z, read, least))
        if read and window is not None:
            placement, window = cut_to_pilot(placement, window, self._carrier)
        return read and self.reader.read(placement, log_trials, window=window)

    @step("straightened")
    def _straighten(self, placement: Placement, number: int) -> bool:
        """Read the chips with the local shifts taken out, as the n-th image so treated.

        Returns whether the message is now proven.
        """
        log_trials = evidence.open_list(number)
        self.trace.append(Trial("straightened", placement, log_trials, 0.0, True))
        field = local_shifts(self._analysis.planes, placement, self._carrier)
        return self.reader.read(placement, log_trials, field)


def _step_for(matrix: Matrix, step: int) -> int:
    """Return units to a sample of the torus: a unit shown at less than a sample needs none of its own."""
    return HALF if math.sqrt(abs(np.linalg.det(matrix))) < _HALF_SHOWS_ALL else step


def choose_to_straighten(
    placements: Iterable[Placement], identity: Placement | None
) -> tuple[Placement, int] | None:
    """Return the likeliest placement whose phases agree, and the number it pays for; None if none agrees.

    Args:
        placements: of the scan's candidates.
        identity: of the image as it is, where that is worth another look.
    """
    likely = [(placement, _STRAIGHT_CANDIDATE) for placement in placements]
    if identity is not None:
        likely.append((identity, _STRAIGHT_IDENTITY))
    likely = [(placement, number) for placement, number in likely if placement.log_p <= AGREES]
    return min(likely, key=lambda pair: pair[0].log_p, default=None)


def choose_pieces(placements: Iterable[Placement]) -> list[tuple[Placement, int]]:
    """Return the likeliest placements of pieces whose phases agree, two at most, and the numbers they pay."""
    likely = sorted((p for p in placements if p.log_p <= _PIECE_AGREES), key=lambda p: p.log_p)
    numbers = range(_STRAIGHT_CANDIDATE, _STRAIGHT_CANDIDATE + _MAX_STRAIGHTENED)
    return list(zip(likely, numbers, strict=False))
