"""An earlier mark of the same key: seen by its tones before an image is marked, and read by the detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark._checks import MESSAGE_BITS
from fastmark.codec.carrier import Carrier
from fastmark.codec.message import Decoded, MessageCode
from fastmark.codec.tables import TONE_COUNTS
from fastmark.detection.analysis import Analysis
from fastmark.detection.detector import MIN_PLANE_SIDE, KeyDetector
from fastmark.detection.evidence import DETECTED, LOG_SHARES
from fastmark.detection.noise import WHITE_LIMIT
from fastmark.detection.placement import Placement
from fastmark.detection.plan import HALF
from fastmark.detection.reading import Finding
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.search import Search
from fastmark.detection.torus import TorusSpectrum
from fastmark.embedding.host import Host, Pixels

# NOTE: the constants below are measured by benchmarks/again.py.

SHOWN = 2.5
"""Standard deviations of the tones' power from which on an image may show the mark as it is or cropped.

Chance gets there in 2 images of 100, and each costs a detection. The marks of sixteen images, cropped to a
half and compressed at the worst, showed 5.6 or more.
"""

SHOWN_COARSER = 3.5
"""The same for marks of more pixels per unit, of which several are looked for.

Such an image was cropped from a large one, whose mark shows well but under much noise. Where it is not seen
the image is marked like an unmarked one, and a detector, which tries the image as it is first, reads the new
message. Chance gets there in 1 image of 100.
"""

MAX_COARSER = 8
"""Most pixels per unit of such a mark."""

_CERTAIN = (
    3.5  # where no readable mark is in the image as it is or cropped, the detector tries all geometries
)


@dataclass(frozen=True, slots=True)
class Earlier:
    """A mark of the same key whose presence is proven.

    Attributes:
        analysis: of the plane on which it was found.
        k: pixels per unit of that plane.
        placement: where the mark lies on the analysed plane.
        decoded: its message; None where that is not proven.
        message_z: the signal-to-noise ratio of the message; 0 without one.
        message_bits: length of the message; that of the detector without one.
    """

    analysis: Analysis
    k: int
    placement: Placement
    decoded: Decoded | None
    message_z: float
    message_bits: int

    @property
    def message(self) -> int | None:
        """The message, if it is proven."""
        return None if self.decoded is None else self.decoded.message

    @property
    def message_hex(self) -> str | None:
        """The message as hex digits, if it is proven."""
        return None if self.decoded is None else f"{self.decoded.message:0{self.message_bits // 4}x}"


@dataclass(frozen=True, slots=True)
class Look:
    """The answer of a look for an earlier mark.

    Attributes:
        suspected: whether the tones show more than most images do.
        found: the mark, where its presence is proven.
    """

    suspected: bool
    found: Earlier | None = None


def look_for(image: Pixels, host: Host, detector: KeyDetector) -> Look:
    """Look for an earlier mark of a key in an image as it is or cropped.

    The tones' power is looked at first, at their own frequencies and at those of a mark of more pixels per
    unit, which costs next to nothing once the spectrum is there. Where it stands out, the detector searches
    the plane of such units. An image that was resized after it was marked is not looked for.

    Args:
        image: not marked yet.
        host: its plane.
        detector: of the key.
    """
    short = min(image.values.shape[:2])
    coarser = range(image.k + 1, min(MAX_COARSER, short // MIN_PLANE_SIDE) + 1)
    excesses = {image.k: float(tone_excess(host.scored.torus, detector.carrier, [1])[0])}
    if coarser:
        ratios = [image.k / k for k in coarser]
        more = tone_excess(halved_torus(host.analysis), detector.carrier, ratios).tolist()
        excesses.update(zip(coarser, more, strict=True))
    shown = {
        k: excess for k, excess in excesses.items() if excess >= (SHOWN if k == image.k else SHOWN_COARSER)
    }
    for k in sorted(shown, key=shown.__getitem__, reverse=True):
        analysis = host.analysis
        if k != image.k:
            analysis = Analysis(ScorePlanes(Pixels(image.values, image.peak, k).plane()))
        found = _search(analysis, k, detector, everywhere=shown[k] >= _CERTAIN)
        if found is not None:
            return Look(True, found)
    return Look(bool(shown))


def halved_torus(analysis: Analysis) -> TorusSpectrum:
    """Return the spectrum of a plane's samples of 2 x 2, each scored over all block grids.

    Coarser marks show there. Their waves are long: the scores of the whole resolution over one grid of
    blocks, which suffice for a mark as it is, hardly show them.
    """
    if analysis.plan.step == HALF:
        return analysis.identity
    return TorusSpectrum(analysis.planes, np.eye(2), HALF)


def _search(analysis: Analysis, k: int, detector: KeyDetector, *, everywhere: bool) -> Earlier | None:
    """Search a plane as a detector does; ``everywhere``: not only as it is or cropped."""
    search = Search(analysis, detector.carrier, detector.templates, detector.code)
    if everywhere:
        search.run(deep=False)
    else:
        search.try_as_it_is(sure=True)
    finding, bits = search.finding, detector.code.message_bits
    if not _is_readable(finding) and finding.log_p + LOG_SHARES <= DETECTED:
        # it is there: its message may have another length
        for other in set(MESSAGE_BITS) - {bits}:
            search = Search(analysis, detector.carrier, detector.templates, MessageCode(other))
            search.try_as_it_is(sure=True)
            if _is_readable(search.finding):
                finding, bits = search.finding, other
                break
    if finding.placement is None:
        return None
    if _is_readable(finding):
        return Earlier(analysis, k, finding.placement, finding.message, finding.message_z, bits)
    if finding.log_p + LOG_SHARES <= DETECTED:
        return Earlier(analysis, k, finding.placement, None, 0.0, bits)
    return None


def _is_readable(finding: Finding) -> bool:
    """Return whether the message is proven as a detector of one key wants it."""
    return finding.message_log_p + LOG_SHARES <= DETECTED


def tone_excess(torus: TorusSpectrum, carrier: Carrier, ratios: Sequence[float]) -> NDArray[np.float64]:
    """Return by how many standard deviations the power of the tones exceeds that of the noise: ``(n,)``.

    ``sum (min(|v|^2, 8) - 1) / sqrt(n)`` for the prefix of n tones that shows most, v the tones over the root
    of their local level, each at the nearest bin. It does not depend on where the mark lies.

    NOTE: of marks of more pixels per unit, tones fall between bins. Interpolated, they show no better beside
    the noise, which is correlated from bin to bin: chance then gets to 3.5 in 8 images of 100 instead of 1.

    Args:
        torus: of the image as it is.
        carrier: of the key.
        ratios: units of the mark per sample of the plane, at most 1: 1/2 where a unit has two samples.
    """
    # by frequency, tone and ratio
    y, x = np.rint(np.multiply.outer(carrier.tones.T, np.asarray(ratios, np.float64))).astype(np.int64)
    y, x = np.where(x < 0, -y, y), np.abs(x)
    values, level = torus.spectrum[y, x], torus.power.noise.at(y, x)
    white = (values.real**2 + values.imag**2) / np.maximum(level, np.float32(1e-12))
    excess = np.cumsum(np.minimum(white, np.float32(WHITE_LIMIT)) - 1, axis=0, dtype=np.float64)
    counts = np.array(TONE_COUNTS)
    shown: NDArray[np.float64] = (excess[counts - 1] / np.sqrt(counts)[:, None]).max(axis=0)
    return shown
