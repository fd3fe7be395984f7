"""SERVICE.md does what it says, and the files in .github run a service, by hand: no container is made here.

python tests/service/test_deployment.py    # writes the table of options into SERVICE.md
"""

import asyncio
import concurrent.futures
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
import tempfile
import time
import tomllib
from pathlib import Path

import pytest
from pictures import drawn
from postgresql import NoServerError, database, running

from fastmark.cli.serving import OPTIONS
from fastmark.service.running import listen
from fastmark.service.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "fastmark" / "SERVICE.md"
PROXY = ROOT / ".github" / "nginx.conf"
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


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


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


# ---- a proxy, PostgreSQL, and two instances --------------------------------------------------------------


@pytest.fixture(scope="module")
def proxied(house):
    """nginx as in .github/nginx.conf, in front of two services that share one registry in PostgreSQL."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed (Debian's package nginx-light)")
    pytest.importorskip("psycopg")
    from services import serving

    from fastmark.registry import Registry

    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(database(stack.enter_context(running())))
        except NoServerError as error:
            pytest.skip(str(error))
        with contextlib.closing(Registry(url)) as registry:
            registry.init()
        options = house.options | {"registry": url, "answer_ms": 0, "root_path": "/check"}
        options |= {"trusted_proxies": "127.0.0.1", "rate_public": "4/hour"}
        first = stack.enter_context(serving(house.folder, options))
        second = stack.enter_context(serving(house.folder, options))
        yield stack.enter_context(Nginx.running([first.url, second.url])), first, url


class Nginx:
    """An nginx on a free port, with the files that it has written."""

    def __init__(self, folder, port, trust):
        self.folder, self.port, self.trust = folder, port, trust

    @classmethod
    @contextlib.contextmanager
    def running(cls, upstream):
        from tls import contexts

        folder = Path(tempfile.mkdtemp(prefix="fastmark-nginx-"))  # where users other than root may look
        folder.chmod(0o755)
        _, trust = contexts(folder, "127.0.0.1")
        (certificate,) = folder.glob("*.pem")
        (folder / "tmp").mkdir()
        plain, port = free_port(), free_port()
        text = PROXY.read_text(encoding="utf-8")
        servers = "".join(f"server {url.removeprefix('http://').partition('/')[0]}; " for url in upstream)
        for old, new in (
            (" /tmp/", f" {folder / 'tmp'}/"),
            ("server service:8000;", servers),
            ("listen 8080;", f"listen 127.0.0.1:{plain};"),
            ("listen 8443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
            ("/etc/nginx/tls.crt", str(certificate)),
            ("/etc/nginx/tls.key", str(certificate)),
            ("/dev/stdout", str(folder / "access.log")),
            ("/dev/stderr", str(folder / "error.log")),
            ("worker_processes auto;", "worker_processes 1;"),
        ):
            assert old in text, old
            text = text.replace(old, new)
        (folder / "nginx.conf").write_text(text)
        if os.geteuid() == 0:  # as in the container, it is not root
            for path in (folder, *folder.rglob("*")):
                os.chown(path, 65534, 65534)
        options = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        command = ["nginx", "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "start.log"]
        command += ["-g", "daemon off;"]
        process = subprocess.Popen(list(map(str, command)), cwd="/", **options)
        try:
            end = time.monotonic() + 30
            while process.poll() is None and time.monotonic() < end:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            assert process.poll() is None, (folder / "start.log").read_text()
            yield cls(folder, port, trust)
        finally:
            process.terminate()
            process.wait(30)
            shutil.rmtree(folder)

    def client(self, address="127.0.0.1", **options):
        """A client whose address is one of this machine's many."""
        import httpx

        transport = httpx.HTTPTransport(verify=self.trust, local_address=address)
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}", transport=transport, timeout=60, **options
        )


