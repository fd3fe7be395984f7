"""Images by URL: nothing but public hosts is reached, however the URL, the name or a redirect tries it."""

import asyncio
import gzip
import ipaddress
import logging
import pickle
import socket

import pytest

pytest.importorskip("httpcore", reason="the extra serve is not installed")
pytest.importorskip("cryptography", reason="the extra serve is not installed")

import httpcore
from tls import contexts, serving

from fastmark.service.addresses import is_public
from fastmark.service.fetching import Fetcher, FetchError

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"  # one that tests permit, and one that they do not
HOST = "images.example"
IMAGE = bytes(range(256)) * 8
MOST = 10_000


def reply(body=b"", status="200 OK", length=True, **headers):
    headers = {"content_type": "image/png"} | headers
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None]
    lines += [f"content-length: {len(body)}"] if length else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(to, status="302 Found"):
    return reply(status=status, location=to)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return contexts(tmp_path_factory.mktemp("tls"), HOST, f"xn--bcher-kva.{HOST}", HERE, "0::1")


class Names:
    """A resolver: each name has lists of addresses, of which the last is given again and again."""

    def __init__(self, **names):
        self.names = {HOST: [[HERE]], f"xn--bcher-kva.{HOST}": [[HERE]], HERE: [[HERE]]} | names
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append((host, port))
        answers = self.names.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, f"{host} is not known")
        return answers.pop(0) if len(answers) > 1 else answers[0]


def permitted(address):
    return is_public(address) or address == ipaddress.ip_address(HERE)


def fetch(tls, answers, url="https://{host}:{port}/", names=None, **options):
    """What a URL gives, or the error; and the server that was asked. ``answers``: by path, or one of /."""
    answers = answers if isinstance(answers, dict) else {"/": answers}
    options = {
        "most_bytes": MOST,
        "seconds": 20,
        "permitted": permitted,
        "ssl_context": tls[1],
        "ports": None,
    } | options

    async def all_of_it():
        async with serving(answers, tls[0]) as served:
            fetcher = Fetcher(resolve=names or Names(), **options)
            for path, answer in answers.items():
                if isinstance(answer, str):
                    answers[path] = redirect(answer.format(host=HOST, port=served.port))
                elif not isinstance(answer, bytes):
                    answers[path] = lambda writer, answer=answer: answer(served, writer)
            try:
                return await fetcher.fetch(url.format(host=HOST, port=served.port)), served
            except FetchError as error:
                assert HOST not in str(error) and HERE not in str(error)
                assert error.__suppress_context__ or error.__context__ is None
                return error, served
            finally:
                fetcher.close()

    return asyncio.run(all_of_it())


def refused(tls, answers, status, *args, says="", **options):
    found, served = fetch(tls, answers, *args, **options)
    assert isinstance(found, FetchError), f"it gave {len(found)} bytes"
    assert found.status == status and says in found.reason, (found.status, found.reason)
    return served


# ---- addresses -------------------------------------------------------------------------------------------

PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 168.63.129.15
168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0
198.17.255.255 198.20.0.0 223.255.255.255 2600:: 2606:4700::1111 2a00:1450:4001::200e 2001:200::
2001:4860:4860::8888 2003:: 3ffe::1 64:ff9b::8.8.8.8 ::ffff:8.8.8.8 2620:4f:7fff::1
"""
PRIVATE = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1
127.255.255.255 168.63.129.16 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255
192.0.0.1 192.0.0.8 192.0.0.9 192.0.0.192 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.1
192.168.255.255 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 224.0.1.1
233.252.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::2 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1
::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:8.8.8.8 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1
64:ff9b::169.254.169.254 64:ff9b:1::8.8.8.8 64:ff9b:1::10.0.0.1 100::1 100:0:0:1::1 1fff::1 2001::1
2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:1::1 2001:2::1 2001:3::1 2001:4:112::1 2001:10::1 2001:20::1
2001:30::1 2001:db8::1 2002:0a00:1::1 2002:7f00:1::1 2002:808:808::1 2620:4f:8000::1 2a00::5efe:10.0.0.1
2a00::200:5efe:8.8.8.8 3fff::1 3fff:fff:ffff::1 4000:: 5f00::1 fc00::1 fd00:ec2::254 fd20:ce::254 fe80::1
fe80::1%1 2600::1%1 fec0::1 ff02::1 ff0e::1 ffff::1
"""


