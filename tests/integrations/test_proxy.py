"""``fastmark proxy``: a real one, before a real image server, asked over real sockets."""

import asyncio
import base64
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

httpx = pytest.importorskip("httpx", reason="the extra proxy is not installed")
pytest.importorskip("uvicorn", reason="the extra proxy is not installed")
pytest.importorskip("httptools", reason="the extra proxy is not installed")
pytest.importorskip("sqlalchemy", reason="registries need it")

from commands import assert_refused, run  # noqa: E402
from image_servers import (  # noqa: E402
    GENERATIONS,
    ImageServer,
    Reply,
    answer_of,
    base64_of,
    encoded,
    event,
    images_of,
    running,
)
from services import serving  # noqa: E402

import fastmark.public  # noqa: E402

MESSAGE = "0123456789abcdef"
COOKIES = [(b"x-request-id", b"abc"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]


@pytest.fixture(scope="module")
def upstream():
    """An image server whose answers each test decides."""
    server = ImageServer(Reply([]))
    with running(server) as server.url:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory, key):
    made = tmp_path_factory.mktemp("proxy")
    key.save(made / "my.key")
    assert run("registry", "init", "--registry", "ids.db", cwd=made).returncode == 0
    return made


@pytest.fixture(scope="module")
def proxy(folder, upstream):
    """A proxy that draws ids."""
    options = {"upstream": upstream.url, "key": "my.key", "registry": "ids.db", "workers": 1}
    with serving(folder, options | {"provider": "Studio"}, verb="proxy") as running_proxy:
        yield running_proxy


@pytest.fixture(scope="module")
def client(proxy):
    with proxy.client() as made:
        yield made


@pytest.fixture(autouse=True)
def forget(upstream):
    upstream.requests.clear()
    upstream.cancelled.clear()


@pytest.fixture
def png(draw):
    return encoded(draw(1, 256, 256))


# ---- what leaves -----------------------------------------------------------------------------------------


def test_images_leave_marked_and_registered(client, proxy, folder, upstream, marker, png):
    from fastmark.registry import Registry

    upstream.reply = Reply.of(png, headers=COOKIES)
    response = client.post(GENERATIONS, json={"prompt": "a cat"}, headers={"authorization": "Bearer sk-1"})
    (data,) = images_of(response.content)
    name = response.headers["fastmark-id"]
    assert marker.detect(data).message_hex == name
    assert response.headers["x-request-id"] == "abc"
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.headers.get_list("content-length") == [str(len(response.content))]
    with Registry(f"sqlite:///{folder / 'ids.db'}") as registry:
        assert registry.get(name).record.provider == "Studio"
    told = proxy.errors()
    assert "proxy: the first image is watermarked" in told
    assert "check it: fastmark detect IMAGE --key my.key" in told
    assert "sk-1" not in told and "a cat" not in told


def test_two_hundred_at_a_time_are_all_marked(proxy, upstream, marker, draw):
    files = [encoded(draw(seed, 192, 192), name) for seed in range(2) for name in ("PNG", "JPEG")]
    upstream.reply = lambda request: Reply.of(files[json.loads(request.body)["n"] % 4])

    async def all_at_once():
        limits = httpx.Limits(max_connections=220)
        async with httpx.AsyncClient(
            base_url=proxy.url, limits=limits, timeout=300, trust_env=False
        ) as client:
            asked = [client.post(GENERATIONS, json={"n": n}) for n in range(200)]
            health = client.get("/healthz")
            return await asyncio.gather(*asked, health)

    *answers, health = asyncio.run(all_at_once())
    assert health.json()["status"] == "ok"
    assert {answer.status_code for answer in answers} == {200}
    ids = [answer.headers["fastmark-id"] for answer in answers]
    assert len(set(ids)) == 200
    for name, answer in zip(ids, answers, strict=True):
        (data,) = images_of(answer.content)
        assert marker.detect(data).message_hex == name
    assert len(upstream.requests) == 200


def test_a_stream_comes_event_by_event(proxy, upstream, marker, png):
    """The first event is there while the server still waits with the second."""
    first = event("image_generation.completed", b64_json=base64_of(png))
    upstream.reply = Reply([first, 60, event("never")], kind="text/event-stream", length=False)
    with proxy.client() as client, client.stream("POST", GENERATIONS, json={"stream": True}) as response:
        got = b""
        for chunk in response.iter_bytes():
            got += chunk
            if got.endswith(b"\n\n"):
                break
    data = json.loads(got.partition(b"data: ")[2])["b64_json"]
    assert marker.detect(base64.b64decode(data)).detected
    assert upstream.cancelled.wait(30), "the upstream was not told that the client left"


# ---- what is passed as it is -----------------------------------------------------------------------------


