"""Pictures with transparent pixels: what nobody sees is neither marked nor counted."""

import numpy as np
import pytest
import spec_embedder as spec
from pictures import drawn
from planted import CODE
from stickers import DATA, SHAPES, disc, mark, shadowed, star, sticker

from fastmark.codec.plane import canonical_plane
from fastmark.codec.tables import BLOCK
from fastmark.embedding.choices import choose_strength, choose_tones, visible_noise
from fastmark.embedding.design import PILOT_RATIO, Design
from fastmark.embedding.hardening import harden
from fastmark.embedding.host import prepare
from fastmark.embedding.marking import make_delta

# ---- what is not seen stays as it is ---------------------------------------------------------------


@pytest.mark.parametrize("size", [(300, 341), (1221, 1303)], ids=["k = 1", "k = 2"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "grey"])
def test_invisible_pixels_are_not_touched_and_visible_ones_are_marked(carrier, size, kind):
    visible = disc(*size)
    pixels, peak = drawn(*size), 255.0
    if kind == "grey":
        pixels = np.ascontiguousarray(pixels[..., 1])
    if kind == "uint16":
        pixels, peak = pixels.astype(np.uint16) * 257, 65535.0
    if kind == "float32":
        pixels, peak = pixels.astype(np.float32) / 255, 1.0
        pixels[0, 0] = -0.0  # another zero is another byte
    before = pixels.copy()
    marked, report = mark(pixels, carrier, visible, 2.0, peak)
    assert report.pixels_per_unit == (1 if size[0] == 300 else 2)
    assert (marked.dtype, marked.shape) == (pixels.dtype, pixels.shape)
    np.testing.assert_array_equal(pixels, before)
    assert marked[visible == 0].tobytes() == pixels[visible == 0].tobytes()
    assert np.mean(marked[visible > 0] != pixels[visible > 0]) > 0.5


def test_units_without_a_visible_pixel_have_no_delta_and_their_blocks_are_not_hardened(carrier):
    opacity = disc(203, 270)
    plane = canonical_plane(drawn(203, 270), 1)
    host = prepare(plane, 1, opacity)
    delta = make_delta(host, carrier, CODE.encode(DATA), Design((4, 12), 96))
    hardened, square = harden(host, delta, 0.8)
    alone, _ = harden(prepare(plane, 1), delta, 0.8)
    blocks = opacity[:200, :264].reshape(25, BLOCK, 33, BLOCK).all(axis=(1, 3))
    whole = np.kron(blocks, np.ones((BLOCK, BLOCK), bool))
    cut = ~whole & (opacity[:200, :264] > 0)
    inside = hardened[:200, :264]
    assert np.all(hardened[opacity == 0] == 0)
    np.testing.assert_array_equal(inside[whole], alone[:200, :264][whole])
    np.testing.assert_array_equal(inside[cut], (delta * np.float32(0.8))[:200, :264][cut])
    assert square == pytest.approx(np.mean(hardened[opacity > 0].astype(np.float64) ** 2), rel=1e-5)


def test_what_is_marked_goes_to_out(carrier):
    visible = disc(300, 300)
    pixels = sticker(visible)
    expected, _ = mark(pixels, carrier, visible)
    marked, _ = mark(pixels, carrier, visible, out=pixels)
    assert marked is pixels
    np.testing.assert_array_equal(marked, expected)


# ---- opaque pictures -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(300, 341), (1221, 1303)], ids=["k = 1", "k = 2"])
def test_a_picture_that_is_opaque_all_over_is_marked_as_one_without_alpha(carrier, size):
    pixels = drawn(*size)
    plain, report = mark(pixels, carrier, None)
    opaque, same = mark(pixels, carrier, np.ones(size, np.float32))
    np.testing.assert_array_equal(opaque, plain)
    assert same == report


def test_a_picture_that_is_all_but_opaque_is_marked_about_so(carrier):
    pixels = drawn(300, 341)
    plain, report = mark(pixels, carrier, None)
    visible = np.full((300, 341), 254 / 255, np.float32)
    marked, same = mark(pixels, carrier, visible)
    assert same.tones == report.tones
    assert same.strength == pytest.approx(report.strength, rel=1e-4)
    assert same.margin_message == pytest.approx(report.margin_message, rel=0.05)
    assert np.mean(marked != plain) < 0.001


