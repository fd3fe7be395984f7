"""What a mark will survive, predicted from the plane that holds it, link by link of finding and reading."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastmark.codec.carrier import Carrier
from fastmark.codec.plane import Plane, pixels_per_unit
from fastmark.detection import evidence
from fastmark.detection.levels import PaddedSpectrum, band_moments
from fastmark.detection.placement import view_spectrum
from fastmark.detection.plan import ScanPlan
from fastmark.kernels import geometry as kernels

SCREEN = (800, 1280)
"""Height and width, pixels, of the screen of the reference screenshot."""

SCREEN_BAR = 80
"""Pixels of the screen's height that are not the image's."""

# NOTE: the constants below are measured by benchmarks/survival.py.

PHASES_SHARE, NATS_PER_TONE = 0.7, 2.6
"""How the nats that the pilot's phases prove follow from its z, ``min(0.7 z^2 / 2, 2.6 n)`` of n tones.

The moduli of tones are levelled and limited, which costs a part of the nats of a Gaussian, and one tone
proves so much at most. Measured by benchmarks/calibrate.py.
"""

SCORE_SHARE, SCORE_PER_TONE = 0.8, 5.0
"""How the scan's score follows from z of the pilot, ``min(0.8 z^2 / (2 n), 5) sqrt(n)`` of n tones."""

NEEDED_SCORE, SMALL_NEEDED_SCORE = 6.0, 5.2
"""Sigmas of a known geometry at which the scan finds it as a rule, in large planes and in small ones."""

NEEDED_NATS = 20.0
"""Nats of the phases at which a mark that was scaled is placed as a rule."""

NEEDED_PLACE_Z = 5.2
"""z of pilot and anchors together at which they are found in an image that was not scaled."""

MESSAGE_SHARE = {"jpeg": 1.0, "half": 1.0, "crop": 1.0, "screenshot": 1.0}
"""z of the message of what a detector sees after each reference, in that of the prediction."""

_ANCHORS = 1 / 3  # their z in that of the message: they are one chip in ten
_PILOT_WEIGHT = 1.5  # of the pilot beside the anchors, in the detector


