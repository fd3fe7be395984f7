"""One placement -> what its chips prove: read under several floors, decode, weigh the evidence.

Every p-value pays for the search behind it. Three keystreams are independent, and each is spent once: tone
frequencies choose geometries, from magnitudes; tone phases choose places, and count against all places of
that geometry; anchors and data chips then stand on their own. Where anchors helped to choose, they are priced
like phases; where phases chose a field of local shifts, they count for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.carrier import Carrier
from fastmark.codec.message import Decoded, MessageCode
from fastmark.codec.tables import BLOCK
from fastmark.detection import evidence
from fastmark.detection.affine import is_identity
from fastmark.detection.analysis import Analysis
from fastmark.detection.course import step
from fastmark.detection.local_shifts import Field
from fastmark.detection.placement import Placement
from fastmark.detection.plan import HALF
from fastmark.detection.resampling import resample
from fastmark.detection.scores import SCORE_FLOOR
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.detection.trace import Reading, Trace
from fastmark.detection.windows import Window

FLOORS = (SCORE_FLOOR, 10.0, 1.0)
"""Floors of the scores under which chips are read, grey levels: usual, much compressed, shrunk or blurred."""

AGREES = math.log(1e-3)
"""log_p of a placement whose chips are read under every floor."""

# Other floors are worth a reading from so many standard deviations of the soft bits' power, or up to this
# logarithm of all evidence so far.
_POWER_AGREES, _EVIDENCE_AGREES = 0.5, 3.0
_LEAST_GAIN = 0.02  # power of the signal that LLRs suppose at least, as a share of the noise's
_LLR_LIMIT = 60.0


@dataclass(slots=True)
class Finding:
    """The best that was found of one key's mark so far; logarithms are natural.

    Attributes:
        log_p: bound on the chance of any of the evidence, at most 0.
        placement: where it was found, or where the message was.
        message: the likeliest message, if there is any.
        message_log_p: bound on the chance that some message fits as well.
        message_z: the signal-to-noise ratio of ``message``.
        view: the chips as the reading saw them that gave ``message``.
        field: of the local shifts that were taken out there, None for none.
        window: the part of the image on whose samples ``placement`` is; None for the analysed plane.
    """

    log_p: float = 0.0
    placement: Placement | None = None
    message: Decoded | None = None
    message_log_p: float = 0.0
    message_z: float = 0.0
    view: ChipView | None = None
    field: Field | None = None
    window: Window | None = None

    @property
    def proven(self) -> bool:
        """Whether the message is, for one key."""
        return is_proof(self.message_log_p)

    def note(self, log_p: float, placement: Placement, window: Window | None = None) -> None:
        """Keep evidence if it is the best so far, and its place unless that of a message is known."""
        if log_p < self.log_p:
            self.log_p = log_p
            if self.message is None:
                self.placement, self.window = placement, window


@dataclass(frozen=True, slots=True)
class ChipView:
    """The chips of an image as one reading sees them.

    Attributes:
        blocks: statistics of the chips, block by block.
        origin: place of the first block on the 128 x 128 blocks of the torus.
        floor: of the scores, grey levels.
        step: units to a sample, 1 or 2.
    """

    blocks: ChipBlocks
    origin: tuple[int, int]
    floor: float
    step: int


class ChipReader:
    """Reads one key's chips in one image, and keeps the best that comes of it.

    Attributes:
        finding: the best so far.
        n_paid: readings that are paid for, whether or not they were worth making.
    """

    def __init__(
        self, analysis: Analysis, carrier: Carrier, code: MessageCode, trace: Trace | None = None
    ) -> None:
        """Prepare to read, and to note readings in ``trace``; nothing is computed yet."""
        self.finding = Finding()
        self.n_paid = 0
        self._analysis = analysis
        self._carrier = carrier
        self._code = code
        self._trace: Trace = [] if trace is None else trace

    @step("readings")
    def read(
        self,
        placement: Placement,
        log_trials: float,
        field: Field | None = None,
        window: Window | None = None,
    ) -> bool:
        """Read the chips at one placement; return whether the message is now proven.

        Args:
            placement: where the torus lies.
            log_trials: of the geometry, or of the field of local shifts: natural logarithm.
            field: of local shifts, chosen by phases, which then count for nothing.
            window: on whose samples ``placement`` is; None for the analysed plane.
        """
        alone = field is None and window is None
        half = view_at_half_resolution(self._analysis, placement) if alone else None
        log_trials += math.log(len(FLOORS) + 1)
        phases = 0.0
        if field is None:
            phases = placement.log_phases
            log_trials += placement.log_trials
        # NOTE: readings left out are paid for all the same, as those that were made decided it
        paid = self.n_paid + len(FLOORS) + (half is not None)
        # where phases agree all floors are read; where anchors did, as long as there may be a mark
        sure = field is not None or placement.log_p <= AGREES
        proven = False
        for view in self._views(placement, field, window, half):
            reading = self._weigh(view, placement, log_trials, phases, field, window)
            proven = is_proof(reading.message_log_p)
            if proven or not (sure or reading.promising):
                break
        self.n_paid = paid
        return proven

    def _views(
        self, placement: Placement, field: Field | None, window: Window | None, half: ChipView | None
    ) -> Iterator[ChipView]:
        """Yield the chips at half resolution, if they are seen there, then those under each floor."""
        planes = self._analysis.planes if window is None else window.planes
        if half is not None:
            yield half
        for floor in FLOORS:
            grid = resample(planes, placement.matrix, placement.offset, floor=floor, field=field, finely=True)
            origin = (grid.origin[0] // BLOCK, grid.origin[1] // BLOCK)
            yield ChipView(ChipBlocks.of(grid.scores, grid.inside), origin, floor, 1)

    def _weigh(
        self,
        view: ChipView,
        placement: Placement,
        log_trials: float,
        phases: float,
        field: Field | None,
        window: Window | None,
    ) -> Reading:
        """Decode one reading of the chips and note what it proves, together with the bound of the phases."""
        soft = view.blocks.soft_bits(self._carrier, view.origin)
        if placement.inverted:
            soft[0] *= -1
        anchors = evidence.sign_sum_bound(float(soft[0, -1]), float(soft[1, -1]))
        decoded = self._code.decode(_log_likelihood_ratios(soft[:, :-1]))
        chips = 0.0 if decoded is None else self._message_bound(decoded, soft)
        together = evidence.product_bound(phases, anchors, chips) + log_trials
        self.finding.note(min(together, 0.0), placement, window)
        # Data chips helped to choose nothing: they pay for the readings alone.
        self.n_paid += 1
        chips = evidence.union_bound(chips, evidence.open_list(self.n_paid))
        if chips < self.finding.message_log_p:
            assert decoded is not None  # without one, nothing is proven
            self.finding.message, self.finding.message_log_p = decoded, chips
            self.finding.message_z = message_z(decoded, soft)
            self.finding.placement, self.finding.view, self.finding.field = placement, view, field
            self.finding.window = window
        promising = power_excess(soft) >= _POWER_AGREES or together <= _EVIDENCE_AGREES
        reading = Reading(view.floor, view.step, together, chips, promising)
        self._trace.append(reading)
        return reading

    def _message_bound(self, decoded: Decoded, soft: NDArray[np.float64]) -> float:
        """Bound the chance that any codeword fits as well: 2^K of them at every k.

        k is given ``2^-k`` of the total.
        """
        total = float((1.0 - 2.0 * decoded.codeword) @ soft[0, :-1])
        log_words = (self._code.message_bits + decoded.k) * math.log(2)
        return evidence.union_bound(evidence.sign_sum_bound(total, float(soft[1, :-1].sum())), log_words)


def is_proof(message_log_p: float) -> bool:
    """Return whether a message's bound, readings paid for, leaves no doubt about it for one key."""
    return message_log_p <= evidence.DETECTED - evidence.LOG_SHARES


