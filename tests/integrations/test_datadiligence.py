"""The evaluator of datadiligence, asked through the real library: pixels, metadata, URLs on loopback."""

import contextlib
import functools
import gc
import http.client
import http.server
import io
import pickle
import threading

import pytest
from collected import KEY, TOLD, collection, drawn, encoded
from PIL import Image

dd = pytest.importorskip("datadiligence")
import requests  # noqa: E402  # datadiligence brings it

from fastmark.errors import (  # noqa: E402  # after it is known that it is there
    CredentialError,
    IntegrationError,
    InvalidImageError,
    KeyFormatError,
    KeyNotFoundError,
)
from fastmark.integrations.datadiligence import register  # noqa: E402
from fastmark.provenance import xmp  # noqa: E402
from fastmark.public import embed  # noqa: E402
from fastmark.records import Record  # noqa: E402

TERMS = "http://ns.useplus.org/ldf/vocab/"
ALLOWED = ["ours", "made", "shot", "plain"]
"""Those of the collection whose public watermark forbids nothing."""


# NOTE: datadiligence leaves it to the collector of garbage to close files
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def evaluators():
    dd.load_defaults()
    yield
    for name in dd.list_evaluators():
        if name not in ("preprocess", "postprocess", "file"):
            dd.deregister_evaluator(name)
    dd.load_defaults()
    gc.collect()


@pytest.fixture
def folder(tmp_path):
    for name, data in collection().items():
        (tmp_path / f"{name}.jpg").write_bytes(data)
    return tmp_path


