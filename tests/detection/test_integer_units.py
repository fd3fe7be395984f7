"""Crops of large images: scales of whole samples per unit are seen, placed to the sample, and read."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
from pictures import drawn
from PIL import Image
from planted import CODE, MESSAGE, planted, units_off

import fastmark as fm
from fastmark.codec.carrier import Carrier
from fastmark.codec.tables import TORUS
from fastmark.detection.analysis import Analysis
from fastmark.detection.integer_units import (
    LOG_LOOKS,
    MOST_SAMPLES,
    SHOWN,
    place_by_phases,
    place_densely,
    whole_units,
)
from fastmark.detection.logpolar import Templates
from fastmark.detection.placement import LOG_SHIFTS
from fastmark.detection.reading import ChipReader
from fastmark.detection.scores import ScorePlanes


@pytest.fixture(scope="module")
def crop_of(carrier, draw_plane):
    """A function ``(samples, first)``: analysis of a crop, its origin and its offset."""

    def crop(samples, first, strength=2.0):
        plane, origin = planted(draw_plane("textured", 250, 300, samples), carrier, strength=strength)
        size = samples * plane.shape[1], samples * plane.shape[0]
        shown = np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))
        noise = np.random.default_rng([samples, *first]).normal(0, 4, shown.shape)
        shown = np.clip(shown + noise, 0, 255).astype(np.float32)
        piece = np.ascontiguousarray(shown[first[0] : -3, first[1] : -2])
        middle = (samples - 1) / 2
        return Analysis(ScorePlanes(piece)), np.array(origin), middle - np.array(first)

    return crop


def chosen(analysis, carrier, samples):
    (unit,) = (u for u in whole_units(analysis, Templates(carrier), -math.inf) if u.samples == samples)
    return unit


@pytest.mark.parametrize(
    ("samples", "first"), [(2, (7, 12)), (2, (0, 0)), (3, (4, 11)), (5, (13, 6))], ids=str
)
def test_a_crop_is_placed_to_the_sample_and_read(carrier, crop_of, samples, first):
    analysis, origin, offset = crop_of(samples, first)
    found = whole_units(analysis, Templates(carrier))
    assert found[0].samples == samples
    assert found[0].score > 4
    near = place_by_phases(found[0], analysis, carrier)
    assert near[0].log_p < -20
    # to the last bit, so that nothing is resampled
    assert all(np.array_equal(one.matrix, samples * np.eye(2)) for one in near)
    off = [units_off(one, one.matrix, offset, origin) for one in near]
    assert len(off) == 3 and off[0] < 1.01 / samples and min(off) < 1e-6
    placement = near[int(np.argmin(off))]
    dense = place_densely(found[0], analysis, carrier)
    assert dense[0] > 10
    assert units_off(dense[1], placement.matrix, offset, origin) < 0.45
    reader = ChipReader(analysis, carrier, CODE)
    assert reader.read(placement, 0.0)
    assert reader.finding.message.message == MESSAGE


def test_the_right_sample_tells_more_than_its_neighbours(carrier, crop_of):
    analysis, origin, offset = crop_of(2, (7, 12))
    near = place_by_phases(chosen(analysis, carrier, 2), analysis, carrier)
    (placement,) = (one for one in near if units_off(one, one.matrix, offset, origin) < 1e-6)
    margins = []
    for shift in ((0, 0), (0, 1), (1, 1)):
        reader = ChipReader(analysis, carrier, CODE)
        reader.read(replace(placement, offset=placement.offset + shift), 0.0)
        margins.append(reader.finding.message_z)
    assert margins[0] > 1.1 * margins[1] > 1.1 * margins[2]


def test_anchors_find_the_place_where_the_phases_do_not(carrier, crop_of):
    """The pilot of another key's phases says nothing; anchors are the mark's own."""
    strange = copy.copy(carrier)
    strange.phases = np.random.default_rng(1).permutation(carrier.phases)
    analysis, origin, offset = crop_of(2, (7, 12), strength=3.0)
    unit = chosen(analysis, strange, 2)
    assert place_by_phases(unit, analysis, strange)[0].log_p > 0
    z, placement = place_densely(unit, analysis, strange)
    assert z > 6
    assert units_off(placement, placement.matrix, offset, origin) < 1e-6
    assert ChipReader(analysis, strange, CODE).read(placement, 0.0)


def test_looks_with_anchors_are_made_where_the_first_warrants_them(carrier, other_carrier, crop_of):
    analysis, _, _ = crop_of(2, (7, 12))
    kinds = [kind for kind, _, _ in chosen(analysis, carrier, 2).looks(analysis, carrier)]
    assert kinds == ["whole units"] * 3 + ["dense units"]
    unit = chosen(analysis, other_carrier, 2)
    assert unit.score < SHOWN
    looks = list(unit.looks(analysis, other_carrier))
    assert [look[0] for look in looks] == ["whole units"]
    assert looks[0][2].log_p > 0
    assert [look[0] for look in unit.looks(analysis, other_carrier, sure=True)] == kinds[2:]


def test_a_piece_of_few_units_is_not_looked_at(carrier, draw_plane):
    for side, most in ((120, 1), (130, 2), (330, 5), (900, MOST_SAMPLES)):
        analysis = Analysis(ScorePlanes(draw_plane("textured", side, side + 40)))
        found = whole_units(analysis, Templates(carrier), -math.inf)
        assert sorted(unit.samples for unit in found) == list(range(2, most + 1))
        scores = [unit.score for unit in found]
        assert scores == sorted(scores, reverse=True)


def test_all_places_are_paid_for(other_carrier, crop_of):
    """Origins of an image that was not cropped are nothing special here."""
    analysis, _, _ = crop_of(2, (7, 12))
    for look in chosen(analysis, other_carrier, 2).looks(analysis, other_carrier, sure=True):
        trials = look[2].log_trials - LOG_SHIFTS
        assert trials == pytest.approx(math.log(2)) or trials == pytest.approx(math.log(6))
    assert pytest.approx(math.log(4)) == LOG_LOOKS
    assert pytest.approx(2 * math.log(4 * TORUS)) == LOG_SHIFTS


def test_chance_gets_there_as_rarely_as_is_said(draw_plane):
    """Of searches, one in seven looks at phases, and few of these look as if they agreed."""
    analysis = Analysis(ScorePlanes(draw_plane("textured", 420, 560)))
    smooth = Analysis(ScorePlanes(np.ascontiguousarray(drawn(420, 560)[..., 1].astype(np.float32))))
    keys = [fm.Key(np.random.default_rng([7, n]).bytes(32)) for n in range(60)]
    shown, log_ps = [], []
    for key in keys:
        carrier = Carrier(key)
        templates = Templates(carrier)
        for image in (analysis, smooth):
            shown.append(len(whole_units(image, templates)) > 0)
            unit = chosen(image, carrier, 2)
            log_ps.append(place_by_phases(unit, image, carrier)[0].log_p)
    share, n = 0.15, len(shown)
    assert sum(shown) <= n * share + 4 * math.sqrt(n * share)
    for p in (0.1, 0.01, 0.001):
        assert np.count_nonzero(np.array(log_ps) <= math.log(p)) <= n * p + 4 * math.sqrt(n * p)
