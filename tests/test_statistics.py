"""No false accusation: over unmarked pictures and wrong keys, p-values keep what they promise."""

import contextlib
import copy
import math

import numpy as np
import pytest
from pictures import drawn, grey, photograph
from PIL import Image

import fastmark as fm
from fastmark.alignment import TorusSpectrum
from fastmark.chips import ChipBlocks
from fastmark.message import MessageCode
from fastmark.scoring import ScorePlanes

PHOTOGRAPHS = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "camera",
    "coins",
    "page",
    "text",
    "brick",
    "gravel",
)
N_KEYS = 5


def keys(purpose, count=N_KEYS):
    return [fm.Key(np.random.default_rng([ord(c) for c in f"{purpose} {n}"]).bytes(32)) for n in range(count)]


def assert_kept(log10_ps, slack=3):
    """The share of p <= 10^-n is at most 10^-n, within 4 sigma of a binomial."""
    trials = len(log10_ps)
    for n in (1, 2, 3, 4):
        bound = 10.0**-n
        seen = np.count_nonzero(np.asarray(log10_ps) <= -n)
        assert seen <= trials * bound + 4 * math.sqrt(trials * bound) + slack * (n < 3), (n, seen, trials)


def crops(seed, count):
    """Small pieces of photographs, some of them marked with a key that nobody looks for."""
    rng = np.random.default_rng(seed)
    strange = fm.Watermarker(fm.Key(b"a key that nobody looks for, ever"[:32]))
    for i in range(count):
        picture = photograph(PHOTOGRAPHS[i % len(PHOTOGRAPHS)])
        height, width = (min(int(rng.integers(128, 192)), n) for n in picture.shape[:2])
        top, left = (
            int(rng.integers(n - part + 1)) for n, part in zip(picture.shape, (height, width), strict=False)
        )
        crop = picture[top : top + height, left : left + width]
        if i % 4 == 3 and min(height, width) >= 160:
            with contextlib.suppress(fm.FastmarkError):
                crop = strange.embed(crop, i)
        yield crop


@pytest.mark.parametrize("seed", [1, 2])
def test_unmarked_pictures_and_wrong_keys_keep_the_bound(seed):
    log10_ps = []
    for i, picture in enumerate(crops(seed, 10)):
        for found in fm.detect(picture, keys(f"crop {seed} {i}"), message_bits=16 if i % 2 else 64):
            assert found.message is None
            assert found.state != "detected"
            log10_ps.append(found.log10_p - math.log10(N_KEYS))
    assert len(log10_ps) == 10 * N_KEYS
    assert_kept(log10_ps)


def gratings():
    y, x = np.mgrid[0:256, 0:300]
    waves = sum(
        np.cos(2 * np.pi * (fy * y + fx * x))
        for fy, fx in np.random.default_rng(3).uniform(0.05, 0.2, (60, 2))
    )
    return np.clip(128 + 9 * waves, 0, 255).astype(np.uint8)


STRANGE = {
    "black": lambda: np.zeros((200, 300, 3), np.uint8),
    "white": lambda: np.full((200, 300), 255, np.uint8),
    "noise": lambda: np.random.default_rng(0).integers(0, 256, (256, 256), np.uint8),
    "gratings": gratings,
    "a chessboard": lambda: photograph("checkerboard"),
    "halftone": lambda: np.asarray(Image.fromarray(photograph("astronaut", 300)).convert("1")),
    "blocks": lambda: np.kron(drawn(40, 40), np.ones((8, 8, 1), np.uint8)),
    "one period": lambda: np.tile(photograph("brick", 64), (5, 6)),
    "a dot": lambda: np.pad(np.full((1, 1), 255, np.uint8), 150),
    "long and thin": lambda: drawn(60, 1500),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_pictures_hold_nothing(name):
    picture = STRANGE[name]()
    if picture.dtype == bool:
        picture = picture * np.uint8(255)
    for found in fm.detect(picture, keys(name, 2)):
        assert (found.state, found.message) == ("absent", None)
        assert found.log10_p > -3


# ---- what repeats with the torus -------------------------------------------------------------------


def tiled(height=200):
    """Noise of period 1024, twice: the same chips see the same picture again."""
    tile = np.random.default_rng(8).normal(128, 25, (height, 1024))
    return np.clip(np.tile(tile, (1, 2)), 0, 255).astype(np.float32)


def test_a_picture_that_repeats_with_the_torus_has_no_small_p_value():
    found = fm.detect(np.rint(tiled()).astype(np.uint8), keys("tiled", 3))
    assert min(f.log10_p for f in found) > -2
    assert {f.message for f in found} == {None}


@pytest.mark.parametrize("kind", ["tiled", "photograph"])
def test_sums_of_chips_have_the_variance_that_is_claimed(carrier, kind):
    plane = tiled(64) if kind == "tiled" else grey(photograph("coffee")).astype(np.float32)
    blocks = ChipBlocks.of(ScorePlanes(plane).weighted(), np.ones(plane.shape, np.uint8))
    of = copy.copy(carrier)
    rng = np.random.default_rng(11)
    z = []
    for _ in range(200):
        of.signs = rng.choice(np.array([-1, 1], np.float32), carrier.signs.shape)
        total, squares = blocks.soft_bits(of, (3, 5))
        z.append(np.append(total[:8], total[-1]) / np.sqrt(np.append(squares[:8], squares[-1])))
    # 1800 values of unit variance: the variance itself is known to 1 / 30
    assert np.mean(np.square(z)) == pytest.approx(1, abs=0.12)
    assert abs(np.mean(z)) < 0.1


# ---- the parts of the evidence ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["photograph", "noise", "marked by another"])
def test_the_best_place_of_random_phases_keeps_its_bound(carrier, key, kind):
    """Over phases alone, all else fixed, as the bound is made."""
    picture = photograph("chelsea", 200)
    if kind == "noise":
        picture = np.random.default_rng(1).integers(0, 256, (200, 200, 3), np.uint8)
    if kind == "marked by another":
        picture = fm.Watermarker(key).embed(picture, 3)
    torus = TorusSpectrum(ScorePlanes(grey(picture).astype(np.float32)), np.eye(2))
    of = copy.copy(carrier)
    rng = np.random.default_rng(2)
    log_ps = []
    for _ in range(200):
        of.phases = rng.uniform(0, 2 * np.pi, carrier.phases.size)
        log_ps.append(torus.place(of).log_p)
    assert_kept(np.array(log_ps) / math.log(10))


def test_the_decoder_finds_no_message_in_noise_beyond_its_bound():
    """2^K codewords were tried at once: their number is paid for."""
    code = MessageCode(16)
    rng = np.random.default_rng(5)
    log_ps = []
    for _ in range(400):
        noise = rng.normal(size=1024)
        decoded = code.decode((2 * noise).astype(np.float32))
        if decoded is not None:
            z = float((1 - 2.0 * decoded.codeword) @ noise) / 32
            log_ps.append(min(0.0, -z * z / 2 + (16 + decoded.k) * math.log(2)))
    assert_kept(np.append(log_ps, np.zeros(400 - len(log_ps))) / math.log(10))
