"""Large canvases: tiles cover them and show together what is small there: it is placed, cut out and read."""

import math
from dataclasses import replace

import numpy as np
import pytest
from pictures import MESSAGE, drawn
from PIL import Image, ImageDraw
from planted import CODE, GEOMETRIES, place

import fastmark as fm
from fastmark.codec.carrier import Carrier
from fastmark.detection.analysis import Analysis
from fastmark.detection.cutting import cut_to_pilot
from fastmark.detection.logpolar import Templates
from fastmark.detection.masking import MaskedPlanes
from fastmark.detection.placement import LOG_SHIFTS
from fastmark.detection.reading import AGREES, ChipReader
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.tiles import MOST_TILES, STEP, TILE, Tiles, looks_at, sights
from fastmark.detection.windows import LOG_LOOKS, Window

SHARE, TOP, LEFT = 0.5, 420, 700
PLANE_UNIT = 2  # of a canvas of 1500 x 1700 pixels


def canvas(picture):
    """A page of rules and bars, noise at its foot, nothing on the right; a picture on it."""
    page = Image.new("RGB", (1700, 1500), (245, 245, 240))
    draw = ImageDraw.Draw(page)
    for line in range(40, 1200, 30):
        draw.line((40, line, 80 + line * 37 % 500, line), fill=(60, 60, 70), width=4)
    page.paste(Image.fromarray(np.asarray(drawn(280, 900, 5))), (0, 1220))
    page.paste(picture, (LEFT, TOP))
    return np.array(page)


def tiles_of(pixels, plane_unit=PLANE_UNIT):
    return Tiles(ScorePlanes(np.ascontiguousarray(pixels), plane_unit))


def shrunk(image):
    size = round(SHARE * image.shape[1]), round(SHARE * image.shape[0])
    return Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def templates(carrier):
    return Templates(carrier)


@pytest.fixture(scope="module")
def pixels(marker):
    return canvas(shrunk(marker.embed(drawn(640, 760), MESSAGE)))


@pytest.fixture(scope="module")
def shown(pixels, templates):
    """The canvas' tiles, and what they show."""
    tiles = tiles_of(pixels)
    return tiles, sights(tiles, templates)


# ---- tiles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(900, 1300), (512, 1025), (1000, 300)], ids=str)
def test_tiles_cover_the_canvas_and_overlap_by_half(shape):
    tiles = tiles_of(drawn(*shape), 1)
    seen = np.zeros(shape, int)
    for top, left in tiles.corners:
        seen[top : top + TILE, left : left + TILE] += 1
        assert top + TILE <= max(shape[0], TILE) and left + TILE <= max(shape[1], TILE)
    assert seen.min() >= 1
    inner = seen[STEP : shape[0] - STEP, STEP : shape[1] - STEP]
    assert inner.size == 0 or inner.min() >= (2 if min(shape) <= TILE else 4)


