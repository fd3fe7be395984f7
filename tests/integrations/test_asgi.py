"""The middleware: images leave watermarked, in the format that they came in, and all else as it was."""

import asyncio
import gzip
import io
import json
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

httpx = pytest.importorskip("httpx", reason="the tests ask the middleware by httpx")

from image_servers import (  # noqa: E402
    GENERATIONS,
    ImageServer,
    Reply,
    answer_of,
    base64_of,
    encoded,
    images_of,
)

from fastmark import Detector, InvalidMessageError, Key, KeyFormatError  # noqa: E402
from fastmark.companions import Companions  # noqa: E402
from fastmark.integrations.asgi import FastmarkMiddleware  # noqa: E402

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


@pytest.fixture
def guarded(marker):
    """A middleware before a server that replies so."""

    def made(reply, message=MESSAGE, **options):
        return FastmarkMiddleware(ImageServer(reply), marker, message, workers=2, **options)

    return made


@pytest.fixture
def png(draw):
    return encoded(draw(1, 256, 256))


def assert_refused(response, code, says=""):
    """502 with an error as OpenAI's clients read it, which they do not ask for again."""
    assert response.status_code == 502
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", code)
    assert says in error["message"]
    assert int(response.headers["content-length"]) == len(response.content)
    assert "fastmark-state" not in response.headers


# ---- JSON ------------------------------------------------------------------------------------------------


def test_images_are_marked_and_all_else_is_as_it_was_to_the_byte(guarded, marker, draw):
    one, two = (base64_of(encoded(draw(seed, 256, 256))) for seed in (1, 2))
    escaped = two.replace("/", "\\/")
    text = (
        '\ufeff {"created" : 1.0e3,"big":123456789012345678901234567890,  "data":[ {"b64_json":"%s",'
        '"revised_prompt":"\\u00fc \U0001f600 /9j/"} ,\n{"B64\\u005fJSON":\t"%s", "url":null,"b64_json":""}],'
        '"same":1,"same":{"x":[[],{}]}, "output_format":"png","nan":-0.0 } \n'
    )
    body = (text % (one, escaped)).encode()
    response = ask(guarded(Reply([body[:7], body[7:5000], body[5000:]])))
    assert response.status_code == 200
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.headers["fastmark-state"] == "marked"
    assert response.headers["fastmark-id"] == f"{MESSAGE}, {MESSAGE}"
    told = response.content.decode()
    values = json.loads(told.lstrip("\ufeff"))["data"]
    marked = values[0]["b64_json"], values[1]["B64_JSON"]
    assert told == text % marked
    for data in images_of(json.dumps({"data": [{"b64_json": one} for one in marked]})):
        assert marker.detect(data).message_hex == MESSAGE


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "lossless WEBP", "AVIF", "TIFF"])
def test_an_image_stays_in_its_container_with_its_metadata(guarded, marker, draw, name):
    lossless = name.startswith("lossless")
    name = name.removeprefix("lossless ")
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "a cat"  # ImageDescription
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
    options = {"icc_profile": icc, "exif": exif.tobytes()}
    if name in ("JPEG", "WEBP", "AVIF"):
        options["xmp"] = xmp
    if lossless:
        options["lossless"] = True
    source = encoded(draw(3, 256, 320), name, **options)
    (data,) = images_of(ask(guarded(Reply.of(source))).content)
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == (name, (320, 256))
    assert marker.detect(data).message_hex == MESSAGE
    assert image.info["icc_profile"] == icc
    assert image.getexif()[0x010E] == "a cat"
    if "xmp" in options:
        assert b"adobe:ns:meta/" in image.info["xmp"]
    if name == "PNG":
        assert image.text == Image.open(io.BytesIO(source)).text
        assert "KSampler" in image.text["prompt"]
    if name == "WEBP":
        assert (b"VP8L" in data[:4096]) == lossless


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "P", "I;16"])
def test_images_of_all_modes_of_png_are_marked(guarded, marker, draw, mode):
    image = Image.fromarray(draw(4, 300, 300))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG")
    (data,) = images_of(ask(guarded(Reply.of(file.getvalue()))).content)
    assert data[:4] == b"\x89PNG" and marker.detect(data).detected


def test_images_under_other_keys_and_in_data_urls_are_marked_too(guarded, marker, png):
    text = base64_of(png)
    urlsafe = text.replace("+", "-").replace("/", "_").rstrip("=")
    body = json.dumps(
        {"images": [text, urlsafe], "choices": [{"image_url": {"url": f"data:image/png;base64,{text}"}}]}
    )
    response = ask(guarded(Reply([body.encode()])))
    values = response.json()
    url = values["choices"][0]["image_url"]["url"]
    assert url.startswith("data:image/png;base64,iVBOR")
    again = values["images"][1].replace("-", "+").replace("_", "/")
    for one in (values["images"][0], again, url.partition(",")[2]):
        (data,) = images_of(json.dumps({"data": [{"b64_json": one}]}))
        assert marker.detect(data).message_hex == MESSAGE
    assert response.headers["fastmark-id"].count(MESSAGE) == 3