@pytest.mark.parametrize("text", PUBLIC.split())
def test_public_addresses(text):
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PRIVATE.split())
def test_addresses_that_are_not_public(text):
    assert not is_public(ipaddress.ip_address(text))


def test_no_private_network_of_the_standard_library_is_public():
    """Python's own lists, as they are in this version."""
    for constants in (ipaddress._IPv4Constants, ipaddress._IPv6Constants):
        for network in constants._private_networks:
            assert not is_public(network[0]) and not is_public(network[-1]), network


@pytest.mark.parametrize("text", PRIVATE.split())
def test_hosts_with_one_address_that_is_not_public_are_not_connected_to(tls, text):
    if text == HERE:
        return
    for addresses in ([text], [HERE, text], [text, HERE], [HERE] * 9 + [text]):
        served = refused(tls, reply(IMAGE), 400, names=Names(**{HOST: [addresses]}), says="no public address")
        assert served.connections == 0


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]", "[::]",
     "[::ffff:7f00:1]",
     "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "10.0.0.1", "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]",
     "localhost.", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.0.0.1"],
)  # fmt: skip
def test_the_systems_resolver_leads_nowhere_private(tls, host):
    """Names and numbers in all their spellings, given to the resolver as it is."""

    async def all_of_it():
        async with serving({"/": reply(IMAGE)}, tls[0]) as served:
            fetcher = Fetcher(most_bytes=MOST, seconds=20, ssl_context=tls[1], ports=None)
            with pytest.raises(FetchError) as error:
                await fetcher.fetch(f"https://{host}:{served.port}/")
            fetcher.close()
            return error.value, served.connections

    error, connections = asyncio.run(all_of_it())
    assert (error.status, error.reason, connections) == (400, "its host has no public address", 0)


def test_names_that_are_unknown_and_private_are_told_in_the_same_words(tls):
    told = {
        str(fetch(tls, reply(), names=Names(**{HOST: found}))[0]) for found in (None, [[]], [["10.0.0.1"]])
    }
    assert told == {"its host has no public address"}


# ---- what is fetched -------------------------------------------------------------------------------------


def test_an_image_is_fetched(tls):
    found, served = fetch(tls, {"/a/b.png?c=d": reply(IMAGE)}, "https://{host}:{port}/a/b.png?c=d#part")
    assert found == IMAGE and served.connections == 1
    (head,) = served.asked
    assert head.splitlines()[:-1] == [
        "GET /a/b.png?c=d HTTP/1.1",
        f"Host: {HOST}:{served.port}",
        "Accept: image/*, application/octet-stream",
        "Accept-Encoding: identity",
        head.splitlines()[4],
    ]
    assert head.splitlines()[4].startswith("User-Agent: fastmark/")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://{host}:{port}", "/"),
        ("HTTPS://IMAGES.EXAMPLE:{port}/A%20b%2f", "/A%20b%2f"),
        ("https://{host}.:{port}/", "/"),
        ("https://{host}:{port}?", "/"),
        ("https://{host}:{port}?a=b", "/?a=b"),
        ("https://{host}:{port}/\u00e9<\"?\u00e9", "/%C3%A9%3C%22?%C3%A9"),
        ("https://b\u00fccher.{host}:{port}/", "/"),
        ("https://127.0.0.1:{port}/", "/"),
    ],
)  # fmt: skip
def test_urls_as_people_write_them(tls, url, target):
    found, served = fetch(tls, {target: reply(IMAGE)}, url)
    assert found == IMAGE and served.asked[0].startswith(f"GET {target} HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "kind", ["image/png", "IMAGE/WebP", "image/jpeg; q=1", "application/octet-stream ;x"]
)
def test_kinds_that_are_taken(tls, kind):
    assert fetch(tls, reply(IMAGE, content_type=kind))[0] == IMAGE


@pytest.mark.parametrize(
    "kind", [None, "", "text/html", "image", "imagepng", "application/json", "text/html, image/png"]
)
def test_kinds_that_are_not_taken(tls, kind):
    refused(tls, reply(IMAGE, content_type=kind), 415)
    refused(tls, reply(IMAGE, content_type=f"image/png\r\ncontent-type: {kind}"), 415)


