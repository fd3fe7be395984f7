"""What the service says of images, to whom, and in which forms it takes them."""

import base64
import dataclasses
import io
import json

import numpy as np
import pytest
from pictures import drawn
from PIL import Image
from services import encoded

import fastmark
from fastmark.service.work import draw

PUBLIC = {
    "schema", "verdict", "sentence", "watermark", "confidence", "key_id", "key_name", "id", "registry",
    "mismatch", "agree", "where", "transform", "changes", "findings", "width", "height", "remarks",
    "detector", "time", "sha256", "limits",
}  # fmt: skip
SCORES = ("log10_p", "p_value", "margin", "log_ratio", "score", "statistic")


def test_every_form_of_a_body_gives_the_same_answer(client, house):
    forms = [
        {"files": {"image": ("a name.jpg", house.marked, "image/jpeg")}},
        {"files": {"file": ("x", house.marked, "text/plain")}},
        {"content": house.marked, "headers": {"Content-Type": "image/jpeg"}},
        {"content": house.marked, "headers": {"Content-Type": "application/octet-stream"}},
        {"content": house.marked, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"content": house.marked},
    ]
    answers = [client.post("/v1/detect", **form) for form in forms]
    assert [answer.status_code for answer in answers] == [200] * len(forms)
    told = [{name: value for name, value in one.json().items() if name != "time"} for one in answers]
    assert all(one == told[0] for one in told)
    assert told[0]["verdict"] == "genuine and unchanged"
    assert told[0]["id"] == house.message.hex()
    assert told[0]["registry"]["provider"] == "Example Studio"
    assert answers[0].headers["cache-control"] == "no-store"


def test_the_answer_is_that_of_the_library(client, house):
    for data in (house.marked, house.source, encoded(drawn(300, 400, 5))):
        ours = fastmark.check(data, house.marker, house.registry).to_dict()
        theirs = client.post("/v1/detect", content=data).json()
        assert theirs.pop("detector") == ours.pop("detector") | {"url": None}
        assert theirs.pop("time")[:10] == ours.pop("time")[:10]
        assert theirs == json.loads(json.dumps(ours))


def test_the_public_gets_bands_and_no_scores(client, house):
    answer = client.post("/v1/detect", content=house.marked)
    assert set(answer.json()) == PUBLIC
    for word in (*SCORES, "Ada L."):
        assert word not in answer.text
    answer = client.post("/v1/detect", content=house.marked, headers=house.bearer("detect"))
    assert set(answer.json()) == PUBLIC
    answer = client.post("/v1/detect", content=house.marked, headers=house.bearer("scores")).json()
    assert set(answer) == PUBLIC | {"detection"}
    assert answer["detection"]["log10_p"] < -9


