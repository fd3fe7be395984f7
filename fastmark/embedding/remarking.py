"""Marking an image that may hold a mark of the same key already: replaced, kept or refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmark._checks import OnMarked
from fastmark.codec.carrier import Carrier
from fastmark.codec.message import NEEDED_Z
from fastmark.detection.analysis import Analysis
from fastmark.detection.detector import KeyDetector
from fastmark.detection.scores import ScorePlanes
from fastmark.embedding.choices import decibels
from fastmark.embedding.earlier import Earlier, look_for
from fastmark.embedding.erasing import erase, measure_earlier
from fastmark.embedding.host import Host, Pixels
from fastmark.embedding.margins import Margins
from fastmark.embedding.marking import handed_over, mark_host, prepare_image
from fastmark.errors import AlreadyMarkedError
from fastmark.results import REFERENCES, EmbedReport, Survival

_LEAST_CHANGE = 1e-9  # grey levels squared: a report's PSNR is finite


def mark_image(
    image: Pixels,
    detector: KeyDetector,
    message: bytes,
    strength: float,
    threads: int = 1,
    out: NDArray[Any] | None = None,
    *,
    bind: bool = True,
    on_marked: OnMarked = "replace",
) -> tuple[NDArray[Any], EmbedReport]:
    """Mark an image; where an earlier mark of the key is seen, as ``on_marked`` says.

    An image that shows no earlier mark is marked as by :func:`fastmark.embedding.marking.mark`. An earlier
    one that is to be replaced is drawn again at its place and taken off, if the image was at most cropped
    since; the image is marked, and the detector must then read the new message. Where the tones show more
    than in most images, but no earlier mark is proven, it must at least read no other message.

    Args:
        image: its pixels.
        detector: of the key, and of messages of that length.
        message: its bytes.
        strength: the caller's factor, usually 1.
        threads: how many may share the work.
        out: as for ``mark``.
        bind: tie the mark to the content of the image.
        on_marked: "replace", "keep" or "refuse".

    Raises:
        AlreadyMarkedError: where an earlier mark is refused, or the detector does not read the new message.
        ImageTooSmallError, ImageTooFlatError: as ``mark``.
    """
    host = prepare_image(image, threads)
    look = look_for(image, host, detector)

    def marked(what: Pixels, prepared: Host, to: NDArray[Any] | None) -> tuple[NDArray[Any], EmbedReport]:
        carrier, code = detector.carrier, detector.code
        return mark_host(what, prepared, carrier, code, message, strength, threads, to, bind=bind)

    earlier = look.found
    if earlier is None:
        if not look.suspected:
            return marked(image, host, out)
        values, report = marked(image, host, None)
        found = _read(image, values, detector, threads)
        if found is not None and found != int.from_bytes(message, "big"):
            raise not_replaced(f"{found:0{detector.code.message_bits // 4}x}")
        return handed_over(values, out), report
    if on_marked == "refuse":
        raise AlreadyMarkedError(
            f"the image carries a watermark of this key already ({_says(earlier.message_hex)}): use the"
            ' original, on_marked="replace" (--on-marked replace) or another key',
            earlier.message_hex,
        )
    if on_marked == "keep":
        return handed_over(image.values.copy(), out), _kept(image, earlier, detector.carrier)
    bare = erase(image, earlier, detector.carrier, threads)
    if bare is None:
        values, report = marked(image, host, None)
    else:
        values, report = marked(bare, prepare_image(bare, threads), None)
        report = replace(report, psnr_db=decibels(max(_change(image, values), _LEAST_CHANGE)))
    if _read(image, values, detector, threads) != int.from_bytes(message, "big"):
        raise not_replaced(earlier.message_hex)
    report = replace(report, action="replaced", earlier_message=earlier.message_hex)
    return handed_over(values, out), report


def not_replaced(message_hex: str | None) -> AlreadyMarkedError:
    """Return the error of a mark that an earlier one hides."""
    return AlreadyMarkedError(
        f"the image carries a watermark of this key already ({_says(message_hex)}), and the new message is"
        ' not read beside it: use the original, on_marked="keep" (--on-marked keep) or another key',
        message_hex,
    )


def _says(message_hex: str | None) -> str:
    return "its message is not readable" if message_hex is None else f"message {message_hex}"


def _read(image: Pixels, values: NDArray[Any], detector: KeyDetector, threads: int) -> int | None:
    """Return the message that the detector reads from the pixels that would be handed over."""
    analysis = Analysis(ScorePlanes(replace(image, values=values).plane(threads), 1, threads))
    return detector.detect(analysis, image.k).message


def _change(image: Pixels, values: NDArray[Any]) -> float:
    """Return the mean square of a change, grey levels of 255 squared, pixels counted by their opacity."""
    change = (values.astype(np.float32) - image.values) * np.float32(255.0 / image.peak)
    squares = np.square(change).reshape(*values.shape[:2], -1).mean(axis=2)
    return float(np.average(squares, weights=image.visible))


def _kept(image: Pixels, earlier: Earlier, carrier: Carrier) -> EmbedReport:
    """Report of an image that is left as it is: the margins are those of the mark that it has."""
    margins = measure_earlier(image, earlier, carrier)
    survival: tuple[Survival, ...] = ()
    if margins is None:
        margins = Margins(earlier.message_z / NEEDED_Z[earlier.message_bits], 0.0, 0.0)
    else:
        survival = tuple(Survival(name, getattr(margins.survival, name)) for name in REFERENCES)
    says = _says(earlier.message_hex)
    return EmbedReport(
        decibels(_LEAST_CHANGE),
        0.0,
        earlier.placement.n_tones,
        image.k,
        margins.message,
        margins.jpeg,
        margins.pilot,
        (f"the image carries a watermark of this key already ({says}), and is left as it is",),
        survival=survival,
        action="kept",
        earlier_message=earlier.message_hex,
    )
