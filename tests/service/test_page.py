"""The page without a browser: its sentences, its headers, its form, and the pages of ids."""

import asyncio
import base64
import html.parser
import io
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import get_args

import answers
import httpx
import jwt
import numpy as np
import pytest
from PIL import Image
from services import encoded
from stand_in import StandIn, stand_in_app

import fastmark.checking.check
from fastmark.checking.changes import KINDS, Change
from fastmark.checking.findings import Technique
from fastmark.checking.verdicts import Verdict
from fastmark.codec.public import FLAGS
from fastmark.service import wording
from fastmark.service.languages import LANGUAGES, choose, clean, language
from fastmark.service.pages import Pages, read_map
from fastmark.service.problems import Problem, busy
from fastmark.service.routes.page import prefers_json
from fastmark.service.settings import Settings
from fastmark.service.wording import ENGLISH, Phrase

VERDICTS = get_args(Verdict)
PAGE = files("fastmark.service") / "page"
CATALOGS = {
    name: json.loads((PAGE / "strings" / f"{name}.json").read_text(encoding="utf-8")) for name in LANGUAGES
}
HOSTILE = "<script>alert(1)</script>\"'>&{x}\u202egnp.\x00\x1b[31m"
VOID = {"meta", "link", "input", "img", "br", "circle", "path", "rect"}


