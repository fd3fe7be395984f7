"""Who may do what, and how often."""

import pytest
from services import serving

from fastmark.service.admission import Rates, Room
from fastmark.service.problems import Problem
from fastmark.service.tokens import Tokens


def test_each_right_opens_what_it_names_and_nothing_else(client, house):
    asked = {
        "embed": lambda headers: client.post("/v1/embed", content=house.source, headers=headers),
        "metrics": lambda headers: client.get("/metrics", headers=headers),
    }
    for right, ask in asked.items():
        none = ask({})
        assert none.status_code == 401
        assert none.headers["www-authenticate"] == "Bearer"
        for other in ("detect", "scores", "embed", "private", "metrics"):
            answer = ask(house.bearer(other))
            assert answer.status_code == (200 if other == right else 403), (right, other)


@pytest.mark.parametrize(
    "value",
    ["Bearer wrong", "Bearer", "bearer fm_" + "a" * 43, "Basic dXNlcjpwYXNz", "Bearer \xe9", "x" * 5000],
)
def test_a_token_that_is_not_known_opens_nothing_not_even_what_is_public(client, house, value):
    answer = client.post(
        "/v1/detect", content=house.source, headers=[(b"Authorization", value.encode("latin-1"))]
    )
    assert answer.status_code == 401
    assert value[7:] not in answer.text or not value[7:].strip()


def test_tokens_are_added_and_revoked_while_it_runs(client, house):
    tokens = Tokens(house.folder / "tokens.json")
    headers = {"Authorization": f"Bearer {tokens.add('guest', ['metrics'])}"}
    assert client.get("/metrics", headers=headers).status_code == 200
    tokens.revoke("guest")
    assert client.get("/metrics", headers=headers).status_code == 401


def test_a_service_that_is_not_public_asks_for_a_token(house):
    options = house.options | {"public": "false", "rate_token": "2/minute"}
    tokens = Tokens(house.folder / "tokens.json")
    limited = {"Authorization": f"Bearer {tokens.add('limited', ['detect'])}"}
    with serving(house.folder, options) as server, server.client() as client:
        assert client.post("/v1/detect", content=house.source).status_code == 401
        for right, status in (("detect", 200), ("embed", 403)):
            answer = client.post("/v1/detect", content=house.source, headers=house.bearer(right))
            assert answer.status_code == status
        statuses = [
            client.post("/v1/detect", content=house.source, headers=limited).status_code for _ in range(3)
        ]
        assert statuses == [200, 200, 429]
        # those whose rate is "none" are not held up
        assert (
            client.post("/v1/detect", content=house.source, headers=house.bearer("detect")).status_code == 200
        )
    tokens.revoke("limited")


def test_the_public_is_held_to_its_rate_and_told_when_to_come_back(house):
    options = house.options | {"rate_public": "3/minute", "answer_ms": 0}
    with serving(house.folder, options) as server, server.client() as client:
        files = [("images", ("x", house.source))] * 2
        assert client.post("/v1/detect/batch", files=files).status_code == 200  # counts twice
        assert client.post("/v1/detect", content=house.source).status_code == 200
        answer = client.post("/v1/detect", content=house.source)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert client.post("/v1/detect/batch", files=files).status_code == 429
        forged = client.post("/v1/detect", content=b"x", headers={"X-Forwarded-For": "203.0.113.7"})
        assert forged.status_code == 429  # the peer is no proxy that is trusted


def test_addresses_of_one_network_are_one_and_are_kept_as_hashes():
    rates = Rates()
    assert rates.of_address("2001:db8:1:2::1") == rates.of_address("2001:db8:1:2:ffff::9")
    assert rates.of_address("2001:db8:1:2::1") != rates.of_address("2001:db8:1:3::1")
    assert rates.of_address("::ffff:192.0.2.1") == rates.of_address("192.0.2.1")
    assert rates.of_address("192.0.2.1") != rates.of_address("192.0.2.2")
    assert rates.of_address("192.0.2.1") != Rates().of_address("192.0.2.1")
    assert "192.0.2.1" not in rates.of_address("192.0.2.1")
    assert rates.of_address(None) == rates.of_address("")


def test_several_rates_hold_together_and_a_refusal_counts_for_none():
    rates = Rates()
    for _ in range(2):
        rates.take("a", "2/second;5/minute")
    with pytest.raises(Problem) as error:
        rates.take("a", "2/second;5/minute")
    assert error.value.status == 429
    rates.take("b", "2/second;5/minute", cost=2)
    rates.take("a", "5/minute", cost=3)
    with pytest.raises(Problem):
        rates.take("a", "5/minute")
    for _ in range(100):
        rates.take("a", "none")


def test_room_is_given_back_whatever_happens():
    room = Room(1, "full")
    with pytest.raises(ZeroDivisionError), room.taken():
        with pytest.raises(Problem, match="full"):
            room.check()
        raise ZeroDivisionError
    with room.taken():
        pass
    with pytest.raises(Problem):
        room.take(2)
    assert room.used == 0
