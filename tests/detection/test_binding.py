"""Whether a mark was made for its image, and with the key: statistics, verdicts, and their bounds."""

import dataclasses
import functools
import math

import numpy as np
import pytest
from pictures import drawn, grey, photograph
from PIL import Image
from planted import CODEWORD
from reference import binding as reference

from fastmark import Detector, DetectorKey, Watermarker
from fastmark.codec.binding import STRONG, WEAK
from fastmark.codec.carrier import Carrier
from fastmark.codec.message import Decoded
from fastmark.codec.tables import GRID, N_COEFFICIENTS
from fastmark.detection import binding
from fastmark.detection.binding import judge, sign_bound
from fastmark.detection.chip_sums import ChipSums, block_luma, chip_weights, sum_chips
from fastmark.detection.placement import LOG_SHIFTS, Placement
from fastmark.detection.reading import ChipView
from fastmark.detection.resampling import resample
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.embedding.design import Design
from fastmark.embedding.host import prepare
from fastmark.embedding.marking import make_delta

MESSAGE = 0x0F1E2D3C4B5A6978
DECODED = Decoded(MESSAGE, 1, CODEWORD)
STRENGTH = 0.9  # about what the embedder takes
PICTURES = {
    "drawn": lambda: drawn(448, 512, 3),
    "astronaut": lambda: photograph("astronaut"),
    "chelsea": lambda: photograph("chelsea"),
    "coffee": lambda: photograph("coffee"),
}


@functools.cache
def marked(key, name, bind=True):
    return Watermarker(key).embed(PICTURES[name](), MESSAGE, bind=bind)


def bent(picture, degrees=0.0, scale=1.0):
    image = Image.fromarray(picture)
    if degrees:
        image = image.rotate(degrees, Image.Resampling.BICUBIC)
        width, height = image.size
        image = image.crop((width // 6, height // 6, width - width // 6, height - height // 6))
    size = round(scale * image.width), round(scale * image.height)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC) if scale != 1 else image)


CHANGES = {
    "as it is": lambda p: p,
    "inverted": lambda p: 255 - p,
    "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "turned by 180 and inverted": lambda p: 255 - np.ascontiguousarray(p[::-1, ::-1]),
    "rotated": lambda p: bent(p, 20),
    "cropped": lambda p: np.ascontiguousarray(p[37:-30, 51:-7]),
    "shrunk": lambda p: bent(p, scale=0.7),
    "enlarged": lambda p: bent(p, scale=1.4),
    "darker": lambda p: (0.7 * p).astype(np.uint8),
}


# ---- statistics ------------------------------------------------------------------------------------


def blocks_of(shape, seed=0):
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(0, 1, (N_COEFFICIENTS, *shape)).astype(np.float32)
    inside = (rng.random(shape) < 0.9).astype(np.float32)
    content = rng.uniform(-1, 1, shape).astype(np.float32)
    return ChipBlocks(coefficients, inside), content


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_over_chips_that_are_shown_more_than_once(carrier, sign):
    blocks, content = blocks_of((140, 9))
    origin = (100, -3)
    others, withheld = sum_chips(blocks, origin, content, carrier, DECODED, np.float32(sign))
    bits = np.append(1.0 - 2.0 * CODEWORD, 1.0)
    known = sign * carrier.signs * bits[carrier.code_bit]  # -1, an anchor, takes the last
    factors = [blocks.inside * content**power for power in range(3)]
    folded = [known * reference.fold(blocks.coefficients, f, origin) for f in factors]
    weights = chip_weights(folded[0].astype(np.float32), ~carrier.binding.withheld)
    seen = reference.fold(np.ones((1, 140, 9)), blocks.inside, origin)[0] > 0
    tables = carrier.binding
    for sums, part in ((others, ~tables.withheld), (withheld, tables.withheld)):
        expected = reference.chip_sums(
            *(weights * f for f in folded), tables.signs, tables.flags, part & seen
        )
        np.testing.assert_allclose((*sums[:5], *sums.flags), expected, rtol=1e-4, atol=1e-2)
    whole = others.plus(withheld)
    assert whole.plain == others.plain + withheld.plain
    assert whole.flags[1] == others.flags[1] + withheld.flags[1]


