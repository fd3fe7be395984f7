"""SERVICE.md does what it says, and the files in .github run a service, by hand: no container is made here.

python tests/service/test_deployment.py    # writes the table of options into SERVICE.md
"""

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib

import pytest
from deployments import PROXY, ROOT, free_port
from pictures import drawn

from fastmark.cli.serving import OPTIONS
from fastmark.service.running import listen
from fastmark.service.settings import PREFIX, Settings

PAGE = ROOT / "fastmark" / "SERVICE.md"
CONTAINER = (ROOT / ".github" / "Containerfile").read_text(encoding="utf-8")
TABLE = re.compile(r"(<!-- options:.*?-->\n)(.*?)(<!-- end -->)", re.DOTALL)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def table():
    """The options and variables as SERVICE.md shows them."""
    lines = ["| option | variable | |", "| --- | --- | --- |"]
    for title, options in OPTIONS.items():
        lines.append(f"| **{title}** | | |")
        for name, (metavar, text) in options.items():
            option = f"--{name.replace('_', '-')} {metavar}"
            lines.append(f"| `{option}` | `{PREFIX}{name.upper()}` | {text} |")
    return "\n".join(lines) + "\n"


# ---- the page --------------------------------------------------------------------------------------------


def test_the_table_of_options_is_that_of_the_command():
    (found,) = TABLE.findall(PAGE.read_text(encoding="utf-8"))
    assert found[1] == table(), "run: python tests/service/test_deployment.py"


def test_every_option_is_a_setting_and_the_defaults_that_are_told_are_real():
    told = {name: text for options in OPTIONS.values() for name, (_, text) in options.items()}
    assert set(told) == set(Settings.model_fields)
    for name, text in told.items():
        default = Settings.model_fields[name].default
        if found := re.search(r"default: ([\w./]+)$", text):
            shown = {"none": ("none", "", None), "true": (True,), "false": (False,)}.get(
                found[1], (found[1],)
            )
            assert default in shown or str(default) in shown or float(default) == float(found[1]), name


@pytest.fixture
def studio(tmp_path):
    """A folder with an image, the command ``fastmark``, and a port for it."""
    from services import encoded

    (tmp_path / "photo.jpg").write_bytes(encoded(drawn(480, 640), quality=95))
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "fastmark").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fastmark "$@"\n')
    (programs / "fastmark").chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "FASTMARK_PORT": str(free_port())}
    return tmp_path, environment


def bash(command, studio):
    folder, environment = studio
    command = command.replace("127.0.0.1:8000", f"127.0.0.1:{environment['FASTMARK_PORT']}")
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, (command, done.stderr, done.stdout)
    return done.stdout


@contextlib.contextmanager
def served(command, studio, seconds=300):
    """A service that was started by a command as typed; ended as by Ctrl-C."""
    folder, environment = studio
    words = shlex.split(command.replace("\\\n", " "))
    with (folder / "serve.err").open("wb") as errors:
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )
    try:
        end = time.monotonic() + seconds
        while "ready, " not in (folder / "serve.err").read_text() and time.monotonic() < end:
            assert process.poll() is None, (folder / "serve.err").read_text()
            time.sleep(0.05)
        yield
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_every_command_of_the_page_is_run_here_but_those_that_need_docker():
    assert [language for language, _ in BLOCKS] == ["sh", "bash", "console", "text"]
    assert all(line.startswith("docker ") for line in BLOCKS[3][1].splitlines())


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_page(studio):
    (_, alone), (_, start), (_, asks), _ = BLOCKS
    *prepare, last = re.sub(r"\\\n", "", start).strip().splitlines()
    for command in prepare:
        bash(command, studio)
    with served(alone, studio):
        assert json.loads(bash("curl -s http://127.0.0.1:8000/readyz", studio)) == {"status": "ready"}
    commands = [line.removeprefix("$ ") for line in asks.strip().splitlines()]
    with served(last, studio):
        told = [bash(command, studio) for command in commands]
    found, _, _, report, batch, metrics, ready, doctor = told
    assert json.loads(found)["confidence"] == "none"
    answer = json.loads((studio[0] / "answer.json").read_text())
    assert (answer["verdict"], answer["key_name"]) == ("genuine and unchanged", "Example Studio")
    assert "marked.jpg: is that file" in report
    first, second = json.loads(batch)["answers"]
    assert (first["detection"]["state"], second["detection"]["state"]) == ("absent", "detected")
    assert 'fastmark_requests_total{route="/v1/embed",status="200"} 1.0' in metrics
    assert json.loads(ready) == {"status": "ready"}
    assert re.search(r"^service +http://127.0.0.1:\d+, fastmark \S+, ready", doctor, re.MULTILINE)


# ---- the container ---------------------------------------------------------------------------------------


