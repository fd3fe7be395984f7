"""Content credentials that an image lost are found again by its watermark, as C2PA's API wants it."""

import base64
import functools
import http.server
import io
import threading
import uuid

import numpy as np
import pytest
from pictures import drawn
from PIL import Image
from services import encoded, serving
from services_here import asking

import fastmark
from fastmark.service.fetching import Fetcher
from fastmark.service.resolution import VERSION

pytest.importorskip("c2pa", reason="credentials are signed here")

ALG = "fastmark.v1"
RECORD = fastmark.Record(provider="Example Studio", system="Painter")


@pytest.fixture(scope="module")
def signing(house):
    """Options of a service that signs what it embeds."""
    from fastmark.provenance.chain import make_chain

    chain = make_chain(house.folder / "signer", force=True)
    return house.options | {"sign": str(chain.chain), "sign_key": str(chain.key), "answer_ms": 0}


@pytest.fixture(scope="module")
def resolver(house, signing):
    public = signing | {"public_url": "https://check.example/"}
    with serving(house.folder, public) as running, running.client() as client:
        yield client


@pytest.fixture(scope="module")
def delivered(resolver, house):
    """An image that the service signed: its file, id and label."""
    answer = resolver.post(
        "/v1/embed?format=jpeg",
        content=encoded(drawn(520, 700, 3), "PNG"),
        headers=house.bearer("embed") | {"Content-Type": "image/png"},
    )
    assert answer.status_code == 200, answer.text
    return answer.content, bytes.fromhex(answer.headers["fastmark-id"]), answer.headers["fastmark-manifest"]


