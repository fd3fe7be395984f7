"""Two instances of a service behind nginx as .github/nginx.conf has it, with one registry in PostgreSQL."""

import concurrent.futures
import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from deployments import PROXY, free_port
from postgresql import NoServerError, database, running


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