# ---- what counts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(300, 341), (1221, 1303)], ids=["k = 1", "k = 2"])
def test_the_psnr_is_that_of_visible_pixels(carrier, size):
    visible = star(*size)
    pixels = sticker(visible)
    marked, report = mark(pixels, carrier, visible, 2.0)
    error = (marked.astype(np.float64) - pixels)[visible > 0]
    assert report.psnr_db == pytest.approx(10 * np.log10(255**2 / np.mean(error**2)), abs=1e-3)


def test_half_visible_pixels_count_half_in_the_psnr(carrier):
    visible = shadowed(300, 341)
    pixels = sticker(visible)
    marked, report = mark(pixels, carrier, visible)
    error = np.mean((marked.astype(np.float64) - pixels) ** 2, axis=2)
    expected = 10 * np.log10(255**2 / np.average(error, weights=visible))
    assert report.psnr_db == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("strength", [1.0, 3.0])
def test_the_visible_part_is_held_to_the_psnr_that_a_whole_picture_is(carrier, draw_plane, strength):
    visible = disc(420, 450)
    pixels = (visible * draw_plane("textured", 420, 450)).astype(np.uint8)
    report = mark(pixels, carrier, visible, strength)[1]
    assert report.psnr_db >= 42.15 - 20 * np.log10(strength) - 0.2
    assert report.psnr_db == pytest.approx(42.15 - 20 * np.log10(strength), abs=0.6)


@pytest.mark.parametrize("hidden", ["flat", "noise"])
def test_strength_and_tones_are_those_of_the_visible_part_alone(carrier, draw_plane, hidden):
    visible = np.zeros((512, 600), np.float32)
    part, design = (slice(128, 388), slice(100, 500)), Design((4, 4), 96)
    visible[part] = 1
    for kind in ("textured", "smooth"):
        plane = np.full(visible.shape, 128, np.float32)
        if hidden == "noise":
            plane += np.random.default_rng(0).normal(0, 60, plane.shape).astype(np.float32)
        plane[part] = draw_plane(kind, 260, 400)
        alone = prepare(np.ascontiguousarray(plane[part]), 1)
        seen, whole = prepare(plane, 1, visible), prepare(plane, 1)
        expected = choose_strength(alone, design)
        # at its border the plane, and with it the mask, is that of the colours that are not seen as well
        assert choose_strength(seen, design) == pytest.approx(expected, rel=0.1)
        if kind == "textured":
            error = abs(choose_strength(seen, design) - expected)
            assert abs(choose_strength(whole, design) - expected) > 2 * error
        counts = [choose_tones(host, carrier, PILOT_RATIO) for host in (seen, alone)]
        assert max(counts) <= 2 * min(counts)


def test_cells_count_by_their_opacity():
    plane, design = canonical_plane(drawn(200, 264), 1), Design((4, 4), 96)
    halves = [np.zeros(plane.shape, np.float32) for _ in range(2)]
    halves[0][:, :132], halves[1][:, 132:] = 1, 1
    left, right = (visible_noise(prepare(plane, 1, half), design) for half in halves)
    assert left != pytest.approx(right, rel=0.02)
    for share in (0.1, 0.25, 0.5, 0.9):
        mixed = share * halves[0] + (1 - share) * halves[1]
        expected = np.sqrt(share * left**2 + (1 - share) * right**2)
        # each half has about as many samples as the other
        assert visible_noise(prepare(plane, 1, mixed), design) == pytest.approx(expected, rel=0.01)


def test_what_has_no_visible_sample_gets_the_greatest_strength():
    plane, opacity = canonical_plane(drawn(200, 264), 1), np.zeros((200, 264), np.float32)
    opacity[0, 0] = 1
    host, design = prepare(plane, 1, opacity), Design((4, 4), 96)
    assert visible_noise(host, design) == 0
    assert choose_strength(host, design) == 1.4


# ---- the specification -----------------------------------------------------------------------------