def view_at_half_resolution(analysis: Analysis, placement: Placement) -> ChipView | None:
    """Return the chips of a large image as they show at half its resolution.

    Only where blocks start at even samples, as in every image that was not cropped: else None.
    """
    start = np.mod(placement.offset, BLOCK)
    if not analysis.plan.half or not is_identity(placement.matrix) or np.any(np.mod(placement.offset, HALF)):
        return None
    y, x = (start // HALF).astype(int)
    scores = np.ascontiguousarray(analysis.planes.weighted(HALF)[y:, x:])
    place = ((start - placement.offset) // BLOCK).astype(int)
    return ChipView(ChipBlocks.of(scores, step=HALF), (int(place[0]), int(place[1])), SCORE_FLOOR, HALF)


def message_z(decoded: Decoded, soft: NDArray[np.float64]) -> float:
    """Return ``sum c_j L_j / sqrt(sum V_j)``, the SNR of a codeword in soft bits ``(2, 1025)``."""
    total = float((1.0 - 2.0 * decoded.codeword) @ soft[0, :-1])
    return total / math.sqrt(max(float(soft[1, :-1].sum()), 1e-12))


def power_excess(soft: NDArray[np.float64]) -> float:
    """Return by how many standard deviations the power of soft bits ``(2, 1025)`` exceeds that of chance.

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
    gain = math.sqrt(max(excess, _LEAST_GAIN * float(np.mean(variance))) / spread)
    ratios: NDArray[np.float64] = np.clip(2.0 * gain * total, -_LLR_LIMIT, _LLR_LIMIT)
    return ratios.astype(np.float32)
