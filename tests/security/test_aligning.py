"""Images that lie anywhere on a pattern, aligned by what they show alone."""

import numpy as np
import pytest
from scipy import fft


@pytest.fixture(scope="module")
def alignment(attacks):
    return attacks("alignment")


def spectra_of(alignment, amplitude, count=6):
    """Spectra of noise and a pattern of an amplitude at whole blocks: the spectra, and the places."""
    random = np.random.default_rng(8)
    side = alignment.TORUS
    pattern = random.normal(size=(side, side))
    places = 8 * random.integers(0, side // 8, (count, 2))
    planes = [np.roll(amplitude * pattern, -at, (0, 1)) + random.normal(size=(side, side)) for at in places]
    return [fft.rfft2(plane.astype(np.float32)) for plane in planes], places


def test_images_with_a_pattern_are_moved_to_one_place(alignment):
    spectra, places = spectra_of(alignment, 0.15)
    shifts = alignment.aligned(spectra)
    assert set(shifts) == set(range(6))
    moved = {tuple((places[i] - shift) % alignment.TORUS) for i, shift in shifts.items()}
    assert len(moved) == 1


def test_images_without_a_pattern_are_not_aligned(alignment):
    spectra, _ = spectra_of(alignment, 0.0)
    assert alignment.aligned(spectra) == {}


def test_a_pattern_that_is_found_is_laid_where_it_was(attacks):
    patterns, random = attacks("patterns"), np.random.default_rng(9)
    pattern = random.normal(size=(64, 96)).astype(np.float32)
    at = (40, 1024 - 24)
    part, inside = patterns.laid(pattern, at, (128, 128))
    assert inside.sum() == 64 * 72
    assert np.array_equal(part[40:104, :72], pattern[:, 24:])
    scores = part + 0.5 * random.normal(size=part.shape).astype(np.float32)
    z, found = patterns.correlation(scores, pattern)
    assert z > patterns._FOUND and found == at


def test_what_is_taken_off_leaves_no_correlation(attacks, marker, image):
    patterns = attacks("patterns")
    bare = patterns.bare(marker, image, (7).to_bytes(8))
    marked = marker.embed(image, 7)
    reduced = patterns.reduced(marked, bare)
    assert marker.detect(marked).message == 7
    assert marker.detect(reduced).message is None
