"""Attacks of `security.py` with other keys: marks over marks, and keys that are nearly the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from _common import seeded_bytes
from _security_marks import MESSAGE_BITS, Row, marker_of, message_of, originals, price, seen

from fastmark import Detector, Key, Watermarker
from fastmark.codec.carrier import Carrier
from fastmark.codec.tables import TORUS

SIDE = 512
OVER = (1, 2, 4, 8)
NEAR_KEYS = 64


def second_key(number: int, paths: Sequence[Path], count: int, **_: int) -> Iterator[Row]:
    """A marked image is marked again with other keys: what is left of the first mark, and of the last."""
    name, rgb = originals(paths, count, SIDE)[number]
    first, message = marker_of("first"), message_of(name)
    marked = image = first.embed(rgb, message)
    for over in range(1, max(OVER) + 1):
        last = marker_of(f"over {over}")
        image = last.embed(image, message_of(over))
        if over not in OVER:
            continue
        row = {"attack": "second key", "picture": name, "has": "keys of his own", "number": over}
        before = {"before": first.detect(marked).state}
        row |= price(image, marked)
        yield row | {"goal": "remove", "variant": "the first mark"} | seen(first, image, message) | before
        row |= {"goal": "lay over", "variant": "the last mark"}
        yield row | seen(last, image, message_of(over))


def near_keys(_part: str, paths: Sequence[Path], count: int, **_: int) -> Iterator[Row]:
    """Keys whose secrets differ in one bit: carriers of one against the other's, and marks found by them.

    Correlations are in standard deviations of those of independent signs and phases.
    """
    secret = seeded_bytes("security near")
    marker, own = Watermarker(Key(secret), MESSAGE_BITS), Carrier(Key(secret))
    rng = np.random.default_rng(5)
    near = [Key(flipped(secret, int(bit))) for bit in rng.choice(256, NEAR_KEYS, replace=False)]
    others = [Key(rng.bytes(32)) for _ in range(NEAR_KEYS)]
    row = {"attack": "near keys", "goal": "learn", "has": "keys that differ in one bit", "number": NEAR_KEYS}
    compared = [[likeness(own, Carrier(key)) for key in keys] for keys in (near, others)]
    for name in compared[0][0]:
        value, control = (max(like[name] for like in keys) for keys in compared)
        yield row | {"variant": f"{name}, largest", "value": value, "control": control}
    detector = Detector(near, MESSAGE_BITS)
    for name, rgb in originals(paths, count, SIDE):
        found = detector.detect(marker.embed(rgb, message_of(name)))
        tried = {"attack": "near keys", "goal": "forge", "has": row["has"], "number": NEAR_KEYS}
        tried |= {"variant": "marks of the other key", "picture": name}
        for one in found:
            state = {
                "state": one.state,
                "log10_p": one.log10_p,
                "read": 0,
                "wrong": int(one.message is not None),
            }
            yield tried | state | {"binding": one.binding, "made_with": one.made_with}


def flipped(secret: bytes, bit: int) -> bytes:
    """The same secret but for one bit."""
    changed = bytearray(secret)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def likeness(one: Carrier, other: Carrier) -> dict[str, float]:
    """How alike two keys' signs, phases, places and tones are."""
    signs = one.signs.astype(np.float64) * other.signs
    phases = np.cos(one.phases - other.phases)
    anchors = (one.code_bit < 0) & (other.code_bit < 0)
    expected = signs.size / 100
    distance = np.linalg.norm(one.tones[:, None] - other.tones[None], axis=2).min(axis=1)
    pilots = np.vdot(one.pilot(384), other.pilot(384)) / TORUS**2
    return {
        "signs of chips, z": abs(signs.sum()) / signs.size**0.5,
        "phases of tones, z": abs(phases.sum()) / (phases.size / 2) ** 0.5,
        "anchors in common, z": abs(anchors.sum() - expected) / expected**0.5,
        "tones in common, of 384": float(np.sum(distance == 0)),
        "correlation of pilots": abs(float(pilots)),
    }