def test_a_body_that_is_an_image_is_marked(guarded, marker, png):
    for kind in ("image/png", "application/octet-stream", ""):
        response = ask(guarded(Reply([png], kind=kind)))
        assert marker.detect(response.content).message_hex == MESSAGE
        assert response.headers.get("content-type", "") == kind
        assert int(response.headers["content-length"]) == len(response.content)


def test_answers_without_an_image_are_as_they_were(guarded):
    long = "a b" * 1000
    for body in (
        b'{"data": [] }',
        b"[]",
        b"null",
        b" ",
        b"",
        json.dumps({"id": "x" * 300, "t": long}).encode(),
    ):
        response = ask(guarded(Reply([body], headers=[(b"etag", b'"1"')])))
        assert (response.status_code, response.content) == (200, body)
        assert response.headers["etag"] == '"1"' and "fastmark-state" not in response.headers


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


# ---- what is not looked at -------------------------------------------------------------------------------


def test_other_answers_requests_and_paths_are_passed_as_they_are(guarded, png):
    body = answer_of(png)
    for status in (300, 400, 429, 500, 503):
        reply = Reply([body], status=status, headers=[(b"x-own", b"1"), (b"set-cookie", b"a=b")])
        response = ask(guarded(reply))
        assert (response.status_code, response.content) == (status, body)
        assert response.headers["x-own"] == "1" and response.headers["set-cookie"] == "a=b"
    app = guarded(Reply([body]))
    for method, path in (("GET", GENERATIONS), ("POST", "/v1/models"), ("POST", "/v1/images/generations/x")):
        assert ask(app, path, method).content == body
    assert ask(app, "/v1/images/generationsx").content == body


@pytest.mark.parametrize(
    "path",
    [
        "/v1/images/edits", "/v1/images/variations", "/images/generations", "/openai/v1/images/generations",
        "/v1/images/generations/", "/v1//images///generations", "/V1/Images/Generations",
        "/v1/images/x/../generations", "/v1/images/%67enerations", "/v1/images/%2567enerations",
        "/v1/images/./generations", "/v1/images%2fgenerations", "/v1/images/generations;x=1",
        "/v1/images/generations%20", "/v1\\images\\generations", "/v1/images/generations/.",
    ],
)  # fmt: skip
def test_every_spelling_of_a_path_that_a_server_may_take_is_looked_at(guarded, png, path):
    """Asked as ASGI, as httpx would tidy the path."""
    app = guarded(Reply.of(png))
    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, asked_for_nothing, send))
    assert (b"fastmark-id", MESSAGE.encode()) in sent[0]["headers"]


def test_own_paths(guarded, png):
    app = guarded(Reply.of(png), paths=["/generate"])
    assert ask(app, "/generate").headers["fastmark-id"] == MESSAGE
    assert ask(app, "/api/generate").headers["fastmark-id"] == MESSAGE
    assert "fastmark-id" not in ask(app, GENERATIONS).headers


def test_the_app_is_asked_for_a_whole_answer_that_is_not_packed(guarded, png):
    app = guarded(Reply.of(png))
    ask(app, headers={"accept-encoding": "gzip, br", "range": "bytes=0-9", "authorization": "Bearer secret"})
    (request,) = app.app.requests
    assert request.headers["accept-encoding"] == "identity" and "range" not in request.headers
    assert request.headers["authorization"] == "Bearer secret"
    assert request.scope["extensions"] == {}


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


# ---- messages, registry, record --------------------------------------------------------------------------


def test_a_message_may_be_called_for_each_image(guarded, marker, png):
    numbers = iter([(10, 0.5), ("000000000000000b", 0), (bytes(7) + b"\x0c", 0)])

    def message():
        number, seconds = next(numbers)
        time.sleep(seconds)  # the image that is begun first is done last
        return number

    response = ask(guarded(Reply.of(png, png, png), message=message))
    told = [marker.detect(data).message_hex for data in images_of(response.content)]
    assert sorted(told) == [f"{number:016x}" for number in (10, 11, 12)]
    assert response.headers["fastmark-id"] == ", ".join(told)
    for wrong in (lambda: 1 << 64, lambda: "zz"):
        assert_refused(ask(guarded(Reply.of(png), message=wrong)), "image_not_watermarked")


def test_errors_that_are_not_ours_are_told_without_their_words(guarded, png, caplog):
    def broken():
        raise RuntimeError("password=1234")

    response = ask(guarded(Reply.of(png), message=broken))
    assert_refused(response, "internal_error")
    assert response.headers["x-should-retry"] == "true"
    assert "RuntimeError" in caplog.text and "1234" not in caplog.text + response.text


