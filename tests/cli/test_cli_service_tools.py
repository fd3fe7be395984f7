"""``fastmark token``, ``report-key`` and ``verify-report``, as people run them."""

import hashlib
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from commands import assert_refused, rows, run

pytest.importorskip("limits", reason="the extra serve is not installed")
pytest.importorskip("jwt", reason="the extra serve is not installed")

from fastmark.service.reports import ReportKeys
from fastmark.service.tokens import RIGHTS, Tokens

# ---- tokens ----------------------------------------------------------------------------------------------


def token(folder, *arguments, **options):
    return run("token", *arguments, cwd=folder, **options)


def test_the_secret_of_a_token_is_printed_once_and_alone(tmp_path):
    done = token(tmp_path, "add", "newsroom", "--rights", "detect, scores", "--rate", "none")
    assert done.returncode == 0
    secret = done.stdout.decode()
    assert secret.endswith("\n") and secret.count("\n") == 1
    found = Tokens(tmp_path / "fastmark-tokens.json").find(secret.strip())
    assert (found.name, found.rights, found.rate) == ("newsroom", {"detect", "scores"}, "none")
    assert secret.strip().encode() not in done.stderr and b"cannot be shown again" in done.stderr
    assert token(tmp_path, "add", "server", "--rights", "embed").returncode == 0

    listed = token(tmp_path, "list")
    lines = listed.stdout.decode().splitlines()
    assert (listed.returncode, listed.stderr, len(lines)) == (0, b"", 2)
    assert lines[0].startswith("newsroom: detect, scores; no limit; made 20")
    assert lines[1].startswith("server: embed; the service's rate; made 20")
    read = rows(token(tmp_path, "list", "--json").stdout)
    assert [(row["name"], row["rights"], row["rate"]) for row in read] == [
        ("newsroom", ["detect", "scores"], "none"),
        ("server", ["embed"], None),
    ]
    assert set(read[0]) == {"schema", "name", "rights", "rate", "created_at"}

    gone = token(tmp_path, "revoke", "newsroom")
    assert (gone.returncode, gone.stdout, gone.stderr) == (0, b"newsroom: revoked\n", b"")
    assert [row["name"] for row in rows(token(tmp_path, "list", "--json").stdout)] == ["server"]
    assert_refused(token(tmp_path, "revoke", "newsroom"), "no token named 'newsroom'")


def test_the_variable_names_the_file_of_tokens(tmp_path):
    env = {"FASTMARK_TOKENS": "of-the-variable.json"}
    assert token(tmp_path, "add", "a", "--rights", "detect", env=env).returncode == 0
    done = token(tmp_path, "add", "a", "--rights", "detect", "--tokens", "of-the-option.json", env=env)
    assert done.returncode == 0
    names = {path.name for path in tmp_path.glob("*.json")}
    assert names == {"of-the-variable.json", "of-the-option.json"}


def test_tokens_that_are_refused(tmp_path):
    assert_refused(token(tmp_path, "add", "a"), "--rights")
    assert_refused(token(tmp_path, "add", "a", "--rights", "all"), "must be at least one of", *RIGHTS)
    assert_refused(token(tmp_path, "add", "a b", "--rights", "detect"), "cannot be the name")
    assert_refused(token(tmp_path, "add", "a", "--rights", "detect", "--rate", "often"), "600/minute")
    (tmp_path / "fastmark-tokens.json").write_text("{")
    for arguments in (("list",), ("revoke", "a"), ("add", "a", "--rights", "detect")):
        assert_refused(token(tmp_path, *arguments), "damaged")


def test_help_names_every_right():
    told = run("token", "add", "--help").stdout.decode()
    assert all(f"{right} (" in " ".join(told.split()) for right in RIGHTS)


# ---- reports ---------------------------------------------------------------------------------------------

