"""The informed origin: where an image, not yet marked, agrees with its mark, and what that gives away."""

import numpy as np
import pytest
from pictures import drawn

import fastmark as fm
from fastmark.codec.message import MessageCode
from fastmark.codec.plane import canonical_plane
from fastmark.codec.tables import ANCHOR, GRID, TORUS
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.detection.torus import TorusSpectrum
from fastmark.embedding.design import Design
from fastmark.embedding.host import hashed_origin, prepare
from fastmark.embedding.host_scores import FEW_UNITS, MOST_UNITS
from fastmark.embedding.marking import make_design
from fastmark.embedding.origin import Agreement, chip_surface, pilot_surface

CODEWORD = MessageCode(64).encode(0x0F1E2D3C4B5A6978)
PLACES = [(0, 0), (3, 127), (64, 5), (127, 90)]


def origin_of(place):
    return 4 + 8 * place[0], 4 + 8 * place[1]


def scored(plane):
    return prepare(np.ascontiguousarray(plane), 1).scored


@pytest.fixture(scope="module")
def plane(draw_plane):
    return draw_plane("textured", 216, 320)


def test_the_pilots_surface_is_the_sum_of_turned_tones(carrier):
    random = np.random.default_rng(1)
    values = random.normal(size=96) + 1j * random.normal(size=96)
    surface = pilot_surface(values, carrier)
    tones, waves = carrier.tones[:96], np.exp(-1j * carrier.phases[:96])
    spread = np.sqrt(np.sum(np.abs(values) ** 2) / 2)
    for place in PLACES:
        turns = np.exp(-2j * np.pi / TORUS * (tones @ np.array(origin_of(place))))
        assert surface[place] == pytest.approx(np.sum(values * waves * turns).real / spread, abs=1e-4)
    assert surface.std() == pytest.approx(1, abs=0.1)


def test_the_chips_surface_is_the_correlation_with_signs_and_code_bits(carrier, plane):
    blocks = ChipBlocks.of(np.ascontiguousarray(ScorePlanes(plane).weighted()[4:, 4:]))
    surface = chip_surface(blocks, carrier, CODEWORD)
    bits = np.append(1.0 - 2.0 * CODEWORD, 1.0)
    known = carrier.signs * bits[np.where(carrier.code_bit == ANCHOR, 1024, carrier.code_bit)]
    seen = blocks.coefficients.astype(np.float64)
    for place in PLACES:
        y, x = ((place[i] + 1 + np.arange(seen.shape[1 + i])) % GRID for i in range(2))
        z = np.sum(known[:, y[:, None], x] * seen) / np.sqrt(np.sum(seen**2))
        assert surface[place] == pytest.approx(z, abs=1e-3)


def test_a_plane_beyond_the_torus_is_asked_in_its_middle(carrier, draw_plane):
    plane = draw_plane("textured", 150, 1300)
    host = scored(plane)
    assert host.start == (0, 136)  # of 1024 units
    origin = Agreement.of(host, carrier, CODEWORD, 48).best()
    middle = Agreement.of(scored(plane[:, 136:1160]), carrier, CODEWORD, 48).best()
    assert middle == (origin[0], (origin[1] + 136) % TORUS)


@pytest.mark.parametrize("shape", [(900, 820), (600, 1600), (1600, 200), (1500, 1100)])
def test_large_planes_are_asked_in_part_at_whole_blocks(draw_plane, shape):
    plane = draw_plane("textured", *shape)
    host = scored(plane)
    rows, columns = host.blocks.inside.shape
    assert min(0.9 * MOST_UNITS, 0.6 * plane.size) / 64 < rows * columns <= MOST_UNITS / 64
    assert all(at % 8 == 0 for at in host.start)
    for at, n, side in zip(host.start, shape, (rows, columns), strict=True):
        assert abs(at - (n - 8 * side) / 2) <= 12


@pytest.mark.parametrize(("shape", "least"), [((400, 600), 0.85), ((640, 700), 0.75), ((900, 900), 0.6)])
def test_fewer_grids_and_a_part_say_about_what_a_detector_sees(carrier, draw_plane, shape, least):
    plane = draw_plane("textured", *shape)
    whole = ChipBlocks.of(np.ascontiguousarray(ScorePlanes(plane).weighted()[4:, 4:]))
    quick = Agreement.of(scored(plane), carrier, CODEWORD, 48).chips
    assert np.corrcoef(chip_surface(whole, carrier, CODEWORD).ravel(), quick.ravel())[0, 1] > least
    assert (plane.size > FEW_UNITS) == (least < 0.8)


