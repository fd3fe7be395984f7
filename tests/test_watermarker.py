"""The public verbs: every kind of picture and message goes round, and nothing depends on chance."""

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import MESSAGE, drawn, grey, photograph, psnr_db
from PIL import Image

import fastmark as fm
from fastmark._checks import MESSAGE_BITS

PATTERN = bytes.fromhex("0123456789abcdeffedcba9876543210")
PEAKS = {"uint8": 255, "uint16": 65535, "float16": 1, "float32": 1, "float64": 1}


def levels(picture, dtype):
    """A uint8 picture in another dtype, over its whole range."""
    scaled = picture * (PEAKS[dtype] / 255)
    return (np.rint(scaled) if PEAKS[dtype] > 1 else scaled).astype(dtype)


def encoded(image, name, **options):
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


# ---- messages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", MESSAGE_BITS)
def test_messages_of_every_length_go_round_as_int_and_as_bytes(key, bits):
    marker = fm.Watermarker(key, bits)
    picture = photograph("coffee")
    for data in (bytes(bits // 8), b"\xff" * (bits // 8), PATTERN[: bits // 8]):
        number = int.from_bytes(data, "big")
        marked = marker.embed(picture, data)
        np.testing.assert_array_equal(marked, marker.embed(picture, number))
        found = marker.detect(marked)
        assert (found.state, found.message, found.message_bytes) == ("detected", number, data)
        assert found.message_bits == bits


@pytest.mark.parametrize("bits", MESSAGE_BITS)
@pytest.mark.parametrize(
    "wrong", ["-1", "2 ** bits", "b''", "bytes(bits // 8 + 1)", "1.0", "'00'", "None", "True"]
)
def test_what_is_no_message_of_that_length_is_refused(key, bits, wrong):
    marker = fm.Watermarker(key, bits)
    with pytest.raises(fm.InvalidMessageError):
        marker.embed(photograph("astronaut", 256), eval(wrong, {"bits": bits}))


def test_another_message_length_sees_the_mark_and_no_message(key, marked):
    for bits in (32, 128):
        found = fm.Watermarker(key, bits).detect(marked[1])
        assert (found.state, found.message, found.message_bytes) == ("detected", None, None)


def test_another_key_finds_nothing(other_key, marked):
    found = fm.Watermarker(other_key).detect(marked[1])
    assert (found.state, found.message, found.scale, found.rotation_deg) == ("absent", None, None, None)
    assert found.p_value > 1e-4
    assert found.key_id == other_key.id
    assert "no evidence" in found.note


def test_a_picture_nobody_marked_is_absent(marker, marked):
    found = marker.detect(marked[0])
    assert (found.state, found.message, found.mirrored, found.inverted) == ("absent", None, False, False)


def test_32_bits_fit_into_256_pixels(key):
    marker = fm.Watermarker(key, 32)
    for name in ("astronaut", "chelsea", "coffee", "rocket", "camera"):
        marked, report = marker.embed_report(photograph(name, 256), 0xDEADBEEF)
        assert marker.detect(marked).message == 0xDEADBEEF
        assert report.margin_message > 1


# ---- kinds of pictures -----------------------------------------------------------------------------

SHAPES = {
    "HxW": grey,
    "HxWx1": lambda rgb: grey(rgb)[..., None],
    "HxWx2": lambda rgb: np.dstack([grey(rgb), rgb[..., 0]]),
    "HxWx3": lambda rgb: rgb,
    "HxWx4": lambda rgb: np.dstack([rgb, 255 - rgb[..., 1]]),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", PEAKS)
def test_arrays_come_back_marked_in_shape_and_dtype(marker, dtype, shape):
    before = levels(SHAPES[shape](photograph("rocket", 320)), dtype)
    untouched = before.copy()
    after = marker.embed(before, MESSAGE)
    assert (type(after), after.shape, after.dtype) == (np.ndarray, before.shape, before.dtype)
    assert not np.shares_memory(before, after)
    np.testing.assert_array_equal(before, untouched)
    assert after.min() >= 0
    assert after.max() <= PEAKS[dtype]
    if shape in ("HxWx2", "HxWx4"):
        np.testing.assert_array_equal(after[..., -1], before[..., -1])
        before, colour = before[..., :-1], after[..., :-1]
    else:
        colour = after
    assert 40 < psnr_db(before, colour, PEAKS[dtype]) < 55
    assert marker.detect(after).message == MESSAGE


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "RGBX", "YCbCr", "I;16"])
def test_pillow_images_come_back_marked_in_mode_and_size(marker, mode):
    rgb = Image.fromarray(photograph("rocket", 320))
    if mode == "I;16":
        image = Image.fromarray(levels(grey(photograph("rocket", 320)), "uint16"))
    else:
        image = rgb.convert("L" if mode == "LA" else mode).convert(mode)
    image.info["comment"] = b"kept"
    untouched = image.tobytes()
    marked = marker.embed(image, MESSAGE)
    assert (marked.mode, marked.size, marked.info["comment"]) == (mode, image.size, b"kept")
    assert image.tobytes() == untouched != marked.tobytes()
    assert marker.detect(marked).message == MESSAGE


@pytest.mark.parametrize("opening", [str, Path, Path.read_bytes, lambda path: memoryview(path.read_bytes())])
def test_files_and_their_bytes_come_back_as_pillow_images(marker, tmp_path, opening):
    path = tmp_path / "picture.png"
    Image.fromarray(photograph("rocket", 320)).save(path)
    size = path.stat().st_size
    marked = marker.embed(opening(path), MESSAGE)
    assert (marked.mode, marked.size) == ("RGB", (320, 320))
    np.testing.assert_array_equal(marked, marker.embed(photograph("rocket", 320), MESSAGE))
    marked.save(tmp_path / "marked.png")
    assert marker.detect(opening(tmp_path / "marked.png")).message == MESSAGE
    assert path.stat().st_size == size


@pytest.mark.parametrize("mode", ["P", "CMYK", "HSV", "PA"])
def test_detection_takes_the_modes_that_cannot_be_marked(marker, marked, mode):
    image = Image.fromarray(marked[1])
    image = image.convert("RGBA").quantize(256).convert("PA") if mode == "PA" else image.convert(mode)
    assert marker.detect(image).message == MESSAGE


def test_jpeg_bytes_are_read_by_their_luma_alone(marker, marked):
    for options in ({}, {"subsampling": 0}, {"progressive": True}):
        assert (
            marker.detect(encoded(Image.fromarray(marked[1]), "JPEG", quality=75, **options)).message
            == MESSAGE
        )


LAYOUTS = {
    "of Fortran order": np.asfortranarray,
    "turned upside down": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "in BGR": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "with gaps": lambda a: a.repeat(2, axis=0).repeat(2, axis=1)[::2, ::2],
    "channels first": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, -1, 0)), 0, -1),
    "writeable": np.array,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_does_not_matter(marker, marked, layout):
    before, after = marked
    np.testing.assert_array_equal(marker.embed(LAYOUTS[layout](before), MESSAGE), after)
    assert marker.detect(LAYOUTS[layout](after)) == marker.detect(after)


