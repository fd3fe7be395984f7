"""An image as it is: every place of one that was not cropped is found, by pilot and anchors together."""

import copy
import math

import numpy as np
import pytest
from pictures import drawn, grey, photograph
from planted import planted

from fastmark.codec.carrier import Carrier
from fastmark.codec.key import Key
from fastmark.codec.tables import BLOCK, FIRST_ORIGIN, GRID, TORUS
from fastmark.detection import evidence
from fastmark.detection.analysis import Analysis
from fastmark.detection.origins import TONES_MISSING, block_surface
from fastmark.detection.placement import LOG_ORIGINS, LOG_OTHERS, PILOT_WEIGHT
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.soft_bits import ChipBlocks

SHAPES = {"small": (200, 264), "large": (712, 760), "wider than the torus": (150, 1240)}
STRONG = 5.0  # z at which an image as it is is read


def analysed(plane):
    return Analysis(ScorePlanes(np.ascontiguousarray(plane)))


def moved_by(carrier, blocks):
    """The carrier whose pattern lies so many whole blocks further on, each way."""
    other = copy.copy(carrier)
    other.signs = np.roll(carrier.signs, blocks, axis=(1, 2))
    other.code_bit = np.roll(carrier.code_bit, blocks, axis=(1, 2))
    turns = 2 * np.pi * BLOCK / TORUS * (carrier.tones @ np.array(blocks))
    other.phases = carrier.phases - turns
    other._anchors, other._anchor_waves, other._anchor_spectra, other._pilots = None, None, {}, {}
    return other


def without_lines(plane, carrier):
    """The plane with the pilot's frequencies, and the bins next to them, taken out of its spectrum."""
    spectrum = np.fft.fft2(plane)
    bins = np.rint(carrier.tones / TORUS * plane.shape).astype(int)
    for dy, dx in np.ndindex(3, 3):
        for sign in (1, -1):
            spectrum[tuple((sign * (bins + np.array([dy - 1, dx - 1]))).T)] = 0
    return np.fft.ifft2(spectrum).real.astype(np.float32)


@pytest.fixture(scope="module", params=SHAPES)
def marked(request, carrier, draw_plane):
    """A marked plane, its analysis and its origin."""
    plane, origin = planted(draw_plane("textured", *SHAPES[request.param]), carrier)
    return plane, analysed(plane), origin


def test_every_row_and_column_of_origins_is_found(marked, carrier):
    """The pattern is moved under one mark: each row and column of the torus is the mark's once."""
    _, analysis, origin = marked
    for i in range(GRID):
        blocks = (i, (37 * i + 5) % GRID)
        shown = analysis.origins.place(moved_by(carrier, blocks))
        assert shown.z > STRONG
        found = -shown.placement.offset
        np.testing.assert_array_equal(found, (np.array(origin) + BLOCK * np.array(blocks)) % TORUS)
        assert not shown.placement.inverted
        assert shown.placement.log_trials == LOG_ORIGINS
        np.testing.assert_array_equal(shown.placement.matrix, np.eye(2))


def test_an_inverted_image_lies_where_the_image_does_and_pays_for_it(marked, carrier):
    plane, analysis, origin = marked
    upright, shown = (one.origins.place(carrier) for one in (analysis, analysed(255 - plane)))
    np.testing.assert_array_equal(shown.placement.offset, -np.array(origin, np.float64))
    assert shown.placement.inverted
    assert shown.z == pytest.approx(upright.z, rel=0.02)
    assert shown.placement.log_phases == pytest.approx(upright.placement.log_phases, rel=0.05)
    assert shown.placement.log_trials == LOG_OTHERS


def test_cropped_images_have_no_origin(marked, carrier):
    plane, _, _ = marked
    assert analysed(plane[3:, 5:]).origins.place(carrier).z < STRONG


def test_surfaces_of_whole_blocks_are_sums_of_turned_tones(carrier):
    rng = np.random.default_rng(1)
    values = rng.normal(size=96) + 1j * rng.normal(size=96)
    surface = block_surface(values, carrier.tones[:96])
    for place in ((0, 0), (3, 127), (64, 5), (127, 90)):
        turns = np.exp(-2j * np.pi * BLOCK / TORUS * (carrier.tones[:96] @ np.array(place)))
        assert surface[place] == pytest.approx(np.sum(values * turns).real, abs=1e-3)


def waves(values, tones):
    """Place by place, the waves that a surface is of: ``Re sum v exp(-2 pi i f . j / 128)``."""
    angles = -2j * np.pi * np.tensordot(np.asarray(tones, np.float64), np.indices((GRID, GRID)), 1) / GRID
    return np.tensordot(values, np.exp(angles), 1).real


@pytest.mark.parametrize("n", [0, 1, 50])
def test_surfaces_are_sums_of_waves_of_any_frequency(n):
    """Beyond the band, too, either way."""
    rng = np.random.default_rng(n)
    values, tones = rng.normal(size=n) + 1j * rng.normal(size=n), rng.integers(-200, 200, (n, 2))
    np.testing.assert_allclose(block_surface(values, tones), waves(values, tones), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "tone", [(0, 0), (64, 0), (0, 64), (64, 64), (3, 64), (-3, 64), (0, 3), (-5, -9)], ids=str
)
def test_tones_of_the_first_and_the_last_column_count_as_much_as_others(tone):
    """There, a tone and its mirror image are both in the half spectrum."""
    values, tones = np.array([0.6 - 1.1j]), np.array([tone])
    surface = block_surface(values, tones)
    np.testing.assert_allclose(surface, waves(values, tones), rtol=0, atol=1e-5)
    twice = block_surface(np.repeat(values, 2), np.repeat(tones, 2, axis=0))
    np.testing.assert_allclose(twice, 2 * surface, rtol=0, atol=1e-6)