def test_ids_are_drawn_and_their_entries_are_complete(guarded, marker, png, draw, tmp_path):
    pytest.importorskip("sqlalchemy", reason="registries need it")
    from fastmark import Record
    from fastmark.registry import Registry

    registry = Registry(f"sqlite:///{tmp_path / 'ids.db'}")
    registry.init()
    beside = Companions(record=Record(provider="Studio"), registry=registry, xmp=True)
    response = ask(guarded(Reply.of(png, encoded(draw(2, 256, 256))), message=None, companions=beside))
    ids = response.headers["fastmark-id"].split(", ")
    assert len(set(ids)) == 2
    for name, data in zip(ids, images_of(response.content), strict=True):
        assert marker.detect(data).message_hex == name
        entry = registry.get(bytes.fromhex(name))
        assert (entry.state, entry.record.provider) == ("delivered", "Studio")
        assert b"trainedAlgorithmicMedia" in data
    tiny = encoded(draw(1, 100, 100))
    assert_refused(ask(guarded(Reply.of(tiny), message=None, companions=beside)), "image_not_watermarked")
    assert {entry.id for entry in registry.entries()} == set(ids)
    registry.close()
    (tmp_path / "ids.db").write_bytes(b"no database" * 1000)
    response = ask(guarded(Reply.of(png), message=None, companions=beside))
    assert_refused(response, "registry")
    assert str(tmp_path) not in response.text and response.headers["x-should-retry"] == "true"
    registry.close()


def test_the_public_watermark_stands_beside_it(guarded, marker, png):
    from fastmark import public

    app = guarded(Reply.of(png), public=public.PublicCode.of("ai-generated"))
    (data,) = images_of(ask(app).content)
    assert marker.detect(data).message_hex == MESSAGE
    assert public.read(data).code.flags == ("ai-generated",)


# ---- apps that fail, and apps as people write them -------------------------------------------------------


def test_an_app_that_fails_or_ends_early_sends_no_image(guarded, png):
    body = answer_of(png)
    with pytest.raises(RuntimeError, match="died"):
        ask(guarded(Reply([body[:5000], RuntimeError("died")], length=False)))

    async def short(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body[:5000], "more_body": True})

    response = ask(FastmarkMiddleware(short, Key(bytes(32)), MESSAGE))
    assert_refused(response, "upstream", "ended too early")


def test_fastapi_takes_it_by_add_middleware(key_file, png, monkeypatch, capfd):
    fastapi = pytest.importorskip("fastapi", reason="the app is FastAPI's")
    from fastapi.middleware.gzip import GZipMiddleware
    from fastapi.responses import JSONResponse, StreamingResponse

    app = fastapi.FastAPI()
    app.add_middleware(GZipMiddleware, minimum_size=10)
    app.add_middleware(FastmarkMiddleware, key=key_file, message=MESSAGE)

    @app.post(GENERATIONS)
    async def generations():
        return JSONResponse(json.loads(answer_of(png)))

    @app.post("/v1/images/edits")
    async def edits():
        return StreamingResponse(iter([answer_of(png), b"", b"!"]), media_type="application/json")

    @app.get("/")
    async def root():
        return {"a": "b" * 100}

    response = ask(app)
    data = images_of(response.content)[0]
    assert Detector([Key.load(key_file)]).detect(data)[0].message_hex == MESSAGE
    assert ask(app, "/v1/images/edits").status_code == 502
    assert ask(app, "/", "GET").headers["content-encoding"] == "gzip"
    told = capfd.readouterr().err
    assert "middleware: the first image is watermarked" in told
    assert f"message {MESSAGE}" in told and told.count("first image") == 1


def test_a_key_may_come_from_the_environment(key, png, monkeypatch):
    monkeypatch.setenv("IMAGE_KEY", key.to_text())
    app = FastmarkMiddleware(ImageServer(Reply.of(png)), "env:IMAGE_KEY", MESSAGE)
    assert ask(app).headers["fastmark-id"] == MESSAGE


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"key": None}, ValueError, "a marker or a key"),
        ({"marker": Key(bytes(32))}, ValueError, "exactly one"),
        ({"key": "no-such.key"}, KeyFormatError, "no-such.key"),
        ({"message": None}, InvalidMessageError, "registry"),
        ({"message": "12"}, InvalidMessageError, "hex digits"),
        ({"on_url": "fetch"}, ValueError, "on_url"),
        ({"on_partial": None}, ValueError, "on_partial"),
        ({"fail": "maybe"}, ValueError, "fail must be one of closed, open"),
        ({"on_marked": "x"}, ValueError, "on_marked"),
        ({"quality": 0}, OSError, "quality"),
        ({"workers": -1}, ValueError, "workers"),
        ({"max_bytes": 0}, ValueError, "max_bytes"),
        ({"max_pixels": 0}, ValueError, "max_pixels"),
        ({"max_memory": 1.5}, ValueError, "max_memory"),
        ({"paths": "/generate"}, ValueError, "paths"),
        ({"paths": ["generate"]}, ValueError, "paths"),
    ],
)
def test_wrong_arguments_are_told_when_it_is_made(options, error, says):
    given = {"key": Key(bytes(32)), "message": MESSAGE} | options
    with pytest.raises(error, match=says):
        FastmarkMiddleware(ImageServer(Reply([])), **given)