def test_other_requests_reach_the_upstream_as_they_are(client, proxy, upstream):
    upstream.reply = Reply([b"ok"], kind="text/plain")
    target = "/v1/files/a%2Fb/%C3%BC//x?q=%20a+b&q=%zz"
    with socket.create_connection(proxy.url.removeprefix("http://").split(":")) as raw:
        raw.sendall(
            f"PUT {target} HTTP/1.1\r\nHost: images.example\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
            "X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\n"
            "TE: trailers\r\nProxy-Authorization: Basic x\r\nAccept-Encoding: br\r\nX-Own: \xe9\r\n"
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".encode("latin-1")
        )
        answer = b""
        while chunk := raw.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and b"ok" in answer
    (request,) = upstream.requests
    assert (request.method, request.body) == ("PUT", b"abcde")
    assert request.raw_path + b"?" + request.query == target.encode()
    headers = request.headers
    assert headers["host"] == upstream.url.removeprefix("http://")
    assert headers["x-forwarded-host"] == "images.example" and headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-for"] == "10.0.0.9, 127.0.0.1"
    assert (headers["accept-encoding"], headers["x-own"]) == ("br", "\xe9")
    assert not {"x-hop", "te", "proxy-authorization", "connection"} & set(headers)
    assert "user-agent" not in headers


def test_bodies_of_a_known_length_and_none_keep_it(client, upstream):
    upstream.reply = Reply([b""], status=204, kind="", length=False)
    big = os.urandom(3_000_000)
    assert client.post("/v1/images/x", content=big).status_code == 204
    assert client.post("/v1/images/x", content=b"").status_code == 204
    assert client.get("/v1/models").status_code == 204
    assert [request.body for request in upstream.requests] == [big, b"", b""]
    lengths = [request.headers.get("content-length") for request in upstream.requests]
    assert lengths == [str(len(big)), "0", None]


def test_other_answers_are_passed_as_they_are(client, upstream, png):
    body = answer_of(png)
    own = [(b"content-encoding", b"x-own"), (b"date", b"then"), (b"server", b"its")]
    upstream.reply = Reply([body], headers=own)
    with client.stream("GET", GENERATIONS) as response:
        assert b"".join(response.iter_raw()) == body
    assert (response.headers["date"], response.headers["server"]) == ("then", "its")
    assert response.headers["content-encoding"] == "x-own"
    head = client.head(GENERATIONS)
    assert head.headers["content-length"] == str(len(body)) and head.content == b""
    for status in (400, 401, 429, 500, 503):
        no = b'{"error": {"message": "no"}}'
        upstream.reply = Reply([no], status=status, headers=[(b"retry-after", b"7")])
        response = client.post(GENERATIONS, json={})
        assert (response.status_code, response.content) == (status, no)
        assert response.headers["retry-after"] == "7" and "fastmark-state" not in response.headers


def test_websockets_are_refused_plainly(client):
    response = client.get("/realtime", headers={"connection": "upgrade", "upgrade": "websocket"})
    assert response.status_code == 501 and "websockets" in response.json()["error"]["message"]


# ---- what goes wrong -------------------------------------------------------------------------------------


def test_an_image_that_cannot_be_marked_is_refused(client, proxy, upstream, draw):
    upstream.reply = Reply.of(encoded(draw(1, 100, 100)))
    response = client.post(GENERATIONS, json={})
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "image_not_watermarked"
    assert "128 pixels" in proxy.errors()


def test_an_upstream_that_dies_in_the_middle(client, proxy, upstream, png):
    body = answer_of(png)
    for length in (True, False):
        upstream.reply = Reply([body[:9000], RuntimeError("died"), body[9000:]], length=length)
        response = client.post(GENERATIONS, json={})
        assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream")
        with pytest.raises(httpx.RemoteProtocolError):  # what was begun can only be broken off
            client.get("/else")
    upstream.reply = Reply.of(png)
    assert client.post(GENERATIONS, json={}).status_code == 200


def test_a_worker_that_dies_is_replaced(client, proxy, upstream, png):
    upstream.reply = Reply.of(png)
    tasks = Path(f"/proc/{proxy.process.pid}/task")
    if not tasks.is_dir():
        pytest.skip("no /proc here")
    children = [int(one) for task in tasks.iterdir() for one in (task / "children").read_text().split()]
    (worker,) = [one for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]
    os.kill(worker, signal.SIGKILL)
    # the one that was sent to it before its death was seen may be asked again
    first, second = (client.post(GENERATIONS, json={}) for _ in range(2))
    assert second.status_code == 200
    if first.status_code != 200:
        assert first.json()["error"]["code"] == "internal_error"
        assert first.headers["x-should-retry"] == "true"


def test_a_client_that_leaves_cancels_the_upstream(proxy, upstream):
    upstream.reply = Reply([60, b"{}"], length=False)
    with pytest.raises(httpx.ReadTimeout), proxy.client() as client:
        client.post(GENERATIONS, json={}, timeout=1)
    assert upstream.cancelled.wait(30)


def test_a_request_without_an_end_does_not_stay(proxy):
    with socket.create_connection(proxy.url.removeprefix("http://").split(":")) as raw:
        raw.sendall(b"POST " + b"x" * 200_000)
        raw.settimeout(30)
        assert b" 400 " in raw.recv(1000) or raw.recv(1000) == b""


