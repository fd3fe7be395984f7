"""Pictures with transparent pixels: what nobody sees is neither marked nor counted."""

import itertools

import numpy as np
import pytest
import spec_embedder as spec
from pictures import drawn
from planted import CODE, MESSAGE

from fastmark.codec.message import MessageCode
from fastmark.codec.plane import canonical_plane
from fastmark.codec.tables import BLOCK
from fastmark.embedding import marking
from fastmark.embedding.choices import choose_strength, choose_tones, visible_noise
from fastmark.embedding.design import PILOT_RATIO, Design
from fastmark.embedding.hardening import harden
from fastmark.embedding.host import prepare
from fastmark.embedding.margins import Margins
from fastmark.embedding.marking import make_delta
from fastmark.embedding.survival import Predictions
from fastmark.errors import ImageTooFlatError, ImageTooSmallError

DATA = CODE.to_bytes(MESSAGE)
BACKGROUNDS = {"white": 255, "black": 0, "grey": 128}


def disc(height, width, radius=0.4):
    """Opacity of a disc in the middle, its radius in shares of the shorter side: float32."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    return (distance < radius * min(height, width)).astype(np.float32)


def star(height, width):
    """Opacity of a star of five points."""
    y, x = np.mgrid[:height, :width]
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    reach = 0.37 + 0.11 * np.cos(5 * np.arctan2(x, -y))
    return (np.hypot(y, x) < reach * min(height, width)).astype(np.float32)


def shadowed(height, width):
    """Opacity of a disc that throws a soft shadow."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - 0.54 * height, x - 0.54 * width) / min(height, width)
    shadow = 0.5 / (1 + np.exp((distance - 0.38) / 0.02))
    return np.rint(255 * np.maximum(disc(height, width, 0.38), shadow)).astype(np.float32) / np.float32(255)


def holes(height, width):
    """Opacity of a sheet with round holes."""
    y, x = np.mgrid[:height, :width]
    return (np.hypot(y % 90 - 45, x % 110 - 55) > 20).astype(np.float32)


def half(height, width):
    return np.full((height, width), 128 / 255, np.float32)


def fading(height, width):
    """Opacity that grows from left to right."""
    return np.rint(np.linspace(0, 255, width * height).reshape(width, height).T).astype(np.float32) / 255


SHAPES = {f.__name__: f for f in (disc, star, shadowed, holes, half, fading)}


def sticker(visible, seed=0):
    """A scene, black where it is not visible: uint8 ``(H, W, 3)``."""
    pixels = drawn(*visible.shape, seed).copy()
    pixels[visible == 0] = 0
    return pixels


def over(pixels, visible, level):
    """The picture on a plain background, uint8."""
    opacity = visible[..., None].astype(np.float64)
    return np.rint(opacity * pixels + (1 - opacity) * level).astype(np.uint8)


def mark(pixels, carrier, visible, strength=1.0, peak=255.0, **options):
    return marking.mark(pixels, peak, carrier, CODE, DATA, strength, visible=visible, **options)


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


# ---- what is seen is read --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [(420, 450), (1210, 1250)], ids=["k = 1", "k = 2"])
def test_the_message_is_read_over_every_background(carrier, marker, shape, size):
    visible = SHAPES[shape](*size)
    pixels = sticker(visible)
    marked, report = mark(pixels, carrier, visible)
    assert report.margin_message > 1.1
    assert marker.detect(marked).message == MESSAGE
    for level in BACKGROUNDS.values():
        assert marker.detect(over(marked, visible, level)).message == MESSAGE


def test_opacity_weakens_the_mark_and_the_margins_say_so(carrier):
    pixels = drawn(370, 450)  # looked at as a whole, opaque or not
    margins = [
        mark(pixels, carrier, np.full((370, 450), opacity, np.float32))[1] for opacity in (1, 0.5, 0.25, 0.12)
    ]
    for name in ("margin_message", "margin_jpeg", "survival_jpeg"):
        values = [report.to_dict()[name] for report in margins]
        assert all(b < 1.01 * a for a, b in itertools.pairwise(values))  # what is hardened differs a little
        assert values[-1] < 0.8 * values[0]
    for name in ("survival_half", "survival_crop", "survival_screenshot"):
        # strong tones are found as well when they are weaker, until the message is the least
        assert margins[-1].to_dict()[name] < 0.95 * margins[0].to_dict()[name]


def test_colours_that_are_not_seen_drown_the_mark_of_the_file(carrier, marker):
    """The file without alpha is looked at as well: what its colours say beside the mark is noise there."""
    visible = disc(420, 450, 0.3)
    clean = sticker(visible)
    noisy = clean.copy()
    noisy[visible == 0] = np.random.default_rng(0).integers(0, 256, (int(np.sum(visible == 0)), 3))
    (_, alone), (marked, beside) = (mark(pixels, carrier, visible) for pixels in (clean, noisy))
    assert beside.margin_message < 0.9 * alone.margin_message
    assert marker.detect(over(marked, visible, 255)).message == MESSAGE


