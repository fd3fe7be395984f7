"""The parts on image servers and other languages of INTEGRATIONS.md, executed as they stand."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from documents import blocks
from PIL import Image

httpx = pytest.importorskip("httpx", reason="the extra proxy is not installed")
for name in ("uvicorn", "httptools", "sqlalchemy"):
    pytest.importorskip(name, reason="the extras proxy and registry are not installed")

from image_servers import ImageServer, Reply, answer_of, encoded, images_of, running  # noqa: E402

MESSAGE = "0123456789abcdef"
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


@pytest.fixture
def folder(tmp_path, monkeypatch, key, draw):
    monkeypatch.chdir(tmp_path)
    key.save(tmp_path / "my.key")
    Image.fromarray(draw(1, 400, 480)).save(tmp_path / "photo.jpg", quality=92)
    return tmp_path


@pytest.fixture
def png(draw):
    return encoded(draw(2, 320, 320))


def shell(text):
    """What a shell's block prints."""
    done = subprocess.run(
        ["bash", "-emo", "pipefail", "-c", text],
        env=os.environ | {"PATH": PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def test_the_proxy_as_it_is_documented(folder, png):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (text,) = [text for language, text in blocks("INTEGRATIONS.md", "Image servers") if language == "sh"]
    with running(ImageServer(Reply.of(png))) as url:
        done = shell(text.replace("8000", url.rpartition(":")[2]).replace("8080", free_port()))
    assert "cat.png: detected" in done.stdout and "pixels and metadata agree" in done.stdout
    assert "proxy: the first image is watermarked" in done.stderr
    assert "check it: fastmark detect IMAGE --key my.key" in done.stderr
    assert "KSampler" in Image.open("cat.png").text["prompt"]


def test_the_middleware_as_it_is_documented(folder, png, marker):
    pytest.importorskip("fastapi", reason="the documented app is FastAPI's")
    from starlette.responses import Response

    async def generate(request):
        return Response(answer_of(png), media_type="application/json")

    async def ask(app, path):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.post(path)

    texts = [text for language, text in blocks("INTEGRATIONS.md", "Image servers") if language == "python"]
    ids = []
    for text, path in zip(texts, ("/generate", "/v1/images/generations"), strict=True):
        names = {"__name__": "documented"}
        exec(compile(text, "INTEGRATIONS.md", "exec"), names)
        names["app"].add_route(path, generate, ["POST"])
        response = asyncio.run(ask(names["app"], path))
        (data,) = images_of(response.content)
        assert marker.detect(data).message_hex == response.headers["fastmark-id"]
        ids.append(response.headers["fastmark-id"])
    assert ids[0] == MESSAGE
    assert names["registry"].get(ids[1]).record.provider == "Example Studio"
    names["registry"].close()


def test_every_command_of_the_table_is_one(folder):
    """With a message that is none: that is told, so that the options before it were in order."""
    text = Path(sys.modules["documents"].PACKAGE / "INTEGRATIONS.md").read_text(encoding="utf-8")
    commands = re.findall(r"`(fastmark proxy --upstream .*?)`", text)
    assert len(commands) == 5
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command.replace("HOST:PORT", "127.0.0.1:1") + " --message wrong"],
            env=os.environ | {"PATH": PATH},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "hexadecimal" in done.stderr, command


def test_other_languages_as_they_are_documented(folder):
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    prepare, program = blocks("INTEGRATIONS.md", "Other languages")
    assert (prepare[0], program[0]) == ("sh", "js")
    shell(prepare[1])
    Path("detect.mjs").write_text(program[1], encoding="utf-8")
    done = subprocess.run(
        [node, "detect.mjs"],
        env=os.environ | {"PATH": PATH},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "ready: true" in done.stdout
    assert done.stdout.splitlines()[-3:] == [
        "photo.jpg absent null",
        "marked.png detected 000000000000001f",
        "missing.png missing.png: no such file undefined",
    ]
    lines = [line for line in program[1].splitlines() if line.strip()]
    assert len(lines) <= 13  # the ten that do something, and two imports
