"""The proxy's app with the official client of OpenAI's API, and with upstreams that fail in every way."""

import asyncio
import base64
import contextlib

import pytest

httpx = pytest.importorskip("httpx", reason="the extra proxy is not installed")
pytest.importorskip("uvicorn", reason="the extra proxy is not installed")

from image_servers import (  # noqa: E402
    GENERATIONS,
    ImageServer,
    Reply,
    base64_of,
    breaking,
    encoded,
    event,
    running,
)

from fastmark.errors import IntegrationError  # noqa: E402
from fastmark.integrations.answering.upstream import Reach, Upstream  # noqa: E402
from fastmark.integrations.asgi import FastmarkMiddleware  # noqa: E402

MESSAGE = "0123456789abcdef"


@pytest.fixture
def png(draw):
    return encoded(draw(1, 256, 256))


@contextlib.contextmanager
def proxied(marker, reply, **options):
    """The official client, of a proxy in this process before a server that replies so; and that server."""
    openai = pytest.importorskip("openai", reason="the official client is not installed")
    server = ImageServer(reply)
    with running(server) as url:
        app = FastmarkMiddleware(Upstream(Reach(url=url)), marker, MESSAGE, workers=1, **options)
        with (
            running(app, lifespan="on") as place,
            openai.OpenAI(api_key="sk-test", base_url=f"{place}/v1") as client,
        ):
            yield client, server


def ask(marker, url, path=GENERATIONS, **reach):
    """The answer of a proxy in this process, with no server of its own."""

    async def asked():
        upstream = Upstream(Reach(url=url, **reach))
        app = FastmarkMiddleware(upstream, marker, MESSAGE, workers=1)
        try:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://here"
            ) as client:
                return await client.post(path, json={})
        finally:
            await upstream.close()

    return asyncio.run(asked())


# ---- the official client ---------------------------------------------------------------------------------


def test_the_official_client_gets_marked_images(marker, png):
    with proxied(marker, Reply.of(png, png)) as (client, server):
        made = client.images.generate(model="m", prompt="a cat", n=2, response_format="b64_json")
        for image in made.data:
            assert marker.detect(base64.b64decode(image.b64_json)).message_hex == MESSAGE
            assert image.revised_prompt == "a cät"
        assert (made.created, made.usage.total_tokens) == (1, 7)
        edited = client.images.edit(model="m", image=("a.png", png, "image/png"), prompt="a dog")
        assert marker.detect(base64.b64decode(edited.data[0].b64_json)).detected
        first, second = server.requests
        assert first.headers["authorization"] == "Bearer sk-test"
        assert png in second.body and second.path == "/v1/images/edits"


def test_the_official_client_gets_marked_streams(marker, png):
    usage = {"total_tokens": 5, "input_tokens": 1, "output_tokens": 4}
    chunks = [
        event("image_generation.partial_image", b64_json=base64_of(png), partial_image_index=0),
        event("image_generation.completed", b64_json=base64_of(png), usage=usage),
    ]
    reply = Reply(chunks, kind="text/event-stream", length=False)
    with proxied(marker, reply) as (client, _):
        (whole,) = client.images.generate(model="m", prompt="a cat", stream=True, partial_images=1)
        assert whole.type == "image_generation.completed" and whole.usage.total_tokens == 5
        assert marker.detect(base64.b64decode(whole.b64_json)).message_hex == MESSAGE
    with proxied(marker, reply, on_partial="mark") as (client, _):
        partial, whole = client.images.generate(model="m", prompt="a cat", stream=True, partial_images=1)
        assert partial.partial_image_index == 0
        assert marker.detect(base64.b64decode(partial.b64_json)).detected


def test_the_official_client_is_told_what_went_wrong_and_does_not_ask_again(marker, draw):
    openai = pytest.importorskip("openai", reason="the official client is not installed")
    tiny = encoded(draw(1, 64, 64))
    with proxied(marker, Reply.of(tiny)) as (client, server):
        with pytest.raises(openai.InternalServerError, match="128 pixels") as caught:
            client.images.generate(model="m", prompt="a cat")
        assert (caught.value.code, caught.value.type) == ("image_not_watermarked", "server_error")
        assert len(server.requests) == 1
    chunks = [event("image_generation.completed", b64_json=base64_of(tiny))]
    streamed = Reply(chunks, kind="text/event-stream", length=False)
    with proxied(marker, streamed) as (client, _), pytest.raises(openai.APIError, match="128 pixels"):
        list(client.images.generate(model="m", prompt="a cat", stream=True))
    refused = Reply([b'{"error": {"message": "no cats", "code": "moderation"}}'], status=400)
    with proxied(marker, refused) as (client, _), pytest.raises(openai.BadRequestError, match="no cats"):
        client.images.generate(model="m", prompt="a cat")


# ---- upstreams that fail ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
    ],
)
def test_an_upstream_that_breaks_off_is_told(marker, said):
    with breaking(said) as url:
        response = ask(marker, url)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream")
    assert response.headers["x-should-retry"] == "true"


def test_an_upstream_that_is_away_or_too_slow_is_told(marker):
    with breaking(b"") as url:
        pass
    response = ask(marker, url)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream")
    assert "cannot be reached" in response.json()["error"]["message"]
    with running(ImageServer(Reply([30], length=False))) as url:
        for path in (GENERATIONS, "/v1/images/edits"):
            response = ask(marker, url, path, seconds=0.3)
            assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
            assert response.headers["x-should-retry"] == "false"


def test_an_answer_without_a_length_ends_with_its_connection(marker, png):
    """As HTTP/1.0 has it: nobody can tell its end from a death, but JSON can."""
    said = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"
    body = b'{"data": [{"b64_json": "' + base64_of(png).encode() + b'"}]}'
    with breaking(said + body) as url:
        response = ask(marker, url)
    assert response.headers["fastmark-id"] == MESSAGE
    with breaking(said + body[:-10]) as url:
        assert ask(marker, url).status_code == 502


def test_a_path_of_the_upstream_goes_before_that_of_a_request(marker):
    server = ImageServer(Reply([b"{}"]))
    with running(server) as url:
        ask(marker, f"{url}/base/")
        ask(marker, f"{url}/base", "/v1/models?a=%2F")
    assert [(one.raw_path, one.query) for one in server.requests] == [
        (b"/base" + GENERATIONS.encode(), b""),
        (b"/base/v1/models", b"a=%2F"),
    ]


def test_redirects_are_passed_and_not_followed(marker):
    server = ImageServer(Reply([b""], status=307, headers=[(b"location", b"/elsewhere")]))
    with running(server) as url:
        response = ask(marker, url)
    assert (response.status_code, response.headers["location"]) == (307, "/elsewhere")
    assert len(server.requests) == 1


@pytest.mark.parametrize("url", ["", "host", "//host", "http://", "http://h?x", "http://h#x", "http://[::1"])
def test_urls_that_cannot_be_asked_are_refused(url):
    with pytest.raises(IntegrationError, match="the upstream must be"):
        Reach(url=url)
