"""Streams and batches of images: order, memory, and an error for each image instead of one for all."""

import itertools
import threading

import numpy as np
import pytest
from pictures import photograph
from PIL import Image

import fastmark as fm
from fastmark._threads import usable_cores
from fastmark.batches import Outcome, in_order


@pytest.fixture(scope="module")
def picture():
    return photograph("coffee", 256)


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_results_are_in_order_and_errors_stand_in_their_places(workers):
    def halve(number):
        if number % 5 == 3:
            raise KeyError(number)
        return number / 2

    outcomes = list(in_order(halve, range(23), workers))
    assert [outcome.index for outcome in outcomes] == list(range(23))
    for outcome in outcomes:
        if outcome.index % 5 == 3:
            assert outcome.value is None
            with pytest.raises(KeyError):
                outcome.get()
        else:
            assert (outcome.get(), outcome.error) == (outcome.index / 2, None)


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_is_taken_from_a_stream_than_is_worked_on(workers):
    taken = []

    def numbers():
        for number in itertools.count():  # no end
            taken.append(number)
            yield number

    outcomes = itertools.islice(in_order(lambda n: n, numbers(), workers), 50)
    for given, outcome in enumerate(outcomes, start=1):
        assert outcome.get() == given - 1
        assert len(taken) - given <= 2 * workers


def test_workers_are_as_many_as_asked_for():
    met = threading.Barrier(3, timeout=60)  # broken unless three are under way at a time
    assert all(outcome.error is None for outcome in in_order(lambda _: met.wait(), range(6), 3))
    assert usable_cores() >= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stream_that_breaks_gives_what_came_before(workers):
    def numbers():
        yield from range(4)
        raise OSError("the connection is gone")

    outcomes, seen = in_order(str, numbers(), workers), []
    with pytest.raises(OSError, match="connection"):
        seen.extend(outcome.get() for outcome in outcomes)
    assert seen == ["0", "1", "2", "3"]


def test_who_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    outcomes = in_order(lambda n: n, itertools.count(), 4)
    assert next(outcomes).get() == 0
    outcomes.close()
    assert threading.active_count() == before


def test_one_bad_image_does_not_end_a_stream(marker, picture):
    images = [picture, picture[:100], b"no image", Image.fromarray(picture), "missing.png"]
    embedded = list(marker.embed_iter(iter(images), iter([1, 2, 3, "0x4", 5])))
    assert [type(outcome.error) for outcome in embedded] == [
        type(None),
        fm.ImageTooSmallError,
        fm.InvalidImageError,
        type(None),
        fm.ImageNotFoundError,
    ]
    marked = [outcome.get()[0] for outcome in embedded if outcome.error is None]
    assert [type(image) for image in marked] == [np.ndarray, Image.Image]
    assert all(embedded[i].get()[1].margin_message > 1 for i in (0, 3))
    for source in (marker, fm.Detector(marker)):
        found = list(source.detect_iter([*marked, b"no image"], workers=2))
        assert isinstance(found[2].error, fm.InvalidImageError)
        first = [outcome.get() for outcome in found[:2]]
        messages = [(f[0] if isinstance(f, list) else f).message for f in first]
        assert messages == [1, 4]


def test_messages_and_images_must_be_as_many(marker, picture):
    for messages in ([1], [1, 2, 3]):
        outcomes = marker.embed_iter(iter([picture, picture]), iter(messages), workers=1)
        with pytest.raises(fm.InvalidMessageError, match="as many"):
            list(outcomes)
    with pytest.raises(fm.InvalidMessageError, match="one message"):
        list(marker.embed_iter([picture], 7))


@pytest.mark.parametrize(
    "one", ["photo.jpg", b"...", Image.new("L", (9, 9)), np.zeros((200, 200, 3), np.uint8)], ids=type
)
def test_one_image_is_no_batch(marker, one):
    for call in (marker.detect_batch, marker.detect_iter, fm.Detector(marker).detect_batch):
        with pytest.raises(fm.InvalidImageError, match="into a list"):
            list(call(one))


def test_batches_of_other_dtypes_keep_them(marker, picture):
    floats = np.stack([picture, picture]).astype(np.float32) / np.float32(255)
    marked = marker.embed_batch(floats, [1, 2], workers=2)
    assert (marked.shape, marked.dtype) == (floats.shape, np.float32)
    assert [found.message for found in marker.detect_batch(marked)] == [1, 2]
    assert marker.embed_batch(floats[:0], []).shape == (0, 256, 256, 3)


def test_limits_hold_for_every_image_of_a_batch(marker, picture):
    for call in (marker.detect_batch, fm.Detector(marker).detect_batch):
        with pytest.raises(fm.InvalidImageError, match="more than the limit of 1000"):
            call([picture], max_pixels=1000)
    with pytest.raises(fm.InvalidImageError, match="more than the limit of 1000"):
        marker.embed_batch([picture], [1], max_pixels=1000)


def test_outcomes_are_values():
    assert Outcome(1, "a", None) == Outcome(1, "a", None) != Outcome(2, "a", None)
