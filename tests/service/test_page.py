"""The page without a browser: its languages, its headers, its form, its files, and the pages of ids."""

import asyncio
import base64
import io
import re

import answers
import httpx
import jwt
import numpy as np
import pytest
from PIL import Image
from service_pages import CATALOGS, PAGE, Reader
from services import encoded
from stand_in import StandIn, stand_in_app

from fastmark.service.languages import choose
from fastmark.service.problems import Problem, busy
from fastmark.service.routes.page import prefers_json


def send(app, method, path, **options):
    """A request to an app in this process."""

    async def run():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


# ---- languages and kinds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "accepted", "chosen"),
    [
        (None, None, "en"),
        (None, "", "en"),
        (None, "de", "de"),
        (None, "de-AT,en;q=0.9", "de"),
        (None, "en;q=0.5, fr;q=0.8, zh-CN;q=0.8", "fr"),
        (None, "it, pt;q=0.9", "en"),
        (None, "it, es;q=0.1", "es"),
        (None, "zh-Hant-TW", "zh"),
        (None, "de;q=0, fr;q=0", "en"),
        (None, "de;q=x, fr;q=2.5, es;q=0.2", "fr"),
        (None, ",;,;q=,\x00", "en"),
        ("es", "de", "es"),
        ("xx", "de", "de"),
        ("../en", "de", "de"),
    ],
)
def test_languages_are_chosen(asked, accepted, chosen):
    assert choose(asked, accepted).name == chosen


@pytest.mark.parametrize(
    ("accepted", "json"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", True),
        ("application/json, text/plain, */*", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("text/html;q=0.5, application/json", True),
        ("text/html, application/json;q=0.9", False),
        ("application/json;q=0", False),
        ("application/*, text/html;q=0.9", True),
        ("image/png", False),
    ],
)
def test_json_is_for_those_who_prefer_it(accepted, json):
    assert prefers_json(accepted) is json


# ---- over HTTP -------------------------------------------------------------------------------------------


def check_headers(answer):
    policy = dict(
        part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "set-cookie" not in answer.headers


def test_the_start_page_comes_in_the_readers_language(client):
    answer = client.get("/", headers={"Accept-Language": "fr-CA, en;q=0.5"})
    assert answer.status_code == 200
    check_headers(answer)
    assert answer.headers["cache-control"] == "no-cache"
    assert "Accept-Language" in answer.headers["vary"]
    assert CATALOGS["fr"]["page.title"] in Reader(answer.text).text
    assert 'action="./"' in answer.text
    answer = client.get("/?lang=zh", headers={"Accept-Language": "fr"})
    assert '<html lang="zh-Hans"' in answer.text
    assert 'action="./?lang=zh"' in answer.text
    assert client.head("/").status_code == 200
    everything = answer.text + "".join(client.get(f"/static/page.{kind}").text for kind in ("css", "js"))
    assert len(everything.encode()) < 48_000


def test_the_form_works_without_javascript(client, house):
    answer = client.post("/?lang=de", files={"image": ("secret name.jpg", house.marked, "image/jpeg")})
    assert answer.status_code == 200
    check_headers(answer)
    assert answer.headers["cache-control"] == "no-store"
    page, strings = Reader(answer.text), CATALOGS["de"]
    label = strings["label.genuine and unchanged"]
    assert re.match(rf"\s*{label} \S {re.escape(strings['page.title'])}", page.text)
    assert "registriert von Example Studio" in page.text
    assert "secret name" not in answer.text
    assert "Ada L." not in answer.text
    links = [link["href"] for link in page.all("a")]
    assert f"./i/{house.message.hex()}?lang=de" in links
    (picture,) = (one for one in page.all("img") if one.get("class") == "map")
    assert picture["src"].startswith("data:image/png;base64,")
    (report,) = (link for link in page.all("a") if "download" in link)
    assert report["download"] == "fastmark-report.jws"
    kind, _, data = report["href"].partition(",")
    assert kind == "data:application/jose;base64"
    payload = jwt.decode(base64.b64decode(data), options={"verify_signature": False})
    assert payload["verdict"] == "genuine and unchanged"
    assert payload["id"] == house.message.hex()
    for word in ("log10_p", "p_value", "margin", '"detection"'):
        assert word not in answer.text


def test_what_was_done_to_an_image_is_told(client, house):
    with Image.open(io.BytesIO(house.marked)) as image:
        smaller = image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)
        mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        cropped = image.crop((40, 30, image.width - 60, image.height - 50))
        again = image.copy()
    for changed, told in (
        (smaller, "auf das 0,75-Fache der Größe skaliert"),
        (mirrored, "gespiegelt"),
        (cropped, "zugeschnitten oder ergänzt"),
        (again, "die Datei wurde neu geschrieben oder bearbeitet"),
    ):
        answer = client.post("/?lang=de", files={"image": encoded(np.asarray(changed), quality=93)})
        assert f"Es wurde seither verändert: {told}." in Reader(answer.text).text


def test_images_without_a_watermark_get_a_page_too(client, house):
    answer = client.post("/", files={"image": house.source}, headers={"Accept-Language": "es"})
    page = Reader(answer.text)
    assert CATALOGS["es"]["label.nothing found"] in page.text
    assert not [one for one in page.all("img") if one.get("class") == "map"]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, 400),
        ({"files": {"image": b""}}, 400),
        ({"files": {"other": b"abc"}}, 400),
        ({"files": {"image": b"no image"}}, 422),
        ({"content": b"<html>", "headers": {"Content-Type": "text/html"}}, 415),
        ({"files": {"image": b"x"}, "headers": {"Authorization": "Bearer nobody's"}}, 401),
    ],
)
def test_errors_are_pages_with_their_status(client, options, status):
    answer = client.post("/?lang=es", **options)
    assert answer.status_code == status
    check_headers(answer)
    page = Reader(answer.text)
    assert CATALOGS["es"][f"error.{status}"] in page.text
    assert page.first("answer")["class"] == "answer tone-error"
    assert '<span lang="en">' in answer.text