def test_other_kinds_are_taken_on_request(tls):
    assert fetch(tls, reply(b"{}", content_type="application/json"), kinds=("application/json",))[0] == b"{}"
    refused(tls, reply(b"{}"), 415, kinds=("application/json",))


def test_answers_in_chunks_and_without_a_length(tls):
    chunked = reply(b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", length=False, transfer_encoding="chunked")
    assert fetch(tls, chunked)[0] == b"abcdefg"
    assert fetch(tls, reply(IMAGE, length=False, connection="close"))[0] == IMAGE
    assert fetch(tls, reply(b""))[0] == b""


# ---- URLs that are refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://{host}:{port}/", "must begin with https://"), ("ftp://{host}/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"), ("data:image/png;base64,AAAA",
        "must begin with https://"),
        ("gopher://{host}:{port}/", "must begin with https://"), ("{host}", "must begin with https://"),
        ("//{host}/", "must begin with https://"), ("", "must begin with https://"),
        ("https://", "not a URL"), ("https:///a", "not a URL"), ("https:{host}", "not a URL"),
        ("https://{host}:port/", "not a URL"), ("https://{host}:99999/", "not a URL"),
        ("https://{host}:-1/", "not a URL"),
        ("https://{host}:{port}/a b", "not a URL"), (" https://{host}:{port}/", "not a URL"),
        ("https://{host}:{port}/\r\nX: y", "not a URL"), ("https://{host}:{port}/\t", "not a URL"),
        ("https://{host}:{port}/\x00", "not a URL"), ("https://{host}:{port}\\@10.0.0.1/", "not a URL"),
        ("https://{host}:{port}/\ud800", "not a URL"), ("https://[::1/", "not a URL"), ("https://[v1.a]/",
        "not a URL"),
        ("https://[fe80::1%25eth0]/", "not a URL"), ("https://%31%32%37.0.0.1/", "not a URL"),
        ("https://a..b/", "not a URL"), ("https://.a/", "not a URL"), ("https://" + "a" * 64 + ".b/",
        "not a URL"),
        ("https://" + "a." * 127 + "b/", "not a URL"), ("https://a$b/", "not a URL"), ("https://\u2100/",
        "not a URL"),
        ("https://user@{host}:{port}/", "no user name"), ("https://u:p@{host}:{port}/", "no user name"),
        ("https://@{host}:{port}/", "no user name"),
        ("https://{host}:{port}/" + "a" * 2048, "2048 characters"),
    ],
)  # fmt: skip
def test_urls_that_are_refused(tls, url, says):
    names = Names()
    served = refused(tls, reply(IMAGE), 400, url, names=names, says=says)
    assert served.connections == 0 and names.asked == []


def test_no_port_but_443_is_connected_to_by_default(tls):
    names = Names()
    served = refused(tls, reply(IMAGE), 400, names=names, ports=(443,), says="port must be 443")
    assert served.connections == 0 and names.asked == []
    refused(tls, reply(IMAGE), 400, "https://{host}:22/", names=names, ports=(443,), says="port must be 443")
    assert Fetcher(most_bytes=1, seconds=1)._ports == (443,)
    for url in (f"https://{HOST}/", f"https://{HOST}:443/"):
        assert Fetcher(most_bytes=1, seconds=1)._examined(url).authority == HOST


# ---- names and certificates ------------------------------------------------------------------------------


def test_a_name_that_changes_its_address_leads_to_the_one_that_was_examined(tls):
    """DNS rebinding: the second answer would lead to a private server that is there and would answer."""

    async def all_of_it():
        names = Names(**{HOST: [[HERE], [ELSEWHERE]]})
        async with serving({"/": reply(b"public")}, tls[0]) as public:
            private = serving({"/": reply(b"private")}, tls[0], ELSEWHERE, public.port)
            async with private as private:
                fetcher = Fetcher(
                    most_bytes=MOST,
                    seconds=20,
                    permitted=permitted,
                    ssl_context=tls[1],
                    ports=None,
                    resolve=names,
                )
                url = f"https://{HOST}:{public.port}/"
                found = await fetcher.fetch(url)
                with pytest.raises(FetchError, match="no public address"):
                    await fetcher.fetch(url)
                fetcher.close()
                return found, names.asked, public.connections, private.connections

    found, asked, public, private = asyncio.run(all_of_it())
    assert (found, len(asked), public, private) == (b"public", 2, 1, 0)


