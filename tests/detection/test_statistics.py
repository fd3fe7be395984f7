"""No false accusation: over unmarked pictures and wrong keys, p-values keep what they promise."""

import contextlib
import copy
import math

import numpy as np
import pytest
from pictures import drawn, grey, photograph
from PIL import Image

import fastmark as fm
from fastmark.codec.carrier import Carrier
from fastmark.codec.message import MessageCode
from fastmark.codec.tables import BLOCK
from fastmark.detection import evidence
from fastmark.detection import search as search_module
from fastmark.detection.analysis import Analysis
from fastmark.detection.logpolar import Templates
from fastmark.detection.plan import HALF
from fastmark.detection.reading import FLOORS, power_excess
from fastmark.detection.scan import Candidate, scan
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.search import Search
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.detection.torus import TorusSpectrum
from fastmark.detection.trace import Trial

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
SHIFT_SCORE = 5.4  # z at which an image as it is is read at one of all whole shifts
POWER_AGREES = 0.5  # standard deviations of the soft bits' power that make another reading worth it


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


@pytest.mark.parametrize("step", [1, HALF])
@pytest.mark.parametrize("kind", ["tiled", "photograph"])
def test_sums_of_chips_have_the_variance_that_is_claimed(carrier, kind, step):
    """At full resolution, and at half of it."""
    plane = tiled(64) if kind == "tiled" else grey(photograph("coffee")).astype(np.float32)
    blocks = ChipBlocks.of(ScorePlanes(plane).weighted(step), step=step)
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
    torus = TorusSpectrum(ScorePlanes(grey(picture).astype(np.float32)), np.eye(2), 1)
    of = copy.copy(carrier)
    rng = np.random.default_rng(2)
    log_ps = []
    for _ in range(200):
        of.phases = rng.uniform(0, 2 * np.pi, carrier.phases.size)
        log_ps.append(torus.place(of).log_p)
    assert_kept(np.array(log_ps) / math.log(10))


# Many keys, made once: what they see in a picture that none of them marked is what chance gives.
N_CARRIERS = 100
UNMARKED = {
    "photograph": lambda: grey(photograph("chelsea", 240)),
    "drawn": lambda: grey(drawn(200, 300)),
    "edges": lambda: photograph("page"),
    "marked by another": lambda: grey(fm.Watermarker(fm.Key(b"!" * 32)).embed(photograph("coffee", 260), 5)),
    "large": lambda: grey(drawn(1000, 1010)),  # and so looked at at half its resolution
}


@pytest.fixture(scope="module")
def carriers():
    return [Carrier(key) for key in keys("carriers", N_CARRIERS)]


@pytest.fixture(scope="module", params=UNMARKED)
def analysis(request):
    """Of a picture that no key of :func:`carriers` has marked."""
    return Analysis(ScorePlanes(UNMARKED[request.param]().astype(np.float32)))


def blocks_of(analysis):
    """The chips of a picture as they are read first."""
    step = analysis.plan.step
    return ChipBlocks.of(analysis.planes.weighted(step), step=step)


def test_pilot_and_anchors_at_one_place_keep_their_bound(analysis, carriers):
    """At places that no key chose: nothing was searched, so nothing is paid, and nothing is to spare."""
    blocks = blocks_of(analysis)
    together, phases, anchors = [], [], []
    for carrier in carriers:
        for y, x in ((0, 0), (3, 77), (50, 9), (127, 127), (64, 100)):
            phases.append(-analysis.identity.coherence(carrier, 96, (BLOCK * y, BLOCK * x)))
            total, squares = blocks.soft_bits(carrier, (y, x))[:, -1]
            anchors.append(evidence.sign_sum_bound(float(total), float(squares)))
            together.append(evidence.product_bound(phases[-1], anchors[-1]))
    for log_ps in (phases, anchors, together):
        assert len(log_ps) == 5 * N_CARRIERS
        assert_kept(np.array(log_ps) / math.log(10))
    # and the bounds are not so far from the truth that they could not but hold
    assert np.mean(np.array(anchors) <= math.log(0.5)) > 0.05
    assert np.mean(np.array(phases) <= math.log(0.5)) > 0.05


def test_the_best_place_of_pilot_and_anchors_keeps_its_bound(analysis, carriers):
    """The first look chooses a place by both: the phases there, all places paid for, are still a bound."""
    found = [analysis.identity.place_densely(carrier, turns=(False,)) for carrier in carriers]
    assert_kept(np.array([placement.log_p for _, placement in found]) / math.log(10), slack=0)
    z = np.array([z for z, _ in found])
    # of a hundred thousand independent shifts, as they are and inverted, the best has z = 4.6 or so
    assert 4.1 < np.median(z) < 5.1
    assert np.mean(z >= SHIFT_SCORE) < 0.1


