"""Images by URL: which answers are taken, which are too long, too slow or wrong; and no URL is logged."""

import asyncio
import gzip
import logging
import pickle

import pytest

pytest.importorskip("httpcore", reason="the extra serve is not installed")
pytest.importorskip("cryptography", reason="the extra serve is not installed")

from fetches import (
    HERE,
    HOST,
    IMAGE,
    MOST,
    Names,
    contexts_of_names,
    fetch,
    permitted,
    redirect,
    refused,
    reply,
)
from tls import serving

from fastmark.service.fetching import Fetcher, FetchError


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return contexts_of_names(tmp_path_factory.mktemp("tls"))


# ---- what is fetched -------------------------------------------------------------------------------------


def test_an_image_is_fetched(tls):
    found, served = fetch(tls, {"/a/b.png?c=d": reply(IMAGE)}, "https://{host}:{port}/a/b.png?c=d#part")
    assert found == IMAGE and served.connections == 1
    (head,) = served.asked
    assert head.splitlines()[:-1] == [
        "GET /a/b.png?c=d HTTP/1.1",
        f"Host: {HOST}:{served.port}",
        "Accept: image/*, application/octet-stream",
        "Accept-Encoding: identity",
        head.splitlines()[4],
    ]
    assert head.splitlines()[4].startswith("User-Agent: fastmark/")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://{host}:{port}", "/"),
        ("HTTPS://IMAGES.EXAMPLE:{port}/A%20b%2f", "/A%20b%2f"),
        ("https://{host}.:{port}/", "/"),
        ("https://{host}:{port}?", "/"),
        ("https://{host}:{port}?a=b", "/?a=b"),
        ("https://{host}:{port}/\u00e9<\"?\u00e9", "/%C3%A9%3C%22?%C3%A9"),
        ("https://b\u00fccher.{host}:{port}/", "/"),
        ("https://127.0.0.1:{port}/", "/"),
    ],
)  # fmt: skip
def test_urls_as_people_write_them(tls, url, target):
    found, served = fetch(tls, {target: reply(IMAGE)}, url)
    assert found == IMAGE and served.asked[0].startswith(f"GET {target} HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "kind", ["image/png", "IMAGE/WebP", "image/jpeg; q=1", "application/octet-stream ;x"]
)
def test_kinds_that_are_taken(tls, kind):
    assert fetch(tls, reply(IMAGE, content_type=kind))[0] == IMAGE


@pytest.mark.parametrize(
    "kind", [None, "", "text/html", "image", "imagepng", "application/json", "text/html, image/png"]
)
def test_kinds_that_are_not_taken(tls, kind):
    refused(tls, reply(IMAGE, content_type=kind), 415)
    refused(tls, reply(IMAGE, content_type=f"image/png\r\ncontent-type: {kind}"), 415)


def test_other_kinds_are_taken_on_request(tls):
    assert fetch(tls, reply(b"{}", content_type="application/json"), kinds=("application/json",))[0] == b"{}"
    refused(tls, reply(b"{}"), 415, kinds=("application/json",))


def test_answers_in_chunks_and_without_a_length(tls):
    chunked = reply(b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", length=False, transfer_encoding="chunked")
    assert fetch(tls, chunked)[0] == b"abcdefg"
    assert fetch(tls, reply(IMAGE, length=False, connection="close"))[0] == IMAGE
    assert fetch(tls, reply(b""))[0] == b""


# ---- too much, too slow, wrong ---------------------------------------------------------------------------


def test_the_limit_is_exact(tls):
    at, over = bytes(MOST), bytes(MOST + 1)
    for length in (True, False):
        assert fetch(tls, reply(at, length=length, connection="close"))[0] == at
        refused(tls, reply(over, length=length, connection="close"), 413)


@pytest.mark.parametrize("length", [str(MOST + 1), "9" * 15, "9" * 20, "9" * 5000])
def test_what_says_that_it_is_too_large_is_not_read(tls, length):
    found, _ = fetch(tls, reply(b"", length=False, content_length=length))
    assert isinstance(found, FetchError) and found.status in (413, 502)
    if len(length) < 20:
        assert found.status == 413


def test_endless_answers_are_cut_off(tls):
    async def endless(served, writer):
        await served.send(writer, reply(length=False, transfer_encoding="chunked"))
        while True:
            await served.send(writer, b"1000\r\n" + bytes(4096) + b"\r\n")

    served = refused(tls, {"/": endless}, 413)
    assert served.sent < 32 << 20  # what lies in the system's buffers


def test_answers_that_lie_about_their_length(tls):
    refused(tls, reply(IMAGE, length=False, content_length=len(IMAGE) + 1), 502)
    assert fetch(tls, reply(IMAGE, length=False, content_length=5))[0] == IMAGE[:5]
    for length in ("-1", "five", "1e3", "5, 6", "5\r\ncontent-length: 6"):
        refused(tls, reply(IMAGE, length=False, content_length=length), 502)


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip", "GZIP"])
def test_compressed_answers_are_refused(tls, coding):
    bomb = gzip.compress(bytes(100 * MOST))
    assert len(bomb) < MOST
    refused(tls, reply(bomb, content_encoding=coding), 415, says="compresses")
    assert fetch(tls, reply(IMAGE, content_encoding="identity"))[0] == IMAGE
    refused(tls, reply(bomb, length=False, transfer_encoding=f"{coding}, chunked"), 502)


@pytest.mark.parametrize(
    "status", ["204 No", "206 Part", "304 Same", "400 Bad", "401 Who", "404 Not", "500 Oh", "999 Odd"]
)
def test_answers_that_are_not_200_are_told(tls, status):
    refused(tls, reply(IMAGE, status=status), 502, says=f"status {status[:3]}")


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0" * 100, b"SSH-2.0-server\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 abc OK\r\n\r\n",
     b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
     b"HTTP/1.1 200 OK\r\na: " + b"b" * 500_000 + b"\r\n\r\n",
     b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
     b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
     b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n",
     b"HTTP/1.1 302 Found\r\nlocation: /a\r\nlocation: /b\r\n\r\n",
     b"HTTP/1.1 302 Found\r\n\r\n"],
)  # fmt: skip
def test_answers_that_are_not_http(tls, answer):
    refused(tls, answer, 502)