def test_the_container_is_made_of_what_there_is():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = re.search(r"ARG EXTRAS=(\S+)", CONTAINER)[1].split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for sources in re.findall(r"^COPY (?!--)(.+) \S+$", CONTAINER, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists() and f"!{source}" in ignored, source
    runs = re.findall(r"^(RUN|USER|VOLUME|CMD|ENTRYPOINT) (.*)", CONTAINER, re.MULTILINE)
    kinds = [kind for kind, _ in runs]
    assert kinds.index("USER") < kinds.index("VOLUME") < kinds.index("ENTRYPOINT")
    assert ("USER", "fastmark") in runs and ("RUN", "fastmark warmup --quiet") in runs
    entry = [json.loads(value) for kind, value in runs if kind in ("ENTRYPOINT", "CMD")]
    assert entry == [["fastmark"], ["serve", "--host", "0.0.0.0"]]


def test_the_health_check_of_the_container(server):
    """As it stands in the recipe, on a service that is ready, and on none."""
    (check,) = re.findall(r"^ +CMD (\[.*\])$", CONTAINER, re.MULTILINE)
    program, *arguments = json.loads(check)
    assert program == "python"
    for url, code in ((server.url, 0), ("http://127.0.0.1:1", 1)):
        words = [part.replace("http://127.0.0.1:8000", url) for part in arguments]
        done = subprocess.run([sys.executable, *words], capture_output=True, timeout=60)
        assert done.returncode == code, done.stderr


READ_ONLY = """
set -e
mount --make-rprivate /
mount --bind "$NUMBA_CACHE_DIR" "$NUMBA_CACHE_DIR"
mount --bind "$1" /mnt && mount -o remount,bind,ro /mnt
mount -o remount,bind,ro /
mount -t tmpfs tmpfs "$TMPDIR"
touch /written 2>/dev/null && exit 99
cd /
exec setpriv --bounding-set -all --inh-caps -all --no-new-privs "$2" -m fastmark serve --port "$3"
"""


def test_a_service_runs_on_a_root_that_is_read_only_and_without_capabilities(house, tmp_path):
    """As in the container: only the cache of kernels and a folder for temporary files can be written."""
    import httpx

    cache = os.environ.get("NUMBA_CACHE_DIR", str(ROOT / "fastmark" / "kernels" / "__pycache__"))
    if shutil.which("setpriv") is None or subprocess.run(
        ["unshare", "-m", "sh", "-c", "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt"],
        capture_output=True,
    ).returncode:  # fmt: skip
        pytest.skip("mounts of one's own are not permitted here")
    kept = tmp_path / "kept"
    (kept / "tmp").mkdir(parents=True)
    shutil.copytree(cache, kept / "cache")
    port = free_port()
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(kept / "cache"), "FASTMARK_KEY": "/mnt/studio.key", "FASTMARK_WORKERS": "1",
        "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nowhere",
        "TMPDIR": str(kept / "tmp"),
    }  # fmt: skip
    command = ["unshare", "-m", "sh", "-c", READ_ONLY, "-", str(house.folder), sys.executable, str(port)]
    with (tmp_path / "err").open("wb") as errors:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        end = time.monotonic() + 300
        while "ready, " not in (tmp_path / "err").read_text() and time.monotonic() < end:
            assert process.poll() is None, (process.returncode, (tmp_path / "err").read_text())
            time.sleep(0.05)
        done = httpx.post(f"http://127.0.0.1:{port}/v1/detect?where=true", content=house.marked, timeout=60)
        assert done.json()["id"] == house.message.hex()
        process.terminate()
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_answers_do_not_wait_for_acknowledgements():
    """Nagle's algorithm is off: head and body of an answer are two small segments."""

    async def accepted():
        options = asyncio.get_running_loop().create_future()

        def connected(reader, writer):
            connection = writer.get_extra_info("socket")
            options.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listen("127.0.0.1", 0) as listening:
            async with await asyncio.start_server(connected, sock=listening):
                _, writer = await asyncio.open_connection(*listening.getsockname())
                try:
                    return await options
                finally:
                    writer.close()

    assert asyncio.run(accepted()) != 0


# ---- several containers ----------------------------------------------------------------------------------


def composed():
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((ROOT / ".github" / "compose.yaml").read_text(encoding="utf-8"))


def test_the_example_of_several_containers_names_what_there_is():
    made = composed()
    services, service = made["services"], made["services"]["service"]
    variables = {name for name in service["environment"] if name.startswith(PREFIX)}
    assert {name.removeprefix(PREFIX).lower() for name in variables} <= set(Settings.model_fields)
    assert services["tables"]["environment"].keys() == {"FASTMARK_REGISTRY"}
    for name in ("tables", "service", "proxy"):
        assert services[name]["read_only"] is True and services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in services[name]
    assert [name for name in services if "ports" in services[name]] == ["proxy"]
    assert (
        service["environment"]["FASTMARK_TRUSTED_PROXIES"]
        == (services["proxy"]["networks"]["inside"]["ipv4_address"])
    )
    # variables of .env, and limits that two files name
    text = (ROOT / ".github" / "compose.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"\$\{(\w+)", text))
    given = re.findall(
        r"^(\w+)=", (ROOT / ".github" / "service.env").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert named == set(given)
    limit = int(service["environment"]["FASTMARK_MAX_BYTES"])
    assert limit == Settings.model_fields["max_bytes"].default
    assert f"client_max_body_size {limit >> 20}m;" in PROXY.read_text(encoding="utf-8")
    for mounted in [*service["volumes"], *services["proxy"]["volumes"]]:
        source = mounted.partition(":")[0]
        assert not source.startswith("./.github") or (ROOT / source).exists(), source


if __name__ == "__main__":
    PAGE.write_text(
        TABLE.sub(lambda found: found[1] + table() + found[3], PAGE.read_text(encoding="utf-8")),
        encoding="utf-8",
    )