def test_a_redirect_to_a_name_that_has_changed_is_refused(tls):
    names = Names(**{HOST: [[HERE], [ELSEWHERE]]})
    answers = {"/": "https://{host}:{port}/b", "/b": reply(IMAGE)}
    served = refused(tls, answers, 400, names=names, says="no public address")
    assert served.connections == 1 and len(names.asked) == 2


def test_further_addresses_are_tried(tls):
    """Nobody listens at the first."""
    names = Names(**{HOST: [["127.0.0.3", HERE]]})
    found, served = fetch(tls, reply(IMAGE), names=names, permitted=lambda address: address.is_loopback)
    assert found == IMAGE and served.connections == 1


@pytest.mark.parametrize("host", [HERE, "[::1]"])
def test_the_systems_resolver_finds_what_is_permitted(tls, host):
    async def all_of_it():
        async with serving({"/": reply(IMAGE)}, tls[0], host.strip("[]")) as served:
            fetcher = Fetcher(
                most_bytes=MOST,
                seconds=20,
                permitted=lambda address: address.is_loopback,
                ssl_context=tls[1],
                ports=None,
            )
            found = await fetcher.fetch(f"https://{host}:{served.port}/")
            fetcher.close()
            assert f"\r\nHost: {host}:{served.port}\r\n" in served.asked[0]
            return found

    try:
        assert asyncio.run(all_of_it()) == IMAGE
    except OSError:
        pytest.skip("this machine has no such address")


def test_a_host_that_takes_no_connection_is_told_as_too_slow(tls, monkeypatch):
    """Nobody listens at the first address; the second does not answer within its share of the time."""
    asked = []

    async def connect(self, host, port, timeout, *_):
        asked.append((host, timeout))
        raise httpcore.ConnectError if host == "127.0.0.3" else httpcore.ConnectTimeout

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    names = Names(**{HOST: [["127.0.0.3", HERE]]})
    refused(tls, reply(IMAGE), 504, names=names, permitted=lambda address: address.is_loopback)
    assert asked == [("127.0.0.3", 10), (HERE, 10)]


def test_nobody_listens(tls):
    names = Names(**{HOST: [["127.0.0.3", "127.0.0.4"]]})
    refused(tls, reply(IMAGE), 502, names=names, permitted=lambda address: address.is_loopback)


def test_the_certificate_must_fit_the_hosts_name_and_be_trusted(tls, tmp_path):
    names = Names(**{"foreign.example": [[HERE]]})
    served = refused(
        tls, reply(IMAGE), 502, "https://foreign.example:{port}/", names=names, says="certificate"
    )
    assert served.asked == []
    assert refused(tls, reply(IMAGE), 502, ssl_context=None).asked == []
    assert refused(contexts(tmp_path, HOST)[:1] + tls[1:], reply(IMAGE), 502).asked == []


def test_a_server_without_tls_is_not_talked_to(tls):
    found, served = fetch((None, tls[1]), reply(IMAGE), seconds=1)
    assert isinstance(found, FetchError) and found.status in (502, 504) and served.asked == []


def test_http_is_for_those_who_ask_for_it(tls):
    found, _ = fetch((None, None), reply(IMAGE), "http://{host}:{port}/", scheme="http")
    assert found == IMAGE
    refused((None, None), {"/": "https://{host}:{port}/b"}, 400, "http://{host}:{port}/", scheme="http")