def stripped(data, quality=70):
    """The image alone, encoded once more: all metadata are gone."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def by_content(client, data, query="", kind="image/jpeg"):
    return client.post(f"/v1/matches/byContent{query}", content=data, headers={"Content-Type": kind})


def by_binding(client, **query):
    return client.get("/v1/matches/byBinding", params=query)


def text_of(message):
    return base64.b64encode(message).decode()


# ---- the whole round -------------------------------------------------------------------------------------


def test_an_image_without_its_credentials_finds_them_again(resolver, delivered):
    from fastmark.provenance import credentials

    data, message, label = delivered
    bare = stripped(data)
    assert credentials.read(bare) is None
    found = by_content(resolver, bare)
    assert found.status_code == 200
    assert found.json() == {"matches": [{"manifestId": label, "endpoint": "https://check.example/v1"}]}
    store = resolver.get(f"/v1/manifests/{label}")
    assert (store.status_code, store.headers["content-type"]) == (200, "application/c2pa")
    credential = credentials.recover(bare, store.content)
    assert (credential.manifest_id, credential.state) == (label, "recovered")
    assert (ALG, message) in credential.soft_bindings
    assert not credential.intact
    assert credentials.recover(data, store.content).intact


def test_a_message_finds_the_credentials_by_get_and_by_post(resolver, delivered):
    _, message, label = delivered
    for answer in (
        by_binding(resolver, alg=ALG, value=text_of(message)),
        resolver.post("/v1/matches/byBinding", json={"alg": ALG, "value": text_of(message)}),
    ):
        assert answer.status_code == 200
        assert [match["manifestId"] for match in answer.json()["matches"]] == [label]
        assert "similarityScore" not in answer.text
        assert answer.headers["cache-control"] == "no-store"


def test_a_plus_that_was_not_escaped_is_understood(house, resolver):
    message = bytes.fromhex("fbefbefbefbefbef")  # ++++++++
    house.registry.reserve(RECORD, key_id="00", message=message)
    label = f"urn:c2pa:{uuid.uuid4()}"
    house.registry.complete(message, width=8, height=8, manifest_id=label, manifest=b"store")
    assert "+" in text_of(message)
    answer = resolver.get(f"/v1/matches/byBinding?alg={ALG}&value={text_of(message)}")
    assert [match["manifestId"] for match in answer.json()["matches"]] == [label]
    assert resolver.get(f"/v1/manifests/{label}").content == b"store"


# ---- what finds nothing ----------------------------------------------------------------------------------


def test_images_without_watermark_or_without_credentials_find_nothing(resolver, house):
    for data in (encoded(drawn(300, 400, 9)), house.marked):
        assert by_content(resolver, data).json() == {"matches": []}


def test_a_watermark_in_another_image_finds_nothing(resolver, house, delivered):
    _, message, _ = delivered
    first, other = drawn(520, 700, 3), drawn(520, 700, 8)
    mark = house.marker.embed(first, message).astype(int) - first
    data = encoded(np.clip(other + mark, 0, 255).astype(np.uint8), "PNG")
    assert fastmark.check(data, house.marker, house.registry).to_dict()["mismatch"]
    assert by_content(resolver, data).json() == {"matches": []}


def test_another_algorithm_finds_nothing(resolver, delivered):
    data, message, _ = delivered
    other = "com.example.mark.1"
    assert by_binding(resolver, alg=other, value=text_of(message)).json() == {"matches": []}
    assert by_content(resolver, data, f"?alg={other}").json() == {"matches": []}
    assert by_content(resolver, data, f"?alg={ALG}").json()["matches"]


def test_a_hint_matters_neither_where_it_is_true_nor_where_it_is_not(resolver, delivered):
    data, message, label = delivered
    hint = f"?hintAlg={ALG}&hintValue={text_of(message).replace('+', '%2B')}"
    assert by_content(resolver, encoded(drawn(300, 400, 9)), hint).json() == {"matches": []}
    wrong = f"?hintAlg={ALG}&hintValue=AAAAAAAAAAA="
    assert [match["manifestId"] for match in by_content(resolver, data, wrong).json()["matches"]] == [label]


def test_images_that_have_not_left_and_credentials_that_are_not_kept_are_no_matches(resolver, house):
    reserved = house.registry.reserve(RECORD, key_id="00")
    without = house.registry.reserve(RECORD, key_id="00")
    label = f"urn:c2pa:{uuid.uuid4()}"
    house.registry.complete(without, width=8, height=8, manifest_id=label)
    for message in (reserved, without, b"unknown!", b"", b"odd", bytes(16)):
        answer = by_binding(resolver, alg=ALG, value=text_of(message))
        assert (answer.status_code, answer.json()) == (200, {"matches": []})
    assert resolver.get(f"/v1/manifests/{label}").status_code == 404


@pytest.mark.parametrize(
    "name",
    ["urn:c2pa:none", "none", "urn:c2pa:%00", "urn:c2pa:%ff%fe", "u" * 5000, "%2e%2e%2fids.db", "urn:a%20b"],
)
def test_credentials_that_are_not_there_are_a_404(resolver, name):
    answer = resolver.get(f"/v1/manifests/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


# ---- what is wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 400),
        ({"alg": ALG}, 400),
        ({"value": "AAAAAAAAAAA="}, 400),
        ({"alg": ALG, "value": "no base64!"}, 400),
        ({"alg": ALG, "value": "AAAAAAAAAAA"}, 400),
        ({"alg": ALG, "value": "äöü="}, 400),
        ({"alg": ALG, "value": "AAAAAAAAAAA=", "maxResults": "0"}, 400),
        ({"alg": ALG, "value": "AAAAAAAAAAA=", "maxResults": "-1"}, 400),
        ({"alg": ALG, "value": "AAAAAAAAAAA=", "maxResults": "ten"}, 400),
        ({"alg": ALG, "value": "AAAAAAAAAAA=", "maxResults": "²"}, 400),
        ({"alg": ALG, "value": "AAAAAAAAAAA=", "maxResults": "1" * 5000}, 200),
        ({"alg": ALG, "value": "AAAA" * 256}, 200),
        ({"alg": ALG, "value": "AAAA" * 257}, 414),
    ],
)
def test_questions_by_get_that_are_wrong_are_told_so(resolver, query, status):
    answer = by_binding(resolver, **query)
    assert answer.status_code == status
    assert status == 200 or answer.json()["status"] == status


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"alg": "fastmark.v1", "value": "AAAAAAAAAAA="}', "application/json; charset=utf-8", 200),
        (b'{"alg": "fastmark.v1", "value": "AAAAAAAAAAA="}', "text/plain", 415),
        (b'{"alg": "fastmark.v1", "value": "AAAAAAAAAAA"}', "application/json", 400),
        (b'{"alg": "fastmark.v1", "value": 5}', "application/json", 400),
        (b'{"alg": "fastmark.v1"}', "application/json", 400),
        (b'["fastmark.v1", "AAAAAAAAAAA="]', "application/json", 400),
        (b"\xff\xfe{}", "application/json", 400),
        (b"[" * 60_000, "application/json", 400),
        (b'{"alg": "fastmark.v1", "value": "' + b"A" * 60_000 + b'"}', "application/json", 200),
        (b'{"alg": "fastmark.v1", "value": "' + b"A" * 70_000 + b'"}', "application/json", 413),
        (b"", "application/json", 400),
    ],
)
def test_questions_by_post_that_are_wrong_are_told_so(resolver, body, kind, status):
    answer = resolver.post("/v1/matches/byBinding", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status


def test_what_is_no_image_is_refused_before_it_is_read(resolver, delivered):
    data = delivered[0]
    for kind in ("video/mp4", "application/octet-stream", "application/json", "text/plain", ""):
        answer = by_content(resolver, data, kind=kind)
        assert answer.status_code == 415, kind
    assert by_content(resolver, b"", kind="image/png").status_code == 400
    assert by_content(resolver, b"no image at all", kind="image/png").status_code == 422
    assert by_content(resolver, data, "?maxResults=none").status_code == 400


def test_a_path_with_two_methods_tells_of_both(resolver):
    answer = resolver.put("/v1/matches/byBinding")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


# ---- the service -----------------------------------------------------------------------------------------


def test_the_service_says_what_it_is(resolver):
    known = resolver.get("/.well-known/c2pa-soft-binding-resolution")
    assert known.json() == {
        "apiEndpoint": "https://check.example/v1",
        "c2paSpecificationVersion": VERSION,
        "capabilitiesEndpoint": "https://check.example/v1/services/capabilities",
        "statusEndpoint": "https://check.example/v1/services/status",
    }
    assert resolver.get("/v1/services/supportedAlgorithms").json() == {
        "watermarks": [{"alg": ALG}],
        "fingerprints": [],
    }
    assert resolver.get("/v1/services/capabilities").json() == {
        "c2paSpecificationVersion": VERSION,
        "supportedCapabilities": ["queryByContent"],
    }
    status = resolver.get("/v1/services/status").json()
    assert status["status"] == "ok"
    assert fastmark.records.parse_time(status["timestamp"]).tzinfo is not None


# ---- other services, within this process -----------------------------------------------------------------


def test_without_a_registry_there_is_nothing_of_it(house):
    with asking({"key": house.options["key"]}) as (client, _):
        for path in (
            "/v1/services/status",
            "/.well-known/c2pa-soft-binding-resolution",
            "/v1/manifests/urn:a",
        ):
            assert client.get(path).status_code == 404
        assert not [path for path in client.get("/openapi.json").json()["paths"] if "match" in path]


def test_another_name_of_the_watermark_is_the_one_that_is_known(house):
    with asking(house.options, soft_binding="com.example.mark.1") as (client, _):
        known = client.get("/v1/services/supportedAlgorithms").json()
        assert known["watermarks"] == [{"alg": "com.example.mark.1"}]
        value = text_of(house.message)
        assert by_binding(client, alg=ALG, value=value).json() == {"matches": []}


def test_a_path_before_it_is_told_where_the_address_is_not(house):
    with asking(house.options, root_path="/check") as (client, _):
        for path in ("", "/check"):  # a proxy may take it away, or leave it
            told = client.get(f"{path}/.well-known/c2pa-soft-binding-resolution").json()
            assert told["apiEndpoint"] == "/check/v1"
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/check"}]


def test_a_service_that_is_not_public_keeps_credentials_to_those_with_a_token(house):
    with asking(house.options, public="false") as (client, _):
        paths = (f"/v1/matches/byBinding?alg={ALG}&value=AAAAAAAAAAA=", "/v1/manifests/urn:c2pa:none")
        for path, status in zip(paths, (200, 404), strict=True):
            assert client.get(path).status_code == 401
            assert client.get(path, headers=house.bearer("embed")).status_code == 403
            assert client.get(path, headers=house.bearer("detect")).status_code == status
        assert client.get("/v1/services/capabilities").status_code == 200


def test_every_question_counts(house):
    paths = ["/.well-known/c2pa-soft-binding-resolution", "/v1/manifests/urn:c2pa:none"]
    paths += [f"/v1/services/{name}" for name in ("capabilities", "status", "supportedAlgorithms")]
    paths += [f"/v1/matches/byBinding?alg={ALG}&value=AAAAAAAAAAA="]
    for path in paths:
        with asking(house.options, rate_public="2/minute") as (client, _):
            statuses = [client.get(path).status_code for _ in range(3)]
            assert 429 not in statuses[:2] and statuses[2] == 429, path


def test_before_it_is_ready_and_without_its_registry_the_status_says_so(house, tmp_path):
    from fastmark.registry import Registry

    path = tmp_path / "away.db"
    Registry(f"sqlite:///{path}").init()
    with asking(house.options, registry=f"sqlite:///{path}") as (client, service):
        assert client.get("/v1/services/status").json()["status"] == "degraded"
        assert by_content(client, house.marked).status_code == 503
        service.registry.close()
        for one in tmp_path.glob("away.db*"):
            one.unlink()
        assert client.get("/v1/services/status").json()["status"] == "down"
        answer = by_binding(client, alg=ALG, value="AAAAAAAAAAA=")
        assert answer.status_code == 503
        assert "away.db" not in answer.text


@pytest.fixture
def site(tmp_path):
    """A server on loopback with the files of a folder, and its address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_image_is_fetched_where_that_is_switched_on(house, signing, resolver, delivered, site, tmp_path):
    data, _, label = delivered
    (tmp_path / "image.jpg").write_bytes(data)
    (tmp_path / "page.html").write_bytes(b"<html>")
    url, size = f"{site}/image.jpg", len(data)
    with asking(signing, start=True, urls="true") as (client, service):

        def by_reference(url, length=size, query="", **more):
            body = {"referenceUrl": url, "assetLength": length, **more}
            return client.post(f"/v1/matches/byReference{query}", json=body)

        assert by_reference(url).status_code == 400  # http, and not a public address
        service.fetcher = Fetcher(
            most_bytes=1 << 20, seconds=5, scheme="http", ports=None, permitted=lambda _: True
        )
        assert by_reference(url).json() == {"matches": [{"manifestId": label}]}
        assert by_reference(url, assetType="image/jpeg", region=[]).json()["matches"]
        assert by_reference(url, query="?alg=com.example.mark.1").json() == {"matches": []}
        refused = {
            "another size": (by_reference(url, size + 1), 400),
            "too large": (by_reference(url, 1 << 40), 413),
            "no image by its name": (by_reference(url, assetType="video/mp4"), 415),
            "no image": (by_reference(f"{site}/page.html", 6), 415),
            "not there": (by_reference(f"{site}/none.jpg"), 502),
            "no type": (by_reference(url, assetType=None), 415),
            "an empty region": (by_reference(url, region={}), 400),
            "a region": (by_reference(url, region=[{"type": "spatial"}]), 400),
            "no size": (client.post("/v1/matches/byReference", json={"referenceUrl": url}), 400),
            "a size of truth": (by_reference(url, True), 400),
            "no URL": (by_reference(5), 400),
        }
        for what, (answer, status) in refused.items():
            assert answer.status_code == status, (what, answer.text)
        capabilities = client.get("/v1/services/capabilities").json()["supportedCapabilities"]
        assert capabilities == ["queryByContent", "queryByReference"]
        assert service.memory.used == 0
    assert resolver.post("/v1/matches/byReference", json={}).status_code == 404