def test_a_busy_service_says_when_to_come_again():
    app = stand_in_app(max_bytes=100_000)
    service: StandIn = app.state.service
    service.problem = busy("More than 60 per 1 minute were asked for: try again later.", 7)
    answer = send(app, "POST", "/?lang=en", files={"image": b"x"})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert "Try again in 7\N{NO-BREAK SPACE}s." in answer.text
    answer = send(app, "POST", "/", files={"image": bytes(100_001)})
    assert answer.status_code == 413
    assert "up to 97\N{NO-BREAK SPACE}kB" in Reader(answer.text).text
    service.problem = Problem(418, "Something new.")
    answer = send(app, "POST", "/", files={"image": b"x"})
    assert CATALOGS["en"]["error.500"] in Reader(answer.text).text


def test_the_command_that_verifies_a_report_can_be_typed():
    def command(detector, **headers):
        app = stand_in_app()
        app.state.service.detector = detector
        page = Reader(send(app, "POST", "/", files={"image": b"x"}, headers=headers).text)
        return re.search(r"fastmark verify-report (.*)", page.text)[1]

    own = {"name": "fastmark", "version": "1", "url": "https://check.example.org/images"}
    assert command(own) == "fastmark-report.jws --keys https://check.example.org/images"
    assert command(own | {"url": None}) == "fastmark-report.jws --keys http://service"
    for host in ("x;rm -rf ~", "[::1", "$(id)", "a b", ""):
        told = command(own | {"url": None}, Host=host)
        assert re.fullmatch(r"fastmark-report\.jws --keys (URL|http://[\w.:\[\]]+)", told)


# ---- ids -------------------------------------------------------------------------------------------------


