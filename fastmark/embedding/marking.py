"""Image and messages -> marked image: the patterns drawn, brought to strength, checked, and added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.binding import STRONG, WEAK
from fastmark.codec.carrier import Carrier
from fastmark.codec.key import Key
from fastmark.codec.message import MessageCode
from fastmark.codec.plane import Plane
from fastmark.detection.detector import KeyDetector
from fastmark.embedding.choices import choose_strength, choose_tones, decibels, lowered
from fastmark.embedding.design import PILOT_RATIO, Design
from fastmark.embedding.drawing import make_delta
from fastmark.embedding.hardening import harden
from fastmark.embedding.host import Host, Pixels, hashed_origin, prepare
from fastmark.embedding.inscription import Inscription
from fastmark.embedding.margins import KnownMark, Margins, least, measure_each, measure_seen
from fastmark.embedding.origin import Agreement
from fastmark.errors import ImageTooFlatError, ImageTooSmallError
from fastmark.results import REFERENCES, EmbedReport, Survival

_FLAT_DEVIATION = 1.0  # grey levels
_MOST_LOWERED = 3  # times that the strength is lowered for the PSNR's sake; then it lacks 0.1 dB at most
_REMEDY = "use more strength, fewer message bits or a larger image"


def mark(
    pixels: NDArray[Any],
    peak: float,
    carrier: Carrier,
    code: MessageCode,
    message: bytes,
    strength: float,
    threads: int = 1,
    out: NDArray[Any] | None = None,
    visible: NDArray[np.float32] | None = None,
    *,
    bind: bool = True,
) -> tuple[NDArray[Any], EmbedReport]:
    """Mark the pixels of an image.

    Args:
        pixels: ``(H, W)`` or ``(H, W, 3)``, uint8, uint16 or float32, C-contiguous.
        peak: the value of white.
        carrier: of the key.
        code: of the message's length.
        message: its bytes.
        strength: the caller's factor, usually 1.
        threads: how many may share the work.
        out: uint8 like ``pixels``, takes the marked pixels, and may be ``pixels``; nothing is written to it
            where the image is refused.
        visible: float32 ``(H, W)``, the opacity of the pixels, 0..1; those of opacity 0 stay as they are,
            and all others count by it. None where all are opaque.
        bind: tie the mark to the content of the image.

    Raises:
        ImageTooSmallError, ImageTooFlatError: if the message could not be read back from the marked image.
    """
    image = Pixels.of(pixels, peak, visible)
    host = prepare_image(image, threads)
    inscription = Inscription(KeyDetector(carrier, code), message)
    return mark_host(image, host, [inscription], strength, threads, out, bind=bind)


def mark_host(
    image: Pixels,
    host: Host,
    inscriptions: Sequence[Inscription],
    strength: float,
    threads: int = 1,
    out: NDArray[Any] | None = None,
    *,
    bind: bool = True,
) -> tuple[NDArray[Any], EmbedReport]:
    """Mark an image whose plane is prepared, with one message or with two at once; as :func:`mark`.

    The report is that of the first, with the warnings of all, and the margin of the second.
    """
    knowns, designs = [], []
    for one in inscriptions:
        carrier, code = one.detector.carrier, one.detector.code
        codeword = code.encode(one.message, image.k)
        design = make_design(host, carrier, codeword, bind=bind)
        designs.append(design)
        knowns.append(KnownMark(design.origin, carrier, codeword, design.n_tones, code.message_bits))
    # where the messages need all there is, the bindings get less
    for binding in (STRONG, WEAK) if bind else (None,):
        bound = [replace(design, binding=binding) for design in designs]
        delta, total = _make_hardened(host, knowns, bound, strength, threads)
        if image.visible is None:
            pairs = [(one, one) for one in measure_each(image, delta, host.perception.mask, knowns)]
        else:
            marked, mse = image.add(delta, threads)
            pairs = measure_seen(marked, knowns)
        if min(margins.message for pair in pairs for margins in pair) >= 1:
            break
    for one, (bare, shown) in zip(inscriptions, pairs, strict=True):
        if image.visible is None:
            _refuse_lost(host, bare, one)
        else:
            _refuse_unseen(host, bare, shown, one)
    if image.visible is None:  # nothing is written before the margins are known
        marked, mse = image.add(delta, threads, out)
    margins, *others = [least(*pair) for pair in pairs]
    report = EmbedReport(
        decibels(max(mse, 1e-9)),
        total,
        designs[0].n_tones,
        image.k,
        margins.message,
        margins.jpeg,
        margins.pilot,
        tuple(
            one.told(warning)
            for one, pair in zip(inscriptions, pairs, strict=True)
            for warning in _warnings(*pair)
        ),
        survival=tuple(Survival(name, getattr(margins.survival, name)) for name in REFERENCES),
        margin_public=others[0].message if others else None,
    )
    return handed_over(marked.values, out), report


def make_design(host: Host, carrier: Carrier, codeword: NDArray[np.uint8], *, bind: bool = True) -> Design:
    """Decide how an image is marked with a codeword."""
    n_tones = choose_tones(host, carrier, PILOT_RATIO)
    if host.scored.detailed:
        origin = Agreement.of(host.scored, carrier, codeword, n_tones).best()
    else:
        assert isinstance(carrier.key, Key)  # a detector key marks nothing
        origin = hashed_origin(host.plane, carrier.key, codeword)
    return Design(origin, n_tones, binding=STRONG if bind else None)


def prepare_image(image: Pixels, threads: int) -> Host:
    """Measure the plane of an image.

    Raises:
        ImageTooFlatError: if nothing of it is visible.
    """
    opacity = image.opacity()
    if opacity is not None and not opacity.any():
        raise ImageTooFlatError(
            "no pixel of this image is visible (alpha is 0 everywhere): it cannot carry a watermark;"
            " remove the alpha channel or choose another image"
        )
    return prepare(image.plane(threads), image.k, opacity, threads, image.colours())


def _make_hardened(
    host: Host, knowns: Sequence[KnownMark], designs: Sequence[Design], factor: float, threads: int
) -> tuple[Plane, float]:
    """Return the sum of the deltas, and the strength of each: ``factor`` times the chosen one, or less."""
    first, *others = [
        make_delta(host, known.carrier, known.codeword, design, threads)
        for known, design in zip(knowns, designs, strict=True)
    ]
    for other in others:
        first += other
    n = len(designs)
    strength = factor * choose_strength(host, designs[0], n)
    delta, mean_square = harden(host, first, strength, threads)
    for _ in range(_MOST_LOWERED):  # what hardening adds does not go with the strength
        held = lowered(strength, factor, mean_square, n)
        if held == strength:
            break
        strength = held
        delta, mean_square = harden(host, first, strength, threads)
    return delta, strength


def handed_over(marked: NDArray[Any], out: NDArray[Any] | None) -> NDArray[Any]:
    """Return pixels, in ``out`` where there is one."""
    if out is None or np.may_share_memory(marked, out):
        return marked
    np.copyto(out, marked)
    return out


def _warnings(bare: Margins, shown: Margins) -> tuple[str, ...]:
    """Say what a mark will not survive, by its margins in the file without alpha and over a background."""
    lost = "the message is not expected to survive "
    weak = "the pilot is weak: after cropping or scaling the mark may not be found"
    before, after = bare.survival, shown.survival
    warnings = []
    for bare_margin, shown_margin, warning in (
        (
            min(bare.jpeg, before.jpeg),
            min(shown.jpeg, after.jpeg),
            lost + "JPEG compression at quality 50",
        ),
        (bare.pilot, shown.pilot, weak),
        (before.half, after.half, lost + "scaling to half size"),
        (before.crop, after.crop, lost + "cropping to a quarter of the area"),
        (before.screenshot, after.screenshot, lost + "a screenshot at half size"),
    ):
        least_margin = min(bare_margin, shown_margin)
        if least_margin >= 1:
            continue
        if shown_margin >= 1:
            warning += " when the alpha channel is dropped"
        elif bare_margin >= 1:
            warning += " when the image is shown over a background"
        warnings.append(f"{warning} (predicted margin {least_margin:.2f}): {_REMEDY}")
    return tuple(warnings)


def _refuse_lost(host: Host, margins: Margins, one: Inscription) -> None:
    """Raise unless the message can be read from the marked image as it is."""
    if margins.message >= 1:
        return
    message_bits = one.message_bits
    height, width = (n * host.k for n in host.plane.shape)
    if float(np.mean(host.perception.deviation)) < _FLAT_DEVIATION:
        raise ImageTooFlatError(
            f"the image ({width} x {height}) is too flat or clipped to carry {message_bits} bits: the mark"
            " was lost in rounding; use fewer message bits or more strength"
        )
    raise ImageTooSmallError(
        f"an image of {width} x {height} pixels with this texture cannot carry {message_bits} bits;"
        " use fewer message bits, more strength or a larger image"
    )


def _refuse_unseen(host: Host, bare: Margins, shown: Margins, one: Inscription) -> None:
    """Raise unless the message can be read from an image with transparent pixels, with alpha and without."""
    if min(bare.message, shown.message) >= 1:
        return
    message_bits = one.message_bits
    assert host.opacity is not None and host.weights is not None
    height, width = (n * host.k for n in host.plane.shape)
    share, mean = float(np.mean(host.opacity > 0)), float(np.mean(host.opacity))
    part = (
        f"its visible part ({share:.0%} of {width} x {height} pixels, {mean / share:.0%} opaque on average)"
    )
    if shown.message >= 1:
        raise ImageTooSmallError(
            f"{part} carries {message_bits} bits, but not beside the colours of the invisible pixels: make"
            " these one colour, or use fewer message bits or more strength"
        )
    if float(np.average(host.perception.deviation, weights=host.weights)) < _FLAT_DEVIATION:
        raise ImageTooFlatError(
            f"{part} is too flat or clipped and cannot carry {message_bits} bits: the mark was lost in"
            " rounding; use fewer message bits or more strength"
        )
    raise ImageTooSmallError(
        f"{part} cannot carry {message_bits} bits; use fewer message bits, more strength or a larger image"
    )
