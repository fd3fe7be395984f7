"""A house with a key, a registry, tokens and keys of reports; and a real server that knows them."""

import pytest
from pictures import drawn

import fastmark

for package in ("fastapi", "uvicorn", "httptools", "pydantic_settings", "prometheus_client", "limits", "jwt"):
    pytest.importorskip(package, reason="the service's packages are not installed")
for package in ("jinja2", "httpcore", "httpx", "sqlalchemy", "imagehash"):
    pytest.importorskip(package, reason="the service's packages are not installed")

from services import RIGHTS, House, encoded, serving  # noqa: E402  # needs the packages above


@pytest.fixture(scope="session")
def house(tmp_path_factory):
    from fastmark.companions import Companions
    from fastmark.delivery import Delivery
    from fastmark.registry import Registry
    from fastmark.service.reports import ReportKeys
    from fastmark.service.tokens import Tokens

    folder = tmp_path_factory.mktemp("house")
    key = fastmark.Key(bytes(range(32)), name="studio")
    key.save(folder / "studio.key")
    registry = Registry(f"sqlite:///{folder / 'ids.db'}")
    registry.init()
    (folder / "record.json").write_text(
        '{"provider": "Example Studio", "system": "Painter", "owner": "Ada L."}'
    )
    record = fastmark.Record(provider="Example Studio", system="Painter", owner="Ada L.")
    ReportKeys.make(folder / "report-keys")
    tokens = Tokens(folder / "tokens.json")
    secrets = {right: tokens.add(right, [right], "none") for right in RIGHTS}
    secrets["scores,embed"] = tokens.add("both", ["scores", "embed"], "none")
    marker = fastmark.Watermarker(key)
    source = encoded(drawn(480, 640), "PNG")
    done = Delivery(marker, Companions(record=record, registry=registry)).deliver(
        source, None, "jpeg", {"quality": 92}
    )
    return House(folder, marker, registry, secrets, source, done.data, done.message)


@pytest.fixture(scope="session")
def server(house):
    """One service for many tests, which answers the public without delay."""
    with serving(house.folder, house.options | {"answer_ms": 0}) as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    with server.client() as made:
        yield made
