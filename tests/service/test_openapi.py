"""What /openapi.json says of the service is true, whatever is asked: schemathesis asks all of it."""

import fastapi
import hypothesis
import pytest
from hypothesis import strategies
from pictures import drawn
from services import encoded
from services_here import asking

from fastmark.service.bodies import IMAGE_FIELDS
from fastmark.service.fetching import Fetcher
from fastmark.service.routes import detecting, embedding, health, page, resolution

schemathesis = pytest.importorskip("schemathesis", reason="the extra service-test is not installed")

IMAGES = [encoded(drawn(160, 200, seed), kind) for seed, kind in ((1, "PNG"), (2, "JPEG"), (3, "WEBP"))]


@strategies.composite
def files(draw):
    """Images, those that are cut or have a byte changed, and any bytes."""
    data = draw(strategies.sampled_from(IMAGES) | strategies.binary(max_size=64))
    how = draw(strategies.sampled_from(("whole", "cut", "changed")))
    if how == "whole" or not data:
        return data
    place = draw(strategies.integers(0, len(data) - 1))
    if how == "cut":
        return data[:place]
    return data[:place] + bytes([draw(strategies.integers(0, 255))]) + data[place + 1 :]


schemathesis.openapi.format("binary", files())
for kind in ("image/*", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, files())


def described():
    """What the service says of itself, made of its routes alone."""
    app = fastapi.FastAPI(title="fastmark", version="0")
    for module in (health, detecting, embedding, page):
        app.include_router(module.make_router())
    app.include_router(resolution.make_router(by_reference=True))
    return app.openapi()


DESCRIBED = described()
api = schemathesis.openapi.from_dict(DESCRIBED)


@pytest.fixture(scope="module")
def asked(house):
    """A client of a service that offers everything, and finds no host that it is told to fetch from."""

    async def unknown(host, port):
        raise OSError(host, port)

    with asking(house.options, start=True, urls="true", answer_ms=0) as (client, service):
        service.fetcher = Fetcher(most_bytes=1 << 20, seconds=5, resolve=unknown)
        yield client


@pytest.fixture(scope="module")
def kept(house):
    """Path parameters of what is there."""
    message = house.registry.reserve(house.registry.get(house.message).record, key_id="00")
    label = f"urn:c2pa:{message.hex()}"
    house.registry.complete(message, width=8, height=8, manifest_id=label, manifest=b"a store")
    return {"id": message.hex(), "manifestId": label}


def test_the_service_says_the_same_of_itself(asked):
    assert asked.get("/openapi.json").json()["paths"] == DESCRIBED["paths"]


@api.parametrize()
@hypothesis.settings(
    max_examples=25, derandomize=True, database=None, deadline=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip
def test_whatever_is_asked_is_answered_as_it_is_described(case, house, asked, kept):
    # a file that fits is not always an image, and a URL that fits is not always public
    unfit = [schemathesis.checks.positive_data_acceptance]
    for headers in (house.bearer("scores,embed"), house.bearer("metrics"), {}):
        case.call_and_validate(base_url=str(asked.base_url), headers=headers, excluded_checks=unfit)
    # what is drawn is hardly ever an id that is known, or hexadecimal
    unfit.append(schemathesis.checks.negative_data_rejection)
    case.query = {}
    if case.media_type == "multipart/form-data" and isinstance(case.body, dict):
        case.body = {name: value for name, value in case.body.items() if name in IMAGE_FIELDS}
    if case.path_parameters:
        case.path_parameters = kept
    if case.method in ("GET", "POST"):
        case.call_and_validate(
            base_url=str(asked.base_url), headers=house.bearer("scores,embed"), excluded_checks=unfit
        )
