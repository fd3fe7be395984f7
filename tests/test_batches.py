"""Many pictures, keys and threads: order is kept, and nothing depends on who computes what when."""

import hashlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures import MESSAGE, drawn, photograph
from PIL import Image

import fastmark as fm
from fastmark._threads import in_strips

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
    marked = marker.embed_batch(pictures, [3, b"\x00" * 7 + b"\x04"])
    assert isinstance(marked, np.ndarray)
    assert (marked.shape, marked.dtype) == (pictures.shape, pictures.dtype)
    assert [found.message for found in marker.detect_batch(marked)] == [3, 4]


def test_batches_that_do_not_match_are_refused(marker):
    picture = photograph("astronaut", 256)
    for pictures, messages in (([picture], []), ([], [1]), ([picture] * 2, [1, 2, 3])):
        with pytest.raises(fm.InvalidMessageError, match=f"{len(pictures)} images .* not {len(messages)}"):
            marker.embed_batch(pictures, messages)
    for number in (-1, 1.0, True):
        with pytest.raises(ValueError, match="workers"):
            marker.detect_batch([picture], workers=number)
    for number in (-1, 1.0, True, False):
        with pytest.raises(ValueError, match="threads"):
            marker.detect_batch([picture], threads=number)
    with pytest.raises(fm.ImageTooSmallError):
        marker.embed_batch([picture, picture[:100]], [1, 2])
    assert marker.embed_batch([], []) == marker.detect_batch([]) == []


def test_several_keys_come_back_best_first_and_pay_for_their_number(marker, key, other_key, noisy):
    third = fm.Key(bytes(32))
    found = fm.detect(noisy, [third, other_key, marker])
    assert found[0].key_id == key.id
    assert {f.key_id for f in found} == {key.id, other_key.id, third.id}
    assert [f.state for f in found] == ["detected", "absent", "absent"]
    assert [f.message for f in found] == [MESSAGE, None, None]
    alone = marker.detect(noisy)
    assert found[0].log10_p == pytest.approx(alone.log10_p + np.log10(3))
    assert found[0].message_log10_p == pytest.approx(alone.message_log10_p + np.log10(3))
    assert fm.detect(noisy, key) == fm.detect(noisy, [key, key]) == [alone]


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
    other = subprocess.run(
        command, cwd=Path(__file__).parent / "support", capture_output=True, text=True, check=True
    )
    digest, log10_p = other.stdout.split()
    assert digests | {digest} == {hashlib.sha256(after.tobytes()).hexdigest()}
    # BLAS may add in another order from process to process
    assert float(log10_p) == pytest.approx(fm.Watermarker(key).detect(after).log10_p, rel=1e-6)


def test_one_watermarker_serves_eight_threads_at_once(marker, marked):
    turned = np.ascontiguousarray(marked[1][60:, 30:470])
    alone = [marker.detect(picture) for picture in (*marked, turned)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(marker.detect, [*marked, turned] * 3)) == alone * 3


# ---- one picture, several threads ------------------------------------------------------------------


@pytest.mark.parametrize("threads", [0, 1, 2, 7])
@pytest.mark.parametrize(("n_rows", "rows"), [(0, 3), (1, 3), (3, 3), (10, 3), (500, 128), (5, 1)])
def test_strips_are_all_rows_once_and_their_results_in_order(n_rows, rows, threads):
    strips = in_strips(lambda first, last: (first, last), n_rows, threads, rows)
    assert [first for first, _ in strips] == list(range(0, n_rows, rows))
    assert [last for _, last in strips] == [min(first + rows, n_rows) for first, _ in strips]


def test_strips_are_shared_among_threads_and_their_errors_come_back():
    met = threading.Barrier(3, timeout=60)  # broken unless three strips are under way at a time
    assert in_strips(lambda first, last: met.wait() >= 0, 3, 3, 1) == [True] * 3
    for threads in (1, 3):
        with pytest.raises(ZeroDivisionError):
            in_strips(lambda first, last: 1 // (first - 2), 5, threads, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_threads_of_its_own():
    """It inherits the pool, but none of its threads: it must not wait for them."""
    assert in_strips(lambda first, last: first, 3, 3, 1) == [0, 1, 2]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, bytes(in_strips(lambda first, last: first + 1, 3, 3, 1)))
        finally:
            os._exit(0)  # the tests go on in the parent alone
    os.close(writing)
    answers = []
    reader = threading.Thread(target=lambda: answers.append(os.read(reading, 3)), daemon=True)
    reader.start()
    reader.join(timeout=60)
    if not answers:
        os.kill(child, 9)
    os.waitpid(child, 0)
    os.close(reading)
    assert answers == [b"\x01\x02\x03"]


PICTURES = {
    "uint8": lambda: photograph("astronaut"),
    "grey": lambda: photograph("camera"),
    "two pixels a unit": lambda: drawn(1300, 1201),
    "uint16": lambda: photograph("rocket", 320) * np.uint16(257),
    "float": lambda: photograph("rocket", 320) / np.float32(255),
}


@pytest.mark.parametrize("name", PICTURES)
def test_several_threads_mark_and_find_the_same_as_one(marker, name):
    picture = PICTURES[name]()
    alone, report = marker.embed_report(picture, MESSAGE)
    edges = [n // 7 for n in picture.shape[:2]]
    cropped = alone[edges[0] :, edges[1] :]
    found = [marker.detect(seen) for seen in (picture, alone, cropped)]
    assert [f.message for f in found] == [None, MESSAGE, MESSAGE]
    for threads in (2, 3):
        together, other = marker.embed_report(picture, MESSAGE, threads=threads)
        assert together.tobytes() == alone.tobytes()
        assert other == report
        np.testing.assert_array_equal(marker.embed(picture, MESSAGE, threads=threads), alone)
        assert [marker.detect(seen, threads=threads) for seen in (picture, alone, cropped)] == found


def test_several_threads_mark_files_and_pillow_images_the_same(marker, tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(photograph("coffee")).save(path)
    with Image.open(path) as image:
        for source in (path, image):
            one, other = (marker.embed(source, MESSAGE, threads=threads) for threads in (1, 2))
            assert one.tobytes() == other.tobytes()
            assert marker.detect(one, threads=2) == marker.detect(one)


def test_threads_of_the_caller_may_each_use_several(marker, marked):
    picture, after = marked
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(marker.embed, picture, MESSAGE, threads=threads) for threads in (1, 2, 3, 5) * 2]
        for job in jobs:
            np.testing.assert_array_equal(job.result(), after)
