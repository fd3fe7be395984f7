"""The work on images, as the processes of the pool do it; nothing here knows of HTTP."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fastmark.checking.check import Check, check
from fastmark.codec.key import AnyKey, Key
from fastmark.codec.public import PublicCode
from fastmark.companions import NOTHING, Companions
from fastmark.delivery import Delivery
from fastmark.detector import Detector
from fastmark.records import Record
from fastmark.warming import drawn_image
from fastmark.watermarker import Watermarker

if TYPE_CHECKING:
    from fastmark.locations import Location
    from fastmark.registry.store import Registry

# Blue and orange of Okabe & Ito (2008): they differ for every kind of colour vision.
_CARRIES, _CHANGED = (0, 114, 178, 150), (230, 159, 0, 190)
_ODDS_OF_CHANGE, _LEAST_CHANGED = np.log(1000.0), 0.01
"""Natural logarithm of the odds at which a cell counts as changed under the watermark, and the share of cells
from which on that is said: two of a hundred images whose content was not changed, benchmarks/locating.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the processes are to know.

    Attributes:
        keys: that are looked for.
        message_bits: length of their messages.
        registry: that is asked; None for none.
        trust_anchors: PEM certificates; None trusts nobody.
        max_pixels: of an image.
        embed_key: that embeds; None where nothing is embedded.
        companions: what goes beside watermarks that are embedded.
        public: whether the public watermark is looked for.
    """

    keys: tuple[AnyKey, ...]
    message_bits: int = 64
    registry: Registry | None = None
    trust_anchors: bytes | None = field(default=None, repr=False)
    max_pixels: int | None = None
    embed_key: Key | None = None
    companions: Companions = NOTHING
    public: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of an image.

    Attributes:
        values: as JSON; with the numbers behind the bands only where they were asked for.
        pixels: how many the image has.
        message: of the watermark that was detected; None without.
    """

    values: dict[str, Any]
    pixels: int
    message: bytes | None


@dataclass(frozen=True, slots=True)
class Order:
    """How an image is to be watermarked.

    Attributes:
        message: to embed; None where the registry draws one.
        format_name: to encode to; None until the image's own is known.
        quality: of lossy formats; None for the usual one.
        record: what is said of this image instead of what the service says of all; None for that.
        public: what the public watermark says that is embedded too; None without one.
    """

    message: bytes | None
    format_name: str | None
    quality: int | None
    record: Record | None
    public: PublicCode | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """A watermarked image.

    Attributes:
        data: its file.
        values: what is said of it, as JSON.
    """

    data: bytes = field(repr=False)
    values: dict[str, Any]


class Work:
    """Detectors and markers, made once per process."""

    def __init__(self, plan: Plan) -> None:
        """Prepare everything, and use it once, so that no caller waits for kernels or plans."""
        self._plan = plan
        self._detector = Detector(plan.keys, plan.message_bits) if plan.keys else None
        self._delivery = None
        if plan.embed_key is not None:
            marker = Watermarker(plan.embed_key, plan.message_bits)
            self._delivery = Delivery(marker, plan.companions, max_pixels=plan.max_pixels)
        self._warm()

    def check(self, data: bytes, where: bool, scores: bool) -> Answer:
        """Return everything that is known of an encoded image.

        Args:
            data: the file.
            where: whether the watermark is located too, and drawn.
            scores: whether the numbers behind the bands are in the answer.

        Raises:
            FastmarkError: as :func:`fastmark.check`.
        """
        found = check(
            data,
            self._detector or (),
            self._plan.registry,
            trust_anchors=self._plan.trust_anchors,
            locate=where,
            public=self._plan.public,
            max_pixels=self._plan.max_pixels,
        )
        values = found.to_dict(scores=scores)
        if where:
            values["map"] = None if found.location is None else draw(found.location)
        return Answer(values, found.width * found.height, _message(found))

    def embed(self, data: bytes, order: Order) -> Embedded:
        """Watermark an encoded image; errors as those of ``Delivery.deliver``."""
        assert self._delivery is not None and order.format_name is not None
        delivery = replace(self._delivery, public=order.public)
        if order.record is not None:
            delivery = replace(delivery, companions=replace(delivery.companions, record=order.record))
        done = delivery.deliver(data, order.message, order.format_name, {"quality": order.quality})
        values = done.to_dict() | {"id": None if done.message is None else done.message.hex()}
        return Embedded(done.data, values)

    def _warm(self) -> None:
        image = drawn_image(512, 768)
        marked = image
        if self._delivery is not None:
            marked = self._delivery.marker.embed(image, 0)
        for one in (image, marked):
            buffer = io.BytesIO()
            Image.fromarray(one).save(buffer, "JPEG")
            for where in (False, True):
                self.check(buffer.getvalue(), where, False)


def draw(location: Location) -> str | None:
    """Return a picture of where a watermark lies: a data URL of a PNG with one pixel per cell, None without.

    Cells that carry the watermark are blue, those whose content was changed under it orange, all others
    transparent. A change is shown where it is likely, and in more than a few cells. How clearly it shows is
    not in it, as that is a score.
    """
    if not location:
        return None
    cells = np.zeros((*location.carries.shape, 4), np.uint8)
    cells[location.carries] = _CARRIES
    if location.disagreement is not None:
        changed = location.carries & (location.disagreement > _ODDS_OF_CHANGE)
        if changed.mean() > _LEAST_CHANGED:
            cells[changed] = _CHANGED
    buffer = io.BytesIO()
    Image.fromarray(cells).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _message(found: Check) -> bytes | None:
    seen = found.detection
    return seen.message_bytes if seen is not None and seen.detected else None
