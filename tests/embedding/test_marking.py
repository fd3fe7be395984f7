"""Embedding, step by step: the origin, the delta, its strength, hardening, and what is refused."""

import dataclasses

import numpy as np
import pytest
from pictures import grey, photograph
from planted import CODE, CODEWORD
from reference import dct as slow

import fastmark as fm
from fastmark._threads import in_strips
from fastmark.codec import plane as planes
from fastmark.codec.binding import CLASSES, STRONG, WEAK
from fastmark.codec.carrier import Carrier
from fastmark.codec.key import Key
from fastmark.codec.plane import canonical_plane
from fastmark.codec.tables import TONE_COUNTS, TORUS
from fastmark.embedding import drawing, hardening, marking
from fastmark.embedding.choices import choose_strength, choose_tones, visible_noise
from fastmark.embedding.design import CHIP_RATIO, PILOT_RATIO, Design
from fastmark.embedding.hardening import harden, jpeg_steps
from fastmark.embedding.host import Pixels, hashed_origin, prepare
from fastmark.embedding.margins import Margins
from fastmark.embedding.marking import make_delta
from fastmark.embedding.visibility import n_samples, sample_colours, sensitivity
from fastmark.errors import ImageTooFlatError, ImageTooSmallError

PAYLOAD = CODE.to_bytes(1)


@pytest.fixture(scope="module")
def host(draw_plane, carrier):
    return prepare(draw_plane("textured", 200, 264), 1)


@pytest.fixture(scope="module")
def design(host, key):
    return Design(hashed_origin(host.plane, key), 96)


@pytest.fixture(scope="module")
def delta(host, carrier, design):
    return make_delta(host, carrier, CODEWORD, design)


def scaled(host, gain):
    """The host with a mask as many times as large."""
    perception = dataclasses.replace(host.perception, mask=np.float32(gain) * host.perception.mask)
    smooth_mask, block_mask = (np.float32(gain) * mask for mask in (host.smooth_mask, host.block_mask))
    return dataclasses.replace(host, perception=perception, smooth_mask=smooth_mask, block_mask=block_mask)


# ---- origin ----------------------------------------------------------------------------------------


def test_origins_are_4_modulo_8_and_spread_over_the_torus(draw_plane, key):
    origins = {hashed_origin(draw_plane("textured", 128, 150, seed), key) for seed in range(60)}
    assert len(origins) > 55
    for origin in origins:
        assert all(place % 8 == 4 and 0 <= place < TORUS for place in origin)
    assert np.ptp([y for y, _ in origins]) > TORUS / 2
    assert np.ptp([x for _, x in origins]) > TORUS / 2


def test_the_origin_depends_on_key_and_content_and_on_nothing_else(plane, key, other_key):
    assert hashed_origin(plane, key) == hashed_origin(plane.copy(), key)
    assert hashed_origin(plane, key) != hashed_origin(plane, other_key)
    assert hashed_origin(plane, key) != hashed_origin(np.maximum(plane - 5, 0), key)


# ---- delta -----------------------------------------------------------------------------------------


def test_the_delta_is_in_proportion_to_the_mask(host, carrier, design, delta):
    twice = make_delta(scaled(host, 2), carrier, CODEWORD, design)
    np.testing.assert_allclose(twice, 2 * delta, atol=1e-4)


def test_the_delta_has_no_mean_and_the_stated_amplitude(delta, host):
    assert abs(delta.mean()) < 0.03 * delta.std()
    # pilot and chips, of independent signs
    blocks = 8 * np.mean(delta[4:-4, 4:-4] ** 2) ** 0.5
    chips = CHIP_RATIO * np.sqrt(np.mean(host.block_mask**2) * 10)
    pilot = 8 * PILOT_RATIO * np.sqrt(np.mean(host.smooth_mask**2))
    assert blocks == pytest.approx(np.hypot(chips, pilot), rel=0.06)


