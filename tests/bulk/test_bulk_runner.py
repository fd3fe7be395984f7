"""Runner: every picture is worked on once, whatever dies on the way, and memory stays bounded."""

import multiprocessing
import os
import signal
import threading

import pytest
from archives import QuickJob

from fastmark.bulk import runner
from fastmark.bulk.records import Item
from fastmark.bulk.runner import IN_HAND, Pool, Stop, run
from fastmark.errors import FastmarkError, OutputError


def batches_of(contents, size=1):
    pictures = [Item(str(i), data=data) for i, data in enumerate(contents)]
    return iter([pictures[i : i + size] for i in range(0, len(pictures), size)])


class Records:
    """What was recorded, by picture."""

    def __init__(self):
        self.rows = {}

    def __call__(self, batch, work):
        for picture, result in zip(batch, work.results, strict=True):
            assert (picture.source, picture.position) == (result.source, result.position)
            assert picture.source not in self.rows
            self.rows[picture.source] = result.row
        return 1


def ran(batches, workers=2, stop=None, tick=lambda: None):
    records = Records()
    run(batches, QuickJob(), workers, records, tick, stop or Stop(quiet=True))
    return records.rows


def test_everything_is_worked_on_once():
    rows = ran(batches_of([b"x" * n for n in range(40)], 3))
    assert [rows[str(n)]["width"] for n in range(40)] == list(range(40))


def test_nothing_to_do():
    assert ran(iter([])) == {}


def test_a_picture_that_kills_is_told_and_the_others_are_worked_on():
    contents = [b"x"] * 12
    contents[4] = contents[9] = b"die"
    rows = ran(batches_of(contents, 3))
    assert len(rows) == 12
    died = {number for number, row in rows.items() if "died" in row.get("error", "")}
    assert died == {"4", "9"}
    assert all(rows[str(n)]["width"] == 1 for n in range(12) if str(n) not in died)


def test_a_pool_works_through_a_batch_that_kills():
    pool = Pool(QuickJob(), 1)
    try:
        (batch,) = batches_of([b"a", b"die", b"b"], 3)
        states = [result.state for result in pool.work_through(batch).results]
        assert states == ["absent", "error", "absent"]
        (batch,) = batches_of([b"again"], 3)
        assert pool.work_through(batch).results[0].row["width"] == 5
    finally:
        pool.close(at_once=False)


def test_workers_killed_from_outside_lose_nothing():
    killed = []

    def record(batch, work):
        if not killed:
            child = multiprocessing.active_children()[0]
            child.kill()
            killed.append(child)
        return records(batch, work)

    records = Records()
    run(batches_of([b"x" * n for n in range(30)]), QuickJob(), 2, record, lambda: None, Stop(quiet=True))
    assert len(killed) == 1
    assert [records.rows[str(n)]["width"] for n in range(30)] == list(range(30))


def test_a_disk_that_is_full_ends_the_run():
    records = Records()
    contents = [b"x"] * 3 + [b"disk full"] + [b"x"] * 500
    with pytest.raises(OutputError, match="No space left"):
        run(batches_of(contents), QuickJob(), 2, records, lambda: None, Stop(quiet=True))
    assert 0 < len(records.rows) < 500


def test_what_reading_raises_is_raised_when_the_rest_is_recorded():
    def failing():
        yield from batches_of([b"x"] * 5)
        raise FastmarkError("the list ended badly")

    records = Records()
    with pytest.raises(FastmarkError, match="ended badly"):
        run(failing(), QuickJob(), 2, records, lambda: None, Stop(quiet=True))
    assert set(records.rows) <= {str(n) for n in range(5)}


def test_no_more_is_read_than_can_be_worked_on():
    """A batch is read only when one that was read before has been recorded."""
    taken, recorded, ahead = [], [], []

    def reading():
        for batch in batches_of([b"x"] * 60):
            taken.append(batch)
            ahead.append(len(taken) - len(recorded))
            yield batch

    def record(batch, work):
        recorded.append(batch)
        return 1

    run(reading(), QuickJob(), 2, record, lambda: None, Stop(quiet=True))
    assert len(recorded) == 60
    assert max(ahead) <= IN_HAND * 2 + 2


def test_what_is_kept_back_counts_as_being_in_hand():
    """As by an output that wants its order: the reader waits until it is handed on."""
    kept, most = [], 0

    def record(batch, work):
        nonlocal most
        kept.append(batch)
        most = max(most, len(kept))
        if len(kept) < IN_HAND * 2:
            return 0
        count = len(kept)
        kept.clear()
        return count

    run(batches_of([b"x"] * (IN_HAND * 2 * 5)), QuickJob(), 2, record, lambda: None, Stop(quiet=True))
    assert most == IN_HAND * 2


def test_stopping_keeps_what_is_in_hand():
    stop, records = Stop(quiet=True), Records()

    def endless():
        number = 0
        while True:
            yield [Item(str(number), data=b"x" * number)]
            number += 1

    def record(batch, work):
        count = records(batch, work)
        if len(records.rows) == 10:
            stop.asked.set()
        return count

    run(endless(), QuickJob(), 2, record, lambda: None, stop)
    assert 10 <= len(records.rows) <= 10 + IN_HAND * 2


def test_a_reader_that_waits_for_ever_does_not_keep_the_run_from_stopping():
    stop, records = Stop(quiet=True), Records()
    more, came = threading.Event(), []

    def silent():
        yield [Item("0", data=b"x")]
        came.append(more.wait(60))

    def tick():
        if len(records.rows) == 1:
            stop.asked.set()

    run(silent(), QuickJob(), 1, records, tick, stop)
    assert not came  # the reader still waits
    more.set()
    assert list(records.rows) == ["0"]


def test_signals_are_taken_and_given_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stop = Stop(quiet=True)
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_processes_that_cannot_start_are_told(monkeypatch):
    monkeypatch.setattr(runner, "start", _die)
    pool = Pool(QuickJob(), 1)
    try:
        (batch,) = batches_of([b"a"])
        with pytest.raises(FastmarkError, match="die as they start"):
            pool.work_through(batch)
    finally:
        pool.close(at_once=True)


def _die(job):
    os._exit(3)
