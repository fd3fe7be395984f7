"""The middleware before answers that it cannot mark: it refuses them, or passes them on if it is told to."""

import asyncio
import gzip
import io
import json
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

httpx = pytest.importorskip("httpx", reason="the tests ask the middleware by httpx")

from guarded_apps import MESSAGE, ask, asked_for_nothing, assert_refused, guard  # noqa: E402
from image_servers import (  # noqa: E402
    GENERATIONS,
    ImageServer,
    Reply,
    answer_of,
    base64_of,
    encoded,
    images_of,
)

from fastmark import Key  # noqa: E402
from fastmark.integrations.asgi import FastmarkMiddleware  # noqa: E402


@pytest.fixture
def guarded(marker):
    """A middleware before a server that replies so."""
    return guard(marker)


@pytest.fixture
def png(draw):
    return encoded(draw(1, 256, 256))


# ---- what cannot be marked -------------------------------------------------------------------------------


def hostile(draw):
    """Names, strings under b64_json, and what the refusal says."""
    frames = [Image.fromarray(draw(seed, 200, 200)) for seed in (1, 2)]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    webp = io.BytesIO()
    frames[0].save(webp, "WEBP", save_all=True, append_images=frames[1:])
    whole = encoded(draw(1, 256, 256))
    return {
        "not base64": ("%%%", "not base64"),
        "half base64": (base64_of(whole)[:-5] + "*", "not base64"),
        "not an image": (base64_of(b"nothing of the kind" * 20), "no image"),
        "a key": (base64_of(Key(bytes(32)).to_text().encode()), "no image"),
        "tiny": (base64_of(encoded(draw(1, 96, 300))), "128 pixels"),
        "a bomb": (base64_of(encoded(np.zeros((2000, 2000), np.uint8))), "pixels"),
        "animated GIF": (base64_of(moving.getvalue()), "GIF"),
        "animated WebP": (base64_of(webp.getvalue()), "animated"),
        "cut short": (base64_of(whole[: len(whole) // 2]), "cannot be read"),
        "another data URL": ("data:image/png,%89PNG", "not in base64"),
        "SVG": (base64_of(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "no image"),
    }


@pytest.mark.parametrize("fail", ["closed", "open"])
def test_what_cannot_be_marked_is_refused_unless_told_otherwise(guarded, marker, draw, caplog, fail):
    good = base64_of(encoded(draw(1, 256, 256)))
    for name, (text, says) in hostile(draw).items():
        body = json.dumps({"data": [{"b64_json": good}, {"b64_json": text}]}).encode()
        caplog.clear()
        response = ask(guarded(Reply([body]), fail=fail, max_pixels=1_000_000))
        if fail == "closed":
            assert_refused(response, "image_not_watermarked", says)
            assert response.headers["x-should-retry"] == "false", name
        else:
            first, second = (one["b64_json"] for one in response.json()["data"])
            assert second == text, name
            assert marker.detect(images_of(json.dumps({"data": [{"b64_json": first}]}))[0])
            assert response.headers["fastmark-state"] == "marked, unmarked"
            assert says in response.headers["fastmark-warning"], name
        assert says in caplog.text and good[:50] not in caplog.text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "neither JSON nor an image"),
        (b"{", "neither"),
        (b'{"a": 1} x', "something follows"),
        (b'{"data": [{"b64_json": "\xff"}]}', "neither"),
        (b"[" * 100, "too deeply"),
        (b"[" + b"1," * 300_000 + b"1]", "too many values"),
        (b'{"a" 1}', "colon"),
        (b"{1: 2}", "key"),
        (b"[1 2]", "comma"),
        (b'{"a": 1', "comma"),
        (b"[1,", ""),
        (b'{"n": ' + b"9" * 5000 + b"}", ""),
    ],
)  # fmt: skip
def test_answers_that_are_not_understood_are_refused(guarded, body, says):
    assert_refused(ask(guarded(Reply([body]))), "unknown_answer", says)
    response = ask(guarded(Reply([body[:3], body[3:]], headers=[(b"x-own", b"1")]), fail="open"))
    assert (response.status_code, response.content) == (200, body)
    assert response.headers["fastmark-state"] == "unmarked" and response.headers["x-own"] == "1"


def test_urls_are_refused_or_passed_by_policy(guarded, png):
    body = json.dumps({"data": [{"url": "https://cdn.example/1.png"}, {"b64_json": base64_of(png)}]}).encode()
    for options in ({}, {"on_url": "refuse"}, {"on_url": "refuse", "fail": "open"}):
        assert_refused(ask(guarded(Reply([body]), **options)), "image_by_url", "b64_json")
    for options in ({"on_url": "pass"}, {"fail": "open"}):
        response = ask(guarded(Reply([body]), **options))
        assert response.json()["data"][0] == {"url": "https://cdn.example/1.png"}
        assert response.headers["fastmark-state"] == "marked, unmarked"
        assert response.headers["fastmark-warning"] == "1 by URL, without a watermark"
    only = b'{"data":[{"url":"/images/1.png"}]}'
    response = ask(guarded(Reply([only]), on_url="pass"))
    assert response.content == only and response.headers["fastmark-state"] == "unmarked"


def test_an_image_that_is_marked_already(guarded, marker, draw):
    before = encoded(marker.embed(draw(5, 320, 320), 7))
    (data,) = images_of(ask(guarded(Reply.of(before))).content)
    assert marker.detect(data).message_hex == MESSAGE
    response = ask(guarded(Reply.of(before), on_marked="keep"))
    assert images_of(response.content) == [before]
    assert (response.headers["fastmark-state"], response.headers["fastmark-id"]) == ("kept", f"{7:016x}")
    assert_refused(ask(guarded(Reply.of(before), on_marked="refuse")), "image_not_watermarked")


# ---- encodings and limits --------------------------------------------------------------------------------


def test_packed_answers_are_unpacked(guarded, marker, png):
    body = answer_of(png)
    half = len(body) // 2
    packed = {
        "gzip": gzip.compress(body),
        "GZip": gzip.compress(body[:half]) + gzip.compress(body[half:]),
        "deflate": zlib.compress(body),
        "identity": body,
    }
    for coding, data in packed.items():
        reply = Reply([data[:100], data[100:]], headers=[(b"content-encoding", coding.encode())])
        response = ask(guarded(reply))
        assert "content-encoding" not in response.headers
        assert marker.detect(images_of(response.content)[0]).message_hex == MESSAGE


def test_what_cannot_be_unpacked_is_refused(guarded, png):
    for coding, data, says in (
        ("br", b"abc", "'br'"),
        ("gzip, gzip", b"abc", "gzip"),
        ("gzip", b"abc", "damaged"),
        ("gzip", gzip.compress(b" " * 5_000_000), "more than 1000000 bytes"),
    ):
        reply = Reply([data], headers=[(b"content-encoding", coding.encode())])
        assert_refused(ask(guarded(reply, max_bytes=1_000_000)), "unknown_answer", says)
    reply = Reply([b"abc"], headers=[(b"content-encoding", b"br")])
    reply.kind, passed = "application/json", []

    async def keep(message):
        passed.append(message)

    scope = {"type": "http", "method": "POST", "path": GENERATIONS, "headers": [], "query_string": b""}
    asyncio.run(guarded(reply, fail="open")(scope, asked_for_nothing, keep))
    assert {(b"content-encoding", b"br"), (b"fastmark-state", b"unmarked")} <= set(passed[0]["headers"])
    assert b"".join(message.get("body", b"") for message in passed) == b"abc"


@pytest.mark.parametrize("length", [True, False])
def test_answers_that_are_too_large_are_refused_or_passed(guarded, png, length):
    body = answer_of(png)
    reply = Reply([body[:1000], body[1000:2000], body[2000:]], length=length)
    assert_refused(ask(guarded(reply, max_bytes=1500)), "answer_too_large", "1500 bytes")
    response = ask(guarded(reply, max_bytes=1500, fail="open"))
    assert response.content == body and response.headers["fastmark-state"] == "unmarked"
    assert "fastmark-id" in ask(guarded(reply, max_bytes=len(body))).headers


def test_no_more_images_are_worked_on_than_there_are_workers_and_all_answers_have_their_turn(marker, png):
    """Two answers of which each fills the room: the second is read when the first is gone."""
    at_work, most, names = 0, 0, set()
    lock = threading.Lock()

    def message():
        nonlocal at_work, most
        names.add(threading.current_thread().name)
        with lock:
            at_work += 1
            most = max(most, at_work)
        threading.Event().wait(0.05)
        with lock:
            at_work -= 1
        return MESSAGE

    server = ImageServer(Reply.of(png, png, length=False))
    app = FastmarkMiddleware(server, marker, message, workers=2, max_bytes=1_000_000, max_memory=1_000_000)

    async def all_at_once():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here", timeout=60) as client:
            return await asyncio.gather(*(client.post(GENERATIONS) for _ in range(6)))

    assert [one.headers["fastmark-state"] for one in asyncio.run(all_at_once())] == ["marked"] * 6
    assert most <= 2
    assert all(name.startswith("fastmark-image") for name in names)


# ---- errors of others ------------------------------------------------------------------------------------


def test_errors_that_are_not_ours_are_told_without_their_words(guarded, png, caplog):
    def broken():
        raise RuntimeError("password=1234")

    response = ask(guarded(Reply.of(png), message=broken))
    assert_refused(response, "internal_error")
    assert response.headers["x-should-retry"] == "true"
    assert "RuntimeError" in caplog.text and "1234" not in caplog.text + response.text


def test_an_app_that_fails_or_ends_early_sends_no_image(guarded, png):
    body = answer_of(png)
    with pytest.raises(RuntimeError, match="died"):
        ask(guarded(Reply([body[:5000], RuntimeError("died")], length=False)))

    async def short(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body[:5000], "more_body": True})

    response = ask(FastmarkMiddleware(short, Key(bytes(32)), MESSAGE))
    assert_refused(response, "upstream", "ended too early")