IMAGE = b"any bytes: nobody decodes them"
ANSWER = {
    "verdict": "genuine",
    "sentence": "This image carries the watermark of \x1b[31mOURS.",
    "sha256": hashlib.sha256(IMAGE).hexdigest(),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with keys that were rotated, reports by both, and the image; nobody writes in it."""
    folder = tmp_path_factory.mktemp("reports")
    ReportKeys.make(folder / "keys")
    keys = ReportKeys.load(folder / "keys")
    (folder / "old.jws").write_text(keys.sign(ANSWER, "https://check.example") + "\n")
    ReportKeys.rotate(folder / "keys")
    (folder / "new.jws").write_text(keys.sign(ANSWER))
    (folder / "answer.json").write_text(json.dumps({"verdict": "a lie", "report": keys.sign(ANSWER)}))
    (folder / "unsigned.json").write_text(json.dumps(ANSWER))
    (folder / "jwks.json").write_text(json.dumps(keys.jwks()))
    (folder / "image.png").write_bytes(IMAGE)
    (folder / "other.png").write_bytes(IMAGE + b"!")
    return folder


def verify(folder, *arguments, keys="jwks.json", **options):
    return run("verify-report", *arguments, "--keys", keys, cwd=folder, **options)


def test_keys_are_made_rotated_and_shown(tmp_path):
    done = run("report-key", "init", "keys", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    first = ReportKeys.load(tmp_path / "keys").kid
    assert done.stdout.decode().startswith(f"keys: signs with key {first}; keep the folder secret")
    assert_refused(run("report-key", "init", "keys", cwd=tmp_path), "has a key already")
    done = run("report-key", "rotate", "keys", cwd=tmp_path)
    second = ReportKeys.load(tmp_path / "keys").kid
    assert (done.returncode, done.stderr) == (0, b"") and first != second
    assert done.stdout.decode().startswith(f"keys: signs with key {second}; 1 retired")
    done = run("report-key", "show", "keys", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [key["kid"] for key in json.loads(done.stdout)["keys"]] == [second, first]
    private = (tmp_path / "keys" / "private.pem").read_bytes().splitlines()[1]
    assert private not in done.stdout
    for command in ("rotate", "show"):
        assert_refused(run("report-key", command, "nowhere", cwd=tmp_path), "report-key init nowhere")


def test_a_report_that_holds(made):
    done = verify(made, "old.jws")
    lines = done.stdout.decode().splitlines()
    assert (done.returncode, done.stderr) == (0, b"")
    new, old = ReportKeys.load(made / "keys").jwks()["keys"]
    assert lines[0] == "old.jws: holds"
    told = f"https://check.example, with key {old['kid']}, which was retired at {old['retired_at']}"
    assert lines[1] == f"  signed by: {told}"
    assert lines[2].startswith("  signed at: 20") and lines[2].endswith("Z")
    assert lines[3] == "  it says: This image carries the watermark of  [31mOURS."  # nothing a terminal obeys
    assert lines[4] == f"  of the file with SHA-256: {ANSWER['sha256']}"
    assert "holder of this key said so" in lines[5] and len(lines) == 6
    lines = verify(made, "new.jws").stdout.decode().splitlines()
    assert lines[1] == (
        f"  signed by: a service that does not name itself, with key {new['kid']}, which signs still"
    )


def test_reports_come_from_stdin_and_from_answers(made):
    piped = verify(made, "-", input=(made / "new.jws").read_bytes())
    assert piped.returncode == 0 and piped.stdout.startswith(b"-: holds\n")
    done = verify(made, "answer.json")
    assert done.returncode == 0 and b"a lie" not in done.stdout and b"watermark of" in done.stdout
    assert_refused(verify(made, "unsigned.json"), "no signed report in this answer")
    assert_refused(verify(made, "-", input=b""), "stdin is empty")


def test_the_image_of_a_report(made):
    done = verify(made, "new.jws", "--image", "image.png")
    assert done.returncode == 0 and b"\n  image.png: is that file\n" in done.stdout
    done = verify(made, "new.jws", "--image", "other.png")
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout.startswith(
        b"new.jws: does not hold: it is signed, but it is the report of another file\n"
    )
    assert b"\n  other.png: is another file\n" in done.stdout
    assert_refused(verify(made, "new.jws", "--image", "nowhere.png"), "nowhere.png: there is no such file")


def test_a_report_that_does_not_hold(made, tmp_path):
    report = (made / "new.jws").read_text()
    header, payload, signature = report.split(".")
    other = ReportKeys.make(tmp_path / "other").sign(ANSWER)
    for text, says in (
        (f"{header}.{payload[:-4]}AAAA.{signature}", "altered"),
        ("anything", "damaged"),
        (f"eyJhbGciOiJub25lIn0.{payload}.", "damaged"),
        (f"eyJhbGciOiJub25lIn0.{payload}.{signature}", "not signed with EdDSA"),
        (other, "none of the keys"),
    ):
        done = verify(made, "-", input=text.encode())
        assert (done.returncode, done.stderr) == (1, b"")
        assert done.stdout.decode().startswith("-: does not hold: ") and says in done.stdout.decode()
        (row,) = rows(verify(made, "-", "--json", input=text.encode()).stdout)
        assert (row["holds"], row["answer"], row["kid"]) == (False, None, None) and says in row["reason"]


def test_what_was_verified_as_json(made):
    done = verify(made, "old.jws", "--json", "--image", "image.png")
    (row,) = rows(done.stdout)
    kid = ReportKeys.load(made / "keys").jwks()["keys"][1]["kid"]
    assert (done.returncode, row["holds"], row["reason"], row["image"]) == (0, True, None, "same")
    assert (row["issuer"], row["kid"], row["answer"]) == ("https://check.example", kid, ANSWER)
    assert (
        row["signed_at"].startswith("20") and row["retired_at"].startswith("20") and "no more" in row["note"]
    )
    done = verify(made, "old.jws", "--json", "--image", "other.png")
    (row,) = rows(done.stdout)
    assert (done.returncode, row["holds"], row["image"]) == (1, False, "other") and row["answer"] == ANSWER
    (row,) = rows(verify(made, "new.jws", "--json").stdout)
    assert (row["issuer"], row["retired_at"], row["image"]) == (None, None, None)


def test_keys_and_reports_that_cannot_be_read_are_errors(made, tmp_path):
    assert_refused(verify(made, "nowhere.jws"), "nowhere.jws: there is no such file")
    assert_refused(verify(made, "new.jws", keys="nowhere.json"), "nowhere.json: there is no such file")
    for name in ("image.png", "unsigned.json", "new.jws"):
        assert_refused(verify(made, "new.jws", keys=name), "no JWK set")
    assert_refused(run("verify-report", "new.jws", cwd=made), "--keys")


class Listing(BaseHTTPRequestHandler):
    """Answers as the class says, and keeps the paths that were asked for."""

    body, kind, paths = b"", "application/json", []

    def do_GET(self):  # the name is the library's
        self.paths.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def listing(made):
    """A service on loopback that lists its keys; its URL, and the class of its answers."""
    handler = type("Handler", (Listing,), {"body": (made / "jwks.json").read_bytes(), "paths": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


def test_keys_are_fetched_from_the_service(made, listing):
    url, handler = listing
    for place, path in (
        ("", "/.well-known/jwks.json"),
        ("/", "/.well-known/jwks.json"),
        ("/prefix/", "/prefix/.well-known/jwks.json"),
        ("/keys.json", "/keys.json"),
    ):
        done = verify(made, "new.jws", keys=url + place)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr
        assert handler.paths.pop() == path
    told = verify(made, "old.jws", keys=url).stdout.decode()
    assert f"NOTE: the keys are of {url}, and it names https://check.example as its signer." in told
    assert "NOTE" not in verify(made, "old.jws").stdout.decode()


def test_keys_that_are_not_fetched(made, listing):
    url, handler = listing
    assert_refused(verify(made, "new.jws", keys=url.replace("http:", "https:")), "cannot be reached")
    for place in ("http://10.0.0.1/", "http://192.0.2.1/jwks.json"):
        assert_refused(verify(made, "new.jws", keys=place), "http:// is for this machine alone")
    assert_refused(verify(made, "new.jws", keys="ftp://127.0.0.1/"), "must begin with https://")
    refused = verify(made, "new.jws", keys="https://user:password@127.0.0.1/")
    assert_refused(refused, "no user name")
    assert b"password@" not in refused.stderr
    handler.kind = "text/html"
    assert_refused(verify(made, "new.jws", keys=url), "does not say that it is one of application/json")
    handler.kind, handler.body = "application/json", b"[]"
    assert_refused(verify(made, "new.jws", keys=url), "no JWK set")
    handler.body = b" " * (1 << 20) + b"{}"
    assert_refused(verify(made, "new.jws", keys=url), "more than 1048576 bytes")


def test_help_imports_no_package_of_the_service():
    code = (
        "import sys; from fastmark.cli import main\n"
        "for words in ([], ['token'], ['report-key'], ['verify-report']):\n"
        "    try: main([*words, '--help'])\n"
        "    except SystemExit: pass\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.decode().split()}
    assert not loaded & {"limits", "jwt", "cryptography", "httpcore", "anyio", "fastapi", "numpy", "numba"}
    assert "fastmark.service" not in done.stderr.decode()
