"""The power density of a plane, under which tones hide."""

import numpy as np
import pytest

from fastmark.embedding.choices import power_density

# ---- power density ---------------------------------------------------------------------------------


def means_of(plane):
    """Means over 2 x 2 units."""
    n_rows, n_columns = (n // 2 for n in plane.shape)
    return plane.reshape(n_rows, 2, n_columns, 2).mean(axis=(1, 3)).astype(np.float32)


def frequencies_of(radii, n=24):
    """Tones' frequencies of all directions, cycles a unit."""
    angle = (np.arange(n) + 0.5) * np.pi / n
    return np.concatenate([radius * np.stack([np.sin(angle), np.cos(angle)], axis=1) for radius in radii])


def passed(frequencies):
    return np.prod(np.cos(np.pi * frequencies) ** 2, axis=1)


@pytest.mark.parametrize(
    ("shape", "spread"), [((768, 800), 0.25), ((512, 520), 0.35), ((260, 256), 0.65), ((130, 90), 0.65)]
)
@pytest.mark.parametrize("sigma", [1.0, 20.0])
def test_the_density_of_white_noise_is_its_variance(shape, spread, sigma):
    """Within a twentieth in the mean; one frequency's is that of some dozen values, or a few in a small
    plane.
    """
    f = frequencies_of(np.linspace(0.05, 0.2, 8))
    seen = []
    for seed in range(10):
        means = means_of(np.random.default_rng(seed).normal(0, sigma, shape))
        density = power_density(means)
        # a mean of four has a quarter of the variance
        assert density.power.mean() == pytest.approx(sigma**2 / 4, rel=0.15)
        # what folds back from beyond a quarter of a cycle is taken for the picture's: there it is too much
        seen.append(density.at(f) * passed(f) / sigma**2)
    assert np.mean(seen) == pytest.approx(1, rel=0.05)
    assert np.std(seen) < spread


def test_the_density_of_coloured_noise_is_the_known_one():
    """Within a twelfth in the mean over a ring, where what folds back is next to nothing."""
    height, width = 768, 1024
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)

    def truth(fy, fx):
        # louder along one direction, as pictures are, and falling with the third power
        return 900 / (1 + ((fy**2 + 2 * fx**2) / 0.06**2) ** 1.5)

    white = np.fft.rfft2(np.random.default_rng(3).normal(size=(height, width)))
    plane = np.fft.irfft2(white * np.sqrt(truth(fy, fx)), s=(height, width))
    density = power_density(means_of(plane))
    for radius in (0.06, 0.09, 0.12, 0.15):
        f = frequencies_of([radius], 64)
        assert np.mean(density.at(f) / truth(*f.T)) == pytest.approx(1, abs=1 / 12)


def test_a_frequency_and_its_negative_have_one_density():
    density = power_density(np.random.default_rng(4).normal(size=(300, 300)).astype(np.float32))
    f = frequencies_of([0.06, 0.13, 0.22])
    np.testing.assert_allclose(density.at(-f), density.at(f), rtol=1e-12)


def test_a_wave_stands_out_at_its_frequency_alone():
    y, x = np.mgrid[0:512, 0:512]
    wave = 10 * np.cos(2 * np.pi * (0.11 * y - 0.07 * x))
    density = power_density(means_of(wave))
    at, mirrored, beside = (
        density.at(np.array([f]))[0] for f in ((0.11, -0.07), (0.11, 0.07), (0.16, -0.07))
    )
    assert at > 1e4 * max(mirrored, beside)


def test_small_planes_have_a_coarser_density_and_level_ones_none():
    assert power_density(np.zeros((127, 300), np.float32)).power.shape == (32, 17)
    assert power_density(np.zeros((128, 300), np.float32)).power.shape == (128, 65)
    assert not power_density(np.zeros((64, 64), np.float32)).power.any()


# ---- planes of which some counts -------------------------------------------------------------------


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_what_counts_alike_has_the_density_of_a_plane_that_counts(gain):
    means = np.random.default_rng(6).normal(3, 1, (128, 128)).astype(np.float32)
    weighted = power_density(means, np.full_like(means, gain))
    plain = power_density(means - means.mean())
    assert weighted.power.shape == ((128, 65) if gain == 1 else (32, 17))
    assert weighted.power.mean() == pytest.approx(plain.power.mean(), rel=0.1)


@pytest.mark.parametrize("radius", [20, 40, 100])
@pytest.mark.parametrize("background", [0.0, 100.0])
def test_what_does_not_count_does_not_change_the_density(radius, background):
    """Discs in which there is room for a tile, a small one, or none, the rest level or loud."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:256, :280]
    weights = (np.hypot(y - 125, x - 131) < radius).astype(np.float32)
    inside = rng.normal(40, 5, weights.shape)
    means = np.where(weights > 0, inside, rng.normal(0, background, weights.shape)).astype(np.float32)
    seen = power_density(means, weights).power
    # in the mean over all frequencies but the lowest
    assert seen[3:-3, 3:].mean() == pytest.approx(25, rel=0.15)


def test_the_border_of_what_counts_is_no_texture():
    y, x = np.mgrid[:256, :280]
    weights = (np.hypot(y - 125, x - 131) < 100).astype(np.float32)
    slope = (0.3 * y + 0.2 * x).astype(np.float32)
    f = frequencies_of([0.08, 0.15, 0.2])
    assert np.median(power_density(slope, weights).at(f)) < 0.1
