"""A real server, and requests that are to harm it: it answers each, keeps nothing, and goes on as before."""

import collections
import concurrent.futures
import contextlib
import os
import re
import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hostile import KINDS, Arsenal, request
from hostile_files import FILES, chunk, samples
from hostile_runs import Case, ask, send_all, usage
from pictures import drawn
from services import encoded, serving

MIB = 1 << 20
PER_PASS = sum(weight for weight, _ in KINDS.values())
REFUSED = {400, 401, 404, 405, 408, 413, 414, 415, 422}


@pytest.fixture(scope="module")
def target(house, tmp_path_factory):
    """A server that waits and works for a short time only, and its folder for temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    options = house.options | {
        "answer_ms": 0,
        "max_bytes": 4 * MIB,
        "max_pixels": 2_000_000,
        "body_seconds": 1,
    }
    with serving(house.folder, options, TMPDIR=str(folder)) as server:
        yield server, folder


def address_of(server):
    parts = urlsplit(server.url)
    return parts.hostname, parts.port


def gauge(server, house, name):
    with server.client() as client:
        text = client.get("/metrics", headers=house.bearer("metrics")).text
    return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])


def rested(server, house):
    """Wait until nothing is in hand; whether that came."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if (
            gauge(server, house, "fastmark_images_in_hand")
            == gauge(server, house, "fastmark_body_bytes")
            == 0
        ):
            return True
        time.sleep(0.05)
    return False


def test_nothing_that_is_sent_harms_the_server(target, house):
    server, folder = target
    arsenal = Arsenal(house.marked, house.tokens["scores,embed"])
    after, seen = [], collections.defaultdict(collections.Counter)
    for _ in range(3):  # the same three times: what grows the second time still, grows for ever
        results = send_all(address_of(server), arsenal.cases(6, PER_PASS), 3)
        assert len(results) == PER_PASS
        for result in results:
            seen[result.kind].update(result.statuses)
        assert rested(server, house)
        after.append(usage(server.process.pid))
    assert set(seen) == set(KINDS)
    every = set().union(*seen.values())
    assert every <= {200} | REFUSED, {kind: dict(found) for kind, found in seen.items()}
    assert set(seen["whole"]) == {200}
    for kind in FILES:
        assert set(seen[kind]) <= {200, 400, 422}
    assert not {200} & set(seen["slow"] + seen["too large"])
    # none of the processes is another one, and none grows
    assert len({tuple(one.workers) for one in after}) == 1
    assert after[2].front - after[1].front < 16 * MIB
    for worker, used in after[2].workers.items():
        assert used - after[1].workers[worker] < 48 * MIB
    assert after[2].files <= after[1].files + 3
    assert after[2].threads <= 24
    assert not [*folder.iterdir()]
    assert "Error" not in server.errors() and "a worker process" not in server.errors()
    with server.client() as client:
        told = client.post("/v1/detect", content=house.marked).json()
        assert (told["verdict"], told["id"]) == ("genuine and unchanged", house.message.hex())