def test_another_codeword_changes_the_chips_of_its_bits_alone(host, carrier, design, delta):
    other = CODEWORD.copy()
    other[17] ^= 1
    change = make_delta(host, carrier, other, design) - delta
    constant = slow.forward_blocks(change[4:12], 0, 4, 34)[0, 0, 1:-1]
    blocks = np.array(
        [[np.abs(change[4 + 8 * i :, 4 + 8 * j :][:8, :8]).max() for j in range(32)] for i in range(24)]
    )
    gy, gx = design.grid_origin
    here = carrier.code_bit[:, np.arange(gy, gy + 24)[:, None] % 128, np.arange(gx, gx + 32) % 128] == 17
    np.testing.assert_array_equal(blocks > 1e-3, here.any(axis=0))
    assert 0 < here.sum() < 20
    assert np.abs(constant).max() < 1e-3


def test_the_delta_of_another_key_is_unrelated(host, other_carrier, design, delta):
    other = make_delta(host, other_carrier, CODEWORD, design)
    assert abs(np.corrcoef(delta.ravel(), other.ravel())[0, 1]) < 0.03


# ---- tones and strength ----------------------------------------------------------------------------


def test_smooth_pictures_take_more_tones_than_textured_ones(draw_plane, carrier):
    planes = grey(photograph("astronaut")).astype(np.float32), draw_plane("smooth", 512, 512)
    counts = [choose_tones(prepare(p, 1), carrier, PILOT_RATIO) for p in planes]
    assert counts == [TONE_COUNTS[0], TONE_COUNTS[-1]]


def test_a_stronger_pilot_takes_no_fewer_tones(host, carrier):
    counts = [choose_tones(host, carrier, gain) for gain in (0.01, 0.1, 0.5, 2.0, 20.0)]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (TONE_COUNTS[0], TONE_COUNTS[-1])


def test_the_strength_falls_with_visibility_and_stays_within_bounds(host, design):
    strengths = [choose_strength(scaled(host, gain), design) for gain in (0, 0.01, 0.5, 1, 2, 100)]
    assert strengths == sorted(strengths, reverse=True)
    assert 0.25 <= strengths[-1] < strengths[0] <= 2


@pytest.mark.parametrize("binding", [None, *CLASSES])
@pytest.mark.parametrize(("kind", "n_tones"), [("textured", 96), ("smooth", 384), ("edges", 384)])
def test_the_visibility_is_about_that_of_the_delta_s_local_power(draw_plane, carrier, kind, n_tones, binding):
    """What mask and design say of the delta's power over 9 x 9 units is true of the delta."""
    host, design = prepare(draw_plane(kind, 260, 300), 1), Design((4, 4), n_tones, binding=binding)
    delta = make_delta(host, carrier, CODEWORD, design).astype(np.float64)
    power = np.lib.stride_tricks.sliding_window_view(delta**2, (9, 9)).mean(axis=(2, 3))[1::8, 1::8][:31, :36]
    cells = host.plane.astype(np.float64).reshape(130, 2, 150, 2).mean(axis=(1, 3))
    variance = np.lib.stride_tricks.sliding_window_view(cells, (5, 5)).var(axis=(2, 3))[::4, ::4][:31, :36]
    g = sensitivity(np.rint(cells[2:-2:4, 2:-2:4][:31, :36]).astype(np.uint8))
    v = np.sqrt(np.mean((power * g**2 / (variance * g**2 + 50)) ** 2))
    # the power over so few units varies about its mean, and the mask changes at edges
    assert 0.9 < v / visible_noise(host, design) < 1.45


def test_a_design_of_more_power_is_marked_more_weakly(host, design):
    strengths = [
        choose_strength(host, dataclasses.replace(design, **change))
        for change in ({}, {"binding": WEAK}, {"binding": STRONG}, {"pilot_ratio": 0.4}, {"chip_ratio": 1.5})
    ]
    assert strengths == sorted(strengths, reverse=True)
    assert len(set(strengths)) == 5
    assert strengths[2] > 0.93 * strengths[0]


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_strength_follows_the_image_at_every_k(draw_plane, design, k):
    """Where structures are large beside the pattern they hide it, and fine ones and none do not."""
    y, x = np.mgrid[0:300, 0:320]
    rng = np.random.default_rng(0)
    fine = (128 + 9 * (-1.0) ** (x + y)).astype(np.float32)
    coarse = (128 + 9 * np.sign(np.sin(x / 5) * np.sin(y / 5)) + rng.normal(0, 1, x.shape)).astype(np.float32)
    fine, coarse = (choose_strength(prepare(plane, k), design) for plane in (fine, coarse))
    assert coarse > 1.3 * fine


