"""Nothing of what somebody checks stays anywhere: no file, no line of a log, no metric, no memory."""

import asyncio
import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
import zlib
from pathlib import Path
from typing import get_args

import httpx
import pytest
from pictures import drawn
from PIL import Image
from services import encoded, serving

import fastmark
from fastmark.checking.verdicts import Verdict
from fastmark.service.app import make_app
from fastmark.service.settings import Settings

SECRET = {
    "name": "holiday-7391",
    "content": "content-5521",
    "address": "203.0.113.77",
    "token": "unknown-token-6640",
    "query": "query-8812",
    "agent": "agent-3307",
    "referer": "referer-9918",
    "cookie": "cookie-1175",
    "host": "images-4426.example",
    "path": "path-2093",
    "owner": "owner-6054",
    "field": "field-7719",
}
"""Each is sent in its place, and is nowhere afterwards."""

CALLER = {
    "X-Forwarded-For": SECRET["address"],
    "User-Agent": SECRET["agent"],
    "Referer": f"https://{SECRET['referer']}.example/",
    "Cookie": f"session={SECRET['cookie']}",
}
CREATING = (
    "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,rename,renameat,renameat2,link,linkat,symlink,"
    "symlinkat,truncate,ftruncate,memfd_create,unlink,unlinkat,rmdir"
)


@dataclasses.dataclass
class Watched:
    """A server whose folders are its own, and nothing else's."""

    server: object
    folders: list
    before: dict
    calls: Path | None


def described(folders):
    """Every file and folder with its size and times; a file that came and went shows in its folder's."""
    found = {}
    for folder in folders:
        for path in (folder, *sorted(folder.rglob("*"))):
            if path.name.startswith("serve-"):  # the log itself, which is read below
                continue
            told = path.lstat()
            found[str(path)] = (told.st_mode, told.st_size, told.st_mtime_ns, told.st_ctime_ns)
    return found


def children(pid):
    """The processes that a process has started."""
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