def test_proxies_of_the_environment_are_not_used(tls, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch(tls, reply(IMAGE))[0] == IMAGE


# ---- redirects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 Other", "307 Temporary", "308 Permanent"])
def test_redirects_are_followed(tls, status):
    names = Names()
    answers = {"/": redirect("/b?c", status), "/b?c": reply(IMAGE)}
    found, served = fetch(tls, answers, names=names)
    assert found == IMAGE and len(names.asked) == served.connections == 2
    assert all(
        not line.lower().startswith(("referer", "cookie"))
        for head in served.asked
        for line in head.splitlines()
    )


def test_three_redirects_are_followed_and_no_more(tls):
    answers = {"/": "b", "/b": "https://{host}:{port}/c", "/c": "//{host}:{port}/d#e", "/d": reply(IMAGE)}
    assert fetch(tls, dict(answers))[0] == IMAGE
    answers |= {"/d": "/e", "/e": reply(IMAGE)}
    assert refused(tls, answers, 502, says="more than 3 times").connections == 4
    assert refused(tls, "/", 502, says="more than 3 times").connections == 4  # around and around


@pytest.mark.parametrize(
    ("to", "status"),
    [
        ("http://{host}:{port}/b", 400), ("http://169.254.169.254/latest/meta-data/", 400),
        ("file:///etc/passwd", 400),
        ("https://10.0.0.1/", 400), ("https://[::1]/", 400), ("https://private.example/", 400),
        ("//localhost/", 400),
        ("https://u:p@{host}:{port}/b", 400), ("https://{host}:{port}\\@private.example/", 400),
        ("https://[", 502),
        ("javascript:alert(1)", 400), ("gopher://{host}:{port}/b", 400), ("", 502),
        ("https://unknown.example/", 400),
    ],
)  # fmt: skip
def test_redirects_that_are_refused(tls, to, status):
    names = Names(**{name: [[name]] for name in ("10.0.0.1", "::1")})
    names.names |= {"private.example": [["192.168.1.1"]], "localhost": [[ELSEWHERE]]}
    served = refused(tls, {"/": to, "/b": reply(IMAGE)}, status, names=names)
    assert served.connections == 1


def test_redirects_stay_at_the_permitted_ports(tls):
    fetcher = Fetcher(most_bytes=1, seconds=1)
    with pytest.raises(FetchError, match="port must be 443"):
        fetcher._examined("https://images.example:8443/")


def test_a_redirects_body_is_not_read(tls):
    async def endless(served, writer):
        await served.send(
            writer, redirect("/b").replace(b"content-length: 0", b"content-length: 999999999999")
        )
        while True:
            await served.send(writer, bytes(65536))

    found, served = fetch(tls, {"/": endless, "/b": reply(IMAGE)})
    assert found == IMAGE and served.sent < 32 << 20


# ---- too much, too slow, wrong ---------------------------------------------------------------------------


def test_the_limit_is_exact(tls):
    at, over = bytes(MOST), bytes(MOST + 1)
    for length in (True, False):
        assert fetch(tls, reply(at, length=length, connection="close"))[0] == at
        refused(tls, reply(over, length=length, connection="close"), 413)


@pytest.mark.parametrize("length", [str(MOST + 1), "9" * 15, "9" * 20, "9" * 5000])
def test_what_says_that_it_is_too_large_is_not_read(tls, length):
    found, _ = fetch(tls, reply(b"", length=False, content_length=length))
    assert isinstance(found, FetchError) and found.status in (413, 502)
    if len(length) < 20:
        assert found.status == 413


def test_endless_answers_are_cut_off(tls):
    async def endless(served, writer):
        await served.send(writer, reply(length=False, transfer_encoding="chunked"))
        while True:
            await served.send(writer, b"1000\r\n" + bytes(4096) + b"\r\n")

    served = refused(tls, {"/": endless}, 413)
    assert served.sent < 32 << 20  # what lies in the system's buffers


def test_answers_that_lie_about_their_length(tls):
    refused(tls, reply(IMAGE, length=False, content_length=len(IMAGE) + 1), 502)
    assert fetch(tls, reply(IMAGE, length=False, content_length=5))[0] == IMAGE[:5]
    for length in ("-1", "five", "1e3", "5, 6", "5\r\ncontent-length: 6"):
        refused(tls, reply(IMAGE, length=False, content_length=length), 502)


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip", "GZIP"])
def test_compressed_answers_are_refused(tls, coding):
    bomb = gzip.compress(bytes(100 * MOST))
    assert len(bomb) < MOST
    refused(tls, reply(bomb, content_encoding=coding), 415, says="compresses")
    assert fetch(tls, reply(IMAGE, content_encoding="identity"))[0] == IMAGE
    refused(tls, reply(bomb, length=False, transfer_encoding=f"{coding}, chunked"), 502)


@pytest.mark.parametrize(
    "status", ["204 No", "206 Part", "304 Same", "400 Bad", "401 Who", "404 Not", "500 Oh", "999 Odd"]
)
def test_answers_that_are_not_200_are_told(tls, status):
    refused(tls, reply(IMAGE, status=status), 502, says=f"status {status[:3]}")


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0" * 100, b"SSH-2.0-server\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 abc OK\r\n\r\n",
     b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
     b"HTTP/1.1 200 OK\r\na: " + b"b" * 500_000 + b"\r\n\r\n",
     b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
     b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
     b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n",
     b"HTTP/1.1 302 Found\r\nlocation: /a\r\nlocation: /b\r\n\r\n",
     b"HTTP/1.1 302 Found\r\n\r\n"],
)  # fmt: skip
def test_answers_that_are_not_http(tls, answer):
    refused(tls, answer, 502)


