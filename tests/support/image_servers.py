"""Small image servers with OpenAI's API: as apps, and as real servers on loopback."""

import asyncio
import base64
import contextlib
import dataclasses
import io
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

GENERATIONS = "/v1/images/generations"


def encoded(array, format_name="PNG", **options):
    """An image file; a PNG has the text that servers write into it."""
    file = io.BytesIO()
    image = Image.fromarray(array)
    if format_name == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("parameters", "a cat\nSteps: 20, Seed: 1")
        texts.add_itxt("prompt", '{"3": {"class_type": "KSampler"}}')
        options = {"pnginfo": texts} | options
    image.save(file, format_name, **options)
    return file.getvalue()


def base64_of(data):
    return base64.b64encode(data).decode()


def answer_of(*images, **more):
    """The answer of a server with images, as JSON."""
    data = [{"b64_json": base64_of(image), "revised_prompt": "a cät"} for image in images]
    return json.dumps({"created": 1, "data": data, "usage": {"total_tokens": 7}} | more).encode()


def images_of(body):
    """The images of an answer."""
    return [base64.b64decode(one["b64_json"]) for one in json.loads(body)["data"]]


def event(kind, **values):
    """A server-sent event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | values)}\n\n".encode()


@dataclasses.dataclass
class Reply:
    """What a server answers: chunks of a body; an exception among them is raised, a number waits so long."""

    chunks: list[Any]
    kind: str = "application/json"
    status: int = 200
    headers: list[tuple[bytes, bytes]] = dataclasses.field(default_factory=list)
    length: bool = True

    @classmethod
    def of(cls, *images, **options):
        return cls([answer_of(*images)], **options)

    @property
    def body(self):
        return b"".join(chunk for chunk in self.chunks if isinstance(chunk, bytes))


@dataclasses.dataclass
class Request:
    """What a server was asked."""

    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: dict[str, str]
    body: bytes
    scope: dict[str, Any]


class ImageServer:
    """An ASGI app whose answers a test decides."""

    def __init__(self, reply: Reply | Callable[[Request], Reply]):
        self.reply = reply
        self.requests: list[Request] = []
        self.cancelled = threading.Event()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            body += message.get("body", b"")
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        request = Request(
            scope["method"], scope["path"], scope.get("raw_path"), scope["query_string"], headers, body, scope
        )
        self.requests.append(request)
        reply = self.reply(request) if callable(self.reply) else self.reply
        given = [(b"content-type", reply.kind.encode())] if reply.kind else []
        if reply.length:
            given.append((b"content-length", str(len(reply.body)).encode()))
        start = {"type": "http.response.start", "status": reply.status, "headers": given + reply.headers}
        await send(start)
        for chunk in reply.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            if isinstance(chunk, bytes):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            else:
                await self._wait(chunk, receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _wait(self, seconds, receive):
        """Wait, and note where the client leaves meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (await receive())["type"] != "http.disconnect":
                    pass
                self.cancelled.set()


@contextlib.contextmanager
def running(app, lifespan="off"):
    """The URL of an app under uvicorn, in a thread."""
    import uvicorn

    config = uvicorn.Config(
        app,
        lifespan=lifespan,
        log_config=None,
        ws="none",
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            end = time.monotonic() + 60
            while not server.started and time.monotonic() < end:
                time.sleep(0.02)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def breaking(said):
    """The URL of a server that says some bytes to each request, and hangs up."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(10)
                with contextlib.suppress(OSError):  # what is left unread would break off what was said
                    while connection.recv(65536):
                        pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def flat(height=256, width=256):
    """An image of one colour."""
    return np.full((height, width, 3), 128, np.uint8)
