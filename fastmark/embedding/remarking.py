"""Marking an image that may hold a mark of the same key already: replaced, kept or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmark._checks import OnMarked
from fastmark.codec.message import NEEDED_Z
from fastmark.detection.analysis import Analysis
from fastmark.detection.scores import ScorePlanes
from fastmark.embedding.choices import decibels
from fastmark.embedding.earlier import Earlier, Look, look_for
from fastmark.embedding.erasing import erase, measure_earlier
from fastmark.embedding.host import Host, Pixels
from fastmark.embedding.inscription import Inscription
from fastmark.embedding.margins import Margins
from fastmark.embedding.marking import handed_over, mark_host, prepare_image
from fastmark.errors import AlreadyMarkedError
from fastmark.results import REFERENCES, EmbedReport, Survival

_LEAST_CHANGE = 1e-9  # grey levels squared: a report's PSNR is finite


def mark_image(
    image: Pixels,
    inscriptions: Sequence[Inscription],
    strength: float,
    threads: int = 1,
    out: NDArray[Any] | None = None,
    *,
    bind: bool = True,
    on_marked: OnMarked = "replace",
) -> tuple[NDArray[Any], EmbedReport]:
    """Mark an image with one key or with two; where earlier marks of them are seen, as ``on_marked`` says.

    An image that shows no earlier mark is marked as by :func:`fastmark.embedding.marking.mark_host`. An
    earlier one that is to be replaced is drawn again at its place and taken off, if the image was at most
    cropped since; the image is marked, and the detector must then read the new message. Where the tones show
    more than in most images, but no earlier mark is proven, it must at least read no other message.

    Args:
        image: its pixels.
        inscriptions: what is written, that of the caller's own key first.
        strength: the caller's factor, usually 1.
        threads: how many may share the work.
        out: as for ``mark``.
        bind: tie the marks to the content of the image.
        on_marked: "replace", "keep" or "refuse", whichever key the earlier mark is of.

    Returns:
        The marked pixels, and a report: of the first key, with what the names of its attributes say of the
        second, which is that of the public watermark.

    Raises:
        AlreadyMarkedError: where an earlier mark is refused, or the detector does not read the new message.
        ImageTooSmallError, ImageTooFlatError: as ``mark``.
    """
    host = prepare_image(image, threads)
    looks = [look_for(image, host, one.detector) for one in inscriptions]
    found = [(one, look.found) for one, look in zip(inscriptions, looks, strict=True) if look.found]

    def marked(what: Pixels, prepared: Host, to: NDArray[Any] | None) -> tuple[NDArray[Any], EmbedReport]:
        return mark_host(what, prepared, inscriptions, strength, threads, to, bind=bind)

    if not found:
        suspected = [one for one, look in zip(inscriptions, looks, strict=True) if look.suspected]
        if not suspected:
            return marked(image, host, out)
        values, report = marked(image, host, None)
        for one, read in zip(suspected, _read(image, values, suspected, threads), strict=True):
            if read is not None and not one.is_read_as(read):
                raise not_replaced(f"{read:0{one.message_bits // 4}x}", one.name)
        return handed_over(values, out), report
    first, earlier = found[0]
    if on_marked == "refuse":
        raise AlreadyMarkedError(
            f"{_carries(first.name, earlier.message_hex)}: use the"
            ' original, on_marked="replace" (--on-marked replace) or another key',
            earlier.message_hex,
        )
    if on_marked == "keep":
        report = _kept(image, earlier, first, missing=len(inscriptions) > len(found))
        return handed_over(image.values.copy(), out), _with_earlier(report, inscriptions, looks)
    bare = image
    for one, seen in found:
        bare = erase(bare, seen, one.detector.carrier, threads) or bare
    if bare is image:
        values, report = marked(image, host, None)
    else:
        values, report = marked(bare, prepare_image(bare, threads), None)
        report = replace(report, psnr_db=decibels(max(_change(image, values), _LEAST_CHANGE)))
    written = [one for one, _ in found]
    for (one, seen), read in zip(found, _read(image, values, written, threads), strict=True):
        if not one.is_read_as(read):
            raise not_replaced(seen.message_hex, one.name)
    report = replace(report, action="replaced")
    return handed_over(values, out), _with_earlier(report, inscriptions, looks)


def _with_earlier(
    report: EmbedReport, inscriptions: Sequence[Inscription], looks: Sequence[Look]
) -> EmbedReport:
    """Say in a report what the earlier marks said; one that the caller may not know of gets a warning."""
    said = [None if look.found is None else look.found.message_hex for look in looks]
    replaced = tuple(
        one.told(f"{_says(look.found.message_hex)} was there before, and was replaced")
        for one, look in zip(inscriptions, looks, strict=True)
        if one.name and look.found is not None and report.action == "replaced"
        if not one.is_read_as(look.found.message)
    )
    return replace(
        report,
        earlier_message=said[0],
        earlier_public=said[1] if len(said) > 1 else None,
        warnings=(*report.warnings, *replaced),
    )


def not_replaced(message_hex: str | None, name: str = "") -> AlreadyMarkedError:
    """Return the error of a mark that an earlier one hides; ``name`` as that of an inscription."""
    return AlreadyMarkedError(
        f"{_carries(name, message_hex)}, and the new message is"
        ' not read beside it: use the original, on_marked="keep" (--on-marked keep) or another key',
        message_hex,
    )


def _carries(name: str, message_hex: str | None) -> str:
    return f"the image carries a {name or 'watermark of this key'} already ({_says(message_hex)})"


def _says(message_hex: str | None) -> str:
    return "its message is not readable" if message_hex is None else f"message {message_hex}"


def _read(
    image: Pixels, values: NDArray[Any], inscriptions: Sequence[Inscription], threads: int
) -> list[int | None]:
    """Return the messages that detectors read from the pixels that would be handed over."""
    analysis = Analysis(ScorePlanes(replace(image, values=values).plane(threads), 1, threads))
    return [one.detector.detect(analysis, image.k).message for one in inscriptions]


def _change(image: Pixels, values: NDArray[Any]) -> float:
    """Return the mean square of a change, grey levels of 255 squared, pixels counted by their opacity."""
    change = (values.astype(np.float32) - image.values) * np.float32(255.0 / image.peak)
    squares = np.square(change).reshape(*values.shape[:2], -1).mean(axis=2)
    return float(np.average(squares, weights=image.visible))


def _kept(image: Pixels, earlier: Earlier, of: Inscription, *, missing: bool) -> EmbedReport:
    """Report of an image that is left as it is: the margins are those of the mark that it has."""
    margins = measure_earlier(image, earlier, of.detector.carrier)
    survival: tuple[Survival, ...] = ()
    if margins is None:
        margins = Margins(earlier.message_z / NEEDED_Z[earlier.message_bits], 0.0, 0.0)
    else:
        survival = tuple(Survival(name, getattr(margins.survival, name)) for name in REFERENCES)
    kept = f"{_carries(of.name, earlier.message_hex)}, and is left as it is"
    return EmbedReport(
        decibels(_LEAST_CHANGE),
        0.0,
        earlier.placement.n_tones,
        image.k,
        margins.message,
        margins.jpeg,
        margins.pilot,
        (kept + ", without the other watermark" if missing else kept,),
        survival=survival,
        action="kept",
    )