# ---- refused, or warned of -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_picture_of_which_nothing_is_seen_is_refused(carrier, dtype):
    pixels, peak = (drawn(256, 256), 255.0) if dtype == np.uint8 else (np.ones((256, 256), dtype), 1.0)
    with pytest.raises(ImageTooFlatError, match=r"no pixel .* is visible \(alpha is 0 everywhere\).*remove"):
        mark(pixels, carrier, np.zeros((256, 256), np.float32), peak=peak)


def test_a_picture_of_which_too_little_is_seen_is_refused_and_not_changed(carrier):
    visible = np.zeros((256, 256), np.float32)
    visible[96:160, 96:160] = 1
    pixels = sticker(visible)
    out = pixels.copy()
    with pytest.raises(
        ImageTooSmallError,
        match=r"visible part \(6% of 256 x 256.* 64 bits; use fewer message bits, more str",
    ):
        mark(pixels, carrier, visible, out=out)
    np.testing.assert_array_equal(out, pixels)
    # without alpha, it would be marked without a word
    assert not mark(drawn(256, 256), carrier, None, 2.0)[1].warnings


def test_a_part_that_is_hardly_seen_is_refused(carrier):
    visible = np.full((256, 256), 1 / 255, np.float32)
    visible[96:160, 96:160] = 1
    with pytest.raises(ImageTooSmallError, match="visible part"):
        mark(drawn(256, 256), carrier, visible)


def test_a_flat_part_in_which_the_mark_is_lost_is_refused_as_flat(carrier):
    visible = np.full((256, 256), 3 / 255, np.float32)
    with pytest.raises(ImageTooFlatError, match=r"visible part .* too flat"):
        mark(np.full((256, 256, 3), 200, np.uint8), carrier, visible)


def test_fewer_bits_fit_where_more_do_not(carrier):
    visible = np.zeros((256, 256), np.float32)
    visible[74:186, 74:186] = 1
    pixels = sticker(visible)
    with pytest.raises(ImageTooSmallError):
        marking.mark(pixels, 255.0, carrier, MessageCode(128), bytes(16), 1.0, visible=visible)
    report = marking.mark(pixels, 255.0, carrier, MessageCode(16), bytes(2), 1.0, visible=visible)[1]
    assert report.margin_message >= 1


FAIR = Margins(2.0, 2.0, 2.0)
HALF_LOST = Margins(2.0, 2.0, 2.0, Predictions(2.0, 0.5, 3.0, 2.0))


@pytest.mark.parametrize(
    ("bare", "shown", "says"),
    [
        (FAIR, FAIR, []),
        (FAIR, Margins(2, 0.9, 2), ["JPEG compression at quality 50 when the image is shown over"]),
        (Margins(2, 0.9, 2), FAIR, ["JPEG compression at quality 50 when the alpha channel is dropped"]),
        (Margins(2, 0.9, 2), Margins(2, 0.8, 2), ["survive JPEG compression at quality 50"]),
        (FAIR, Margins(2, 2, 0.9), ["the mark may not be found when the image is shown over a background"]),
        (Margins(2, 0.5, 0.5), FAIR, ["JPEG", "not be found when the alpha channel is dropped"]),
        (HALF_LOST, FAIR, ["scaling to half size when the alpha channel is dropped (predicted margin 0.50)"]),
        (FAIR, HALF_LOST, ["scaling to half size when the image is shown over a background"]),
        (HALF_LOST, HALF_LOST, ["scaling to half size (predicted margin 0.50)"]),
    ],
)
def test_warnings_say_which_look_of_the_picture_is_meant(carrier, monkeypatch, bare, shown, says):
    monkeypatch.setattr(marking, "measure_seen", lambda *_: [(bare, shown)])
    report = mark(drawn(160, 200), carrier, disc(160, 200))[1]
    assert len(report.warnings) == len(says)
    assert all(words in warning for words, warning in zip(says, report.warnings, strict=True))
    if min(bare.jpeg, bare.pilot) < 1 and min(shown.jpeg, shown.pilot) < 1:
        assert "when" not in report.warnings[0]
    assert report.margin_jpeg == min(bare.jpeg, shown.jpeg)
    assert report.margin_pilot == min(bare.pilot, shown.pilot)
    expected = zip(bare.survival.margins(), shown.survival.margins(), strict=True)
    assert [one.margin for one in report.survival] == [min(pair) for pair in expected]


@pytest.mark.parametrize(
    ("bare", "shown", "says"),
    [
        (Margins(2, 2, 2), Margins(0.9, 2, 2), "visible part .* cannot carry 64 bits"),
        (Margins(0.9, 2, 2), Margins(2, 2, 2), "beside the colours of the invisible pixels: make these one"),
    ],
)
def test_what_cannot_be_read_with_alpha_or_without_is_refused(carrier, monkeypatch, bare, shown, says):
    monkeypatch.setattr(marking, "measure_seen", lambda *_: [(bare, shown)])
    with pytest.raises(ImageTooSmallError, match=says):
        mark(drawn(160, 200), carrier, disc(160, 200))


def test_a_part_beyond_what_a_detector_looks_at_does_not_count(carrier):
    visible = np.zeros((300, 3000), np.float32)
    visible[:, :400] = 1
    with pytest.raises(ImageTooSmallError, match="visible part"):
        mark(drawn(300, 3000), carrier, visible)
