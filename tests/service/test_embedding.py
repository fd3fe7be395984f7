"""Images that the service watermarks."""

import base64
import hashlib
import json

import pytest
from pictures import drawn
from services import encoded

from fastmark import public


def test_an_image_is_watermarked_registered_and_read_again(client, house):
    answer = client.post("/v1/embed", content=house.source, headers=house.bearer("embed"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["fastmark-state"] == "marked"
    entry = house.registry.get(answer.headers["fastmark-id"])
    assert entry.state == "delivered"
    assert entry.sha256 == hashlib.sha256(answer.content).hexdigest()
    assert entry.record.owner == "Ada L."
    told = client.post("/v1/detect", content=answer.content).json()
    assert told["verdict"] == "genuine and unchanged"
    assert told["id"] == answer.headers["fastmark-id"]


def test_a_form_has_message_record_format_and_quality(client, house):
    record = {"provider": "Another House", "system": "Brush"}
    fields = {"message": "00000000c0ffee01", "record": json.dumps(record), "format": "webp", "quality": "80"}
    answer = client.post(
        "/v1/embed",
        files={"image": ("x", house.source)},
        data=fields,
        headers=house.bearer("embed") | {"Accept": "application/json"},
    ).json()
    assert answer["id"] == "00000000c0ffee01"
    assert answer["image"]["media_type"] == "image/webp"
    assert house.registry.public("00000000c0ffee01").provider == "Another House"
    data = base64.b64decode(answer["image"]["base64"])
    assert house.marker.detect(data).message_hex == "00000000c0ffee01"
    taken = client.post(
        "/v1/embed",
        params={"message": "00000000c0ffee01"},
        content=house.source,
        headers=house.bearer("embed"),
    )
    assert taken.status_code == 409
    assert "taken" in taken.json()["detail"]


def test_the_public_watermark_is_embedded_beside_it(client, house):
    bearer = house.bearer("embed") | {"Accept": "application/json"}
    code = public.PublicCode.of("ai-generated,do-not-train")
    asked = "ai-generated,do-not-train"
    form = {"data": {"public": asked}, "files": {"image": ("x", house.source)}}
    for way in ({"params": {"public": asked}, "content": house.source}, form):
        answer = client.post("/v1/embed", headers=bearer, **way).json()
        assert answer["public"] == code.hex
        data = base64.b64decode(answer["image"]["base64"])
        assert house.marker.detect(data).message_hex == answer["id"]
        assert public.read(data).code == code
        assert house.registry.get(answer["id"]).record.policy == "no-training"
        told = client.post("/v1/detect", content=data).json()
        (finding,) = [one for one in told["findings"] if one["technique"] == "public watermark"]
        assert (finding["state"], finding["details"]["flags"]) == ("says", list(code.flags))
        assert told["verdict"] == "genuine and unchanged"


def test_a_batch_gives_each_image_an_id_of_its_own(client, house):
    images = [encoded(drawn(300, 320, seed)) for seed in (1, 2)]
    files = [("images", ("x", data)) for data in (images[0], encoded(drawn(40, 40)), images[1])]
    answers = client.post("/v1/embed/batch", files=files, headers=house.bearer("embed")).json()["answers"]
    assert answers[1]["error"]["status"] == 422
    assert "128" in answers[1]["error"]["detail"]
    ids = [one["id"] for one in (answers[0], answers[2])]
    assert len(set(ids)) == 2
    for name, one in zip(ids, (answers[0], answers[2]), strict=True):
        assert house.marker.detect(base64.b64decode(one["image"]["base64"])).message_hex == name


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        ({"params": {"message": "xyz"}}, 422, "hexadecimal"),
        ({"params": {"public": "mine"}}, 422, "cannot say mine"),
        ({"data": {"public": "captured,ai-generated"}}, 422, "contradict each other"),
        ({"params": {"public": "captured"}}, 422, "the record says trainedAlgorithmicMedia"),
        ({"params": {"message": "01" * 9}}, 422, "hex digits"),
        ({"params": {"format": "bmp"}}, 422, "format"),
        ({"params": {"quality": 0}}, 422, "quality"),
        ({"params": {"format": "png", "quality": 90}}, 422, "quality"),
        ({"data": {"record": "[]"}}, 422, "JSON object"),
        ({"data": {"record": "{"}}, 422, "not JSON"),
        ({"data": {"record": '{"nobody": 1}'}}, 422, "nobody"),
        ({"data": {"quality": "many"}}, 422, "number"),
        ({"data": {"quality": "900"}}, 422, "quality"),
        ({"data": {"format": "exe"}}, 422, "exe"),
    ],
)
def test_a_wrong_value_is_told_before_any_work(client, house, request_, status, says):
    count = house.registry.count()
    answer = client.post(
        "/v1/embed", files={"image": ("x", house.source)}, headers=house.bearer("embed"), **request_
    )
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]
    assert house.registry.count() == count


def test_an_image_that_fails_leaves_no_entry(client, house):
    count = house.registry.count()
    answer = client.post("/v1/embed", content=b"no image", headers=house.bearer("embed"))
    assert answer.status_code == 422
    assert house.registry.count() == count