def test_the_host_agrees_with_its_mark_and_a_hashed_origin_gives_chance(carrier, key, draw_plane):
    chosen, hashed = [], []
    for seed in range(12):
        host = prepare(draw_plane("textured", 200, 264, seed), 1)
        agreement = Agreement.of(host.scored, carrier, CODEWORD, 48)
        for origins, origin in (
            (chosen, make_design(host, carrier, CODEWORD).origin),
            (hashed, hashed_origin(host.plane, key)),
        ):
            place = tuple(at // 8 for at in origin)
            origins.append((agreement.pilot[place], agreement.chips[place]))
    # the largest of 16384 sums of two, of which none knows the other
    assert np.mean(chosen, axis=0).min() > 1.5
    assert np.mean(np.sum(chosen, axis=1)) > 4.5
    assert np.abs(np.mean(hashed, axis=0)).max() < 1.2


def test_the_help_is_there_when_the_mark_is_read(carrier, key, draw_plane):
    """The same delta at both origins: the message's z is larger where the image agrees."""
    z = {"chosen": [], "hashed": []}
    for seed in range(6):
        host = prepare(draw_plane("textured", 200, 264, seed), 1)
        n_tones = make_design(host, carrier, CODEWORD).n_tones
        for name, origin in (
            ("chosen", make_design(host, carrier, CODEWORD).origin),
            ("hashed", hashed_origin(host.plane, key)),
        ):
            z[name].append(known_z(host, carrier, Design(origin, n_tones)))
    gain = np.mean(z["chosen"]) - np.mean(z["hashed"])
    assert 1 < gain < 5


def known_z(host, carrier, design):
    """The message's z of a marked plane whose place is known."""
    from fastmark.embedding.drawing import make_delta

    marked = host.plane + make_delta(host, carrier, CODEWORD, design)
    blocks = ChipBlocks.of(np.ascontiguousarray(ScorePlanes(marked).weighted()[4:, 4:]))
    place = tuple(at // 8 for at in design.origin)
    return float(chip_surface(blocks, carrier, CODEWORD)[place])


# ---- images without an opinion -----------------------------------------------------------------------


def test_flat_images_choose_no_common_origin(carrier, key):
    planes = [np.full((160, 200), grey, np.float32) for grey in range(20, 220, 20)]
    origins = {make_design(prepare(plane, 1), carrier, CODEWORD).origin for plane in planes}
    assert len(origins) == 10  # by chance two of ten agree once in 360 times
    assert origins == {hashed_origin(plane, key, CODEWORD) for plane in planes}
    other = MessageCode(64).encode(1)
    assert make_design(prepare(planes[0], 1), carrier, other).origin not in origins


def test_a_blank_image_with_a_few_lines_has_no_opinion(carrier, key):
    plane = np.full((320, 320), 200, np.float32)
    plane[40:60, 40:120] = drawn(20, 80, 1)[..., 0]
    assert not scored(plane).detailed
    assert make_design(prepare(plane, 1), carrier, CODEWORD).origin == hashed_origin(plane, key, CODEWORD)
    assert scored(canonical_plane(drawn(160, 200, 2), 1)).detailed


def test_rounding_noise_is_no_opinion():
    noise = np.rint(np.random.default_rng(0).uniform(99.5, 100.5, (256, 256))).astype(np.float32)
    noise += np.random.default_rng(1).uniform(-0.5, 0.5, (256, 256)).astype(np.float32)
    assert not scored(noise).detailed


@pytest.mark.parametrize("kind", ["flat", "textured"])
def test_the_mean_of_many_marked_images_does_not_show_the_pattern(kind, key, carrier):
    """An attacker who averages does not know the images' places, which differ."""
    marker, random = fm.Watermarker(key), np.random.default_rng(7)
    total, places, side = np.zeros((160, 160)), [], 160
    for number in range(500):
        image = np.full((side, side), random.integers(30, 226), np.uint8)
        if kind == "textured":
            grain = np.cumsum(random.normal(0, 6, (side, side)), axis=number % 2)
            image = np.clip(128 + grain - grain.mean(), 0, 255).astype(np.uint8)
        message = random.bytes(8)
        total += ScorePlanes(marker.embed(image, message).astype(np.float32)).weighted()
        codeword = MessageCode(64).encode(message)
        places.append(make_design(prepare(image.astype(np.float32), 1), carrier, codeword).origin)
    mean = (total / 500).astype(np.float32)
    # its lines are at the tones' frequencies, with phases that no place of the pattern explains
    tones = TorusSpectrum(ScorePlanes(mean), np.eye(2), 1, mean).tones(carrier)
    surface = pilot_surface(tones, carrier)
    assert np.abs(surface).max() < 5  # of 16384 places; 4.1 are expected of the largest
    blocks = ChipBlocks.of(np.ascontiguousarray(mean[4:, 4:]))
    anchors = [blocks.soft_bits(carrier, (y, x))[:, -1] for y, x in random.integers(0, GRID, (100, 2))]
    assert max(abs(total) / np.sqrt(square) for total, square in anchors) < 4
    most = max(places.count(place) for place in set(places))
    assert most <= 3  # 500 of 16384: by chance two of them at some places