@dataclass(frozen=True, slots=True)
class Look:
    """Statistics of a mark whose place and message are known, at one resolution.

    Attributes:
        message: z of the message.
        nats: that the pilot's phases prove.
        score: of the tones' power in the scan, sigmas.
    """

    message: float
    nats: float
    score: float

    @classmethod
    def sampled(cls, message: float, pilot: float, n_tones: int) -> Look:
        """Predict what z of the pilot, measured in a part of the plane, makes of phases and scan."""
        half_square = max(pilot, 0.0) ** 2 / 2
        return cls(
            message,
            min(PHASES_SHARE * half_square, NATS_PER_TONE * n_tones),
            min(SCORE_SHARE * half_square / n_tones, SCORE_PER_TONE) * math.sqrt(n_tones),
        )

    @classmethod
    def whole(
        cls,
        message: float,
        weighted: Plane,
        carrier: Carrier,
        n_tones: int,
        origin: tuple[int, int],
        step: int,
    ) -> Look:
        """Measure phases and scan as a detector does.

        Args:
            message: z of the message.
            weighted: scores of the plane, or of its means over 2 x 2 units.
            carrier: of the key.
            n_tones: the prefix of the pilot.
            origin: torus place of the first unit.
            step: units to a sample, 1 or 2.
        """
        padded = PaddedSpectrum.of(weighted)
        view = view_spectrum(padded, np.eye(2) / step, 1, n_tones, carrier)
        place = np.array(origin) + step * view.offset + (step - 1) / 2
        total = view.total(view.aligned(turned=False), place)
        nats = -evidence.phase_sum_bound(total, np.abs(view.values))
        white = padded.power.whitened()
        g = step * np.eye(2)
        score = kernels.tone_score(white, *band_moments(white), carrier.tones / 1024, n_tones, g)
        return cls(message, nats, float(score))

    def between(self, other: Look, share: float) -> Look:
        """Return what lies so far on the way to another look, 0..1."""
        a, b = 1 - share, share
        return Look(
            a * self.message + b * other.message,
            a * self.nats + b * other.nats,
            a * self.score + b * other.score,
        )

    def shrunk(self, scale: float) -> Look:
        """Return the look at an image shown at less than half of its units; ``scale`` of this one's."""
        return Look(scale * self.message, scale**2 * self.nats, scale**2 * self.score)

    def as_it_is(self) -> float:
        """Return the margin at which the mark is found in an image that was not scaled.

        By pilot and anchors together, or by the pilot's phases alone.
        """
        pilot = math.sqrt(2 * self.nats)
        together = (_ANCHORS * self.message + _PILOT_WEIGHT * pilot) / math.hypot(1, _PILOT_WEIGHT)
        return max(together / NEEDED_PLACE_Z, _root(self.nats / NEEDED_NATS))

    def by_scan(self, *, small: bool) -> float:
        """Return the margin at which it is found by the scan and placed; ``small``: whether the plane is."""
        needed = SMALL_NEEDED_SCORE if small else NEEDED_SCORE
        return min(_root(self.score / needed), _root(self.nats / NEEDED_NATS))


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predicted margins after the reference attacks, each the least over the links of a detection."""

    jpeg: float
    half: float
    crop: float
    screenshot: float

    @classmethod
    def least(cls, *several: Predictions) -> Predictions:
        """Return the smallest margin after each reference."""
        return cls(*(min(getattr(one, name) for one in several) for name in cls.__slots__))


SURE = Predictions(math.inf, math.inf, math.inf, math.inf)
"""Where nothing is predicted."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What was measured of a marked plane.

    Attributes:
        shape: of the plane, units.
        k: pixels per unit.
        full: as it is.
        jpeg: after JPEG.
        crop: of the quarter in its middle.
        half: of its means over 2 x 2 units.
    """

    shape: tuple[int, int]
    k: int
    full: Look
    jpeg: Look
    crop: Look
    half: Look

    def survival(self, needed: float) -> Predictions:
        """Predict every reference; ``needed``: z at which the message can be read."""

        def margin(reference: str, found: float) -> float:
            return min(MESSAGE_SHARE[reference] * self.message_z(reference) / needed, found)

        part = self.shape[0] * self.k // 2, self.shape[1] * self.k // 2
        part_k = pixels_per_unit(*part)
        small = _is_small(part, part_k)
        half = self.shown("half")
        found = half.by_scan(small=small)
        if self.k == 2 * part_k:  # the detector's units are the mark's: to it, nothing was scaled
            found = max(found, half.as_it_is())
        crop = self.crop.by_scan(small=small)
        if self.k == 1:
            crop = max(crop, self.crop.as_it_is())
        return Predictions(
            margin("jpeg", self.jpeg.as_it_is()),
            margin("half", found),
            margin("crop", crop),
            margin("screenshot", self.shown("screenshot").by_scan(small=False)),
        )

    def message_z(self, reference: str) -> float:
        """Return z of the message after a reference, but for its share."""
        return self.shown(reference).message

    def shown(self, reference: str) -> Look:
        """Return the look at what a reference leaves."""
        if reference == "jpeg":
            return self.jpeg
        if reference == "crop":
            return self.crop
        height, width = (n * self.k for n in self.shape)
        if reference == "half":
            return self._scaled(self.k / (2 * pixels_per_unit(height // 2, width // 2)))
        return self._scaled(self.k * min(0.5, (SCREEN[0] - SCREEN_BAR) / height, SCREEN[1] / width))

    def _scaled(self, scale: float) -> Look:
        """Return the look at the image at ``scale`` samples per unit."""
        if scale < 0.5:
            return self.half.shrunk(2 * scale)
        return self.half.between(self.full, min(2 * scale - 1, 1.0))


def _root(ratio: float) -> float:
    """Return the root of a ratio of powers, so that it goes with the mark's amplitude; negative ones 0."""
    return math.sqrt(max(ratio, 0.0))


def _is_small(shape: tuple[int, int], k: int) -> bool:
    """Return whether the detector takes the plane of an image for a small one."""
    height, width = (n // k for n in shape)
    return ScanPlan.of((height, width)).levels[0].small
