"""What the families of `calibrate.py` share: the code's constants, and rows that compare them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from _common import seeded_bytes

Row = dict[str, Any]

STAYS = "beyond the spread; the constant stays, as marks and their measured quality go with it"


def constants() -> dict[str, float]:
    """The code's constants that are calibrated here, by the names they have in the results."""
    from fastmark.codec.message import NEEDED_Z
    from fastmark.detection import integer_units, origins, scan, search
    from fastmark.embedding import choices, survival

    found = {
        "visibility: offset": choices.VISIBILITY_OFFSET,
        "visibility: of ln strength": choices.VISIBILITY_OF_STRENGTH,
        "visibility: of ln noise": choices.VISIBILITY_OF_NOISE,
        "visibility: of ln pixels per unit": choices.VISIBILITY_OF_UNIT,
        "visibility: content": choices.CONTENT_POWER,
        "phases: share of the nats": survival.PHASES_SHARE,
        "phases: nats per tone": survival.NATS_PER_TONE,
        "scan: share of the score": survival.SCORE_SHARE,
        "scan: score per tone": survival.SCORE_PER_TONE,
        "score: fine": scan._LEAST_FINE,
        "score: upright": scan._LEAST_UPRIGHT,
        "score: strained": scan._LEAST_STRAINED,
        "score: refined": scan._LEAST_REFINED,
        "score: bent": search._PIECEWISE_SCORE,
        "score: whole units": integer_units.SHOWN,
        "score: dense units": integer_units._SHOWN_WELL,
        "excess: worth a crop": search._WORTH_A_CROP,
        "excess: worth a small crop": search._WORTH_A_SMALL_CROP,
        "excess: tones missing": origins.TONES_MISSING,
        "z: origin": search._ORIGIN_SCORE,
        "z: shift": search._SHIFT_SCORE,
        "z: dense": search._DENSE_SCORE,
    }
    return found | {f"needed z, {bits} bits": z for bits, z in NEEDED_Z.items()}


@cache
def carriers(n_keys: int) -> list[Any]:
    """Carriers of the numbered benchmark keys."""
    from fastmark.codec.carrier import Carrier
    from fastmark.codec.key import Key

    return [Carrier(Key(seeded_bytes(f"calibrate, key {n}"))) for n in range(n_keys)]


def compared(name: str, found: float, error: float, digits: int, why: str = STAYS, **counts: object) -> Row:
    """A constant beside the value found; the spread is two standard errors and half of its last digit."""
    in_code = constants()[name]
    spread = 2 * error + 0.5 * 10**-digits
    note = "" if abs(found - in_code) <= spread else why
    return {"name": name, "in_code": in_code, "found": found, "spread": spread, **counts, "note": note}


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error; of one value the latter is not known, and taken for 0."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5) if values[1:] else 0.0
