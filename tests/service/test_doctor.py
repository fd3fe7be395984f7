"""``fastmark doctor``: what is reachable of what the environment names, and no secret."""

import re
import socket
import threading
import time

import pytest
from commands import run

from fastmark import doctor
from fastmark.service.settings import PREFIX


def rows(done):
    return dict(re.findall(r"^(.{17}) (.*)$", done.stdout.decode(), re.MULTILINE))


def told(done):
    return {name.strip(): text for name, text in rows(done).items()}


@pytest.fixture(scope="module")
def environment(house):
    return {
        f"{PREFIX}{name.upper()}": value[0] if isinstance(value, list) else str(value)
        for name, value in house.options.items()
    }


def test_what_is_configured_and_reachable_is_told(house, server, environment):
    done = run("doctor", env=environment | {"FASTMARK_PUBLIC_URL": server.url})
    assert done.returncode == 0, done.stderr  # which may tell of kernels that are compiled
    seen = told(done)
    assert seen["key"] == f"{house.folder / 'studio.key'}: {house.marker.key.id} (studio)"
    assert seen["embedding key"] == seen["key"]
    assert re.fullmatch(r".*ids\.db: tables of version \S+, [1-9]\d* entries", seen["registry"])
    assert seen["tokens"].endswith(f"tokens.json: {len(house.tokens)} tokens")
    assert re.fullmatch(r".*report-keys: signs with key \S+, 0 retired", seen["report keys"])
    assert re.fullmatch(rf"{server.url}, fastmark \S+, ready, 1 keys of reports", seen["service"])
    assert seen["settings"].startswith("9 of")
    assert re.fullmatch(r"\d[\d.]*", seen["fastapi"])
    for secret in (bytes(range(32)).hex(), *house.tokens.values()):
        assert secret not in done.stdout.decode()


def test_what_cannot_be_reached_is_told_and_ends_with_2(house, tmp_path):
    (tmp_path / "damaged.json").write_text("{")
    password = "secret-of-the-registry"
    variables = {
        "KEY": f"{house.folder / 'studio.key'},{tmp_path / 'no.key'}",
        "REGISTRY": f"postgresql://fastmark:{password}@127.0.0.1:1/ids",
        "TOKENS": str(tmp_path / "none.json"),
        "REPORT_KEYS": str(tmp_path),
        "TRUST": str(tmp_path / "damaged.json"),
        "SIGN": str(tmp_path / "chain.pem"),
        "TSA": "http://127.0.0.1:1/tsa",
        "PORT": "many",
    }
    done = run(
        "doctor", "--url", "http://127.0.0.1:1", env={PREFIX + name: at for name, at in variables.items()}
    )
    assert done.returncode == 2, done.stderr
    seen = told(done)
    parts = ("key", "registry", "tokens", "report keys", "trust anchors", "signer", "time stamps", "service")
    for part in (*parts, "settings"):
        assert seen[part].startswith("NOT REACHED: "), part
    assert done.stdout.decode().count(f"{house.marker.key.id} (studio)") == 1  # the other key is reached
    assert "no.key" in seen["key"] and "refused" in seen["service"] and "SIGN_KEY" in seen["signer"]
    assert password not in done.stdout.decode()


def test_what_does_not_answer_is_left_after_a_while(monkeypatch, capsys):
    """A port that takes connections and says nothing."""
    monkeypatch.setattr(doctor, "REACH_SECONDS", 0.2)
    monkeypatch.setattr(doctor, "_self_test", lambda turn: True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert doctor.examine(f"http://127.0.0.1:{silent.getsockname()[1]}") is False
    assert re.search(
        r"^service +NOT REACHED: .*(timed out|within 0.2 seconds)", capsys.readouterr().out, re.M
    )


def test_a_look_that_never_ends_is_left():
    reached, words = doctor._within(0.05, lambda: time.sleep(60) or "")
    assert (reached, words) == (False, "no answer within 0.05 seconds")


def test_another_server_is_not_taken_for_the_service():
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer():
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        reached, words = doctor._within(20, lambda: doctor._of_service(url))
    assert (reached, words) == (False, f"{url} answers, but not as a service of fastmark does")


def test_a_service_that_is_not_ready_is_not_taken_for_one_that_is(house):
    from services_here import asking

    with asking({"key": (str(house.folder / "studio.key"),)}) as (client, _):
        url = str(client.base_url).rstrip("/")
        reached, words = doctor._within(20, lambda: doctor._of_service(url))
    assert not reached
    assert "is not ready (503)" in words