@pytest.fixture
def server(folder):
    handler = functools.partial(_Server, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Server(http.server.SimpleHTTPRequestHandler):
    agents: list = []  # noqa: RUF012  # of all requests

    def do_GET(self):
        self.agents.append(self.headers["User-Agent"])
        super().do_GET()

    def log_message(self, *args):
        pass


def allowed(**options):
    """Names of the collection that are allowed, by the bytes."""
    return [name for name in TOLD if dd.is_allowed(name="fastmark", body=collection()[name], **options)]


def test_pixels_forbid_by_use():
    register()
    assert "fastmark" in dd.list_evaluators()
    assert allowed() == ALLOWED
    register(use="other", overwrite=True)
    assert sorted(allowed()) == sorted([*ALLOWED, "art"])
    register(KEY.detector_key(), overwrite=True)
    assert allowed() == ["made", "shot", "plain"]
    register(KEY, public=False, overwrite=True)
    assert allowed() == ["made", "mine", "art", "shot", "plain"]


@pytest.mark.parametrize("errors", ["refuse", "allow", "raise"])
def test_what_cannot_be_read_is_as_chosen(errors, folder, server):
    register(errors=errors)
    for given in (
        {"body": collection()["broken"]},
        {"path": str(folder / "broken.jpg")},
        {"path": str(folder / "gone.jpg")},
        {"url": f"{server}/broken.jpg"},
        {"url": f"{server}/gone.jpg"},
        {"url": "http://127.0.0.1:1/a.jpg"},
        {"url": "no URL"},
        {"response": requests.get(f"{server}/gone.jpg", timeout=10)},
        {"body": b""},
    ):
        if errors == "raise":
            with pytest.raises(InvalidImageError):
                dd.is_allowed(name="fastmark", **given)
        else:
            assert dd.is_allowed(name="fastmark", **given) is (errors == "allow"), given


def test_images_by_path_url_and_response(folder, server):
    register(user_agent="spawner/1", name="mine")
    for name in ("mine", "plain"):
        fine = name == "plain"
        assert dd.is_allowed(name="mine", path=folder / f"{name}.jpg") is fine
        assert dd.is_allowed(name="mine", url=f"{server}/{name}.jpg") is fine
        response = requests.get(f"{server}/{name}.jpg", timeout=10)
        assert dd.is_allowed(name="mine", response=response, headers=response.headers) is fine
    assert "spawner/1" in _Server.agents


def test_several(folder, server):
    register()
    names = ["mine", "plain", "broken", "made"]
    urls, paths = [f"{server}/{name}.jpg" for name in names], [folder / f"{name}.jpg" for name in names]
    assert dd.is_allowed(name="fastmark", urls=urls) == [False, True, False, True]
    assert dd.is_allowed(name="fastmark", paths=paths) == [False, True, False, True]
    assert dd.filter_allowed(name="fastmark", urls=urls) == [urls[1], urls[3]]
    assert dd.filter_allowed(name="fastmark", paths=paths) == [paths[1], paths[3]]


def test_calls_without_a_name_ask_it_too(folder, server):
    path, url = str(folder / "mine.jpg"), f"{server}/mine.jpg"
    assert dd.is_allowed(path=path) is dd.is_allowed(url=url) is True
    register(everywhere=True)
    register(everywhere=True, overwrite=True)
    assert len(dd.get_evaluator("file").rules) == 2  # that of datadiligence, and one of ours
    assert dd.is_allowed(path=path) is dd.is_allowed(url=url) is False
    assert dd.is_allowed(path=str(folder / "plain.jpg")) is True
    assert dd.is_allowed(headers={"X-Robots-Tag": "all"}) is True
    assert dd.is_allowed(headers={"X-Robots-Tag": "noai"}) is False


def test_a_body_that_can_be_read_only_once_is_not_taken(server):
    register()
    host = server.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("GET", "/plain.jpg")
    with contextlib.closing(connection), connection.getresponse() as response:
        with pytest.raises(IntegrationError, match="body="):
            dd.is_allowed(name="fastmark", response=response)
        assert dd.is_allowed(name="fastmark", body=response.read()) is True


def test_images_too_large_are_not_read_to_their_end(server, folder):
    (folder / "large.jpg").write_bytes(collection()["plain"] + bytes(70 << 20))
    register(max_pixels=100_000, errors="raise")
    for given in ({"url": f"{server}/large.jpg"}, {"path": folder / "large.jpg"}):
        with pytest.raises(InvalidImageError, match="bytes"):
            dd.is_allowed(name="fastmark", **given)


# ---- metadata ----------------------------------------------------------------------------------------------


def with_xmp(packet):
    return encoded(drawn(20, 96, 128), xmp=packet)


def mining(term):
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/">'
        f"<plus:DataMining>{TERMS}{term}</plus:DataMining></rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


@pytest.mark.parametrize(
    ("term", "generative", "other"),
    [
        ("DMI-PROHIBITED", False, False),
        ("DMI-PROHIBITED-AIMLTRAINING", False, False),
        ("DMI-PROHIBITED-GENAIMLTRAINING", False, True),
        ("DMI-PROHIBITED-SEECONSTRAINT", False, False),
        ("DMI-ALLOWED", True, True),
        ("DMI-UNSPECIFIED", True, True),
    ],
)
def test_xmp_forbids_by_use(term, generative, other):
    data = with_xmp(mining(term))
    for use, fine in (("generative", generative), ("other", other)):
        register(use=use, overwrite=True)
        assert dd.is_allowed(name="fastmark", body=data) is fine
    register(metadata=False, overwrite=True)
    assert dd.is_allowed(name="fastmark", body=data) is True


def test_damaged_xmp_is_as_chosen():
    data = with_xmp(mining("DMI-PROHIBITED")[:-40])
    with pytest.raises(CredentialError):
        xmp.read(mining("DMI-PROHIBITED")[:-40])
    for errors, fine in (("refuse", False), ("allow", True)):
        register(errors=errors, overwrite=True)
        assert dd.is_allowed(name="fastmark", body=data) is fine
    register(errors="raise", overwrite=True)
    with pytest.raises(CredentialError):
        dd.is_allowed(name="fastmark", body=data)


@pytest.fixture(scope="module")
def signing():
    pytest.importorskip("c2pa")
    pytest.importorskip("cryptography")
    from certificates import make

    return make()


@pytest.mark.parametrize("policy", ["none", "no-training", "no-generative-training"])
def test_content_credentials_forbid_whoever_signed_them(policy, signing):
    from fastmark.provenance.signing import Signer, sign

    record = Record(provider="Provider", policy=policy)
    signer = Signer(signing.chain, signing.key)
    data = sign(encoded(drawn(21, 96, 128)), "JPEG", record, bytes(8), signer).data
    register()
    assert dd.is_allowed(name="fastmark", body=data) is (policy == "none")
    changed = bytearray(data)
    changed[-20] ^= 1  # no longer as it was signed; it still says that it is not to be used
    assert dd.is_allowed(name="fastmark", body=bytes(changed)) is (policy == "none")


# ---- the rest ----------------------------------------------------------------------------------------------


def test_an_opt_out_survives_a_screenshot():
    image = Image.fromarray(embed(drawn(30, 512, 640), "do-not-train"))
    shot = io.BytesIO()
    image.resize((480, 384)).crop((20, 10, 460, 370)).save(shot, "PNG")
    register()
    assert dd.is_allowed(name="fastmark", body=shot.getvalue()) is False


def test_what_is_refused(tmp_path):
    register()
    with pytest.raises(ValueError, match="there is no image"):
        dd.is_allowed(name="fastmark")
    with pytest.raises(Exception, match="fastmark"):
        register()  # the name is taken
    with pytest.raises(KeyFormatError, match="nothing to look for"):
        register(public=False)
    with pytest.raises(KeyNotFoundError):
        register(tmp_path / "no.key")
    for options in ({"use": "music"}, {"errors": "ignore"}):
        with pytest.raises(ValueError, match="is not possible: choose from"):
            register(**options)


def test_pickles_do_the_same():
    copy = pickle.loads(pickle.dumps(register(KEY)))
    assert isinstance(copy, dd.Evaluator)
    assert copy.is_ready()
    assert [name for name in TOLD if copy.is_allowed(body=collection()[name])] == ["made", "shot", "plain"]