def specified_density(plane, weights):
    """The power density of what counts (section 6, transparent pixels), float64."""
    cells = spec.pool(plane)
    cells -= np.average(cells, weights=weights)
    for n in (128, 32):
        if min(cells.shape) < n:
            continue
        starts = []
        for side in cells.shape:
            tiles = -(-2 * side // n) - 1
            starts.append([i * (side - n) // max(tiles - 1, 1) for i in range(tiles)])
        places = [np.s_[y : y + n, x : x + n] for y in starts[0] for x in starts[1]]
        whole = [place for place in places if weights[place].min() >= 0.5]
        if whole:
            break
    line = np.sin(np.pi * np.arange(1, n + 1) / (n + 1)) ** 2
    power, square = np.zeros((n, n)), 0.0
    for place in whole or places:
        window = np.outer(line, line) * weights[place]
        power += np.abs(np.fft.fft2(cells[place] * window)) ** 2
        square += np.sum(window**2)
    return power / square


def specified_tones(plane, m, weights, tones):
    """How many tones hide under the spectrum of what counts (section 6)."""
    power = specified_density(plane, weights)
    bins = np.rint(tones * len(power) / 512).astype(int)
    bins *= np.where(bins[:, 1:] < 0, -1, 1)
    below = 4 * spec.smooth_power(power, bins) / np.prod(np.cos(np.pi * tones / 1024) ** 2, axis=1)
    units = 0.823 * np.prod(np.minimum(plane.shape, 1024)) * weights.mean() ** 2 / np.mean(weights**2)
    for count in (48, 96, 192):
        above = (0.21 * np.average(m, weights=weights)) ** 2 / (2 * count) * units
        if np.median(above / np.maximum(below[:count], 1e-12)) <= 4:
            return count
    return 384


def specified(pixels, secret, visible):
    """Mark as sections 4 to 8 say: pixels, tones, strength."""
    k = max(1, (2 * min(pixels.shape[:2]) + 800) // 1600)
    key, plane, opacity = spec.carriers(secret), spec.to_plane(pixels, k), spec.to_plane(visible, k)
    m = spec.measure(plane)
    weights = spec.pool(opacity)
    n_tones = specified_tones(plane, m, weights, key.tones)
    codeword = spec.encode(DATA, k)
    origin, lead = spec.find_origin(plane, m, secret, codeword, n_tones)
    assert lead > 0.02  # else the origin may be either of two
    unit = spec.make_delta(plane, m, origin, key, codeword, n_tones)
    whole = np.zeros(plane.shape, bool)
    whole = spec.put_blocks(whole, 0, np.all(spec.to_blocks(opacity > 0, 0), axis=(2, 3), keepdims=True))

    def scaled(strength):
        delta = strength * unit
        hardened = spec.harden(plane, delta, strength) if k == 1 else delta
        return np.where(opacity > 0, np.where(whole, hardened, delta), 0)

    counted = weights[np.ix_(*spec.sampled(weights))]
    v = np.sqrt(np.average(spec.find_noise(pixels, plane, k, m) ** 2, weights=counted))
    strength = spec.base_strength(k, v)
    delta = scaled(strength)
    lacking = 42.15 - 10 * np.log10(255**2 / (np.average(delta**2, weights=opacity) + 1 / 12))
    if lacking > 0:
        strength *= 10 ** (-lacking / 20)
        delta = scaled(strength)
    steps = np.floor(spec.to_pixels(delta, k, pixels.shape[:2]) + 0.5)[..., None]
    return np.where(visible[..., None] > 0, np.clip(pixels + steps, 0, 255), pixels), n_tones, strength


@pytest.mark.parametrize(
    ("shape", "size"),
    [("disc", (420, 451)), ("star", (420, 451)), ("shadowed", (533, 420)), ("holes", (420, 451)),
     ("half", (420, 451)), ("fading", (533, 600)), ("star", (1201, 1250))],
)  # fmt: skip
def test_marked_pixels_are_those_of_the_specification(carrier, shape, size):
    visible = SHAPES[shape](*size)
    pixels = sticker(visible, 3)
    marked, report = mark(pixels, carrier, visible)
    expected, n_tones, strength = specified(pixels, bytes(range(32)), visible)
    assert report.tones == n_tones
    assert report.strength == pytest.approx(strength, rel=1e-4)
    difference = np.abs(marked.astype(int) - expected)
    # sums of float32 and of float64 may lie on two sides of a half
    assert np.mean(difference > 0) < 1e-3
    assert np.mean(marked != pixels) > 0.1
