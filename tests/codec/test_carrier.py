"""What a key means: tones, phases, signs, the code-bit map, and what is made of them."""

import threading

import numpy as np
import pytest
from reference import chips as slow

from fastmark import fft
from fastmark.codec.carrier import BASIS, COEFFICIENT_COLUMNS, COEFFICIENT_ROWS, HALF_BASIS, Carrier
from fastmark.codec.key import Key
from fastmark.codec.message import CODE_BITS
from fastmark.codec.tables import (
    ANCHOR,
    COEFFICIENTS,
    GRID,
    N_TONES,
    PHASE_STEPS,
    SUPERBLOCK,
    TONE_COUNTS,
    TORUS,
)

PILOT = 2e-5  # float32 FFT of 1024 x 1024 against the sum in float64


@pytest.fixture(scope="module", params=["carrier", "other_carrier"])
def any_carrier(request):
    return request.getfixturevalue(request.param)


def test_tones_lie_in_the_band_off_the_axes_and_in_the_upper_half_plane(any_carrier):
    fy, fx = any_carrier.tones.T
    radius = np.hypot(fy, fx)
    assert any_carrier.tones.shape == (N_TONES, 2)
    assert radius.min() >= 51
    assert radius.max() <= 245
    assert fy.min() >= 6
    assert np.abs(fx).min() >= 6


def test_tones_and_their_negatives_are_at_least_six_bins_apart(any_carrier):
    points = np.concatenate([any_carrier.tones, -any_carrier.tones])
    distance = np.hypot(*(points[:, None] - points).transpose(2, 0, 1))
    np.fill_diagonal(distance, np.inf)
    assert distance.min() >= 6


def test_tones_lean_to_the_middle_of_the_band_and_to_neither_side(any_carrier):
    fy, fx = any_carrier.tones.T
    radius = np.hypot(fy, fx)
    log_uniform = np.log(np.median(radius) / 51) / np.log(245 / 51)
    assert 0.4 < log_uniform < 0.75  # above one half: low tones stand in each other's way
    assert abs(np.sum(fx > 0) - N_TONES / 2) < 5 * np.sqrt(N_TONES) / 2
    assert np.mean(radius > 0.085 * TORUS) > 0.5


def test_phases_are_multiples_of_the_step_and_cover_the_circle(any_carrier):
    steps = any_carrier.phases * PHASE_STEPS / (2 * np.pi)
    np.testing.assert_allclose(steps, np.rint(steps), rtol=0, atol=1e-6)
    assert steps.min() >= 0
    assert steps.max() < PHASE_STEPS
    assert np.abs(np.exp(1j * any_carrier.phases).sum()) < 4 * np.sqrt(N_TONES)


def test_signs_are_plus_and_minus_one_in_balance(any_carrier):
    signs = any_carrier.signs
    assert signs.shape == (len(COEFFICIENTS), GRID, GRID)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.sum()) < 5 * np.sqrt(signs.size)
    per_coefficient = signs.sum(axis=(1, 2))
    assert np.abs(per_coefficient).max() < 5 * GRID


def test_signs_of_neighbours_are_uncorrelated(any_carrier):
    signs = any_carrier.signs
    for axis in range(3):
        assert abs((signs * np.roll(signs, 1, axis)).sum()) < 5 * np.sqrt(signs.size)


def test_every_block_has_one_anchor(any_carrier):
    anchors = any_carrier.code_bit == ANCHOR
    assert np.all(anchors.sum(axis=0) == 1)
    per_coefficient = anchors.sum(axis=(1, 2))
    expected = GRID * GRID / len(COEFFICIENTS)
    assert np.abs(per_coefficient - expected).max() < 5 * np.sqrt(expected)


def test_every_superblock_holds_each_code_bit_two_or_three_times(any_carrier):
    for top in range(0, GRID, SUPERBLOCK):
        for left in range(0, GRID, SUPERBLOCK):
            part = any_carrier.code_bit[:, top : top + SUPERBLOCK, left : left + SUPERBLOCK]
            counts = np.bincount(part[part != ANCHOR], minlength=CODE_BITS)
            assert counts.size == CODE_BITS
            assert set(np.unique(counts)) == {2, 3}