def test_weights_of_chips():
    rng = np.random.default_rng(4)
    gain = np.linspace(0, 1, GRID)  # the mark fades from right to left
    x = (rng.normal(0.5, 1, (N_COEFFICIENTS, GRID, GRID)) * gain).astype(np.float32)
    known = rng.random((GRID, GRID)) < 0.7
    weights = chip_weights(x, known)
    for place in ((0, 0, 0), (3, 64, 70), (9, 127, 127), (5, 2, 126), (7, 90, 3)):
        expected = reference.chip_weight(x.astype(np.float64), known, place)
        assert weights[place] == pytest.approx(expected, rel=1e-3)


def test_weights_do_not_look_at_withheld_blocks_nor_at_the_block_they_are_for():
    rng = np.random.default_rng(5)
    x = rng.normal(0.5, 1, (N_COEFFICIENTS, GRID, GRID)).astype(np.float32)
    known = rng.random((GRID, GRID)) < 0.7
    weights = chip_weights(x, known)
    other = np.where(known, x, -5 * x)
    np.testing.assert_array_equal(chip_weights(other, known), weights)
    y, x0 = np.argwhere(known)[500]
    other = x.copy()
    other[2, y, x0], other[6, y, x0] = other[6, y, x0], other[2, y, x0]
    assert chip_weights(other, known)[4, y, x0] == pytest.approx(weights[4, y, x0], rel=1e-3)


def test_without_any_mark_all_chips_weigh_the_same():
    x = np.full((N_COEFFICIENTS, GRID, GRID), -1, np.float32)
    assert (chip_weights(x, np.ones((GRID, GRID), bool)) == 1).all()


