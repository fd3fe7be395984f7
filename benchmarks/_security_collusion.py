"""Attacks of `security.py` by holders of one image with several messages, who put their copies together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
from _pixels import to_bytes
from _security_marks import Row, marker_of, message_of, originals, removal

from fastmark.codec.binding import STRONG
from fastmark.embedding import marking
from fastmark.embedding.choices import choose_tones
from fastmark.embedding.design import PILOT_RATIO, Design
from fastmark.embedding.host import Host
from fastmark.embedding.origin import Agreement

SIDE = 384
COPIES = (2, 5, 10)
BLOCK = 8


def collusion(number: int, paths: Sequence[Path], count: int, **_: int) -> Iterator[Row]:
    """One image, several messages of one key: no message but theirs may be read from what copies make.

    Besides, the same with copies whose origins are chosen by the pilot alone, so that all lie at one place:
    pilot and anchors are then the same in all copies.
    """
    marker = marker_of("collusion")
    name, rgb = originals(paths, count, SIDE)[number]
    messages = [message_of(f"{name} {i}") for i in range(max(COPIES))]
    placed = {"": [marker.embed(rgb, message) for message in messages]}
    with mock.patch.object(marking, "make_design", at_one_place):
        placed[", one place"] = [marker.embed(rgb, message) for message in messages]
    for kind, copies in placed.items():
        for copied in COPIES:
            for way, made in joined(copies[:copied], np.random.default_rng(number)):
                row = {"attack": "collusion", "picture": name, "number": copied}
                row |= {"variant": way + kind, "has": "copies of one image"}
                yield row | removal(marker, copies[0], made, *messages[:copied])


def joined(copies: Sequence[np.ndarray], rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """What is made of copies; the median of two is their mean."""
    stack = np.stack(copies)
    yield "mean", to_bytes(stack.mean(axis=0))
    if len(copies) > 2:
        yield "median", to_bytes(np.median(stack, axis=0))
        yield "middle of least and largest", to_bytes(stack.min(axis=0) / 2 + stack.max(axis=0) / 2)
    yield "least", stack.min(axis=0)
    height, width = stack.shape[1:3]
    blocks = rng.integers(0, len(copies), (-(-height // BLOCK), -(-width // BLOCK)))
    chosen = np.kron(blocks, np.ones((BLOCK, BLOCK), int))[:height, :width]
    yield "blocks at random", np.take_along_axis(stack, chosen[None, ..., None], axis=0)[0]


def at_one_place(host: Host, carrier: object, codeword: np.ndarray, *, bind: bool = True) -> Design:
    """As `marking.make_design`, but the message does not help to choose the origin."""
    n_tones = choose_tones(host, carrier, PILOT_RATIO)
    origin = Agreement.of(host.scored, carrier, codeword, n_tones).best(0.0)
    return Design(origin, n_tones, binding=STRONG if bind else None)