class Reader(html.parser.HTMLParser):
    """Reads a page strictly: every element is closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"{tag} has an attribute twice"
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}>"

    def handle_data(self, data):
        self.text += data if not {"script", "template"} & set(self.open) else ""

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def first(self, id):
        return next(attributes for _, attributes in self.elements if attributes.get("id") == id)


def words(text):
    return " ".join(text.split())


def shown(verdict, name="en", **more):
    answer = answers.answer(verdict, **more)
    return Pages(Settings(feedback="mailto:us@example.org")).start(language(name), answer=answer)


def send(app, method, path, **options):
    """A request to an app in this process."""

    async def run():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


# ---- strings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_language_has_the_same_strings_with_the_same_values_in_them(name):
    ours, english = CATALOGS[name], CATALOGS["en"]
    assert list(ours) == list(english)
    for key, text in ours.items():
        assert set(re.findall(r"{(\w+)}", text)) == set(re.findall(r"{(\w+)}", english[key])), key
        assert text.strip(" ") == text or key in ("join", "list", "colon"), key
        assert (text or key == "join") and "<" not in text, key
    assert len(set(ours) & {f"label.{verdict}" for verdict in VERDICTS}) == len(VERDICTS) == 9
    assert {f"technique.{technique}" for technique in get_args(Technique)} <= set(ours)


def test_every_string_is_used():
    package = Path(fastmark.__file__).parent / "service"
    sources = [*package.glob("*.py"), package / "routes" / "page.py", *(package / "page").glob("*.html")]
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    # names that are put together, as label.{verdict}
    parts = (
        "label.",
        "finding.",
        "said.",
        "technique.",
        "name.",
        "change.",
        "registry.",
        "error.",
        "check.band.",
    )
    for key in CATALOGS["en"]:
        assert f'"{key}"' in text or f"'{key}'" in text or key.startswith(parts), key


@pytest.mark.parametrize("name", LANGUAGES)
def test_no_sentence_says_that_an_image_is_authentic_made_by_a_person_or_lawful(name):
    forbidden = {
        "en": ("authentic", "real photo", "compliant", "complies", "legal"),
        "de": ("authentisch", "echtes foto", "echtes bild", "konform", "gesetz", "rechtlich"),
        "fr": ("authentique", "vraie photo", "conforme à", "légal"),
        "es": ("auténtic", "foto real", "conforme con", "legal"),
        "zh": ("真实照片", "真品", "合规", "合法"),
    }
    for key, text in CATALOGS[name].items():
        assert not [word for word in forbidden[name] if word in text.lower()], key
    # a person is named only where it is said that nothing shows it
    person = {"en": "person", "de": "mensch", "fr": "personne", "es": "persona", "zh": "由人"}[name]
    named = {key for key, text in CATALOGS[name].items() if re.search(rf"\b{person}\b|由人", text.lower())}
    assert named - {"check.band.possible"} <= {"sentence.no proof", "limits.2"}


# ---- what is said of an answer ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", LANGUAGES)
@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_is_a_page_in_every_language(verdict, name):
    strings = CATALOGS[name]
    page = Reader(shown(verdict, name, map=answers.map_url()))
    assert page.all("html") == [{"lang": strings["lang"], "dir": "ltr"}]
    assert len(page.all("h1")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    twice = {"answer", "verdict"}  # in templates of errors too, which are no part of the document
    assert len([one for one in ids if one not in twice]) == len(set(ids) - twice)
    for key in (f"label.{verdict}", "limits.1", "limits.2", "limits.3", "privacy.image", "map.heading"):
        assert words(strings[key]) in words(page.text), key
    assert words(page.text).startswith(words(strings[f"label.{verdict}"]))  # the title
    assert f"tone-{wording.TONES[verdict]}" in page.first("answer")["class"]
    raw = page.text[page.text.index("{") : page.text.rindex("}") + 1]
    assert json.loads(raw) == {k: v for k, v in answers.answer(verdict).items() if k != "map"}
    assert "English." not in page.text.replace(raw, "")  # the English of findings, all of which it knows


@pytest.mark.parametrize("verdict", VERDICTS)
def test_nothing_in_a_page_is_inline_or_from_elsewhere(verdict):
    page = Reader(shown(verdict, map=answers.map_url(), report="a.b.c"))
    assert not page.all("style")
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "action", "href"):
            target = attributes.get(name, "")
            allowed = ("./", "?lang=", "static/", "#", "i/", "data:", "mailto:", "https://check.example.org")
            assert not target or target.startswith(allowed), (tag, target)
    assert [set(script) for script in page.all("script")] == [{"src"}]


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


def test_hostile_values_stay_text():
    findings = [
        answers.watermark(),
        answers.xmp(HOSTILE, system=HOSTILE, data_mining=HOSTILE, aigc={"Label": HOSTILE}),
        answers.finding("text", "names a generator", tool=HOSTILE),
        answers.c2pa(
            "invalid", issuer=HOSTILE, system=HOSTILE, problems=[HOSTILE], digital_source_type=HOSTILE
        ),
        answers.finding("xmp", HOSTILE, HOSTILE),
    ]
    for verdict in ("genuine, changed since", "metadata only", "metadata and pixels disagree"):
        for name in LANGUAGES:
            text = shown(
                verdict,
                name,
                key_name=HOSTILE,
                registry=answers.RECORD | {"provider": HOSTILE, "system": HOSTILE},
                findings=findings[:4],
                remarks=[HOSTILE],
            )
            page = Reader(text)
            assert "<script>alert" not in text
            assert len(page.all("script")) == 1
            assert not set("\u202e\x00\x1b") & set(text)
            assert "alert(1)" in page.text
    text = shown("nothing found", "de", findings=findings[4:])
    assert '<span lang="en">&lt;script&gt;' in text


def test_the_pages_of_ids_escape_too():
    pages = Pages(Settings(contact="javascript:alert(1)", feedback=HOSTILE))
    text = pages.entry(language("en"), "", answers.RECORD | {"provider": HOSTILE})
    text += pages.no_entry(language("en"), "", "entry.unknown", Phrase("entry.unknown.text", {"id": HOSTILE}))
    assert "<script>alert" not in text
    assert 'href="javascript' not in text
    assert "javascript:alert(1)" in text  # as text: the operator sees the mistake


def test_every_state_of_a_finding_is_known_in_every_language():
    listed = re.sub(r"\s+", " ", fastmark.checking.check.check.__doc__)
    states = re.search(r"States of the findings: (.*?)\.", listed)[1]
    made = {"xmp": answers.xmp, "c2pa": answers.c2pa}
    for group in states.split("; "):
        technique, _, names = group.replace("``", "").partition(": ")
        for state in names.split(", "):
            one = answers.finding(
                technique,
                state,
                id=answers.ID,
                message=answers.ID,
                made_with="key",
                tool="x",
                flags=list(FLAGS),
                resolver=3,
                free=7,
            )
            if technique in made and state not in ("damaged", "not read"):
                one = made[technique]() | {"state": state}
            phrases = wording.says_of(one, answers.answer("genuine"))
            assert phrases[0].key != ENGLISH, (technique, state)
            for name in LANGUAGES:
                assert language(name).say(*phrases)


@pytest.mark.parametrize("name", LANGUAGES)
def test_what_a_public_watermark_says_is_told(name):
    told = {"flags": list(FLAGS), "resolver": 3, "free": 7}
    one = answers.finding("public watermark", "says", **told)
    html = language(name).say(*wording.says_of(one, answers.answer("metadata only")))
    for flag in FLAGS:
        assert language(name).say(wording.Phrase(f"said.{flag}")) in html
    assert "00000007" in html


def test_what_was_changed_is_listed():
    def said(name, **more):
        return str(language(name).say(*wording.summary(answers.answer("genuine, changed since", **more))))

    assert said("en").endswith("scaled to 0.5 times its size; turned by 4 degrees; mirrored.")
    assert "auf das 0,5-Fache" in said("de")
    assert said("zh").endswith(
        CATALOGS["zh"]["list"].join(("缩放为原来的 0.5 倍", "旋转了 4 度", "左右翻转。"))
    )
    written = said("en", changes=[{"change": "rewritten", "by": None}])
    assert written.endswith("It was changed since: the file was written anew or edited.")
    assert said("en", changes=[]).endswith("It was changed since.")


def test_sentences_follow_what_was_found():
    def said(verdict, **more):
        text = str(language("en").say(*wording.summary(answers.answer(verdict, **more))))
        return re.sub("<[^>]*>", "", text)

    same = (
        "This image carries the watermark of Example Studio 2026, registered by Example Studio. The file is"
    )
    assert said("genuine and unchanged") == f"{same} the one that was registered."
    fits = said("genuine and unchanged", findings=[answers.watermark(), answers.c2pa()])
    assert fits == f"{same} unchanged since its content credentials were signed."
    assert "registered here. Its file is not known" in said(
        "genuine", registry=answers.RECORD | {"provider": None}
    )
    assert "cannot" not in said("genuine")
    assert f"carry the message {answers.ID}, while XMP metadata name the message {answers.OTHER_ID}." in said(
        "metadata and pixels disagree"
    )
    promised = said(
        "metadata and pixels disagree", key_name=None, id=None, findings=[answers.ABSENT, answers.c2pa()]
    )
    assert promised.endswith(f"tell of the watermark {answers.ID}, which was not found.")
    differ = said("metadata and pixels disagree", findings=[answers.xmp(), answers.c2pa(message=None)])
    assert differ.endswith("They differ in how the image was made.")
    assert said("metadata only", findings=[answers.xmp()]).startswith("No key was looked for.")
    assert said("nothing found", findings=[]).startswith("No key was looked for")
    known = said("metadata only", findings=[answers.ABSENT, answers.SAME])
    assert known.endswith(f"registered with the id {answers.ID}.")
    future = answers.answer("genuine") | {"verdict": "of the future", "sentence": "New."}
    assert language("de").say(*wording.summary(future)) == '<span lang="en">New.</span>'


def test_unreadable_and_forged_watermarks_are_told_apart():
    def key(finding):
        return wording.says_of(finding, answers.answer("genuine"))[0].key

    assert key(answers.watermark()) == "finding.watermark.detected"
    assert key(answers.watermark(message=None)) == "finding.watermark.unreadable"
    assert key(answers.watermark(made_with="detector key")) == "finding.watermark.detector key"


def test_the_map_is_told_in_words():
    found = read_map(answers.map_url(), [80, 40, 680, 480])
    # 11 of 13 rows and 15 of 20 columns, 4 x 4 of them changed
    assert (found.columns, found.rows, found.changed) == (20, 13, True)
    said = language("en").say(*found.says)
    assert said == (
        "The watermark covers about 63% of the image."
        " It lies between 80 and 680 pixels from the left edge,"
        " and between 40 and 480 pixels from the top edge."
        " In about 6% of the image, the content under it was changed."
    )
    plain = read_map(answers.map_url(changed=False), None)
    assert [phrase.key for phrase in plain.says] == ["map.share"]
    text = shown("genuine", map=answers.map_url(changed=False))
    assert CATALOGS["en"]["map.changed"] not in text
    assert f'alt="{CATALOGS["en"]["map.alt"]}"' in text


def test_values_are_cut_and_cleaned():
    assert clean("a\u202eb\x07") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    assert clean("می\N{ZERO WIDTH NON-JOINER}خواهم 32\N{NO-BREAK SPACE}MB") == (
        "می\N{ZERO WIDTH NON-JOINER}خواهم 32\N{NO-BREAK SPACE}MB"
    )
    assert len(clean("x" * 10_000)) == 301


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


@pytest.mark.parametrize("name", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_change_has_words(name, kind):
    change = Change(kind, {"scaled": 0.75, "turned": 12.0}.get(kind))
    values = answers.answer("genuine, changed since", changes=[change.to_dict()])
    (*_, told) = wording.summary(values)
    words = language(name).say(told)
    assert CATALOGS[name][f"change.{kind}"].partition("{")[0] in words
    assert kind not in ("scaled", "turned") or re.search(r"0[.,]75|12", words)


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