def test_files_of_every_format_are_among_those_that_are_damaged():
    assert {"JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "QOI"} <= set(samples())


def test_requests_repeat_with_their_seed_and_have_their_weights():
    arsenal = Arsenal(b"marked", "token")
    first, second, other = (list(arsenal.cases(seed, 2 * PER_PASS)) for seed in (1, 1, 2))
    assert first == second != other
    counts = collections.Counter(case.kind for case in first)
    assert counts == {kind: 2 * weight for kind, (weight, _) in KINDS.items()}


def test_a_body_that_is_told_to_be_too_large_is_refused_before_it_comes(target):
    server, _ = target
    line = b"Content-Length: %d" % (4 * MIB + 1)
    head = request(b"/v1/detect", None, b"Content-Type: image/png", line)
    assert ask(address_of(server), Case("large", (head,))) == [413]
    line = b"Content-Length: %d" % (4 * MIB)
    head = request(b"/v1/detect", None, b"Content-Type: image/png", line)
    assert ask(address_of(server), Case("in time", (head, bytes(4 * MIB)))) == [422]


@pytest.mark.parametrize("path", [b"/v1/detect", b"/v1/matches/byBinding", b"/"])
def test_long_json_is_refused_before_it_is_read(target, path):
    server, _ = target
    for headers in ([], [b"Transfer-Encoding: chunked"]):
        body = b"[" + b'{"a":{}},' * 8000 + b"0]"
        sent = request(path, None if headers else body, b"Content-Type: application/json", *headers)
        if headers:
            sent += b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        assert ask(address_of(server), Case("long", (sent,))) == [413]


def test_a_body_that_comes_too_slowly_is_not_waited_for(target, house):
    server, _ = target
    head = request(b"/v1/detect", None, b"Content-Type: image/png", b"Content-Length: 1000")
    assert ask(address_of(server), Case("slow", (head, *[b"drop"] * 4), pause=0.4)) == [408]
    assert ask(address_of(server), Case("never", (head,))) == [408]
    assert rested(server, house)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST",
        b"\r\n",
        b"POST /v1/detect HTTP/1.1\r\nHost: a\r\nX: y",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /heal",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n\r\n",
        b"POST /v1/detect HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n",
    ],
)
def test_connections_that_send_drop_by_drop_are_closed(target, start):
    """Behind a head that is whole, they have their answer before."""
    with socket.create_connection(address_of(target[0])) as connection:
        connection.sendall(start)
        end = time.monotonic() + 15
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < end:
                if start:
                    connection.sendall(b"a" if start != b"\r\n" else b"\r\n")
                connection.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    while connection.recv(1 << 16):
                        pass
                    break
        assert time.monotonic() < end
    whole = start.count(b"\r\n\r\n")
    assert not whole or ask(address_of(target[0]), Case("after", (start[: start.find(b"\r\n\r\n") + 4],)))


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET /", b"a"),
        (b"POST /v1/detect HTTP/1.1\r\nX: ", b"a"),
        (b"POST /v1/detect HTTP/1.1\r\n", b"X: y\r\n"),
        (b"", b"\r\n"),
        (b"POST /v1/detect HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a"),
        (b"POST /v1/detect HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
        (b"POST /v1/detect HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x"),
    ],
)
def test_heads_without_end_are_refused_before_they_fill_the_memory(target, start, more):
    server, _ = target
    before, sent = usage(server.process.pid).front, 0
    with socket.create_connection(address_of(server)) as connection, contextlib.suppress(ConnectionError):
        connection.settimeout(10)
        connection.sendall(start)
        while sent < 64 * MIB:
            connection.sendall(more * (65536 // len(more)))
            sent += 65536
    assert sent < 16 * MIB  # what the buffers of both sides hold
    assert usage(server.process.pid).front - before < 16 * MIB


def test_a_head_may_be_long(target):
    head = request(b"/healthz?" + b"a" * 20_000, None, *[b"X: " + b"y" * 2000] * 15, method=b"GET")
    assert ask(address_of(target[0]), Case("long", (head,))) == [200]
    assert ask(address_of(target[0]), Case("in two", (head[:30_000], head[30_000:]), pause=0.2)) == [200]


def test_small_chunks_are_no_head(target, house):
    pieces = [house.marked[n : n + 20] for n in range(0, len(house.marked), 20)]
    head = request(b"/v1/detect", None, b"Content-Type: image/png", b"Transfer-Encoding: chunked")
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nX: y\r\n\r\n"
    assert ask(address_of(target[0]), Case("small", (head + body,))) == [200]


def test_those_who_leave_take_no_place_with_them(target, house):
    server, _ = target
    sent = request(b"/v1/detect", encoded(drawn(1000, 1400)), b"Content-Type: image/jpeg")
    for _ in range(20):
        ask(address_of(server), Case("leaving", (sent,), leaves=True))
    assert rested(server, house)
    with server.client() as client:
        assert client.post("/v1/detect", content=house.marked).status_code == 200


def test_a_process_that_is_killed_at_work_costs_its_image_alone(house):
    data = slow_image()
    with serving(house.folder, house.options | {"answer_ms": 0}) as server:
        with server.client() as client, concurrent.futures.ThreadPoolExecutor(4) as threads:
            (worker,) = usage(server.process.pid).workers
            before = ticks_of(worker)
            killed = threads.submit(client.post, "/v1/detect", content=data)
            end = time.monotonic() + 60
            while ticks_of(worker) < before + 5 and time.monotonic() < end:
                time.sleep(0.002)
            waiting = [threads.submit(client.post, "/v1/detect", content=house.marked) for _ in range(3)]
            os.kill(worker, signal.SIGKILL)
            answer = killed.result()
            assert answer.status_code == 422
            assert answer.headers["content-type"] == "application/problem+json"
            for one in waiting:
                assert one.result().json()["verdict"] == "genuine and unchanged"
            assert worker not in usage(server.process.pid).workers
        assert "a worker process died, and another is started" in server.errors()


def ticks_of(pid):
    """Hundredths of a second for which a process has worked."""
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[11])


def slow_image():
    """A file that Pillow reads for some seconds: it has hundreds of thousands of texts."""
    data = samples()["PNG"]
    return data[:33] + chunk(b"tEXt", b"a\0b") * 400_000 + data[33:]


def test_an_image_that_takes_too_long_is_given_up(house):
    options = house.options | {"answer_ms": 0, "work_seconds": 1}
    with serving(house.folder, options) as server, server.client() as client:
        assert client.post("/v1/detect", content=slow_image()).status_code == 422
        assert client.post("/v1/detect", content=house.marked).status_code == 200
        assert "a worker process took longer than 1 seconds" in server.errors()
