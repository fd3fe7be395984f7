"""Apps behind the middleware: a way to ask them, and what a refusal looks like."""

import asyncio

import httpx
from image_servers import GENERATIONS, ImageServer

from fastmark.integrations.asgi import FastmarkMiddleware

MESSAGE = "0123456789abcdef"


def ask(app, path=GENERATIONS, method="POST", **options):
    """The answer of an app to one request."""

    async def asked():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.request(method, path, **options)

    return asyncio.run(asked())


async def asked_for_nothing():
    """What a server receives of a request without a body."""
    return {"type": "http.request", "body": b"", "more_body": False}


def guard(marker):
    """A function that puts a middleware with this marker before a server that replies so."""

    def made(reply, message=MESSAGE, **options):
        return FastmarkMiddleware(ImageServer(reply), marker, message, workers=2, **options)

    return made


def assert_refused(response, code, says=""):
    """502 with an error as OpenAI's clients read it, which they do not ask for again."""
    assert response.status_code == 502
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", code)
    assert says in error["message"]
    assert int(response.headers["content-length"]) == len(response.content)
    assert "fastmark-state" not in response.headers
