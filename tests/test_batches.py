"""Many pictures, keys and threads: order is kept, and nothing depends on who computes what when."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures import MESSAGE, photograph

import fastmark as fm

# ---- many pictures, many keys ----------------------------------------------------------------------


def test_batches_keep_their_order_whatever_the_number_of_threads(marker):
    pictures = [photograph(name, 256) for name in ("astronaut", "chelsea", "coffee", "rocket", "camera")]
    messages = [7 * i + 1 for i in range(len(pictures))]
    alone = [marker.embed(*pair) for pair in zip(pictures, messages, strict=True)]
    for threads in (0, 1, 2, 7):
        together = marker.embed_batch(iter(pictures), iter(messages), threads)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)
        found = marker.detect_batch(iter(together), threads)
        assert [f.message for f in found] == messages
        assert found == [marker.detect(picture) for picture in alone]


def test_batches_take_arrays_of_pictures(marker):
    pictures = np.stack([photograph("astronaut", 256), photograph("coffee", 256)])
    marked = np.stack(marker.embed_batch(pictures, [3, b"\x00" * 7 + b"\x04"]))
    assert marked.shape == pictures.shape
    assert [found.message for found in marker.detect_batch(marked)] == [3, 4]


def test_batches_that_do_not_match_are_refused(marker):
    picture = photograph("astronaut", 256)
    for pictures, messages in (([picture], []), ([], [1]), ([picture] * 2, [1, 2, 3])):
        with pytest.raises(fm.InvalidMessage, match=f"{len(pictures)} pictures .* not {len(messages)}"):
            marker.embed_batch(pictures, messages)
    with pytest.raises(ValueError, match="threads"):
        marker.detect_batch([picture], threads=-1)
    with pytest.raises(fm.ImageTooSmall):
        marker.embed_batch([picture, picture[:100]], [1, 2])
    assert marker.embed_batch([], []) == marker.detect_batch([]) == []


def test_several_keys_come_back_best_first_and_pay_for_their_number(marker, key, other_key, marked):
    third = fm.Key(bytes(32))
    found = fm.detect(marked[1], [third, other_key, marker])
    assert found[0].key_id == key.id
    assert {f.key_id for f in found} == {key.id, other_key.id, third.id}
    assert [f.state for f in found] == ["detected", "absent", "absent"]
    assert [f.message for f in found] == [MESSAGE, None, None]
    alone = marker.detect(marked[1])
    assert found[0].log10_p == pytest.approx(alone.log10_p + np.log10(3))
    assert found[0].message_log10_p == pytest.approx(alone.message_log10_p + np.log10(3))
    assert fm.detect(marked[1], key) == fm.detect(marked[1], [key]) == [alone]


def test_two_marks_in_one_picture_are_both_found(marker, other_key, marked):
    twice = fm.Watermarker(other_key, 32).embed(marked[1], 99)
    found = fm.detect(twice, [marker, fm.Watermarker(other_key, 32)])
    assert {f.message for f in found} == {MESSAGE, 99}


# ---- the same bits every time ----------------------------------------------------------------------

DIGEST = """
import hashlib
from pictures import photograph
import fastmark as fm
marker = fm.Watermarker(fm.Key(bytes(range(32))))
marked = marker.embed(photograph("astronaut"), 0x0123456789ABCDEF)
print(hashlib.sha256(marked.tobytes()).hexdigest(), marker.detect(marked).log10_p)
"""


def test_marked_pictures_are_the_same_in_every_run_thread_and_process(key, marked):
    picture, after = marked

    def embed(_):
        return hashlib.sha256(fm.Watermarker(key).embed(picture, MESSAGE).tobytes()).hexdigest()

    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(embed, range(16)))
    command = [sys.executable, "-c", DIGEST]
    other = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    digest, log10_p = other.stdout.split()
    assert digests | {digest} == {hashlib.sha256(after.tobytes()).hexdigest()}
    # BLAS may add in another order from process to process
    assert float(log10_p) == pytest.approx(fm.Watermarker(key).detect(after).log10_p, rel=1e-6)


def test_one_watermarker_serves_eight_threads_at_once(marker, marked):
    turned = np.ascontiguousarray(marked[1][60:, 30:470])
    alone = [marker.detect(picture) for picture in (*marked, turned)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(marker.detect, [*marked, turned] * 3)) == alone * 3