def test_flat_parts_have_no_tiles(pixels):
    corners = tiles_of(pixels).corners
    assert (0, 1700 - TILE) not in corners
    assert (TOP // STEP * STEP, LEFT // STEP * STEP) in corners
    assert tiles_of(np.full_like(pixels, 200)).corners == []


def test_a_plane_hardly_larger_than_a_tile_and_as_fine_is_not_cut():
    pixels = np.ascontiguousarray(drawn(600, 700))
    assert len(tiles_of(pixels, 1)) == 0
    assert len(tiles_of(pixels, 2)) == 4


def test_a_very_large_canvas_is_averaged():
    pixels = np.zeros((9000, 12000), np.uint8)
    tiles = tiles_of(pixels, 11)
    assert tiles.unit == 3
    assert tiles.shape == (3000, 4000)
    pixels[3 * 512 : 3 * 900, 3 * 700 : 3 * 1200] = np.random.default_rng(0).integers(0, 256, (1164, 1500))
    tiles = tiles_of(pixels, 11)
    assert 0 < len(tiles) < MOST_TILES
    window = tiles.window((512, 612, 700, 900))
    assert window.planes.shape == (100, 200)
    assert (window.corner, window.unit, window.plane_unit) == ((512, 700), 3, 11)
    expected = pixels[1536:1539, 2100:2103].mean()
    assert window.planes.reduced(1)[0, 0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_place_in_a_window_is_one_in_the_plane(name):
    """Middles of samples are the same points of the image."""
    placement = place(-9.0, (7.0, -3.5), GEOMETRIES[name])
    window = Window(ScorePlanes(np.zeros((30, 40), np.float32)), (120, 64), 2, 6)
    on_plane = window.on_plane(placement)
    for t in np.array([(0.0, 0.0), (13.0, -5.0)]):
        pixel = (np.array(window.corner) + placement.matrix @ t + placement.offset + 0.5) * 2 - 0.5
        np.testing.assert_allclose((on_plane.matrix @ t + on_plane.offset + 0.5) * 6 - 0.5, pixel)
    assert on_plane.log_p == placement.log_p


def test_what_is_left_out_of_an_image_is_left_out_of_its_windows(pixels, templates):
    left_out = np.zeros((32, 32), np.bool_)
    left_out[6:18, 10:24] = True  # all of the image on the canvas
    whole = ScorePlanes(pixels, PLANE_UNIT)
    tiles = Tiles(MaskedPlanes.without(whole, left_out))
    seen = tiles.window((200, 500, 300, 900)).planes.weighted()
    plain = whole.window(1, slice(200, 500), slice(300, 900)).weighted()
    # left out from pixel row 281 and column 531 on
    assert plain[100:, 250:].any() and not seen[100:, 250:].any()
    np.testing.assert_array_equal(seen[:60], plain[:60])
    np.testing.assert_array_equal(seen[:, :200], plain[:, :200])
    scales = [math.sqrt(abs(np.linalg.det(sight.matrix))) for sight in sights(tiles, templates)]
    assert all(abs(scale - SHARE) > 0.005 for scale in scales)


# ---- what they show --------------------------------------------------------------------------------------


def test_neighbours_show_the_image_together(shown):
    _, found = shown
    best = found[0]
    assert best.score > 15
    assert best.score >= max(sight.score for sight in found)
    scale = math.sqrt(abs(np.linalg.det(best.matrix)))
    assert scale == pytest.approx(SHARE, rel=0.01)
    top, bottom, left, right = best.box
    assert top <= TOP + 40 and bottom >= TOP + 280
    assert left <= LEFT + 40 and right >= LEFT + 340


def test_the_image_is_placed_cut_out_and_read(shown, pixels, carrier, templates):
    tiles, found = shown
    kind, _, placement, window = next(looks_at(found[0], tiles, templates, carrier))
    assert kind == "tiles"
    assert placement.log_p < -20
    cut, smaller = cut_to_pilot(placement, window, carrier)
    # to cells of 32 units
    top, left = smaller.corner
    height, width = smaller.planes.shape
    assert abs(top - TOP) <= 40 and abs(left - LEFT) <= 40
    assert abs(height - 320) <= 60 and abs(width - 380) <= 60
    np.testing.assert_allclose(
        smaller.on_plane(cut).offset, window.on_plane(placement).offset, rtol=0, atol=1e-9
    )
    analysis = Analysis(ScorePlanes(pixels, PLANE_UNIT))
    z = []
    for part, at in ((window, placement), (smaller, cut)):
        reader = ChipReader(analysis, carrier, CODE)
        assert reader.read(at, LOG_LOOKS, window=part)
        assert reader.finding.message.message == MESSAGE
        assert reader.finding.window is part
        z.append(reader.finding.message_z)
    assert z[1] > z[0]


def test_a_plane_is_cut_as_its_windows_are(shown, pixels, carrier, templates):
    tiles, found = shown
    _, _, placement, window = next(looks_at(found[0], tiles, templates, carrier))
    whole = Window.over(ScorePlanes(pixels))
    moved = replace(placement, offset=placement.offset + window.corner)
    _, smaller = cut_to_pilot(moved, whole, carrier)
    assert np.abs(np.array(smaller.corner) - (TOP, LEFT)).max() <= 60
    assert np.abs(np.array(smaller.planes.shape) - (320, 380)).max() <= 100
    np.testing.assert_array_equal(
        smaller.planes.reduced(1)[:9, :9],
        ScorePlanes(pixels).reduced(1)[smaller.corner[0] :, smaller.corner[1] :][:9, :9],
    )
    inverted = replace(moved, inverted=True)
    _, nowhere = cut_to_pilot(inverted, whole, carrier)
    assert nowhere.planes.shape != smaller.planes.shape


def test_anchors_are_asked_where_phases_nearly_agree(shown, carrier, other_carrier, templates):
    tiles, found = shown
    looks = list(looks_at(found[0], tiles, templates, carrier))
    assert [look[0] for look in looks] == ["tiles", "dense tiles"]
    assert looks[1][1] > 7
    strange = list(looks_at(found[0], tiles, Templates(other_carrier), other_carrier))
    assert strange[0][2].log_p > AGREES
    for _, _, placement, _ in looks + strange:
        assert placement.log_trials >= LOG_SHIFTS


def test_a_canvas_without_a_watermark_shows_nothing():
    """Whatever tiles suggest, phases do not agree."""
    tiles = tiles_of(canvas(shrunk(np.asarray(drawn(640, 760)))))
    log_ps = []
    for seed in range(4):
        carrier = Carrier(fm.Key(np.random.default_rng([11, seed]).bytes(32)))
        templates = Templates(carrier)
        found = sights(tiles, templates)
        assert len(found) <= 6
        log_ps += [look[2].log_p for sight in found for look in looks_at(sight, tiles, templates, carrier)]
    assert min(log_ps, default=0.0) > math.log(1e-4)
