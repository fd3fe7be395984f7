"""Watermarkers and detectors in other processes, threads and event loops, as servers use them."""

import asyncio
import copy
import multiprocessing
import pickle
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from pictures import MESSAGE, photograph

import fastmark as fm
from fastmark import fft

METHODS = [m for m in ("spawn", "fork", "forkserver") if m in multiprocessing.get_all_start_methods()]


@pytest.fixture(scope="module")
def picture():
    return photograph("astronaut", 256)


@pytest.mark.parametrize("method", METHODS)
# a test process has threads of its own; the child must not depend on them
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_pool_of_any_kind_takes_bound_methods(marker, picture, method):
    alone = marker.embed(picture, MESSAGE)  # locks and plans of this process have been used
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        marked = pool.submit(marker.embed, picture, MESSAGE).result(timeout=300)
        np.testing.assert_array_equal(marked, alone)
        found = pool.submit(fm.Detector([marker.key]).detect, marked).result(timeout=300)
    assert [f.message for f in found] == [MESSAGE]


def test_pickles_hold_the_key_and_the_settings_and_work(key, other_key, picture):
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        marker = pickle.loads(pickle.dumps(fm.Watermarker(key, 32, 1.5), protocol))
        assert (marker.key, marker.message_bits, marker.strength) == (key, 32, 1.5)
    marked = marker.embed(picture, 9)
    several = fm.Detector([other_key, fm.Watermarker(key, 32)], 16)
    again = pickle.loads(pickle.dumps(several))
    assert (again.keys, again.message_bits) == (several.keys, 16)
    assert again.detect(marked) == several.detect(marked)
    assert again.detect(marked)[0].message == 9
    # derived state is made anew: a pickle is small enough to send with every task
    assert len(pickle.dumps(several)) < 1000


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_detector_of_a_detector_key_works_in_other_processes(marker, picture, method):
    detector = fm.Detector([marker.key.detector_key("the museum"), fm.Watermarker(marker.key, 16)])
    again = pickle.loads(pickle.dumps(detector))
    assert (again.keys, again.keys[0].name) == (detector.keys, "the museum")
    assert marker.key.secret not in pickle.dumps(fm.Detector(detector.keys[0]))
    marked = marker.embed(picture, MESSAGE)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        found = pool.submit(detector.detect, marked).result(timeout=300)
    assert found == detector.detect(marked)
    assert MESSAGE in [one.message for one in found]


def test_copies_are_the_object_itself_and_equal_ones_are_equal(key, marker):
    for thing in (marker, fm.Detector(key)):
        assert copy.copy(thing) is copy.deepcopy(thing) is thing
    assert fm.Watermarker(key) == marker != fm.Watermarker(key, 32)
    assert len({fm.Watermarker(key), marker, fm.Watermarker(key, strength=2)}) == 2
    assert marker != key


@pytest.mark.parametrize("name", ["key", "message_bits", "strength", "colour"])
def test_nothing_of_a_watermarker_or_detector_can_be_set(marker, name):
    for thing in (marker, fm.Detector(marker)):
        with pytest.raises(AttributeError, match=f"does not change: make another .* {name}"):
            setattr(thing, name, 16)
        with pytest.raises(AttributeError, match="does not change"):
            delattr(thing, name)
    assert (marker.message_bits, marker.strength) == (64, 1.0)


def test_an_event_loop_serves_several_requests_at_once(marker, picture):
    async def serve():
        marked = await asyncio.gather(*(asyncio.to_thread(marker.embed, picture, i) for i in range(4)))
        return await asyncio.gather(*(asyncio.to_thread(marker.detect, image) for image in marked))

    assert [found.message for found in asyncio.run(serve())] == [0, 1, 2, 3]


def test_carriers_that_are_new_to_all_threads_are_the_same_for_all(key, picture):
    marker = fm.Watermarker(key)
    with ThreadPoolExecutor(8) as pool:
        marked = list(pool.map(lambda _: marker.embed(picture, 5), range(8)))
    assert len({image.tobytes() for image in marked}) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_forked_while_a_thread_plans_transforms_is_not_stuck(marker, picture):
    """The lock that a thread of the parent holds while it forks would never be released in the child."""
    held, marked = threading.Event(), marker.embed(picture, MESSAGE)

    def plan():
        with fft._planning:
            held.set()
            time.sleep(0.5)

    with ThreadPoolExecutor(1) as pool:
        planning = pool.submit(plan)
        assert held.wait(timeout=60)
        with multiprocessing.get_context("fork").Pool(1) as children:
            found = children.apply_async(marker.detect, (marked[:-9],)).get(timeout=120)
        planning.result()
    assert found.message == MESSAGE