def test_slow_answers_are_given_up(tls):
    async def drip(served, writer):
        await served.send(writer, reply(b"", length=False, content_length=MOST))
        while True:
            await served.send(writer, b"a")
            await asyncio.sleep(0.05)

    async def headers(served, writer):
        await served.send(writer, b"HTTP/1.1 200 OK\r\n")
        while True:
            await served.send(writer, b"a: b\r\n")
            await asyncio.sleep(0.05)

    async def informs(served, writer):
        while True:
            await served.send(writer, b"HTTP/1.1 103 Early\r\n\r\n")
            await asyncio.sleep(0.01)

    async def silent(served, writer):
        await asyncio.sleep(60)

    for answer in (drip, headers, informs, silent):
        refused(tls, {"/": answer}, 504, seconds=0.5, says="too long")


def test_slow_names_are_given_up(tls):
    async def slow(host, port):
        await asyncio.sleep(60)

    assert refused(tls, reply(IMAGE), 504, names=slow, seconds=0.2).connections == 0


def test_slow_greetings_are_given_up_and_their_connections_closed():
    """A server that accepts and never greets; httpcore alone would leave the connection open."""

    async def all_of_it():
        closed = asyncio.Event()

        async def silent(reader, writer):
            while await reader.read(1000):
                pass
            writer.close()
            closed.set()

        async with await asyncio.start_server(silent, HERE, 0) as server:
            port = server.sockets[0].getsockname()[1]
            fetcher = Fetcher(most_bytes=1, seconds=0.3, permitted=permitted, ports=None, resolve=Names())
            with pytest.raises(FetchError) as error:
                await fetcher.fetch(f"https://{HOST}:{port}/")
            await asyncio.wait_for(closed.wait(), 20)
            return error.value.status

    assert asyncio.run(all_of_it()) == 504


def test_one_deadline_holds_for_all_redirects(tls):
    async def late(served, writer):
        await asyncio.sleep(0.3)
        await served.send(writer, redirect("/"))

    refused(tls, {"/": late}, 504, seconds=0.7)


# ---- what is kept ----------------------------------------------------------------------------------------


def test_nothing_of_urls_and_hosts_is_logged(tls, caplog):
    caplog.set_level(logging.DEBUG)
    for answers in (reply(IMAGE), reply(status="404 Not"), "http://{host}:{port}/", b"", "/"):
        fetch(tls, answers)
        fetch(tls, answers, ssl_context=None)
    fetch(tls, reply(), names=Names(**{HOST: None}))
    assert not any(text in caplog.text for text in (HOST, HERE, "https:"))
    assert not [record for record in caplog.records if record.name.startswith("httpcore")]


def test_many_at_once(tls):
    async def all_of_it():
        answers = {f"/{i}": reply(bytes([i]) * 100) for i in range(20)}
        async with serving(answers, tls[0]) as served:
            fetcher = Fetcher(
                most_bytes=MOST,
                seconds=30,
                permitted=permitted,
                ssl_context=tls[1],
                ports=None,
                resolve=Names(),
            )
            found = await asyncio.gather(
                *(fetcher.fetch(f"https://{HOST}:{served.port}/{i}") for i in range(20))
            )
            fetcher.close()
            return found

    assert asyncio.run(all_of_it()) == [bytes([i]) * 100 for i in range(20)]


def test_errors_can_be_pickled():
    error = pickle.loads(pickle.dumps(FetchError("it took too long", 504)))
    assert (error.reason, error.status, str(error)) == ("it took too long", 504, "it took too long")
