"""Fixtures of all integrations: a watermarker with a fixed key, and images that it can watermark."""

import numpy as np
import pytest

from fastmark import Key, Watermarker


@pytest.fixture(scope="session")
def key():
    return Key(bytes(range(32)), "integrations")


@pytest.fixture(scope="session")
def marker(key):
    return Watermarker(key)


@pytest.fixture(scope="session")
def key_file(key, tmp_path_factory):
    """The key in a file, as programs are given it."""
    path = tmp_path_factory.mktemp("key") / "my.key"
    key.save(path)
    return path


@pytest.fixture
def draw():
    """Textured colours, uint8 ``(height, width, 3)``: smooth shapes and grain, another for each seed."""

    def drawn(seed=0, height=320, width=384):
        rng = np.random.default_rng(seed)
        small = rng.uniform(40, 215, (height // 32 + 2, width // 32 + 2, 3))
        rows, columns = np.arange(height) / 32, np.arange(width) / 32
        smooth = small[rows.astype(int)][:, columns.astype(int)]
        noise = rng.normal(0, 12, (height, width, 3))
        return np.clip(smooth + noise, 0, 255).astype(np.uint8)

    return drawn
