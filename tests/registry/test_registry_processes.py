"""Many processes write to one registry, and some of them are killed: no id twice, none lost."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from fastmark.records import Record
from fastmark.registry.store import Registry

KEY = "0123456789abcdef"
WRITERS, EACH = 8, 150

WRITER = """
import sys
from fastmark.records import Record
from fastmark.registry.store import Registry
registry = Registry(sys.argv[1], timeout=60)
while True:
    message = registry.reserve(Record(), key_id="0123456789abcdef")
    print(message.hex(), flush=True)
    registry.complete(message, width=1, height=1, sha256=message.hex() * 4)
    print(message.hex(), flush=True)
"""


def draw(registry, bits, count):
    """Ids that one process drew, and completed."""
    drawn = []
    for _ in range(count):
        message = registry.reserve(Record(), key_id=KEY, message_bits=bits)
        registry.complete(message, width=1, height=1)
        drawn.append(message)
    return drawn


# of 16 bits, 1200 ids collide about 11 times: they are drawn again
@pytest.mark.parametrize("bits", [16, 64])
def test_eight_writers_draw_no_id_twice(registry, bits):
    patient = Registry(registry.url, timeout=60)
    with multiprocessing.get_context("spawn").Pool(WRITERS) as pool:
        shares = pool.starmap(draw, [(patient, bits, EACH)] * WRITERS)
    drawn = [message for share in shares for message in share]
    assert len(drawn) == len(set(drawn)) == registry.count() == WRITERS * EACH
    assert {entry.message for entry in registry.entries()} == set(drawn)
    assert {entry.state for entry in registry.entries()} == {"marked"}


def test_nothing_is_lost_when_writers_are_killed(registry):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, registry.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    told = []
    for process in processes:
        told += [process.stdout.readline() for _ in range(21)]  # the last one is reserved, and told
        process.send_signal(signal.SIGKILL)
    for process in processes:
        told += process.stdout.read().splitlines(keepends=True)
        assert (process.stderr.read(), process.wait()) == (b"", -signal.SIGKILL)
        process.stdout.close()
        process.stderr.close()
    ids = [line.strip().decode() for line in told if line.endswith(b"\n")]
    assert len(set(ids)) >= 4 * 11
    for name in set(ids):
        entry = registry.get(name)
        assert entry is not None, "an id was told, and is not in the registry"
        if ids.count(name) == 2:
            assert (entry.state, entry.sha256) == ("delivered", name * 4)
    # at most one entry of each writer was not told: it says reserved or delivered, and nothing in between
    unknown = [entry for entry in registry.entries() if entry.id not in ids]
    assert len(unknown) <= len(processes)
    assert {entry.state for entry in registry.entries()} <= {"reserved", "delivered"}
    registry.reserve(Record(), key_id=KEY)  # no lock is left behind


def test_a_fork_has_connections_of_its_own(registry):
    first = registry.reserve(Record(), key_id=KEY)
    for _ in range(2):
        process = os.fork()
        if process == 0:
            code = 1
            try:
                registry.complete(first, width=1, height=1)
                registry.reserve(Record(), key_id=KEY)
                registry.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(process, 0)[1] == 0
        registry.reserve(Record(), key_id=KEY)  # the parent's connection is as it was
    assert registry.count() == 5
    assert registry.get(first).state == "marked"


def initialised(url):
    Registry(url, timeout=60).init()


def test_processes_that_make_one_registry_at_once_make_one(url):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.map(initialised, [url] * 8)
    registry = Registry(url)
    registry.reserve(Record(), key_id=KEY)
    assert registry.count() == 1