@pytest.mark.parametrize("shape", [(127, 127, 3), (127, 400), (1, 5000, 3), (5000, 1), (1, 1)], ids=str)
def test_pictures_under_128_pixels_are_not_marked_and_hold_nothing(marker, shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with pytest.raises(fm.ImageTooSmallError, match=f"128 pixels.* {shape[1]} x {shape[0]}"):
        marker.embed(picture, MESSAGE)
    found = marker.detect(picture)
    assert (found.state, found.message) == ("absent", None)


def test_a_picture_that_cannot_hold_so_many_bits_is_refused_with_its_size(key):
    with pytest.raises(fm.ImageTooSmallError, match=r"128 x 128.*128 bits"):
        fm.Watermarker(key, 128, strength=0.25).embed(photograph("chelsea", 128), 1)


@pytest.mark.parametrize("level", [0, 3, 128, 252, 255])
def test_flat_pictures_carry_a_message(marker, level):
    picture = np.full((512, 512, 3), level, np.uint8)
    marked, report = marker.embed_report(picture, MESSAGE)
    assert marker.detect(marked).message == MESSAGE
    assert np.abs(marked.astype(int) - level).max() < 16
    assert report.psnr_db > 40


# ---- the caller's memory ----------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", [grey, np.array], ids=["HxW", "HxWx3"])
def test_marked_pixels_go_to_out_and_may_replace_the_picture(marker, kind, threads):
    picture = kind(photograph("rocket", 320))
    expected, told = marker.embed_report(picture, MESSAGE)
    out = np.zeros_like(picture)
    marked, report = marker.embed_report(picture, MESSAGE, threads=threads, out=out)
    assert marked is out
    assert report == told
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(picture, kind(photograph("rocket", 320)))
    assert marker.embed(picture, MESSAGE, threads=threads, out=picture) is picture
    np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize("view", [np.s_[::-1], np.s_[:, ::-1], np.s_[..., ::-1]], ids=["y", "x", "BGR"])
def test_the_picture_may_be_another_view_of_out(marker, view):
    out = np.array(photograph("rocket", 320))
    picture = out[view]
    expected = marker.embed(picture.copy(), MESSAGE)
    marker.embed(picture, MESSAGE, out=out)
    np.testing.assert_array_equal(out, expected)


def test_a_picture_that_overlaps_out_elsewhere_is_refused(marker):
    memory = np.concatenate([photograph("rocket", 320), np.zeros((8, 320, 3), np.uint8)])
    before = memory.copy()
    with pytest.raises(ValueError, match="share no memory"):
        marker.embed(memory[:-8], MESSAGE, out=memory[8:])
    np.testing.assert_array_equal(memory, before)


def read_only(array):
    array.flags.writeable = False
    return array


UNFIT = {
    "another size": lambda rgb: (rgb, np.zeros((320, 319, 3), np.uint8)),
    "fewer channels": lambda rgb: (rgb, np.zeros((320, 320), np.uint8)),
    "another dtype": lambda rgb: (rgb, np.zeros(rgb.shape, np.int8)),
    "of Fortran order": lambda rgb: (rgb, np.zeros(rgb.shape, np.uint8, order="F")),
    "with gaps": lambda rgb: (rgb, np.zeros((320, 640, 3), np.uint8)[:, ::2]),
    "read-only": lambda rgb: (rgb, read_only(np.zeros_like(rgb))),
    "no array": lambda rgb: (rgb, rgb.tolist()),
    "a picture of 16 bits": lambda rgb: (rgb.astype(np.uint16), np.zeros_like(rgb)),
    "both of 16 bits": lambda rgb: (rgb.astype(np.uint16), np.zeros(rgb.shape, np.uint16)),
    "both of floats": lambda rgb: (rgb / np.float32(255), np.zeros(rgb.shape, np.float32)),
    "both with alpha": lambda rgb: (SHAPES["HxWx4"](rgb), np.zeros((320, 320, 4), np.uint8)),
    "both of one channel in three dimensions": lambda rgb: (rgb[..., :1], np.zeros((320, 320, 1), np.uint8)),
    "a Pillow image": lambda rgb: (Image.fromarray(rgb), np.zeros_like(rgb)),
    "encoded bytes": lambda rgb: (encoded(Image.fromarray(rgb), "PNG"), np.zeros_like(rgb)),
}


@pytest.mark.parametrize("name", UNFIT)
def test_an_out_that_does_not_fit_is_refused_and_left_alone(marker, name):
    picture, out = UNFIT[name](np.array(photograph("rocket", 320)))
    with pytest.raises(ValueError, match=r"out must be a C-contiguous.*\(H, W, 3\)"):
        marker.embed(picture, MESSAGE, out=out)
    assert not np.any(out) or name == "no array"


def test_pictures_that_are_refused_leave_out_as_it_was(key):
    rng = np.random.default_rng(0)
    for shape, bits in (((127, 400, 3), 64), ((128, 128, 3), 128)):
        picture = (
            rng.integers(0, 256, shape, np.uint8) if bits == 64 else np.array(photograph("chelsea", 128))
        )
        before, out = picture.copy(), np.full(shape, 77, np.uint8)
        weak = fm.Watermarker(key, bits, strength=0.25)
        for target in (out, picture):
            with pytest.raises(fm.ImageTooSmallError):
                weak.embed(picture, 1, out=target)
        assert np.all(out == 77)
        np.testing.assert_array_equal(picture, before)
    with pytest.raises(fm.InvalidMessageError):
        weak.embed(picture, -1, out=picture)
    np.testing.assert_array_equal(picture, before)


# ---- strength and reports --------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0, 0.24, 4.01, -1, float("nan"), float("inf"), "1", None])
def test_strengths_beyond_a_quarter_to_four_are_refused(key, strength):
    with pytest.raises(ValueError, match=r"0\.25\.\.4"):
        fm.Watermarker(key, strength=strength)


def test_what_is_no_key_or_length_is_refused(key):
    with pytest.raises(TypeError, match="Key"):
        fm.Watermarker(bytes(32))
    with pytest.raises(fm.InvalidMessageError):
        fm.Watermarker(key, 63)


def test_more_strength_changes_more_and_reads_better(key):
    picture = photograph("rocket")
    reports = []
    for strength in (0.5, 1, 2, 4):
        marker = fm.Watermarker(key, strength=strength)
        marked, report = marker.embed_report(picture, MESSAGE)
        assert marker.detect(marked).message == MESSAGE
        reports.append(report)
    for field in ("strength", "margin_message", "margin_jpeg"):
        values = [getattr(report, field) for report in reports]
        assert values == sorted(values)
    psnrs = [report.psnr_db for report in reports]
    assert psnrs == sorted(psnrs, reverse=True)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket", "camera"])
def test_the_report_of_embedding_is_what_was_done(marker, name):
    picture = photograph(name)
    marked, report = marker.embed_report(picture, MESSAGE)
    np.testing.assert_array_equal(marked, marker.embed(picture, MESSAGE))
    assert report.psnr_db == pytest.approx(psnr_db(picture, marked), abs=1e-3)
    assert report.psnr_db > 41
    assert report.tones in (48, 96, 192, 384)
    assert report.pixels_per_unit == 1
    assert 0.25 < report.strength < 2
    assert report.margin_message > report.margin_jpeg > 1
    assert report.margin_pilot > 0.5
    assert all(isinstance(warning, str) for warning in report.warnings)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["psnr_db"] == report.psnr_db


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_the_psnr_reported_of_other_dtypes_is_the_measured_one(marker, dtype):
    picture = levels(photograph("astronaut", 256), dtype)
    marked, report = marker.embed_report(picture, MESSAGE)
    assert report.psnr_db == pytest.approx(psnr_db(picture, marked, PEAKS[dtype]), abs=0.01)


def test_what_detection_reports_is_json_and_frozen(marker, marked):
    for picture in marked:
        found = marker.detect(picture)
        fields = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert fields.keys() == {"p_value", *(field.name for field in dataclasses.fields(found))}
        assert fields["p_value"] == found.p_value == 10**found.log10_p
        assert fields["message"] == (None if found.message is None else "0123456789abcdef")
        with pytest.raises(dataclasses.FrozenInstanceError):
            found.state = "detected"


def test_an_untouched_picture_is_found_as_it_was(marker, marked):
    found = marker.detect(marked[1])
    assert (found.state, found.message, found.key_id) == ("detected", MESSAGE, marker.key.id)
    assert (found.scale, found.rotation_deg, found.aspect) == pytest.approx((1, 0, 1), abs=1e-6)
    assert not found.mirrored and not found.inverted
    assert found.log10_p <= found.message_log10_p < -9


# ---- pictures of more than one pixel a unit --------------------------------------------------------


LARGE = 1300, 1700, 2
"""A drawn picture of two pixels a unit that carries enough: of a part at odd pixels, the margin is 1.25."""


@pytest.fixture(scope="module")
def large(marker):
    """That picture marked, and the report."""
    return marker.embed_report(drawn(*LARGE), MESSAGE)


def test_a_large_picture_is_marked_in_units_of_two_pixels(marker, large):
    marked, report = large
    assert report.pixels_per_unit == 2
    assert report.psnr_db == pytest.approx(psnr_db(drawn(*LARGE), marked), abs=1e-3)
    found = marker.detect(marked)
    assert (found.message, found.scale, found.rotation_deg) == (MESSAGE, pytest.approx(1), pytest.approx(0))


@pytest.mark.parametrize("size", [(850, 650), (1275, 975), (1024, 783)], ids=str)
def test_scale_is_told_against_the_original_s_pixels(marker, large, size):
    shrunk = Image.fromarray(large[0]).resize(size, Image.Resampling.LANCZOS)
    found = marker.detect(shrunk)
    assert found.message == MESSAGE
    assert found.scale == pytest.approx(size[0] / 1700, rel=0.005)
    assert found.rotation_deg == pytest.approx(0, abs=0.2)


def test_a_crop_of_a_large_picture_has_smaller_units_and_is_found(marker, large):
    found = marker.detect(large[0][201:1101, 333:1333])
    assert found.message == MESSAGE
    assert found.scale == pytest.approx(1, rel=0.005)


# ---- the package -----------------------------------------------------------------------------------


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, fastmark; print(sorted({'numpy', 'numba', 'pyfftw', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_public_names_are_there_and_no_others():
    assert set(dir(fm)) == set(fm.__all__)
    for name in fm.__all__:
        assert getattr(fm, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        fm.no_such_name  # noqa: B018  # reading it is what is tested
