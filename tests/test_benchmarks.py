"""What the benchmarks' tables are made of: pictures that differ and repeat, shares that are counted right."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

pytest.importorskip("skimage", reason="the pictures of the benchmarks are scikit-image's")
pytest.importorskip("scipy")


# ---- kinds of unmarked pictures --------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 71), (130, 97)])
def test_each_kind_is_drawn_at_the_size_asked_for_and_repeats_itself(scripts, size):
    for name, draw in scripts("_kinds").KINDS.items():
        first, second, other = (draw(np.random.default_rng(seed), *size) for seed in (4, 4, 5))
        assert (first.shape, first.dtype) == ((*size, 3), np.uint8), name
        assert np.array_equal(first, second), name
        assert not np.array_equal(first, other), name


def test_sizes_of_kinds_keep_within_their_bounds(scripts):
    rng = np.random.default_rng(1)
    sizes = [scripts("_kinds").drawn_size(rng, 64, 64.0**2, 2e6) for _ in range(500)]
    areas = [h * w for h, w in sizes]
    assert min(min(size) for size in sizes) == 64
    assert max(max(size) / min(size) for size in sizes) <= 4.1
    assert max(areas) < 2.01e6 and np.median(areas) == pytest.approx((64.0**2 * 2e6) ** 0.5, rel=0.5)


# ---- pictures of the tables of speed ---------------------------------------------------------------


def test_rejected_pictures_have_their_size_differ_and_repeat(scripts):
    rejecting = scripts("_rejecting")
    sources = rejecting.originals([])
    for name in ("256x256", "481x321"):
        width, height = rejecting.size_of(name)
        made = [np.asarray(image) for image in rejecting.pictures(sources, name, 12)]
        again = [np.asarray(image) for image in rejecting.pictures(sources, name, 12)]
        assert {picture.shape for picture in made} == {(height, width, 3)}
        assert len({picture.tobytes() for picture in made}) == 12
        assert all(np.array_equal(a, b) for a, b in zip(made, again, strict=True))


def test_originals_are_never_enlarged_by_more_than_a_half(scripts):
    rejecting = scripts("_rejecting")
    sources = [np.zeros((400, 600, 3), np.uint8), np.zeros((600, 400, 3), np.uint8)]
    assert [source.shape[:2] for source in rejecting.fitting(sources, (900, 600))] == [(400, 600)] * 2
    assert rejecting.fitting(sources, (901, 600)) == []
    assert list(rejecting.pictures(sources, "1024x1024", 3)) == []


def test_ratios_are_to_the_mean_time_of_decoding(scripts):
    rejecting = scripts("_rejecting")
    row = rejecting.judged(rejecting.shares([10.0, 20.0, 30.0, 100.0], 10.0), (4, 2), (15, 8))
    assert (row["mean ratio"], row["median ratio"]) == (4.0, 2.5)
    assert (row["result"], row["p99 result"]) == ("reach", "reach")
    assert 9 < row["p99 ratio"] < 10


def test_verdicts(scripts):
    verdict = scripts("_timing").verdict
    assert [verdict(x, 2, 1) for x in (0.9, 1.5, 2.1)] == ["aim", "reach", "SHORT"]
    assert [verdict(x, 2, None) for x in (0.9, 2.1)] == ["reach", "SHORT"]
    assert verdict(1, None, None) == "-"


# ---- the archive -----------------------------------------------------------------------------------


def test_an_archive_of_given_pictures_is_made_of_jpegs_of_the_areas_it_says(scripts, tmp_path):
    bulk, rng = scripts("bulk"), np.random.default_rng(8)
    paths = (tmp_path / "one.png", tmp_path / "two.png")
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (700, 900, 3), np.uint8)).save(path)
    made = bulk.make_pictures(44, 52, paths)
    assert made == bulk.make_pictures(44, 52, paths)
    assert [message for _, _, message in made] == [""] * 6 + [f"{50:016x}", ""]
    for _, data, _ in made:
        image = Image.open(io.BytesIO(data))
        assert image.format == "JPEG" and get_sampling(image) == 2  # 4:2:0
        assert bulk.LEAST_AREA * 0.99 <= image.width * image.height <= bulk.MOST_AREA * 1.01
        assert image.width <= 1.5 * 900 + 1 and image.height <= 1.5 * 900 + 1  # never enlarged by more


# ---- what is said of watermarked pictures ------------------------------------------------------------


def test_what_is_said_wrongly_of_genuine_images_is_counted(scripts):
    columns = ("attack", "message_ok", "binding", "made_with", "inverted", "mirrored")
    rows = [
        ("none", 1, "match", "key", False, False),
        ("invert", 1, "match", "key", True, False),
        ("jpeg-50", 1, "mismatch", "unknown", True, False),
        ("flip-x", 1, "unknown", "detector key", False, False),
        ("jpeg-10", 0, "", "", True, True),
    ]
    named = [{"group": "everyday", **dict(zip(columns, row, strict=True))} for row in rows]
    (line,) = scripts("robustness").by_claim(named)
    assert line.pop("group") == "everyday"
    assert line == {"read": 4, "match": 2, "mismatch": 1, "key": 2, "detector key": 1} | {
        "inverted, wrongly": 1,
        "mirrored, wrongly": 1,
    }