@pytest.fixture
def all_read(monkeypatch):
    """Chips are read at every place, whatever phases and anchors say of it."""
    monkeypatch.setattr(search_module, "AGREES", math.inf)


def assert_reports_keep(searches):
    """Evidence and messages of searches keep their bounds."""
    for name in ("log_p", "message_log_p"):
        log_ps = [getattr(search.finding, name) for search in searches]
        assert_kept(np.array(log_ps) / math.log(10), slack=0)


def test_what_is_reported_of_the_image_as_it_is_keeps_its_bound(analysis, carriers, all_read):
    """Whatever z is, chips and anchors are read there: the choice of the place is what could flatter them."""
    searches = [Search(analysis, carrier, None, MessageCode(64)) for carrier in carriers]
    for search in searches:
        search.try_as_it_is(sure=True)
        assert [t.kind for t in search.trace if isinstance(t, Trial)] == ["origin", "shift"]
    # at half the resolution as well, where the picture is large and the place even
    n = len(FLOORS)
    assert {search.reader.n_paid for search in searches} <= {2 * n, 2 * n + 1, 2 * n + 2 * analysis.plan.half}
    assert_reports_keep(searches)


def test_what_is_reported_of_whole_units_keeps_its_bound(analysis, carriers, all_read):
    """Every scale is looked at, by phases and by anchors, and read wherever they suggest."""
    log_ps, searches = [], []
    for carrier in carriers[:15]:
        searches.append(Search(analysis, carrier, Templates(carrier), MessageCode(64)))
        assert not searches[-1].try_whole_units(deep=True)
        looks = [t for t in searches[-1].trace if isinstance(t, Trial)]
        assert {t.kind for t in looks} == {"whole units", "dense units"}
        log_ps += [t.placement.log_p for t in looks]
    assert_kept(np.array(log_ps) / math.log(10), slack=0)
    assert_reports_keep(searches)


def test_what_is_reported_of_a_part_of_a_canvas_keeps_its_bound(carriers, all_read, monkeypatch):
    """At geometries that no key chose; the pilot's box, which phases choose, must not flatter the chips."""
    canvas = np.full((620, 640), 240, np.float32)
    canvas[160:460, 130:490] = grey(drawn(300, 360)).astype(np.float32)
    analysis = Analysis(ScorePlanes(canvas))

    def suggested(level, _):
        return [Candidate(scale * np.eye(2), 96, 6.0, level) for scale in (0.9, 0.55)]

    monkeypatch.setattr(search_module, "scan", suggested)
    log_ps, searches = [], []
    for carrier in carriers[:40]:
        searches.append(Search(analysis, carrier, None, MessageCode(64)))
        assert not searches[-1].try_busy_part()
        looks = [t for t in searches[-1].trace if isinstance(t, Trial)]
        assert [t.kind for t in looks] == ["canvas", "canvas"]
        log_ps += [t.placement.log_p for t in looks]
        torus = TorusSpectrum(analysis.busy_part.window.planes, 0.9 * np.eye(2), 1)
        log_ps.append(torus.place_densely(carrier)[1].log_p)
    assert_kept(np.array(log_ps) / math.log(10), slack=0)
    assert_reports_keep(searches)


def test_soft_bits_show_power_no_more_often_than_chance_gives(analysis, carrier):
    """Half a standard deviation of it is what the next reading is worth: three pictures in ten have it."""
    blocks = blocks_of(analysis)
    of = copy.copy(carrier)
    rng = np.random.default_rng(12)
    excess = []
    for _ in range(150):
        of.signs = rng.choice(np.array([-1, 1], np.float32), carrier.signs.shape)
        excess.append(power_excess(blocks.soft_bits(of, (0, 0))))
    assert abs(np.mean(excess)) < 4 / math.sqrt(150)
    assert np.std(excess) < 1.2
    assert 0.1 < np.mean(np.array(excess) > POWER_AGREES) < 0.5


def test_the_scan_seldom_finds_anything_in_a_large_unmarked_picture(carriers):
    """What it finds costs time and, by the number of geometries, evidence."""
    noise = np.random.default_rng(6).integers(0, 256, (1000, 1030)).astype(np.float32)
    levels = Analysis(ScorePlanes(noise)).levels
    found = [any(scan(level, templates) for level in levels) for templates in map(Templates, carriers)]
    assert np.mean(found) < 0.25


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
