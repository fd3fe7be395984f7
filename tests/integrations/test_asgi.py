"""The middleware: images leave watermarked, in the format that they came in, and all else as it was."""

import asyncio
import io
import json
import time

import numpy as np
import pytest
from PIL import Image, ImageCms

pytest.importorskip("httpx", reason="the tests ask the middleware by httpx")

from guarded_apps import MESSAGE, ask, asked_for_nothing, assert_refused, guard
from image_servers import GENERATIONS, ImageServer, Reply, answer_of, base64_of, encoded, images_of

from fastmark import Detector, InvalidMessageError, Key, KeyFormatError
from fastmark.companions import Companions
from fastmark.integrations.asgi import FastmarkMiddleware


@pytest.fixture
def guarded(marker):
    """A middleware before a server that replies so."""
    return guard(marker)


@pytest.fixture
def png(draw):
    return encoded(draw(1, 256, 256))


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


# ---- apps as people write them ---------------------------------------------------------------------------


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
