"""The service as a process: how it starts, is ready, is full, ends; and what it refuses to start with."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import assert_refused, run
from pictures import drawn
from services import encoded, serving

from fastmark.cli.serving import OPTIONS
from fastmark.errors import ServiceError
from fastmark.service.settings import Settings


def test_options_and_settings_are_the_same():
    assert [name for group in OPTIONS.values() for name in group] == list(Settings.model_fields)


def test_defaults_that_help_tells_are_those_of_the_settings():
    for group in OPTIONS.values():
        for name, (_, text) in group.items():
            default = Settings.model_fields[name].default
            _, found, told = text.rpartition("default: ")
            if found and told not in ("none", "one per core") and not told.startswith("127"):
                shown = (
                    str(default).lower()
                    if isinstance(default, bool)
                    else f"{default:g}"
                    if isinstance(default, float)
                    else str(default)
                )
                assert told == shown, name


def test_settings_come_from_the_environment_and_options_go_before(monkeypatch):
    monkeypatch.setenv("FASTMARK_KEY", "one.key,two.key")
    monkeypatch.setenv("FASTMARK_MAX_PIXELS", "1000")
    monkeypatch.setenv("FASTMARK_URLS", "true")
    monkeypatch.setenv("FASTMARK_MESSAGE_BITS", "128")
    settings = Settings.read(max_pixels="2000")
    assert settings.key == ("one.key", "two.key")
    assert (settings.max_pixels, settings.urls, settings.message_bits) == (2000, True, 128)
    monkeypatch.setenv("FASTMARK_PORT", "tcp://10.96.0.7:8000")  # of Kubernetes, not of ours
    assert Settings.read().port == 8000


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"port": "70000"}, "--port"),
        ({"rate_public": "often"}, "--rate-public"),
        ({"message_bits": "65"}, "--message-bits"),
        ({"public_url": "example.org"}, "https://"),
        ({"root_path": "check"}, "begin with /"),
        ({"xmp": "true"}, "--embed-key"),
        ({"embed_key": "my.key"}, "--tokens"),
        ({"public": "false"}, "--tokens"),
        ({"sign": "chain.pem", "embed_key": "k", "tokens": "t"}, "--sign-key"),
        ({"max_bytes": "2000", "max_memory": "1000"}, "--max-memory"),
        ({"embed_key": "k", "tokens": "t", "record": "r"}, "written nowhere"),
        ({"embed_key": "k", "tokens": "t", "tsa": "http://example.org"}, "--sign"),
        ({"public": "perhaps"}, "--public"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_their_names(given, says):
    with pytest.raises(ServiceError, match=says):
        Settings.read(**given)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--key", "missing.key"], "missing.key"),
        (["--registry", "missing.db"], "registry init"),
        (["--trust", "missing.pem"], "missing.pem"),
        (["--report-keys", "missing"], "report-key init"),
        (["--host", "203.0.113.1"], "cannot be listened on"),
        (["--max-pixels", "0"], "--max-pixels"),
    ],
)
def test_what_is_missing_is_told_before_it_listens(tmp_path, arguments, says):
    assert_refused(run("serve", "--port", "0", *arguments, cwd=tmp_path), says)


def test_a_secret_in_a_wrong_place_is_not_shown(tmp_path):
    secret = bytes(range(32)).hex()
    done = run("serve", "--port", secret, cwd=tmp_path)
    assert_refused(done, "--port")
    assert secret not in done.stderr.decode()


def test_it_lives_before_it_is_ready_and_says_so(house, tmp_path):
    with serving(house.folder, house.options, ready=False) as server, server.client() as client:
        assert client.get("/healthz").json()["status"] == "ok"
        early = client.get("/readyz")
        if early.status_code == 503:
            assert int(early.headers["retry-after"]) >= 1
            assert client.post("/v1/detect", content=house.source).status_code in (200, 503)
        end = time.monotonic() + 300
        while client.get("/readyz").status_code != 200 and time.monotonic() < end:
            time.sleep(0.1)
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.post("/v1/detect", content=house.source).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_accepted_is_answered_before_it_ends(house, number):
    data = encoded(np.kron(drawn(750, 1000), np.ones((4, 4, 1), np.uint8)), quality=90)  # takes a while
    with (
        serving(house.folder, house.options | {"answer_ms": 0}) as server,
        server.client() as client,
        concurrent.futures.ThreadPoolExecutor(6) as threads,
    ):
        waiting = [threads.submit(client.post, "/v1/detect", content=data) for _ in range(6)]
        end = time.monotonic() + 30
        while in_hand(client, house) < 6 and time.monotonic() < end:
            time.sleep(0.01)
        children = processes_of(server.process.pid)
        assert server.stop(number) == 0
        assert [one.result().status_code for one in waiting] == [200] * 6
    assert_end(children)


def in_hand(client, house):
    text = client.get("/metrics", headers=house.bearer("metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith("fastmark_images_in_hand ")]
    return float(line.split()[1])


def processes_of(pid):
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(one) for one in done.stdout.split()]


def test_its_processes_end_even_when_it_is_killed(house):
    with serving(house.folder, house.options) as server:
        children = processes_of(server.process.pid)
        assert children
        server.stop(signal.SIGKILL)
        assert_end(children)


def assert_end(children):
    end = time.monotonic() + 30
    while any(map(alive, children)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, children))


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def test_a_full_service_says_so_and_loses_nothing_that_it_accepted(house):
    data = encoded(drawn(1500, 2000), quality=95)
    with (
        serving(house.folder, house.options | {"queue": 2, "answer_ms": 0}) as server,
        server.client() as client,
        concurrent.futures.ThreadPoolExecutor(12) as threads,
    ):
        done = list(threads.map(lambda _: client.post("/v1/detect", content=data), range(12)))
    statuses = [one.status_code for one in done]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 3
    for one in done:
        assert one.status_code == 200 or int(one.headers["retry-after"]) >= 1
        assert one.status_code == 429 or one.json()["verdict"] == "nothing found"


def test_the_registry_that_is_away_is_a_503_that_tells_nothing_of_it(house, tmp_path):
    from fastmark.registry import Registry

    path = tmp_path / "away.db"
    Registry(f"sqlite:///{path}").init()
    options = house.options | {"registry": f"sqlite:///{path}", "answer_ms": 0}
    with serving(tmp_path, options) as server, server.client() as client:
        assert client.get("/readyz").status_code == 200
        for one in tmp_path.glob("away.db*"):
            one.unlink()
        path.write_bytes(b"no database any more, but a text of some length" * 100)
        answer = client.post("/v1/detect", content=house.marked)
        assert answer.status_code in (200, 503)
        if answer.status_code == 503:
            assert "away.db" not in answer.text


def test_it_needs_its_packages_and_says_how_to_get_them(tmp_path):
    (tmp_path / "fastapi.py").write_text("raise ImportError\n")
    done = subprocess.run(
        [sys.executable, "-m", "fastmark", "serve"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'fastmark-watermark[serve]'" in done.stderr


def test_without_a_key_it_reads_metadata_and_says_so(tmp_path, house):
    with serving(tmp_path, {"workers": 1, "answer_ms": 0}) as server, server.client() as client:
        assert "no --key is given" in server.errors()
        assert client.head("/readyz").status_code == 200
        assert client.head("/healthz").status_code == 200
        answer = client.post("/v1/detect", content=house.marked).json()
        assert answer["verdict"] == "nothing found"
        assert "No key was looked for" in answer["sentence"]
        assert client.post("/v1/embed", content=house.source).status_code == 404
