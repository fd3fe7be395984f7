"""What several test files share: keys of fixed secrets, their carriers, and drawn planes."""

import numpy as np
import PIL
import pytest
from archive_commands import make_bench
from pictures import MESSAGE, photograph
from scripts import benchmark

from fastmark.codec.carrier import Carrier
from fastmark.codec.key import Key
from fastmark.watermarker import Watermarker

_OLDER_PILLOWS = (
    ("test_premultiplied_alpha[", "-2]", "they do not read premultiplied grey TIFF"),
    ("test_file_modes_are_brought_to_those_that_can_be_marked[II*", "-RGB]", "they garble YCbCr TIFF"),
)
"""Start and end of the name of tests that fail with older Pillows, and why: they cannot read such images."""


_DATED = (b"\x1f\x8b", b"name\0")
"""Beginnings of gzip, and of PNG profiles that tests make: they hold the second in which they are made."""


def pytest_make_parametrize_id(val):
    """Name dated bytes by their order alone: two processes must collect tests of the same names."""
    return "dated" if isinstance(val, bytes) and val.startswith(_DATED) else None


def pytest_collection_modifyitems(items):
    """Expect the failures of Pillows before 13, which pyproject.toml allows."""
    if int(PIL.__version__.partition(".")[0]) >= 13:
        return
    for item in items:
        for start, end, reason in _OLDER_PILLOWS:
            if item.name.startswith(start) and item.name.endswith(end):
                item.add_marker(pytest.mark.xfail(reason=f"Pillow before 13: {reason}"))


def _textured(y, x, rng):
    """Waves of many directions under noise, as foliage or cloth."""
    waves = np.zeros(y.shape)
    for fy, fx, phase in rng.uniform([-0.2, -0.2, 0], [0.2, 0.2, 2 * np.pi], (12, 3)):
        waves += np.cos(2 * np.pi * (fy * y + fx * x) + phase)
    return 128 + 14 * waves + rng.normal(0, 8, y.shape)


def _smooth(y, x, rng):
    """A sky: a gradient and a wide glow, nothing finer."""
    glow = np.exp(-((y - 0.3 * y.max()) ** 2 + (x - 0.6 * x.max()) ** 2) / (2 * 90.0**2))
    return 90 + 60 * y / max(y.max(), 1) + 70 * glow + 0 * rng.random()


def _edges(y, x, rng):
    """Flat shapes with hard borders on flat ground, as a logo or a document."""
    plane = np.full(y.shape, 235.0)
    for top, left, height, width, level in rng.uniform(0, 1, (14, 5)):
        inside = (y > top * y.max()) & (y < (top + 0.4 * height) * y.max())
        inside &= (x > left * x.max()) & (x < (left + 0.4 * width) * x.max())
        plane[inside] = 255 * level
    return plane


DRAWINGS = {"textured": _textured, "smooth": _smooth, "edges": _edges}


@pytest.fixture(scope="session")
def scripts():
    """A function that imports a module of the benchmarks as the scripts beside it import it."""
    return benchmark


@pytest.fixture(scope="session")
def draw_plane():
    """A function ``(kind, height, width, seed=0)`` that draws a float32 plane on 0..255."""

    def draw(kind, height, width, seed=0):
        y, x = np.mgrid[0:height, 0:width].astype(np.float64)
        plane = DRAWINGS[kind](y, x, np.random.default_rng(seed))
        return np.clip(plane, 0, 255).astype(np.float32)

    return draw


@pytest.fixture(scope="session", params=sorted(DRAWINGS))
def plane(request, draw_plane):
    """One drawn plane of each kind, 90 x 131: a multiple of nothing."""
    return draw_plane(request.param, 90, 131)


@pytest.fixture(scope="session")
def key():
    return Key(bytes(range(32)), "first")


@pytest.fixture(scope="session")
def other_key():
    return Key(bytes(range(1, 33)), "second")


@pytest.fixture(scope="session")
def carrier(key):
    return Carrier(key)


@pytest.fixture(scope="session")
def other_carrier(other_key):
    return Carrier(other_key)


@pytest.fixture(scope="session")
def marker(key):
    """64 bits under the first key."""
    return Watermarker(key)


@pytest.fixture(scope="session")
def marked(marker):
    """A photograph and the same with ``MESSAGE`` in it."""
    picture = photograph("astronaut")
    return picture, marker.embed(picture, MESSAGE)


@pytest.fixture(scope="session")
def noisy(marked):
    """The marked photograph under so much noise that its bound lies above the key's own strength."""
    noise = np.random.default_rng(3).normal(0, 45, marked[1].shape)
    return np.clip(np.rint(marked[1] + noise), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def archives(tmp_path_factory):
    """Keys and archives for the commands on many pictures; nobody writes among them."""
    return make_bench(tmp_path_factory.mktemp("bulk"))