def test_the_torus_holds_each_code_bit_equally_often(any_carrier):
    code_bit = any_carrier.code_bit
    counts = np.bincount(code_bit[code_bit != ANCHOR], minlength=CODE_BITS)
    assert set(counts) == {9 * GRID * GRID // CODE_BITS}


def test_superblocks_are_permuted_afresh(any_carrier):
    parts = (
        any_carrier.code_bit.reshape(len(COEFFICIENTS), 8, 16, 8, 16).transpose(1, 3, 0, 2, 4).reshape(64, -1)
    )
    for s in range(1, 64):
        assert (
            np.mean(parts[s] == parts[0]) < 0.03
        )  # by chance: a hundredth are anchors in both, 1 / 1024 the rest


@pytest.mark.parametrize("n_tones", TONE_COUNTS)
def test_the_pilot_has_unit_mean_square_and_no_mean(any_carrier, n_tones):
    pilot = any_carrier.pilot(n_tones).astype(np.float64)
    assert pilot.shape == (TORUS, TORUS)
    assert np.mean(pilot**2) == pytest.approx(1, abs=1e-5)
    assert np.mean(pilot) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("n_tones", TONE_COUNTS)
def test_the_pilot_is_the_sum_of_its_cosines(any_carrier, n_tones):
    y, x = np.random.default_rng(n_tones).integers(0, TORUS, (2, 200))
    y[:4], x[:4] = (0, 0, TORUS - 1, TORUS - 1), (0, TORUS - 1, 0, TORUS - 1)
    fy, fx = any_carrier.tones[:n_tones].T
    angles = 2 * np.pi * (np.outer(y, fy) + np.outer(x, fx)) / TORUS + any_carrier.phases[:n_tones]
    exact = np.sqrt(2 / n_tones) * np.cos(angles).sum(axis=1)
    np.testing.assert_allclose(any_carrier.pilot(n_tones)[y, x], exact, rtol=0, atol=PILOT)


def test_the_pilot_is_made_once_for_all_threads(key):
    carrier, pilots = Carrier(key), []
    threads = [threading.Thread(target=lambda: pilots.append(carrier.pilot(48))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pilots) == 4
    assert all(pilot is pilots[0] for pilot in pilots)


@pytest.mark.parametrize("step", [1, 2])
def test_the_anchor_spectrum_is_that_of_the_anchors_averaged_over_the_step(any_carrier, step):
    spectrum = any_carrier.anchor_spectrum(step)
    assert (spectrum.shape, spectrum.dtype) == ((TORUS // step, TORUS // step // 2 + 1), np.complex64)
    assert any_carrier.anchor_spectrum(step) is spectrum
    pattern = fft.irfft2(spectrum)
    signs, code_bit = any_carrier.signs[:, :16, :16], any_carrier.code_bit[:, :16, :16]
    anchors = np.where(code_bit == ANCHOR, signs, 0)
    units = slow.add_inverse_dct(anchors, BASIS, COEFFICIENT_ROWS, COEFFICIENT_COLUMNS, 0, 0, (128, 128))
    side = 128 // step
    averaged = units.reshape(side, step, side, step).mean(axis=(1, 3))
    np.testing.assert_allclose(pattern[:side, :side], averaged, rtol=0, atol=1e-6)


@pytest.mark.parametrize("step", [1, 2])
def test_the_anchor_spectrum_holds_all_anchors_and_no_other_chip(any_carrier, step):
    pattern = fft.irfft2(any_carrier.anchor_spectrum(step))
    basis = BASIS if step == 1 else HALF_BASIS
    chips = slow.forward_dct(pattern, basis, COEFFICIENT_ROWS, COEFFICIENT_COLUMNS, 0, 0, GRID, GRID)
    # a mean over two units damps the wave v of a block to cos(pi v / 16) of it, and so does reading it there
    damped = (np.cos(np.pi * COEFFICIENT_ROWS / 16) * np.cos(np.pi * COEFFICIENT_COLUMNS / 16)) ** 2
    anchors = np.where(any_carrier.code_bit == ANCHOR, any_carrier.signs, 0)
    expected = (damped if step == 2 else np.ones(10))[:, None, None] * anchors
    np.testing.assert_allclose(chips, expected, rtol=0, atol=1e-5)


def test_neighbours_average_over_tones_of_about_the_same_radius(any_carrier):
    for n_tones in TONE_COUNTS:
        matrix = any_carrier.neighbours(n_tones)
        assert matrix.shape == (n_tones, n_tones)
        assert any_carrier.neighbours(n_tones) is matrix
        np.testing.assert_allclose(matrix.sum(axis=1), 1)  # a mean: what is level stays
        radius = np.hypot(*any_carrier.tones[:n_tones].T)
        apart = np.abs(np.log(radius[:, None] / radius))
        # the nearer in radius the larger the weight, whatever the direction
        order = np.argsort(apart, axis=1)
        assert np.all(np.diff(np.take_along_axis(matrix, order, axis=1), axis=1) <= 1e-12)
        assert np.all(matrix.sum(axis=1, where=apart < 0.5) > 0.99)


def test_the_same_key_means_the_same_arrays(key, carrier):
    again = Carrier(Key(key.secret, "another name"))
    for name in ("tones", "phases", "signs", "code_bit"):
        np.testing.assert_array_equal(getattr(again, name), getattr(carrier, name))
    assert again.key_id == carrier.key_id
    np.testing.assert_array_equal(again.pilot(96), carrier.pilot(96))


def test_another_key_means_other_arrays(carrier, other_carrier):
    common = {tuple(t) for t in carrier.tones} & {tuple(t) for t in other_carrier.tones}
    assert len(common) < 30  # 384 of some 15 000 lattice points each, spaced: about ten by chance
    assert np.mean(carrier.phases == other_carrier.phases) < 0.02
    assert abs(np.vdot(carrier.signs, other_carrier.signs)) < 5 * np.sqrt(carrier.signs.size)
    assert np.mean(carrier.code_bit == other_carrier.code_bit) < 0.02
    overlap = np.vdot(carrier.pilot(384).astype(np.float64), other_carrier.pilot(384)) / TORUS**2
    assert abs(overlap) < 0.1