def test_the_place_is_told_and_drawn_without_scores(client, house):
    page = np.full((700, 900, 3), 255, np.uint8)
    page[100:580, 200:840] = np.asarray(Image.open(io.BytesIO(house.marked)))
    answer = client.post("/v1/detect", params={"where": True}, content=encoded(page, "PNG")).json()
    assert set(answer) == PUBLIC | {"map"}
    assert np.abs(np.array(answer["where"]) - (200, 100, 840, 580)).max() <= 48
    head, _, text = answer["map"].partition(",")
    assert head == "data:image/png;base64"
    cells = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    assert len(np.unique(cells.reshape(-1, 4), axis=0)) <= 3  # nothing, watermark, changed: no shades
    seen = cells[..., 3] > 0
    rows, columns = np.nonzero(seen)
    assert seen[rows.min() : rows.max(), columns.min() : columns.max()].mean() > 0.5
    assert not seen[: seen.shape[0] // 12].any()
    unmarked = client.post("/v1/detect", params={"where": True}, content=house.source).json()
    assert unmarked["map"] is None
    assert unmarked["where"] is None


def test_cells_that_were_changed_are_drawn_in_another_colour(house):
    changed = np.asarray(Image.open(io.BytesIO(house.marked))).copy()
    changed[100:300, 150:400] = drawn(200, 250, 9)
    location = house.marker.locate(changed)
    data = base64.b64decode(draw(location).partition(",")[2])
    cells = np.asarray(Image.open(io.BytesIO(data)))
    assert cells.shape[:2] == location.carries.shape
    assert np.array_equal(cells[..., 3] > 0, location.carries)
    assert draw(house.marker.locate(drawn(300, 300, 3))) is None


def test_a_change_is_drawn_where_it_is_likely_and_in_more_than_a_few_cells(house):
    location = house.marker.locate(Image.open(io.BytesIO(house.marked)))

    def orange(disagreement):
        drawn_map = draw(dataclasses.replace(location, disagreement=disagreement))
        cells = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn_map.partition(",")[2]))))
        return (cells[..., 0] > cells[..., 2]) & (cells[..., 3] > 0)

    assert location.disagreement is not None and not orange(location.disagreement).any()
    likely = np.where(np.arange(location.carries.size).reshape(location.carries.shape) % 9 == 0, 7.0, 6.8)
    np.testing.assert_array_equal(orange(likely), location.carries & (likely > 6.9))
    few = np.zeros_like(likely)
    few[np.unravel_index(np.flatnonzero(location.carries)[: few.size // 100], few.shape)] = 50.0
    assert not orange(few).any()
    assert not orange(None).any()


def test_a_signed_report_holds_for_the_answer(client, house):
    from fastmark.service.reports import verify

    answer = client.post("/v1/detect", params={"report": True, "where": True}, content=house.marked).json()
    told = verify(answer.pop("report"), client.get("/.well-known/jwks.json").json())
    for name, value in answer.items():
        assert name == "map" or told[name] == value
    assert "map" not in told
    altered = answer | {"verdict": "nothing found"}
    assert altered != told


def test_a_batch_answers_in_order_with_problems_in_their_places(client, house):
    files = [("images", (f"{i}.x", data)) for i, data in enumerate([house.source, b"none", house.marked])]
    answers = client.post("/v1/detect/batch", files=files).json()["answers"]
    assert [one.get("watermark") for one in answers] == ["not_detected", None, "detected"]
    assert answers[1]["error"]["status"] == 422
    too_many = client.post("/v1/detect/batch", files=[("images", ("x", b"x"))] * 33)
    assert too_many.status_code == 413


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        ({"content": b""}, 400, "empty"),
        ({"content": b"no image at all"}, 422, "image"),
        ({"content": b"{}", "headers": {"Content-Type": "application/json"}}, 400, "url"),
        ({"json": {"url": "https://example.com/a.png"}}, 400, "not fetched"),
        ({"json": {"url": "https://example.com/a.png", "more": 1}}, 400, "url"),
        ({"content": b"x", "headers": {"Content-Type": "text/html"}}, 415, "multipart/form-data"),
        ({"files": {"other": ("x", b"x")}}, 400, "field 'image'"),
        ({"files": {"image": ("x", b"")}}, 400, "no image"),
        ({"data": {"image": "text"}}, 422, ""),
        ({"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "form"),
        ({"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=y"}}, 400, "form"),
        ({"content": b"x", "params": {"where": "perhaps"}}, 422, "where"),
    ],
)
def test_what_cannot_be_taken_is_a_problem_that_says_what_to_do(client, request_, status, says):
    answer = client.post("/v1/detect", **request_)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert says in problem["detail"]


def test_a_key_that_is_sent_by_mistake_is_not_repeated(client, house):
    secret = (house.folder / "studio.key").read_bytes()
    answer = client.post("/v1/detect", content=secret)
    assert answer.status_code == 422
    assert bytes(range(32)).hex() not in answer.text


def test_what_is_not_there_is_a_problem_too(client):
    for method, path, status in (("GET", "/nothing", 404), ("GET", "/v1/detect", 405)):
        answer = client.request(method, path)
        assert answer.status_code == status
        assert answer.json()["status"] == status


def test_pages_of_other_hosts_may_ask(client, house):
    answer = client.post("/v1/detect", content=house.marked, headers={"Origin": "https://example.org"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert "set-cookie" not in answer.headers


def test_the_openapi_names_the_routes_and_loads_nothing(client):
    described = client.get("/openapi.json").json()
    assert {"/v1/detect", "/v1/detect/batch", "/v1/embed", "/v1/embed/batch", "/healthz", "/readyz"} <= set(
        described["paths"]
    )
    assert described["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert {} in described["security"]
    assert described["paths"]["/v1/embed"]["post"]["security"] == [{"bearer": []}]
    assert client.get("/docs").status_code == 404