@contextlib.contextmanager
def traced(pids, output):
    """Have every call noted that can make a file; None without strace, or where it may not look."""
    if shutil.which("strace") is None:
        yield None
        return
    command = ["strace", "-f", "-y", "-qq", "-s", "400", "-e", f"trace={CREATING.replace(',', ',?')}"]
    command += ["-o", str(output), *(part for pid in pids for part in ("-p", str(pid)))]
    with output.with_suffix(".err").open("wb") as errors:
        process = subprocess.Popen(command, stderr=errors)
    try:
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline and not all(map(tracer_of, pids)):
            time.sleep(0.05)
        yield output if process.poll() is None else None
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def tracer_of(pid):
    return int(re.search(r"TracerPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


@pytest.fixture(scope="module")
def watched(house, tmp_path_factory):
    """A server after everything that may be asked of it, damaged or not."""
    root = tmp_path_factory.mktemp("watched")
    folders = [root / name for name in ("tmp", "home", "at")]
    for folder in folders:
        folder.mkdir()
    temporary, home, at = folders
    options = house.options | {"answer_ms": 0, "urls": "true", "trusted_proxies": "127.0.0.1"}
    options |= {"body_seconds": 2, "max_bytes": 8 << 20}
    environment = {"TMPDIR": str(temporary), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    with serving(at, options, **environment) as server:
        with server.client() as client:  # kernels of the map, and what is loaded for the first embedding
            client.post("/v1/detect?where=true", content=house.marked)
            client.post("/v1/embed", content=house.source, headers=house.bearer("embed"))
        before = described(folders)
        workers = [pid for pid in children(server.process.pid) if is_worker(pid)]
        assert len(workers) == 1
        with traced([server.process.pid, *workers], root / "calls") as calls:
            ask_everything(server, house)
        yield Watched(server, folders, before, calls)


def is_worker(pid):
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def ask_everything(server, house):
    """Send images of all kinds in all ways, by a caller with secrets."""
    marked, text = secret_jpeg(house.marked), secret_png()
    large = encoded(drawn(900, 1200), "PNG")
    assert len(large) > 1 << 20
    token = {"Authorization": f"Bearer {SECRET['token']}"}
    with server.client(headers=CALLER) as client:
        where = f"/v1/detect?where=true&report=true&secret={SECRET['query']}"
        assert client.post(where, content=marked).json()["id"] == house.message.hex()
        assert client.post("/v1/detect", files={"image": (name(".png"), large)}).status_code == 200
        assert client.post("/v1/detect", content=text).status_code == 200
        both = [("images", (name(".jpg"), marked)), ("images", (name(".txt"), damaged(".png")))]
        assert "error" in client.post("/v1/detect/batch", files=both).json()["answers"][1]
        for hostile in hostile_names():
            client.post("/v1/detect", files={"image": (hostile, text, f"image/{SECRET['field']}")})
        for kind in (".png", ".jpg", ".tif", ".gif", ".webp", ".avif", ".svg", ".bin"):
            assert client.post("/v1/detect", content=damaged(kind)).status_code in (200, 422), kind
        client.post("/v1/detect", files={"image": (name(), text)}, data={SECRET["field"]: SECRET["content"]})
        client.post("/v1/detect", json={"url": f"https://{SECRET['host']}/{SECRET['path']}"})
        client.post("/v1/detect", json={"url": f"file:///{SECRET['path']}"})
        client.post("/v1/detect", content=marked, headers=token)
        client.post("/v1/detect", content=bytes(9 << 20))  # too large
        client.post(f"/v1/detect?where={SECRET['query']}", content=marked)
        client.get(f"/i/{house.message.hex()}")
        client.get(f"/i/{SECRET['path']}")
        client.get(f"/{SECRET['path']}?{SECRET['query']}")
        record = {"provider": "Example Studio", "system": "Painter", "owner": SECRET["owner"]}
        for owner in (record, SECRET["owner"]):
            client.post(
                "/v1/embed",
                files={"image": (name(".png"), house.source)},
                data={"record": json.dumps(owner)},
                headers=house.bearer("embed"),
            )
        client.post("/v1/embed/batch", files=both, headers=house.bearer("embed"))
    head = (
        f"X-Forwarded-For: {SECRET['address']}\r\nHost: {SECRET['host']}\r\nContent-Length: 5000000\r\n\r\n"
    )
    for first in ("POST /v1/detect HTTP/1.1\r\n", f"{SECRET['path']} \x01 {SECRET['query']}\r\n"):
        broken_off(server, (first + head).encode() + marked)
    too_slow(server, f"POST /v1/detect?{SECRET['query']} HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n")
    # a decoder that crashes takes its process with it: nothing may be left of the image that it held
    (worker,) = (pid for pid in children(server.process.pid) if is_worker(pid))
    os.kill(worker, signal.SIGSEGV)
    with server.client(headers=CALLER) as client:
        client.post("/v1/detect", content=marked)
        deadline = time.monotonic() + 60
        while client.post("/v1/detect", content=marked).status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.1)


def name(ending=""):
    return SECRET["name"] + ending


def hostile_names():
    yield f"../../../tmp/{name('.png')}"
    yield f"/tmp/{name('.png')}"
    yield f"{name()}\x00.png"
    yield f"{name()}\r\nX: y.png"
    yield f"{name()}\u202egnp.exe"
    yield f"%(levelname)s {{0}} {name()}"
    yield f"{name()}{'x' * 5000}.png"


def secret_jpeg(data):
    """A JPEG with a comment."""
    comment = SECRET["content"].encode()
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + data[2:]


def secret_png():
    buffer = io.BytesIO()
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", SECRET["content"])
    Image.fromarray(drawn(96, 128)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def damaged(kind):
    """A file whose decoder has something to say of it, and quotes it."""
    said = SECRET["content"].encode()
    if kind == ".png":
        start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
        return start + struct.pack(">I", 9) + said[:4] + said
    buffer = io.BytesIO()
    names = {".jpg": "JPEG", ".tif": "TIFF", ".gif": "GIF", ".webp": "WEBP", ".avif": "AVIF"}
    if kind not in names:
        return b"<svg>" + said * 40 + b"</svg>"
    Image.fromarray(drawn(96, 128)).save(buffer, names[kind])
    data = bytearray(buffer.getvalue())
    middle = len(data) // 2
    data[middle : middle + len(said)] = said
    if kind == ".tif":  # tags that nobody knows, with more values than there are bytes
        data = data.replace(struct.pack("<HHI", 258, 3, 3), struct.pack("<HHI", 258, 3, 70000))
    return bytes(data[: 3 * middle // 2])


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def place(server):
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return host, int(port)


def broken_off(server, data):
    """Send a part of a request, and go."""
    with socket.create_connection(place(server), timeout=20) as connection, contextlib.suppress(OSError):
        connection.sendall(data)


def too_slow(server, head):
    """Send a part of a request, and wait for what is said of it."""
    with socket.create_connection(place(server), timeout=60) as connection:
        connection.sendall(head.encode() + SECRET["content"].encode())
        assert b" 408 " in connection.recv(1000)


# ---- files -----------------------------------------------------------------------------------------------


def test_no_file_is_made_or_changed_in_the_folders_of_the_service(watched):
    assert described(watched.folders) == watched.before


def test_no_file_is_opened_for_writing(watched, house):
    """By strace: of the front process, of the one that looks at images, and of the one that replaced it."""
    if watched.calls is None:
        pytest.skip("strace is not installed, or may not look at other processes")
    lines = watched.calls.read_text(errors="replace").splitlines()
    opened = [line for line in lines if "openat(" in line]
    assert any("ids.db" in line for line in opened)  # it does look
    allowed = [str(house.folder / "ids.db"), "/dev/null", str(Path(fastmark.__file__).parent / "kernels")]
    if cache := os.environ.get("NUMBA_CACHE_DIR"):
        allowed.append(cache)
    changing = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE|O_APPEND|O_TRUNC")
    for line in lines:
        call = re.search(r"(\w+)\(", line)
        if call is None or "resumed>" in line:
            continue
        if call[1] in ("open", "openat", "openat2") and not changing.search(line):
            continue
        paths = re.findall(r'"([^"]*)"', line)
        # what ftruncate is called for has its path between < and >
        paths = paths or re.findall(r"<(/[^>]*)>", line)
        assert paths, line
        assert all(path.startswith(tuple(allowed)) for path in paths), line


def test_no_process_leaves_its_memory_behind_when_it_crashes(watched):
    """A core file would hold the image whose decoder crashed."""
    front = watched.server.process.pid
    for pid in (front, *(child for child in children(front) if is_worker(child))):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size\s+0\s+0\s", limits), pid


# ---- the log, and what Prometheus is told ----------------------------------------------------------------


def told(server):
    """Everything that the server has written since it was ready."""
    return server.log() + server.errors().partition(" ready, ")[2]


def secrets_of(house):
    yield from SECRET.items()
    yield from {f"token {right}": secret for right, secret in house.tokens.items()}.items()
    yield "message", house.message.hex()
    yield "address of this machine", "127.0.0.1"


def assert_none(text, house):
    for what, secret in secrets_of(house):
        assert secret not in text, what
        assert secret.encode().hex() not in text, what


def test_the_log_holds_no_secret(watched, house):
    text = told(watched.server)
    assert_none(text, house)
    assert "PNG" not in text and "Exif" not in text


def test_the_log_has_one_object_per_request_and_nothing_else(watched):
    rows = [json.loads(line) for line in watched.server.log().splitlines()]
    assert len(rows) > 30
    assert {tuple(row) for row in rows} == {("time", "route", "status", "bytes", "ms", "verdict")}
    for row in rows:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["time"])
        assert row["verdict"] is None or row["verdict"] in get_args(Verdict)
        assert [type(row[name]) for name in ("status", "bytes", "ms")] == [int, int, float]
    assert {row["route"] for row in rows} <= routes(watched.server)
    assert {200, 400, 401, 404, 408, 413, 422} <= {row["status"] for row in rows}
    assert not any(row["status"] >= 500 and row["status"] != 502 for row in rows)


def routes(server):
    with server.client() as client:
        return set(client.get("/openapi.json").json()["paths"]) | {"none", "/openapi.json"}


def test_metrics_hold_no_secret(watched, house):
    with watched.server.client() as client:
        text = client.get("/metrics", headers=house.bearer("metrics")).text
    assert_none(text, house)
    labels = set(re.findall(r'(\w+)="([^"]*)"', text))
    assert {name for name, _ in labels} == {"route", "status", "verdict", "le"}
    assert {value for name, value in labels if name == "route"} <= routes(watched.server)
    assert {value for name, value in labels if name == "verdict"} <= set(get_args(Verdict))


def test_an_error_of_the_service_itself_is_logged_without_what_it_quotes(house, caplog, monkeypatch):
    app = make_app(Settings.read(key=(str(house.folder / "studio.key"),)))

    async def fail(*_):
        raise RuntimeError(SECRET["content"]) from ValueError(SECRET["name"])

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a", headers=CALLER) as client:
            return await client.post(f"/v1/detect?{SECRET['query']}", content=house.marked)

    monkeypatch.setattr(app.state.service, "admit", fail)
    with caplog.at_level(0):
        response = asyncio.run(ask())
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    ours = [record for record in caplog.records if record.name.startswith("fastmark")]
    assert any("RuntimeError in" in record.getMessage() for record in ours)
    for record in ours:
        assert record.exc_info is None
        assert_none(record.getMessage(), house)
    assert_none(response.text, house)


# ---- memory ----------------------------------------------------------------------------------------------


def resident_mb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def test_memory_is_given_back(watched, house):
    """Sixty bodies of 8 MB, whose answers are errors: the front process keeps none of them."""
    server = watched.server
    body = b"\x89PNG\r\n\x1a\n" + os.urandom(8_000_000)
    with server.client() as client:
        for _ in range(4):
            assert client.post("/v1/detect", content=body).status_code == 422
        before = resident_mb(server.process.pid)
        for _ in range(30):
            client.post("/v1/detect", content=body)
            client.post("/v1/detect", files={"image": ("a.png", body)})
        client.post("/v1/detect", content=house.marked)
        assert resident_mb(server.process.pid) < before + 40
        text = client.get("/metrics", headers=house.bearer("metrics")).text
        assert "fastmark_body_bytes 0.0" in text
        assert "fastmark_images_in_hand 0.0" in text
