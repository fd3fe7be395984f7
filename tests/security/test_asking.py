"""Somebody who asks a detector: what he learns of one that is simple, where the best is known."""

import contextlib
import math
from types import SimpleNamespace

import numpy as np
import pytest

SIDE = 48


class Correlator:
    """A detector whose evidence is the correlation with a pattern: p falls as that of a normal statistic."""

    def __init__(self, pattern, host):
        self.pattern, self.host = pattern, host
        self.asked = 0

    def detect(self, image):
        self.asked += 1
        z = float(np.vdot(image[..., 1] - self.host, self.pattern)) / SIDE
        log10_p = min(0.0, -0.5 * max(z, 0) ** 2 / math.log(10))
        return SimpleNamespace(detected=log10_p <= -9, log10_p=log10_p)


@pytest.fixture(scope="module")
def oracle(attacks):
    return attacks("oracle")


@pytest.fixture
def asked(oracle, attacks):
    """A function that makes an oracle of so many calls, of a simple detector."""
    random = np.random.default_rng(11)
    shared = attacks("marks")
    host = np.rint(random.normal(128, 25, (SIDE, SIDE))).clip(40, 215).astype(np.uint8)
    pattern = shared.noise((SIDE, SIDE), random)
    detector = Correlator(pattern, host.astype(np.float64))
    marked = shared.added(host[..., None].repeat(3, 2), 0.6 * pattern)

    def made(calls):
        return oracle.Oracle(detector, marked, calls)

    return made


@pytest.mark.parametrize("way", ["by_bands", "by_scores"])
def test_more_calls_find_a_nearer_image_and_no_call_is_beyond_the_limit(oracle, asked, way):
    best = []
    for calls in (100, 1500):
        one = asked(calls)
        with contextlib.suppress(oracle.SpentError):
            getattr(oracle, way)(one, np.random.default_rng(12))
        assert one.asked == calls == one.marker.asked
        one.marker.asked = 0
        assert not one.marker.detect(one.best).detected
        one.marker.asked = 0
        best.append(one.best_db)
    assert best[1] > best[0] + 3


def test_the_shortest_part_of_a_change_is_bisected(oracle, asked):
    one = asked(100)
    delta = np.ones((SIDE, SIDE), np.float32)
    found = oracle.bisected(lambda change: change[0, 0] < 0.3, delta, one, steps=10)
    assert found[0, 0] == pytest.approx(0.3, abs=2e-3) and found[0, 0] >= 0.3
