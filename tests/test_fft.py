"""The transforms against numpy's in double precision, by both backends, from many threads at once."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fastmark import fft

SHAPES = [(8, 8), (1, 2), (2, 2), (5, 6), (64, 48), (63, 100), (512, 512), (360, 640)]


def draw(shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def assert_transforms(shape, seed=0):
    """Both directions of one array of this shape, within rounding of float32."""
    x = draw(shape, seed)
    exact = np.fft.rfft2(x.astype(np.float64))
    size = np.sqrt(x.size)
    spectrum = fft.rfft2(x)
    assert spectrum.dtype == np.complex64
    np.testing.assert_allclose(spectrum / size, exact / size, atol=1e-5)
    back = fft.irfft2(spectrum)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, x, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_transforms_agree_with_numpy_and_invert_each_other(shape):
    assert_transforms(shape)


def padded_twin(x, vertical, horizontal, shape):
    """In double precision, by numpy."""
    return np.fft.rfft2(x.astype(np.float64) * vertical[:, None] * horizontal, s=shape)


@pytest.mark.parametrize(
    ("size", "shape"),
    [((8, 8), (8, 8)), ((1, 1), (4, 2)), ((5, 7), (16, 8)), ((100, 60), (128, 96)), ((33, 250), (256, 320))],
    ids=str,
)
def test_padded_transforms_agree_with_numpy(size, shape):
    x, vertical, horizontal = draw(size), draw(size[:1], 1), draw(size[1:], 2)
    before = x.copy()
    spectrum = fft.rfft2_padded(x, vertical, horizontal, shape)
    assert spectrum.dtype == np.complex64
    assert spectrum.shape == (shape[0], shape[1] // 2 + 1)
    exact = padded_twin(x, vertical, horizontal, shape)
    np.testing.assert_allclose(spectrum, exact, atol=2e-6 * x.size)
    np.testing.assert_array_equal(x, before)


def test_padding_is_zero_whatever_was_transformed_before():
    """Frames of one shape, filled less and less: nothing is left of those before."""
    for size in ((60, 90), (60, 33), (20, 90), (20, 5), (60, 90)):
        x = draw(size)
        ones = [np.ones(n, np.float32) for n in size]
        spectrum = fft.rfft2_padded(x, *ones, (64, 96))
        np.testing.assert_allclose(spectrum, padded_twin(x, *ones, (64, 96)), atol=1e-3)
        framed = np.zeros((64, 96), np.float32)
        framed[: size[0], : size[1]] = x
        np.testing.assert_allclose(spectrum, fft.rfft2(framed), atol=1e-3)


def test_any_memory_layout_can_be_padded():
    x, ones = draw((40, 50)), [np.ones(n, np.float32) for n in (40, 50)]
    wide = np.repeat(x, 2, axis=1)[:, ::2]
    expected = fft.rfft2_padded(x, *ones, (64, 64))
    np.testing.assert_array_equal(fft.rfft2_padded(wide, *ones, (64, 64)), expected)
    np.testing.assert_array_equal(fft.rfft2_padded(np.asfortranarray(x), *ones, (64, 64)), expected)


def test_inputs_are_not_changed_and_results_are_not_reused():
    x, other = draw((64, 64)), draw((64, 64), 1)
    before = x.copy()
    first = fft.rfft2(x)
    kept = first.copy()
    fft.rfft2(other)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(first, kept)
    back = fft.irfft2(first)
    kept_back = back.copy()
    fft.irfft2(fft.rfft2(other))
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(back, kept_back)


def test_memory_layout_does_not_matter():
    x = draw((64, 96))
    for same in (np.asfortranarray(x), x[::-1][::-1], x.repeat(2, axis=0)[::2]):
        np.testing.assert_array_equal(fft.rfft2(same), fft.rfft2(x))


def test_more_shapes_than_plans_are_kept_still_transform():
    for _ in range(2):
        for n in range(2, 50, 2):
            assert_transforms((n, n))


def test_eight_threads_at_once_get_the_answers_of_one():
    jobs = [(shape, seed) for seed in range(12) for shape in SHAPES]
    alone = [fft.rfft2(draw(*job)) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: fft.rfft2(draw(*job)), jobs))
        list(pool.map(lambda job: assert_transforms(*job), jobs))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_eight_threads_at_once_get_the_padded_transforms_of_one():
    ones = [np.ones(n, np.float32) for n in (50, 60)]
    jobs = [(shape, seed) for seed in range(12) for shape in ((64, 64), (80, 96), (128, 160))]

    def transform(job):
        return fft.rfft2_padded(draw((50, 60), job[1]), *ones, job[0])

    alone = [transform(job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        for one, other in zip(alone, pool.map(transform, jobs), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100, 257, 700, 1434, 2048])
def test_good_sizes_are_the_least_of_their_form(n):
    forms = sorted(factor * 2**i for factor in (1, 3, 5) for i in range(13))
    assert fft.good_size(n) == next(size for size in forms if size >= n)


ELSEWHERE = """
import sys
import numpy as np
import fastmark as fm
from fastmark import fft
marked = np.load(sys.argv[1])
found = fm.Watermarker(fm.Key(bytes(range(32)))).detect(marked)
x = np.random.default_rng(5).normal(size=(256, 320)).astype(np.float32)
ones = [np.ones(n, np.float32) for n in x.shape]
np.savez(sys.argv[2], whole=fft.rfft2(x), padded=fft.rfft2_padded(x, *ones, (320, 384)))
print(fft.backend(), found.message, "pyfftw" in sys.modules)
"""


def test_numpy_alone_gives_the_same_transforms_and_messages(key, tmp_path):
    from pictures import photograph

    import fastmark as fm

    marked = fm.Watermarker(key).embed(photograph("rocket", 320), 77)[20:, 31:]
    np.save(tmp_path / "marked.npy", marked)
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "marked.npy"), str(tmp_path / "spectra.npz")]
    done = subprocess.run(
        command, env=os.environ | {"FASTMARK_FFT": "numpy"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["numpy", "77", "False"]
    x = np.random.default_rng(5).normal(size=(256, 320)).astype(np.float32)
    ones = [np.ones(n, np.float32) for n in x.shape]
    there = np.load(tmp_path / "spectra.npz")
    np.testing.assert_allclose(there["whole"], fft.rfft2(x), atol=2e-3)
    np.testing.assert_allclose(there["padded"], fft.rfft2_padded(x, *ones, (320, 384)), atol=2e-3)


def test_fftw_is_used_where_it_is_installed():
    pytest.importorskip("pyfftw")
    code = "from fastmark import fft; print(fft.backend())"
    environment = {name: value for name, value in os.environ.items() if name != "FASTMARK_FFT"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "fftw\n"