# ---- its life --------------------------------------------------------------------------------------------


def test_sigterm_answers_what_was_accepted_and_ends(folder, upstream, marker, png):
    upstream.reply = Reply([2, answer_of(png)], length=False)
    options = {"upstream": upstream.url, "key": "my.key", "message": MESSAGE, "workers": 1}
    with serving(folder, options, verb="proxy") as proxy:
        answers = []

        def ask():
            with proxy.client() as client:
                answers.append(client.post(GENERATIONS, json={}))

        asking = threading.Thread(target=ask)
        asking.start()
        end = time.monotonic() + 60
        while not upstream.requests and time.monotonic() < end:
            time.sleep(0.02)
        assert proxy.stop() == 0
        asking.join()
        assert marker.detect(images_of(answers[0].content)[0]).message_hex == MESSAGE
        assert "Traceback" not in proxy.errors()


def test_before_it_is_ready_health_says_so_and_sigterm_ends_it(folder, upstream, tmp_path):
    """Kernels that must be compiled first take long."""
    options = {"upstream": upstream.url, "key": "my.key", "message": MESSAGE, "workers": 1}
    empty = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    with serving(folder, options, ready=False, verb="proxy", **empty) as proxy:
        with proxy.client() as client:
            response = client.get("/healthz")
        assert (response.status_code, response.json()["status"]) == (503, "starting")
        assert proxy.stop() == 0


def test_policies_and_signatures_are_options(folder, upstream, marker, png, draw):
    pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    from fastmark.checking.metadata import read_metadata

    assert run("provenance", "init", "signer", "--name", "Studio", cwd=folder).returncode == 0
    options = {
        "upstream": upstream.url, "key": "my.key", "message": MESSAGE, "workers": 1,
        "sign": "signer/chain.pem", "sign_key": "signer/key.pem", "xmp": True, "system": "Painter",
        "fail_open": True, "on_partial": "mark", "path": "/sdapi/v1/txt2img", "quality": "80",
        "public": "ai-generated",
    }  # fmt: skip
    jpeg = encoded(draw(2, 448, 512), "JPEG", quality=92)
    with serving(folder, options, verb="proxy") as proxy, proxy.client() as client:
        upstream.reply = Reply.of(png, jpeg)  # a larger JPEG: two watermarks need room at quality 80
        for data in images_of(client.post(GENERATIONS, json={}).content):
            assert marker.detect(data).message_hex == MESSAGE
            assert fastmark.public.read(data).code.flags == ("ai-generated",)
            assert read_metadata(data).told() == [
                ("XMP", True, None),
                ("content credentials", True, bytes.fromhex(MESSAGE)),
            ]
        upstream.reply = Reply([json.dumps({"images": [base64_of(png)], "info": "{}"}).encode()])
        values = client.post("/sdapi/v1/txt2img", json={}).json()
        assert marker.detect(base64.b64decode(values["images"][0])).detected
        tiny = encoded(draw(1, 64, 64))
        upstream.reply = Reply.of(tiny)
        response = client.post(GENERATIONS, json={})
        assert images_of(response.content) == [tiny]
        assert response.headers["fastmark-state"] == "unmarked"
        assert "passed without a watermark" in proxy.errors()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--upstream", "ftp://x"], "http://HOST:PORT"),
        (["--upstream", "http://"], "http://HOST:PORT"),
        (["--upstream", "http://u:p@x"], "without user"),
        (["--upstream", "http://x:99999"], "http://HOST:PORT"),
        ([], "--upstream"),
        (["--upstream", "http://x", "--message", ""], "hexadecimal"),
        (["--upstream", "http://x", "--key", "no.key"], "no.key"),
        (["--upstream", "http://x", "--registry", "no/ids.db"], "ids.db"),
        (["--upstream", "http://x", "--quality", "101"], "quality"),
        (["--upstream", "http://x", "--path", "generate"], "must begin with /"),
        (["--upstream", "http://x", "--port", "70000"], "65535"),
        (["--upstream", "http://x", "--work-seconds", "0"], "seconds"),
        (["--upstream", "http://x", "--public", "nice"], "nice"),
        (["--upstream", "http://x", "--provider", "x"], "--registry, --xmp or --sign"),
    ],
)
def test_wrong_options_are_told_before_it_listens(folder, arguments, says):
    given = ["--key", "my.key", "--message", MESSAGE, *arguments]
    if "--registry" in arguments:
        given.remove("--message"), given.remove(MESSAGE)
    assert_refused(run("proxy", *given, cwd=folder), says)


def test_a_message_is_needed_and_a_port_that_is_free(folder, upstream):
    assert_refused(run("proxy", "--upstream", upstream.url, "--key", "my.key", cwd=folder), "--registry")
    port = upstream.url.rpartition(":")[2]
    given = ["--upstream", upstream.url, "--key", "my.key", "--message", MESSAGE, "--port", port]
    assert_refused(run("proxy", *given, cwd=folder), f"port {port}", "--port")