def test_slow_answers_are_given_up(tls):
    async def drip(served, writer):
        await served.send(writer, reply(b"", length=False, content_length=MOST))
        while True:
            await served.send(writer, b"a")
            await asyncio.sleep(0.05)

    async def headers(served, writer):
        await served.send(writer, b"HTTP/1.1 200 OK\r\n")
        while True:
            await served.send(writer, b"a: b\r\n")
            await asyncio.sleep(0.05)

    async def informs(served, writer):
        while True:
            await served.send(writer, b"HTTP/1.1 103 Early\r\n\r\n")
            await asyncio.sleep(0.01)

    async def silent(served, writer):
        await asyncio.sleep(60)

    for answer in (drip, headers, informs, silent):
        refused(tls, {"/": answer}, 504, seconds=0.5, says="too long")


def test_slow_names_are_given_up(tls):
    async def slow(host, port):
        await asyncio.sleep(60)

    assert refused(tls, reply(IMAGE), 504, names=slow, seconds=0.2).connections == 0


def test_slow_greetings_are_given_up_and_their_connections_closed():
    """A server that accepts and never greets; httpcore alone would leave the connection open."""

    async def all_of_it():
        closed = asyncio.Event()

        async def silent(reader, writer):
            while await reader.read(1000):
                pass
            writer.close()
            closed.set()

        async with await asyncio.start_server(silent, HERE, 0) as server:
            port = server.sockets[0].getsockname()[1]
            fetcher = Fetcher(most_bytes=1, seconds=0.3, permitted=permitted, ports=None, resolve=Names())
            with pytest.raises(FetchError) as error:
                await fetcher.fetch(f"https://{HOST}:{port}/")
            await asyncio.wait_for(closed.wait(), 20)
            return error.value.status

    assert asyncio.run(all_of_it()) == 504


def test_one_deadline_holds_for_all_redirects(tls):
    async def late(served, writer):
        await asyncio.sleep(0.3)
        await served.send(writer, redirect("/"))

    refused(tls, {"/": late}, 504, seconds=0.7)


# ---- what is kept ----------------------------------------------------------------------------------------


def test_nothing_of_urls_and_hosts_is_logged(tls, caplog):
    caplog.set_level(logging.DEBUG)
    for answers in (reply(IMAGE), reply(status="404 Not"), "http://{host}:{port}/", b"", "/"):
        fetch(tls, answers)
        fetch(tls, answers, ssl_context=None)
    fetch(tls, reply(), names=Names(**{HOST: None}))
    assert not any(text in caplog.text for text in (HOST, HERE, "https:"))
    assert not [record for record in caplog.records if record.name.startswith("httpcore")]


def test_many_at_once(tls):
    async def all_of_it():
        answers = {f"/{i}": reply(bytes([i]) * 100) for i in range(20)}
        async with serving(answers, tls[0]) as served:
            fetcher = Fetcher(
                most_bytes=MOST,
                seconds=30,
                permitted=permitted,
                ssl_context=tls[1],
                ports=None,
                resolve=Names(),
            )
            found = await asyncio.gather(
                *(fetcher.fetch(f"https://{HOST}:{served.port}/{i}") for i in range(20))
            )
            fetcher.close()
            return found

    assert asyncio.run(all_of_it()) == [bytes([i]) * 100 for i in range(20)]


def test_errors_can_be_pickled():
    error = pickle.loads(pickle.dumps(FetchError("it took too long", 504)))
    assert (error.reason, error.status, str(error)) == ("it took too long", 504, "it took too long")