@pytest.mark.parametrize("offset", [(-4, -4), (-13, -6), (0, -8), (-3.5, -7.25)])
@pytest.mark.parametrize("scale", [1.0, 0.6, 2.5])
def test_luma_of_blocks_wherever_they_lie(draw_plane, offset, scale):
    """A plane that is linear in its places has the luma of a block's middle."""
    y, x = np.mgrid[0:300, 0:340]
    plane = (20 + 0.3 * y + 0.25 * x).astype(np.float32)
    planes = ScorePlanes(plane)
    placement = Placement(scale * np.eye(2), np.array(offset, float), False, 96, 0.0, LOG_SHIFTS)
    grid = resample(planes, placement.matrix, placement.offset)
    blocks = ChipBlocks.of(grid.scores, grid.inside)
    view = ChipView(blocks, (grid.origin[0] // 8, grid.origin[1] // 8), 4.0, 1)
    found = block_luma(planes, placement, view.origin, view.blocks.inside.shape)
    rows, columns = (8 * (np.arange(n) + o) + 3.5 for n, o in zip(found.shape, view.origin, strict=True))
    there_y, there_x = scale * rows[:, None] + offset[0], scale * columns + offset[1]
    expected = 20 + 0.3 * there_y + 0.25 * there_x - 128
    whole = (blocks.inside > 0)[2:-2, 2:-2]
    assert whole.any()
    np.testing.assert_allclose(found[2:-2, 2:-2][whole], expected[2:-2, 2:-2][whole], atol=0.15)


# ---- bounds ----------------------------------------------------------------------------------------


def test_other_keys_signs_stay_within_the_bounds_of_binding_and_flags(carrier, monkeypatch):
    """Weights and content are given; z over the keyed signs are those of sums of fair signs."""
    blocks, content = blocks_of((40, 50), 6)
    bits = np.append(1.0 - 2.0 * CODEWORD, 1.0)
    place = np.ix_(range(N_COEFFICIENTS), range(40), range(50))
    known = (carrier.signs * bits[carrier.code_bit])[place]
    blocks.coefficients[:] += 0.3 * known * np.linspace(0, 2, 50)  # a mark that is not bound
    rng = np.random.default_rng(7)
    z = []
    for _ in range(250):
        tables = dataclasses.replace(
            carrier.binding,
            signs=rng.choice(np.array([-1, 1], np.int8), carrier.binding.signs.shape),
            flags=rng.choice(np.array([-1, 1], np.int8), carrier.binding.flags.shape),
        )
        other = Carrier(carrier.key)
        other.binding = tables
        others, withheld = sum_chips(blocks, (0, 0), content, other, DECODED, np.float32(1))
        total = others.plus(withheld)
        z.append(
            (total.bound / math.sqrt(total.bound_energy), *(f / math.sqrt(total.energy) for f in total.flags))
        )
        assert judge(others, withheld).binding == "unknown"
    z = np.array(z)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=0.15)
    assert np.abs(z.mean(axis=0)).max() < 0.25
    for least in (1.5, 2.0, 2.5):
        assert (z > least).mean() <= math.exp(-least * least / 2)
    assert z.max() < 5


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_the_bound_of_sums_of_few_signs(n):
    """Of all signs there are; two equal weights are where the bound is exact."""
    rng = np.random.default_rng(n)
    for weights in (np.ones(n), rng.uniform(0, 1, n), rng.exponential(1, n)):
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        sums = signs @ weights
        for total in np.unique(np.abs(sums)):
            share = np.mean(sums >= total - 1e-9)
            assert math.log(share) <= sign_bound(total, weights @ weights) + 1e-9


def test_the_bound_far_out_and_where_there_is_none():
    assert sign_bound(-1.0, 4.0) == sign_bound(0.0, 4.0) == 0.0
    assert sign_bound(4.2, 1.0) == pytest.approx(math.log(3.178 * 1.3346e-5), abs=1e-3)
    assert sign_bound(100.0, 1.0) == -5000.0


def flat_sums(z, agreement, flag, *, share=1.0, scale=1.0):
    """Sums of a mark of this z, bound to this degree, flagged as the strong class; ``scale`` of the mark."""
    energy = 1e4 * share
    plain = scale * z * 100 * share
    content = 0.8
    return ChipSums(
        plain,
        energy,
        agreement * STRONG.depth * content * plain,
        content * plain,
        content * energy,
        (flag * STRONG.flag * plain, 0.0),
    )


@pytest.mark.parametrize(
    ("agreement", "flag", "answer"),
    [(1, 1, "match"), (0, 1, "mismatch"), (1, 0, "match"), (0, 0, "unknown"), (0.5, 1, "unknown")],
)
def test_verdicts(agreement, flag, answer):
    parts = [flat_sums(25, agreement, flag, share=share) for share in (2 / 3, 1 / 3)]
    found = judge(*parts)
    assert found.binding == answer
    # a mark that is bound is whole only where it matches
    assert found.made_with == ("key" if answer == "match" or not flag else "unknown")
    assert (found.log_ratio is None) == (not (agreement or flag))
    if answer in ("match", "mismatch"):
        assert (found.log_ratio > 0) == (answer == "match")


def test_a_weak_mark_is_neither_matched_nor_accused():
    parts = [flat_sums(5, 0, 1, share=share) for share in (2 / 3, 1 / 3)]
    assert judge(*parts).binding == "unknown"


def test_nothing_is_told_without_chips():
    nothing = ChipSums(0.0, 0.0, 0.0, 0.0, 0.0, (0.0, 0.0))
    assert judge(nothing, nothing) == binding.UNKNOWN


@pytest.mark.parametrize(("agreement", "scale"), [(1, 0.0), (0, 0.0), (0, 1.0), (1, 0.3)])
def test_what_a_detector_key_does_not_disclose_cannot_be_forged(agreement, scale):
    """Withheld blocks have less of the mark, or all of it from another image."""
    disclosed = flat_sums(40, 1, 1, share=2 / 3)
    withheld = flat_sums(40, agreement, 1, share=1 / 3, scale=scale)
    assert judge(disclosed, withheld) == binding.Origins("unknown", None, "detector key")


def test_nothing_is_said_of_the_key_that_made_a_copy():
    """A holder of a detector key may have added a little to it."""
    parts = [flat_sums(40, 0, 1, share=share) for share in (2 / 3, 1 / 3)]
    assert judge(*parts) == binding.Origins("mismatch", judge(*parts).log_ratio, "unknown")


# ---- images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PICTURES)
def test_a_genuine_watermark_matches(key, name):
    found = Watermarker(key).detect(marked(key, name))
    assert found.binding == "match"
    assert found.made_with != "detector key"
    assert found.binding_log_ratio > math.log(1000)


@pytest.mark.parametrize("change", CHANGES)
def test_it_matches_after_changes_of_the_whole_image(key, change):
    found = Watermarker(key).detect(CHANGES[change](marked(key, "astronaut")))
    assert (found.message, found.binding) == (MESSAGE, "match")
    assert found.made_with != "detector key"


def test_most_watermarks_are_whole(key):
    """One in fifteen shows by chance so much less in withheld blocks that nothing is said."""
    answers = [Watermarker(key).detect(marked(key, name)).made_with for name in PICTURES]
    assert answers.count("key") >= 3


def test_both_classes_match(carrier, key):
    plane = grey(photograph("astronaut")).astype(np.float32)
    host = prepare(plane, 1)
    for kind in (STRONG, WEAK):
        delta = STRENGTH * make_delta(host, carrier, CODEWORD, Design((4, 12), 96, binding=kind))
        found = Watermarker(key).detect(np.clip(np.rint(plane + delta), 0, 255).astype(np.uint8))
        assert (found.message, found.binding) == (MESSAGE, "match")


@pytest.mark.parametrize("source", ["astronaut", "coffee"])
def test_a_copied_watermark_does_not(key, source):
    size = slice(0, 300), slice(0, 440)
    original = PICTURES[source]()[size].astype(np.int16)
    copy = Watermarker(key).embed(original.astype(np.uint8), MESSAGE) - original
    target = photograph("chelsea")[size]
    found = Watermarker(key).detect(np.clip(target + copy, 0, 255).astype(np.uint8))
    assert found.message == MESSAGE
    assert found.binding == "mismatch"
    assert found.made_with != "detector key"
    assert found.binding_log_ratio < -math.log(100)


@pytest.mark.parametrize("name", PICTURES)
def test_a_watermark_that_is_not_bound_is_never_called_copied(key, name):
    found = Watermarker(key).detect(marked(key, name, bind=False))
    assert found.message == MESSAGE
    assert (found.binding, found.binding_log_ratio) == ("unknown", None)
    assert found.made_with != "detector key"


def test_nothing_is_said_without_a_message(key):
    found = Watermarker(key).detect(photograph("chelsea"))
    assert (found.binding, found.binding_log_ratio, found.made_with) == ("unknown", None, "unknown")


def test_a_detector_key_tells_the_binding_but_not_what_the_watermark_was_made_with(key):
    detector = Detector(DetectorKey.of(key))
    (found,) = detector.detect(marked(key, "astronaut"))
    assert (found.message, found.binding, found.made_with) == (MESSAGE, "match", "unknown")


@pytest.mark.parametrize("strength", [1.0, 3.0])
def test_forged_with_a_detector_key(key, strength):
    plane = grey(photograph("astronaut")).astype(np.float32)
    host, disclosed = prepare(plane, 1), Carrier(DetectorKey.of(key))
    delta = make_delta(host, disclosed, CODEWORD, Design((20, 12), 96, binding=STRONG))
    delta *= np.float32(strength * STRENGTH)
    forged = np.clip(np.rint(plane + delta), 0, 255).astype(np.uint8)
    found = Watermarker(key).detect(forged)
    assert found.message == MESSAGE
    assert (found.binding, found.made_with) == ("unknown", "detector key")
    (public,) = Detector(DetectorKey.of(key)).detect(forged)
    assert (public.binding, public.made_with) == ("match", "unknown")  # its holder cannot tell


def test_a_planes_analysis_is_left_as_it_was(key, carrier):
    """Judging asks for other reductions of the plane, which must not change what later keys see."""
    picture = marked(key, "astronaut")
    assert Watermarker(key).detect(picture) == Watermarker(key).detect(picture)
    both = Detector([key, Watermarker(key, 32)]).detect(picture)
    assert [found.message for found in both] == [MESSAGE, None]