# ---- missing tones ---------------------------------------------------------------------------------


def known_sums(analysis, carrier, places):
    """The anchors' sums at places of the first block, one chip at a time."""
    step = analysis.plan.step
    blocks = ChipBlocks.of(analysis.planes.weighted(step), step=step, first=FIRST_ORIGIN // step)
    coefficients = blocks.coefficients.astype(np.float64)
    signs = carrier.anchors[:, :, :GRID].astype(np.float64)
    sums = []
    for place in places:
        y, x = ((place[i] + 1 + np.arange(coefficients.shape[1 + i])) % GRID for i in range(2))
        sums.append(np.sum(coefficients * signs[:, y[:, None], x]))
    return np.array(sums)


def test_both_ways_of_adding_anchors_give_the_sum_at_each_origin(marked, carrier):
    _, analysis, origin = marked
    origins, scale = analysis.origins, math.sqrt(analysis.origins._square * carrier.anchor_share)
    everywhere = origins._anchors_everywhere(carrier) / scale
    one_by_one = origins._anchors_at(np.arange(GRID * GRID), carrier) / scale
    np.testing.assert_allclose(everywhere, one_by_one, atol=2e-3)
    assert everywhere.std() == pytest.approx(1, abs=0.15)
    places = [(0, 0), (127, 127), (5, 126), (origin[0] // BLOCK, origin[1] // BLOCK)]
    numbers = [y * GRID + x for y, x in places]
    np.testing.assert_allclose(everywhere[numbers], known_sums(analysis, carrier, places) / scale, atol=2e-3)


def test_an_image_whose_lines_were_taken_out_is_found_by_its_anchors(carrier, draw_plane):
    plane, origin = planted(draw_plane("textured", 420, 500), carrier, strength=1.3)
    shown = analysed(without_lines(plane, carrier)).origins.place(carrier)
    assert shown.view.excess <= TONES_MISSING
    assert shown.z > STRONG
    np.testing.assert_array_equal(shown.placement.offset, -np.array(origin, np.float64))
    # phases say nothing there, and are not said to
    assert shown.placement.log_p > 0


def test_all_origins_are_asked_where_tones_are_missing(carrier, draw_plane):
    """The place is that of the largest sum of both, whichever way each was reckoned."""
    plane = without_lines(draw_plane("textured", 300, 340), carrier)
    analysis = analysed(plane)
    shown = analysis.origins.place(carrier)
    assert shown.view.excess <= TONES_MISSING
    c = shown.view.aligned(turned=False)
    turned = c * np.exp(-2j * np.pi / TORUS * FIRST_ORIGIN * shown.view.tones.sum(axis=1))
    pilot = block_surface(turned, shown.view.tones).ravel() / np.sqrt(np.sum(np.abs(c) ** 2) / 2)
    scale = math.sqrt(analysis.origins._square * carrier.anchor_share)
    anchors = analysis.origins._anchors_at(np.arange(GRID * GRID), carrier) / scale
    together = np.abs(PILOT_WEIGHT * pilot + anchors) / math.hypot(1, PILOT_WEIGHT)
    place = divmod(int(together.argmax()), GRID)
    np.testing.assert_array_equal(-shown.placement.offset, FIRST_ORIGIN + BLOCK * np.array(place))
    assert shown.z == pytest.approx(together.max(), abs=2e-3)


# ---- unmarked --------------------------------------------------------------------------------------

UNMARKED = {
    "photograph": grey(photograph("chelsea", 240)).astype(np.float32),
    "large": grey(drawn(720, 730)).astype(np.float32),
}


def assert_the_bound_holds(seen):
    """Phases at the place that anchors helped to choose, all origins paid for."""
    z = np.array([shown.z for shown in seen])
    log10_ps = np.array([shown.placement.log_p for shown in seen]) / math.log(10)
    for n in (1, 2):
        share = 10.0**-n
        assert np.mean(log10_ps <= -n) <= share + 4 * math.sqrt(share / len(seen))
    assert np.mean(z >= STRONG) <= 0.04
    for shown in seen:
        # the bound is that of what is seen there
        total = shown.view.total(shown.view.aligned(turned=False), -shown.placement.offset)
        sign = -1 if shown.placement.inverted else 1
        bound = evidence.phase_sum_bound(sign * total, np.abs(shown.view.values))
        assert shown.placement.log_phases == pytest.approx(bound, abs=1e-9)


@pytest.fixture(scope="module")
def carriers():
    return [Carrier(Key(bytes([n]) * 32)) for n in range(200)]


@pytest.mark.parametrize("name", UNMARKED)
def test_the_bound_holds_in_unmarked_images(name, carriers):
    analysis = analysed(UNMARKED[name])
    seen = [analysis.origins.place(carrier) for carrier in carriers]
    assert_the_bound_holds(seen)
    # the largest of those 45 or so at which the pilot agrees by 3.2 standard deviations
    assert 3.2 < np.median([shown.z for shown in seen]) < 4.2


def test_the_bound_holds_in_unmarked_images_whose_lines_were_taken_out(carriers):
    plane = UNMARKED["photograph"]
    seen = [analysed(without_lines(plane, one)).origins.place(one) for one in carriers[:100]]
    assert np.mean([shown.view.excess <= TONES_MISSING for shown in seen]) > 0.9
    assert_the_bound_holds(seen)
    # the largest of 32768
    assert 3.8 < np.median([shown.z for shown in seen]) < 4.6
