"""One image of a report: watermarked in memory, attacked, searched; and its original with keys drawn anew.

Nothing of an image leaves this module but numbers, the format and the hash of its file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fastmark.bulk.records import Item
from fastmark.bulk.worker import Worker
from fastmark.codec.carrier import Carrier
from fastmark.codec.key import Key
from fastmark.codec.message import MessageCode
from fastmark.codec.plane import pixels_per_unit
from fastmark.codec.public import PublicCode
from fastmark.detection.detector import KeyDetector, analyse
from fastmark.errors import (
    FastmarkError,
    ImageTooFlatError,
    ImageTooSmallError,
    UnsupportedImageError,
    one_line,
)
from fastmark.images.formats import PREFIX_BYTES, format_by_prefix
from fastmark.images.opening import open_for_detection, open_for_embedding
from fastmark.reporting import quality
from fastmark.reporting.attacks import SECOND_KEY, Extent, attacks_of, copies_of, null_views_of
from fastmark.reporting.handling import RGB, box_mean, to_bytes, wiener
from fastmark.warming import drawn_image
from fastmark.watermarker import Watermarker, public_marker

if TYPE_CHECKING:
    from fastmark.detection.analysis import Analysis
    from fastmark.results import Detection

MEASURED, REFUSED = "measured", "refused"
"""States of an image: it is part of the figures; it cannot carry the watermark, or carries it already."""

IMAGE, DRAWING = "another image of the sample", "a drawn picture"
"""What a watermark was copied to: the next image, or where that cannot be used, what is drawn for it."""

LEVELS = (-1.0, -2.0, -3.0, -4.0, -6.0, -9.0)
"""Decimal logarithms of the p-values whose tails are counted."""

_COPY_SIGMA, _COPY_GAIN = 8.0, 2.0
_DIGITS = 6  # after the point, of what is kept


@dataclass(frozen=True, slots=True)
class ReportJob:
    """The task of a report, for ``bulk.runner``: small, and the same for all images.

    Attributes:
        key: of the watermarks.
        message_bits: length of the messages.
        strength: relative to the default.
        public: what the public watermark says that is embedded beside; None embeds none.
        extent: which attacks.
        null_keys: how many keys unmarked images are searched with; 0 leaves that out.
        seed: keys, messages and whatever attacks draw follow from it.
        max_pixels: images with more are not decoded.
        others: path of an image -> path of the one that its watermark is copied to.
    """

    key: Key
    message_bits: int
    strength: float
    public: PublicCode | None
    extent: Extent
    null_keys: int
    seed: int
    max_pixels: int
    others: dict[str, str]

    def worker(self) -> ReportWorker:
        """Derive the carriers of all keys."""
        return ReportWorker(self)


def drawn_bytes(seed: int, purpose: str, size: int = 32) -> bytes:
    """Return bytes that follow from the seed and a purpose."""
    return hashlib.blake2b(f"fastmark report {seed} {purpose}".encode(), digest_size=size).digest()


class ReportWorker(Worker):
    """Measures one image after the other."""

    def __init__(self, job: ReportJob) -> None:
        """Derive the carriers."""
        super().__init__()
        self.job = job
        self.max_pixels = job.max_pixels
        self.marker = Watermarker(job.key, job.message_bits, job.strength)
        self.second = Watermarker(Key(drawn_bytes(job.seed, "second key")), job.message_bits, job.strength)
        code = MessageCode(job.message_bits)
        self.strangers = [
            KeyDetector(Carrier(Key(drawn_bytes(job.seed, f"null key {n}"))), code)
            for n in range(job.null_keys)
        ]

    def work(self, data: bytes, item: Item) -> tuple[str, dict[str, Any], None]:
        """Measure one image; the columns of its row."""
        sha256 = hashlib.sha256(data).hexdigest()
        about: dict[str, Any] = {"format": format_by_prefix(data[:PREFIX_BYTES]) or "other", "sha256": sha256}
        try:
            source = open_for_embedding(data, max_pixels=self.max_pixels)
        except UnsupportedImageError as error:
            return REFUSED, about | {"reason": one_line(error)}, None
        before = as_seen(source.rebuild(source.pixels))
        about |= {"width": before.shape[1], "height": before.shape[0]}
        if self.marker.detect(before):
            return REFUSED, about | {"reason": "it carries a watermark of this key already"}, None
        message = drawn_bytes(self.job.seed, f"message of {sha256}", self.job.message_bits // 8)
        try:
            marked, report = self.marker.embed_report(
                data, message, public=self.job.public, max_pixels=self.max_pixels
            )
        except (ImageTooSmallError, ImageTooFlatError) as error:
            return REFUSED, about | {"reason": one_line(error)}, None
        after = as_seen(marked)
        self.lap("watermarking")
        about |= {
            "detail": detail(before),
            "psnr_db": rounded(quality.psnr_db(before, after)),
            "ssim": rounded(quality.ssim(before, after)),
            "ssimulacra2": None,
            "strength": rounded(report.strength),
            "tones": report.tones,
            "warnings": list(report.warnings),
        }
        if quality.has_ssimulacra2():
            about["ssimulacra2"] = rounded(quality.ssimulacra2(before, after))
        self.lap("comparing")
        other, real = self._other(item, before)
        seed = int.from_bytes(drawn_bytes(self.job.seed, f"attacks on {sha256}", 8))
        about["attacks"] = self._survive(after, other, seed, int.from_bytes(message))
        about["copies"] = self._copied(before, after, other, int.from_bytes(message))
        about["copied_to"] = IMAGE if real else DRAWING
        self.lap("attacking")
        about["null"] = self._null(before, other, seed)
        self.lap("searching unmarked")
        return MEASURED, about, None

    # ---- survival ------------------------------------------------------------------------------------

    def _survive(self, after: RGB, other: RGB, seed: int, message: int) -> dict[str, Any]:
        outcomes: dict[str, Any] = {}
        for attack in attacks_of(self.job.extent):
            if attack.name == SECOND_KEY:
                try:
                    attacked = self.second.embed(
                        after, drawn_bytes(seed, "second", self.job.message_bits // 8)
                    )
                except FastmarkError as error:  # it can carry one watermark, and not two
                    outcomes[attack.name] = {"not_carried_out": one_line(error)}
                    continue
            else:
                attacked = attack.apply(after, other, seed)
            analysis, k = analysed(attacked)
            found = self.marker.key_detector.detect(analysis, k)
            outcomes[attack.name] = self._outcome(found, message)
            if self.job.public is not None:
                read = public_marker().key_detector.detect(analysis, k)
                outcomes[attack.name]["public_read"] = read.message_bytes == self.job.public.to_bytes()
        return outcomes

    def _outcome(self, found: Detection, message: int) -> dict[str, Any]:
        state = "none" if found.message is None else "exact" if found.message == message else "wrong"
        return {"state": found.state, "log10_p": rounded(found.log10_p), "message": state}

    def _copied(self, before: RGB, after: RGB, other: RGB, message: int) -> dict[str, Any]:
        """Copy the watermark to another picture, and ask what is said of that."""
        outcomes = {}
        for way in copies_of(self.job.extent):
            if way.startswith("exactly"):
                residual = after.astype(np.float32) - before
            else:
                residual = _COPY_GAIN * (after.astype(np.float32) - wiener(after, _COPY_SIGMA))
            analysis, k = analysed(to_bytes(other + residual))
            found = self.marker.key_detector.detect(analysis, k)
            outcomes[way] = self._outcome(found, message) | {"binding": found.binding}
        return outcomes

    def _other(self, item: Item, rgb: RGB) -> tuple[RGB, bool]:
        """Return another image of the sample at this one's size, or a drawn one; and whether it is real."""
        path = self.job.others.get(item.source)
        height, width = rgb.shape[:2]
        if path is not None:
            try:
                source = open_for_embedding(Path(path).read_bytes(), max_pixels=self.max_pixels)
                other = as_seen(source.rebuild(source.pixels))
                if not self.marker.detect(other):  # else it has the watermark already
                    resized = Image.fromarray(other).resize((width, height), Image.Resampling.LANCZOS)
                    return np.array(resized), True
            except (FastmarkError, OSError):
                pass
        return drawn_image(height, width), False

    # ---- false positives -----------------------------------------------------------------------------

    def _null(self, before: RGB, other: RGB, seed: int) -> dict[str, Any]:
        """Search the unmarked image for every key that was drawn: the image is analysed once for all."""
        views: dict[str, Any] = {}
        for attack in null_views_of(self.job.extent) if self.strangers else ():
            analysis, k = analysed(attack.apply(before, other, seed))
            found = [one.detect(analysis, k) for one in self.strangers]
            logs = [one.log10_p for one in found]
            views[attack.name] = {
                "trials": len(found),
                "tails": [sum(log <= level for log in logs) for level in LEVELS],
                "messages": sum(one.message is not None for one in found),
                "least_log10_p": rounded(min(logs)),
            }
        return views


def analysed(rgb: RGB) -> tuple[Analysis, int]:
    """Return what searches of an image share, and its pixels per unit."""
    luma = open_for_detection(rgb, unit=pixels_per_unit)
    return analyse(luma), luma.unit


def rounded(value: float) -> float:
    """Return a figure with as many digits as are kept; never a negative zero."""
    return round(float(value), _DIGITS) + 0.0


def as_seen(image: Image.Image | np.ndarray[Any, Any]) -> RGB:
    """Return an image as it is shown: RGB, 8 bits, transparency on white."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    if image.mode.startswith("I;16"):
        return as_seen(Image.fromarray((np.asarray(image) // 257).astype(np.uint8)))
    if image.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def detail(rgb: RGB) -> float:
    """Return how much detail an image has: the median standard deviation of luma in 9 x 9 pixels, levels."""
    luma = rgb.astype(np.float32) @ np.array(quality.LUMA, np.float32)
    mean = box_mean(luma, 4)
    return rounded(float(np.sqrt(np.median(np.maximum(box_mean(luma * luma, 4) - mean * mean, 0)))))
