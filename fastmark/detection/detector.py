"""One image opened, many keys: search for each, then decide and report."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from fastmark.codec.carrier import Carrier
from fastmark.codec.message import NEEDED_Z, MessageCode
from fastmark.detection.affine import describe
from fastmark.detection.analysis import Analysis
from fastmark.detection.binding import UNKNOWN, examine
from fastmark.detection.evidence import DETECTED, LOG_SHARES, POSSIBLE
from fastmark.detection.logpolar import Templates
from fastmark.detection.reading import Finding
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.search import Search
from fastmark.images.opening import DetectorInput
from fastmark.results import Detection, State

MIN_PLANE_SIDE = 48
"""Samples; planes with a shorter side are not looked at."""

LEAST_LOG10_P = -256 * math.log10(2)
"""The chance of guessing a key of 256 bits: a smaller bound says no more (SPEC.md, section 10)."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one key's search of an image gave, with all that was tried paid for; logarithms are natural.

    Attributes:
        finding: the best of it.
        carrier: by which it was found.
        log_p: bound on the chance of any of the evidence, at most 0.
        message_log_p: the same of the message alone.
    """

    finding: Finding
    carrier: Carrier
    log_p: float
    message_log_p: float


class KeyDetector:
    """One key's carriers, ready to be looked for."""

    def __init__(self, carrier: Carrier, code: MessageCode) -> None:
        """Prepare templates for the scan."""
        self.carrier = carrier
        self.code = code
        self.templates = Templates(carrier)

    @functools.cached_property
    def _withheld(self) -> Carrier | None:
        """The blocks that detector keys lack: their holders can erase all the others, and the pilot."""
        return self.carrier.withheld_alone()

    def detect(self, analysis: Analysis, k: int, n_keys: int = 1, *, deep: bool = False) -> Detection:
        """Search one analysed image, marked or not.

        Args:
            analysis: of the image's plane.
            k: pixels per unit of that plane.
            n_keys: how many keys are tried on this image; their number is paid for.
            deep: search harder, and by the blocks that detector keys lack alone.
        """
        return self.report(analysis, k, self.search(analysis, math.log(n_keys), deep=deep))

    def search(self, analysis: Analysis, log_trials: float = 0.0, *, deep: bool = False) -> Found:
        """Search one analysed image: what was found, to be reported or located.

        Args:
            analysis: of the image's plane.
            log_trials: of the number of keys and images that are searched: natural logarithm.
            deep: as for :meth:`detect`.
        """
        carriers = [self.carrier]
        if deep and self._withheld is not None:
            carriers.append(self._withheld)
        finding, by = Finding(), self.carrier
        if min(analysis.planes.shape) >= MIN_PLANE_SIDE:
            for carrier in carriers:
                search = Search(analysis, carrier, self.templates, self.code)
                search.run(deep=deep)
                if _order(search.finding) < _order(finding):
                    finding, by = search.finding, carrier
                if finding.proven:
                    break
        # a search that was not needed is paid for all the same
        log_trials += LOG_SHARES + math.log(len(carriers))
        log_p = min(finding.log_p, finding.message_log_p) + log_trials
        return Found(finding, by, min(log_p, 0.0), min(finding.message_log_p + log_trials, 0.0))

    def report(self, analysis: Analysis, k: int, found: Found) -> Detection:
        """Decide; arguments as of :meth:`detect`, and what :meth:`search` found."""
        origins = UNKNOWN
        if found.message_log_p <= DETECTED:
            origins = examine(analysis.planes, found.finding, self.carrier)
        report = _report(self, found.finding, found.log_p, found.message_log_p, k)
        return dataclasses.replace(
            report,
            binding=origins.binding,
            binding_log_ratio=origins.log_ratio,
            made_with=origins.made_with,
        )


def _order(finding: Finding) -> tuple[float, float]:
    return finding.message_log_p, finding.log_p


def look(
    luma: DetectorInput, detectors: Sequence[KeyDetector], *, deep: bool = False, threads: int = 1
) -> list[Detection]:
    """Look for each one's key in an image opened with ``unit=pixels_per_unit``, in their order.

    Args:
        luma: the image.
        detectors: one for each key; their number is paid for.
        deep: search harder.
        threads: how many may share the work.
    """
    analysis = analyse(luma, threads)
    found = [detector.detect(analysis, luma.unit, len(detectors), deep=deep) for detector in detectors]
    return [dataclasses.replace(f, remarks=luma.remarks) for f in found] if luma.remarks else found


def analyse(luma: DetectorInput, threads: int = 1) -> Analysis:
    """Score what has been opened with ``unit=pixels_per_unit``."""
    return Analysis(ScorePlanes(luma.pixels, luma.unit // luma.reduction, threads))


def _report(detector: KeyDetector, finding: Finding, log_p: float, message_log_p: float, k: int) -> Detection:
    state: State = "absent"
    if log_p <= POSSIBLE:
        state = "detected" if log_p <= DETECTED else "possible"
    message = finding.message if message_log_p <= DETECTED else None
    message_log10_p = 0.0
    if finding.message is not None:
        message_log10_p = max(message_log_p / math.log(10), LEAST_LOG10_P)
    bits = detector.code.message_bits
    scale = rotation = aspect = None
    mirrored = inverted = False
    if state != "absent" and finding.placement is not None:
        original_k = message.k if message is not None else k
        placement = finding.placement
        if finding.window is not None:
            placement = finding.window.on_plane(placement)
        scale, rotation, aspect, mirrored = describe(placement.matrix * (k / original_k))
        inverted = finding.placement.inverted
    return Detection(
        state=state,
        log10_p=max(log_p / math.log(10), LEAST_LOG10_P),
        message=None if message is None else message.message,
        message_bits=bits,
        message_log10_p=message_log10_p,
        margin=None if message is None else finding.message_z / NEEDED_Z[bits],
        scale=scale,
        rotation_deg=rotation,
        aspect=aspect,
        mirrored=mirrored,
        inverted=inverted,
        key_id=detector.carrier.key_id,
    )