def test_colours_that_are_less_sensitive_are_marked_more_strongly(draw_plane, design):
    plane = draw_plane("smooth", 300, 320)
    shape = n_samples(((300 + 1) // 2, (320 + 1) // 2))
    colours = np.zeros((*shape, 3), np.uint8)
    strengths = []
    for colour in ((100, 100, 100), (0, 200, 0), (200, 0, 255), (255, 255, 255)):
        colours[:] = colour
        strengths.append(choose_strength(prepare(plane, 1, colours=colours.copy()), design))
    assert strengths == sorted(strengths)
    grey_levels = np.rint(prepare(plane, 1).perception.means + 128).clip(0, 255).astype(np.uint8)
    same = np.repeat(grey_levels[2:-2:4, 2:-2:4][: shape[0], : shape[1], None], 3, axis=2)
    without = choose_strength(prepare(plane, 1), design)
    assert choose_strength(prepare(plane, 1, colours=same), design) == pytest.approx(without, rel=1e-6)


@pytest.mark.parametrize(("peak", "dtype"), [(255, np.uint8), (65535, np.uint16), (1.0, np.float32)])
def test_samples_of_colours_are_those_at_the_middle_of_their_cells(peak, dtype):
    k = 3
    rgb = np.random.default_rng(0).integers(0, 256, (203, 170, 3))
    values = (rgb * (peak / 255)).astype(dtype)
    seen = sample_colours(values, peak, k)
    shape = n_samples((34, 28))
    assert seen.shape == (*shape, 3) == (8, 6, 3)
    np.testing.assert_array_equal(seen, rgb[15::24, 15::24][:8, :6])
    np.testing.assert_array_equal(sample_colours(values[..., 0], peak, k), seen[..., 0])


def test_an_image_too_small_for_samples_gets_the_greatest_strength(design):
    pixels = np.full((9, 40, 3), 90, np.uint8)
    image = Pixels.of(pixels[:7], 255.0)
    host = prepare(image.plane(), 1, colours=image.colours())
    assert n_samples(host.perception.means.shape) == (0, 4)
    assert choose_strength(host, design) == 1.4


def test_coarser_units_are_marked_more_weakly(host, design):
    strengths = [choose_strength(dataclasses.replace(host, k=k), design) for k in (1, 2, 3, 4, 5, 9, 15)]
    assert strengths == sorted(strengths, reverse=True)
    assert len(set(strengths)) == 4
    assert 0.4 < strengths[-1] <= strengths[1] < 1


@pytest.mark.parametrize("k", [1, 2])
def test_the_predicted_psnr_is_that_of_rounded_pixels(host, delta, k):
    marked, square = harden(dataclasses.replace(host, k=k), delta, 0.8)
    pixels = np.full(delta.shape, 128.0)
    changed = np.rint(pixels + marked)
    assert square == pytest.approx(np.mean(marked.astype(np.float64) ** 2), rel=1e-5)
    assert square + 1 / 12 == pytest.approx(np.mean((changed - pixels) ** 2), rel=0.02)


# ---- hardening -------------------------------------------------------------------------------------


def coefficients(plane):
    """Of JPEG's blocks, those wholly in the plane: ``(8, 8, blocks)``."""
    rows, n = plane.shape[0] // 8, plane.shape[1] // 8
    return np.concatenate([slow.forward_blocks(plane[:, : 8 * n], 8 * y, 0, n) for y in range(rows)], axis=2)


def test_hardening_only_enlarges_and_only_over_a_threshold_nearby(host, delta):
    strength = 0.8
    hardened, _ = harden(host, delta, strength)
    x, d, h = (coefficients(p) for p in (host.plane, np.float32(strength) * delta, hardened))
    pushed = np.abs(h - d) > 0.01
    assert 0.002 < pushed.mean() < 0.2
    assert np.all(np.abs(h) > np.abs(d) - 0.01)
    assert np.all(np.sign(h[pushed]) == np.sign(d[pushed]))
    assert np.all(np.abs(h[pushed]) <= hardening.LIMIT * np.abs(d[pushed]) + 0.01)
    assert np.all(np.abs(d[pushed]) > strength - 0.01)
    # each that was pushed now lies just beyond a threshold of one of the quantisers, the host short of it
    over = np.zeros_like(pushed)
    for quality in hardening.QUALITIES:
        step = jpeg_steps(quality).T.astype(np.float64)[
            :, :, None
        ]  # coefficients are [u, v], JPEG's table [v, u]
        up = np.sign(d)
        threshold = (np.floor((x + h) * up / step + 0.5) - 0.5) * step  # the last one below, along the push
        beyond = (x + h) * up - threshold
        over |= (beyond < 0.51) & (beyond > 0.3) & (x * up < threshold)
    assert np.mean(over[pushed]) > 0.99


def test_hardening_leaves_the_constant_term_and_the_two_highest_frequencies(host, delta):
    d, h = (coefficients(p) for p in (np.float32(0.8) * delta, harden(host, delta, 0.8)[0]))
    left = np.zeros((8, 8), bool)
    left[0, 0] = left[6:] = left[:, 6:] = True
    np.testing.assert_allclose(h[left], d[left], atol=0.01)
    assert np.all(np.any(np.abs(h - d) > 0.01, axis=2)[:3, :3].ravel()[1:])


def test_hardening_leaves_what_is_beyond_whole_blocks(draw_plane, carrier):
    host = prepare(draw_plane("textured", 203, 150), 1)
    delta = make_delta(host, carrier, CODEWORD, Design((4, 4), 96))
    hardened, _ = harden(host, delta, 1.0)
    np.testing.assert_array_equal(hardened[200:], delta[200:])
    np.testing.assert_array_equal(hardened[:, 144:], delta[:, 144:])


@pytest.mark.parametrize("k", [2, 3, 7])
def test_coarser_units_are_not_hardened(host, delta, k):
    scaled_only, _ = harden(dataclasses.replace(host, k=k), delta, 0.7)
    np.testing.assert_array_equal(scaled_only, np.float32(0.7) * delta)


# ---- several threads -------------------------------------------------------------------------------


@pytest.fixture(params=[1, 5, 1000])
def strip_rows(request, monkeypatch):
    """Rows in a strip, whatever the caller asks for."""

    def strips(work, n_rows, threads, rows=0):
        return in_strips(work, n_rows, threads, request.param)

    for module in (drawing, hardening, planes):
        monkeypatch.setattr(module, "in_strips", strips)
    return request.param


@pytest.fixture(scope="module")
def tall(draw_plane):
    """Pixels of several strips, of odd sides."""
    return draw_plane("textured", 603, 133).astype(np.uint8)


def everything(pixels, carrier, threads):
    host = prepare(canonical_plane(pixels, 1, threads=threads), 1)
    delta = make_delta(host, carrier, CODEWORD, Design((4, 4), 96, binding=STRONG), threads)
    hardened, square = harden(host, delta, 0.8, threads)
    coarse, coarse_square = harden(dataclasses.replace(host, k=2), delta, 0.8, threads)
    marked, report = marking.mark(pixels, 255.0, carrier, CODE, PAYLOAD, 1.0, threads)
    return (delta, hardened, coarse, marked), (square, coarse_square, report.psnr_db, report.strength)


def test_bits_and_sums_are_the_same_for_any_number_of_threads(tall, carrier):
    arrays, sums = everything(tall, carrier, 1)
    for threads in (2, 3, 7):
        others, other_sums = everything(tall, carrier, threads)
        for one, other in zip(arrays, others, strict=True):
            np.testing.assert_array_equal(one, other)
        assert sums == other_sums


def test_bits_are_the_same_whatever_the_strips(tall, carrier, monkeypatch, strip_rows):
    found, sums = everything(tall, carrier, 2)
    monkeypatch.undo()
    arrays, exact = everything(tall, carrier, 1)
    for one, other in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(one, other)
    assert sums == pytest.approx(exact, rel=1e-12)  # added in another order


# ---- the whole -------------------------------------------------------------------------------------


def test_marking_changes_no_pixel_by_much_and_all_channels_alike(draw_plane, carrier):
    pixels = np.repeat(draw_plane("textured", 256, 256).astype(np.uint8)[..., None] // 2 + 60, 3, axis=2)
    marked, report = marking.mark(pixels, 255.0, carrier, CODE, PAYLOAD, 1.0)
    change = marked.astype(int) - pixels
    assert np.abs(change).max() < 30
    np.testing.assert_array_equal(change, change[..., :1] * np.ones(3, int))
    assert report.margin_message > 1


def test_a_picture_is_refused_when_the_message_is_lost(carrier, draw_plane, monkeypatch):
    monkeypatch.setattr(marking, "measure_each", lambda *_: [Margins(0.99, 0.5, 1.0)])
    for kind, error in (("textured", ImageTooSmallError), ("smooth", ImageTooFlatError)):
        pixels = draw_plane(kind, 160, 200).astype(np.uint8)
        with pytest.raises(error, match=r"200 x 160.*64 bits.*strength"):
            marking.mark(pixels, 255.0, carrier, CODE, PAYLOAD, 1.0)


@pytest.mark.parametrize(
    ("margins", "says"),
    [(Margins(2, 0.9, 1.1), ["JPEG"]), (Margins(2, 1.1, 0.5), ["pilot"]), (Margins(2, 2, 2), [])],
)
def test_weak_marks_are_warned_of(carrier, draw_plane, monkeypatch, margins, says):
    monkeypatch.setattr(marking, "measure_each", lambda *_: [margins])
    pixels = draw_plane("textured", 160, 200).astype(np.uint8)
    report = marking.mark(pixels, 255.0, carrier, CODE, PAYLOAD, 1.0)[1]
    assert len(report.warnings) == len(says)
    assert all(word in warning for word, warning in zip(says, report.warnings, strict=True))


@pytest.mark.parametrize("strength", [1.0, 2.0, 4.0])
def test_a_stronger_mark_is_held_to_a_psnr_lower_in_proportion(carrier, draw_plane, strength):
    pixels = draw_plane("textured", 203, 264).astype(np.uint8)
    report = marking.mark(pixels, 255.0, carrier, CODE, PAYLOAD, strength)[1]
    assert report.psnr_db == pytest.approx(42.15 - 20 * np.log10(strength), abs=0.5)


def test_what_is_marked_goes_to_out_unless_it_is_refused(carrier, draw_plane, monkeypatch):
    pixels = draw_plane("textured", 320, 320).astype(np.uint8)
    before = pixels.copy()
    expected = marking.mark(pixels, 255.0, carrier, CODE, PAYLOAD, 1.0)[0]
    for out in (np.zeros_like(pixels), pixels):
        untouched = out.copy()
        with monkeypatch.context() as patch:
            patch.setattr(marking, "measure_each", lambda *_: [Margins(0.99, 2.0, 2.0)])
            with pytest.raises(ImageTooSmallError):
                marking.mark(pixels, 255.0, carrier, CODE, PAYLOAD, 1.0, out=out)
        np.testing.assert_array_equal(out, untouched)
        np.testing.assert_array_equal(pixels, before)
        marked, _ = marking.mark(pixels, 255.0, carrier, CODE, PAYLOAD, 1.0, out=out)
        assert np.shares_memory(marked, out)
        np.testing.assert_array_equal(out, expected)


def test_average_marked_pictures_do_not_add_up_to_the_pattern(draw_plane):
    """Each has its own origin: the mean of many marks is small."""
    key, deltas = Key(bytes(32)), []
    carrier = Carrier(key)
    for seed in range(16):
        host = prepare(draw_plane("textured", 128, 128, seed), 1)
        deltas.append(make_delta(host, carrier, CODEWORD, Design(hashed_origin(host.plane, key), 96)))
    assert np.std(np.mean(deltas, axis=0)) < 0.4 * np.mean([np.std(delta) for delta in deltas])


def test_an_image_that_barely_carries_its_message_is_bound_less(key, draw_plane, monkeypatch):
    """The strong class is tried first; the weak one has more left for the message."""
    tried = []
    original = marking.make_delta

    def noted(host, carrier, codeword, design, threads=1):
        tried.append(design.binding)
        return original(host, carrier, codeword, design, threads)

    monkeypatch.setattr(marking, "make_delta", noted)
    classes = {}
    for side in range(160, 260, 8):
        tried.clear()
        try:
            fm.Watermarker(key).embed(draw_plane("textured", side, side).astype(np.uint8), 1)
        except ImageTooSmallError:
            assert tried == [STRONG, WEAK]
            classes[side] = None
        else:
            classes[side] = tried[-1]
    found = list(classes.values())
    assert None in found
    assert found[-1] == STRONG
    assert WEAK in found  # between the images that are refused and those with margin to spare