def test_an_id_has_a_page(client, house):
    answer = client.get(f"/i/{house.message.hex()}", headers={"Accept": "text/html", "Accept-Language": "de"})
    assert answer.status_code == 200
    check_headers(answer)
    page = Reader(answer.text)
    for text in (house.message.hex(), "Example Studio", "Painter", CATALOGS["de"]["registry.action.created"]):
        assert text in page.text
    public = house.registry.public(house.message)
    assert f"{public.created_at:%Y-%m-%d %H:%M:%S} UTC" in page.text
    for private in ("Ada L.", "phash", "sha256", house.registry.get(house.message).sha256):
        assert private not in answer.text
    assert client.get(f"/i/{house.message.hex().upper()}").status_code == 200


def test_an_id_is_json_for_programs(client, house):
    path, public = f"/i/{house.message.hex()}", house.registry.public(house.message).to_dict()
    for options in ({"headers": {"Accept": "application/json"}}, {"params": {"format": "json"}}):
        answer = client.get(path, **options)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == public
        assert {"Accept", "Authorization"} <= set(answer.headers["vary"].split(", "))
    assert set(public) == {"id", "provider", "system", "system_version", "created_at", "action"}
    asked = {"params": {"format": "json"}}
    assert client.get(path, **asked, headers=house.bearer("detect")).json() == public
    whole = client.get(path, **asked, headers=house.bearer("private"))
    assert whole.json() == house.registry.get(house.message).to_dict()
    assert whole.json()["record"]["owner"] == "Ada L."
    assert whole.headers["cache-control"] == "no-store"
    assert client.get(path, **asked, headers={"Authorization": "Bearer x"}).status_code == 401


def test_ids_that_no_image_has_are_not_found(client, house):
    from fastmark.records import Record

    reserved = house.registry.reserve(Record(provider="Nobody"), key_id="5c2f").hex()
    for name in (reserved, "00" * 8, "xyz", "0" * 15, "-1", "%3Cscript%3E", "a" * 5000, "%00"):
        answer = client.get(f"/i/{name}", params={"lang": "fr"})
        assert answer.status_code == 404
        check_headers(answer)
        assert CATALOGS["fr"]["entry.unknown"] in Reader(answer.text).text
        assert "<script>" not in answer.text
        assert "Nobody" not in answer.text
        answer = client.get(f"/i/{name}", headers={"Accept": "application/json"})
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


def test_without_a_registry_no_id_is_found():
    app = stand_in_app()
    app.state.service.registry = None
    answer = send(app, "GET", f"/i/{answers.ID}?lang=de")
    assert answer.status_code == 404
    assert CATALOGS["de"]["entry.no registry"] in answer.text
    answer = send(app, "GET", f"/i/{answers.ID}?format=json")
    assert answer.json()["detail"] == "No registry is kept here."


# ---- files -----------------------------------------------------------------------------------------------


def test_static_files_name_no_other_host():
    for source in (PAGE / "static").iterdir():
        text = source.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"(?m)^\s*//.*$| // .*$", "", text), source.name
        for word in (
            "@import",
            "url(",
            "@font-face",
            "innerHTML",
            "eval(",
            "document.cookie",
            "localStorage",
        ):
            assert word not in text, source.name


@pytest.mark.parametrize(
    ("name", "kind"),
    [("page.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml")],
)
def test_static_files_are_kept_by_browsers(client, name, kind):
    found = re.search(rf'static/{re.escape(name)}\?v=\w+"', client.get("/").text)[0].rstrip('"')
    answer = client.get(f"/{found}")
    assert answer.content == (PAGE / "static" / name).read_bytes()
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = client.get(f"/{found}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"/static/{name}").headers["cache-control"] == "public, max-age=3600"


@pytest.mark.parametrize("name", ["nothing.css", "..%2fstart.html", "..%2f..%2fpages.py", "%00"])
def test_no_other_file_is_given(client, name):
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