def test_images_are_checked_through_the_proxy_with_and_without_the_path(proxied, house):
    nginx, _, _ = proxied
    with nginx.client(headers=house.bearer("scores")) as client:
        for path in ("/v1/detect", "/check/v1/detect"):
            answer = client.post(path, files={"image": ("a.jpg", house.marked)}).json()
            assert answer["detection"]["state"] == "detected", path
        for path in ("/", "/check/"):
            page = client.get(path)
            links = re.findall(r'(?:href|src)="([^"]*static/[^"]*)"', page.text)
            assert len(links) >= 3
            assert {client.get(page.url.join(link)).status_code for link in links} == {200}
        assert client.get("/metrics", headers=house.bearer("metrics")).status_code == 404


def test_bodies_that_are_too_large_end_at_the_proxy(proxied, house):
    nginx, _, _ = proxied
    with nginx.client(headers=house.bearer("detect")) as client:
        assert client.post("/v1/detect", content=bytes((32 << 20) + 1)).status_code == 413
        # what passes, passes both
        largest = b"\x89PNG\r\n\x1a\n".ljust(32 << 20, b"x")
        assert client.post("/v1/detect", content=largest).status_code == 422


def statuses(client, count, **headers):
    return [client.post("/v1/detect", content=b"no image", headers=headers).status_code for _ in range(count)]


def test_rates_count_the_callers_address_and_nobody_can_forge_one(proxied):
    nginx, service, _ = proxied
    with nginx.client("127.0.0.3") as client:
        # two instances count four each
        seen = [statuses(client, 1, **{"X-Forwarded-For": f"203.0.113.{n}"})[0] for n in range(10)]
        assert sorted(seen) == [422] * 8 + [429] * 2
    with nginx.client("127.0.0.4") as client:
        assert statuses(client, 1) == [422]
    import httpx

    # past the proxy: the header of somebody who is no proxy is not believed
    for address, expected in (("127.0.0.5", [422] * 4 + [429] * 2), ("127.0.0.1", [422] * 6)):
        transport = httpx.HTTPTransport(local_address=address)
        with httpx.Client(base_url=service.url, transport=transport, timeout=60) as client:
            seen = [statuses(client, 1, **{"X-Forwarded-For": f"198.51.100.{n}"})[0] for n in range(6)]
            assert seen == expected, address


def test_two_instances_draw_no_id_twice(proxied, house):
    from fastmark.registry import Registry

    nginx, _, url = proxied

    def embed(_):
        with nginx.client(headers=house.bearer("embed")) as client:
            done = client.post("/v1/embed", content=house.source)
            return done.status_code, done.headers.get("fastmark-id")

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        done = list(threads.map(embed, range(12)))
    assert {status for status, _ in done} == {200}
    ids = {name for _, name in done}
    assert len(ids) == 12
    with contextlib.closing(Registry(url)) as registry:
        assert all(registry.get(bytes.fromhex(name)).state == "delivered" for name in ids)


def test_the_proxy_keeps_nothing_of_what_passes(proxied, house):
    """After all of the above: bodies of many sizes, callers of four addresses, ids in URLs."""
    nginx, _, _ = proxied
    with nginx.client("127.0.0.6", headers={"User-Agent": "agent-3307"}) as client:
        client.get(f"/i/{house.message.hex()}?query-8812")
        client.post("/v1/detect", files={"image": ("holiday-7391.png", os.urandom(3_000_000))})
    folders = [path for path in (nginx.folder / "tmp").rglob("*") if path.is_dir()]
    assert len(folders) == 5  # one per kind, and none below for files
    written = [path for path in (nginx.folder / "tmp").rglob("*") if path.is_file()]
    assert [path.name for path in written] == ["nginx.pid"]
    begun = (nginx.folder / "nginx.conf").stat().st_mtime_ns
    assert all(path.stat().st_mtime_ns - begun < 30e9 for path in folders)
    logs = "".join((nginx.folder / name).read_text() for name in ("access.log", "error.log", "start.log"))
    assert len(logs.splitlines()) > 20
    for secret in (
        "127.0.0",
        "203.0.113",
        house.message.hex(),
        "agent-3307",
        "query-8812",
        "holiday",
        "/v1/",
    ):
        assert secret not in logs, secret


if __name__ == "__main__":
    PAGE.write_text(
        TABLE.sub(lambda found: found[1] + table() + found[3], PAGE.read_text(encoding="utf-8")),
        encoding="utf-8",
    )
