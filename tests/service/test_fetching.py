"""Images by URL: nothing but public hosts is reached, however the URL, the name or a redirect tries it."""

import asyncio
import ipaddress

import pytest

pytest.importorskip("httpcore", reason="the extra serve is not installed")
pytest.importorskip("cryptography", reason="the extra serve is not installed")

import httpcore
from fetches import (
    ELSEWHERE,
    HERE,
    HOST,
    IMAGE,
    MOST,
    Names,
    contexts_of_names,
    fetch,
    permitted,
    redirect,
    refused,
    reply,
)
from tls import contexts, serving

from fastmark.service.addresses import is_public
from fastmark.service.fetching import Fetcher, FetchError


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return contexts_of_names(tmp_path_factory.mktemp("tls"))


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
