"""Requests that are to harm a server: each kind is made of random numbers, and repeats with them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hostile_files import FILES, any_file, any_sample, samples
from hostile_runs import Case


@dataclass(frozen=True)
class Arsenal:
    """What the requests are made with.

    Attributes:
        marked: a watermarked file that the service knows.
        token: that may embed.
        slow: seconds for which a slow body pauses.
    """

    marked: bytes
    token: str
    slow: float = 0.3

    def cases(self, seed: int, count: int) -> Iterator[Case]:
        """Yield so many requests, each kind by its weight, in an order that mixes them."""
        rng = random.Random(seed)
        kinds = [kind for kind, (weight, _) in KINDS.items() for _ in range(weight)]
        order = [kinds[n * len(kinds) // count] for n in range(count)] if count < len(kinds) else kinds
        order = [order[n % len(order)] for n in range(count)]
        rng.shuffle(order)
        for kind in order:
            yield KINDS[kind][1](self, kind, rng)

    def of_kind(self, kind: str, seed: int, count: int) -> Iterator[Case]:
        """Yield so many requests of one kind."""
        rng = random.Random(f"{seed} {kind}")
        for _ in range(count):
            yield KINDS[kind][1](self, kind, rng)


# ---- requests --------------------------------------------------------------------------------------------


def request(path: bytes, body: bytes | None, *headers: bytes, method: bytes = b"POST") -> bytes:
    length = [] if body is None else [b"Content-Length: %d" % len(body)]
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: check", *headers, *length]
    return b"\r\n".join([*lines, b"", b""]) + (body or b"")


def form(rng: random.Random, parts: list[tuple[bytes, bytes]], boundary: bytes = b"x-boundary-x") -> bytes:
    """The body of a form; each part is its header lines, and what it holds."""
    body = b"".join(b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    return body + b"--" + boundary + b"--\r\n"


def file_part(data: bytes, name: bytes = b"image", kind: bytes = b"image/jpeg") -> tuple[bytes, bytes]:
    head = b'Content-Disposition: form-data; name="' + name + b'"; filename="a.jpg"\r\nContent-Type: ' + kind
    return head, data


MULTIPART = b"Content-Type: multipart/form-data; boundary=x-boundary-x"


def of_file(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """A file, on one of the ways on which files come."""
    data = FILES[kind](rng)
    way = rng.choice(("raw", "raw", "raw", "form", "batch", "content", "page", "embed"))
    token = b"Authorization: Bearer " + arsenal.token.encode()
    if way == "raw":
        path = rng.choice((b"/v1/detect", b"/v1/detect?where=true&report=true"))
        sent = request(path, data, b"Content-Type: image/png")
    elif way == "content":
        sent = request(b"/v1/matches/byContent", data, b"Content-Type: image/webp")
    elif way == "embed":
        to = rng.choice((b"png", b"jpeg", b"webp", b"tiff"))
        sent = request(b"/v1/embed?format=" + to, data, b"Content-Type: image/jpeg", token)
    elif way == "batch":
        others = [arsenal.marked if rng.random() < 0.2 else any_file(rng) for _ in range(rng.randrange(4))]
        sent = request(
            b"/v1/detect/batch", form(rng, [file_part(one, b"images") for one in (data, *others)]), MULTIPART
        )
    else:
        path = b"/v1/detect" if way == "form" else b"/"
        sent = request(path, form(rng, [file_part(data)]), MULTIPART)
    return Case(kind, (sent,))


def whole(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """What is in order, between all that is not."""
    data = arsenal.marked if rng.random() < 0.5 else any_sample(rng)
    return Case(kind, (request(b"/v1/detect?where=true&report=true", data, b"Content-Type: image/png"),))


def of_form(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """A form that is not as forms should be."""
    part, text = file_part(any_file(rng)), rng.randbytes(rng.choice((0, 20, 3000)))
    named = b'Content-Disposition: form-data; name="'
    header, body = MULTIPART, form(rng, [part])
    how = rng.randrange(16)
    if how == 0:  # a boundary that is another, empty, huge, or not there
        marks = (
            b"other",
            b"",
            b"a" * 70_000,
            b'"',
            b"\xff\xfe\0",
            b'"x-boundary-x',
            b"x-boundary-x; boundary=y",
        )
        header = b"Content-Type: multipart/form-data" + rng.choice(
            (b"", b"; boundary=" + rng.choice(marks)[:5000])
        )
    elif how == 1:  # forms in forms
        for _ in range(rng.choice((1, 50))):
            body = form(rng, [file_part(body, kind=b"multipart/form-data; boundary=x-boundary-x")])
    elif how == 2:
        body = form(rng, [(named + b'f%d"' % n, b"v") for n in range(rng.choice((30, 5000)))] + [part])
    elif how == 3:
        body = form(rng, [(named + b"n" * rng.choice((3000, 1_000_000)) + b'"', b"v"), part])
    elif how == 4:
        body = form(rng, [(named + text + b'"', text), part])
    elif how == 5:
        body = form(
            rng, [(named + b'image"; filename*=' + rng.choice((b"UTF-8''%ff%fe", b"x'y", text)), text)]
        )
    elif how == 6:
        body = body[: rng.randrange(len(body))]
    elif how == 7:
        body = form(rng, [part] * rng.choice((2, 60)))
    elif how == 8:
        body = form(rng, [(text.replace(b"\r", b""), part[1])])
    elif how == 9:
        body = form(rng, [(part[0] + b"\r\nX: " + b"y" * rng.choice((9000, 1_000_000)), part[1])])
    elif how == 10:
        body = form(rng, [(part[0] + b"\r\nX%d: y" % n * 20_000, part[1]) for n in range(2)])
    elif how == 11:
        body = form(rng, [(named + b'message"', b"v" * rng.choice((70_000, 1_000_000))), part])
    elif how == 12:
        body = text + body.replace(b"\r\n", rng.choice((b"\n", b"\r", b"\r\n\r\n", b"\0")))
    elif how == 13:
        body = form(rng, [(part[0] + b"\r\nContent-Transfer-Encoding: base64", part[1])])
    elif how == 14:
        body = b"--x-boundary-x\r\n" * rng.choice((3, 50_000))
    else:
        body = form(rng, [(named + b'url"', rng.choice(_URLS)), *([part] if rng.random() < 0.3 else [])])
    path = rng.choice((b"/v1/detect", b"/v1/detect/batch", b"/", b"/v1/embed"))
    token = [b"Authorization: Bearer " + arsenal.token.encode()] if path == b"/v1/embed" else []
    return Case(kind, (request(path, body, header, *token),))


_URLS = (
    b"https://127.0.0.1/a",
    b"file:///etc/passwd",
    b"\xff\xfe",
    b"https://" + b"a" * 60_000,
    b"",
    b"gopher://x",
    b"https://[::1]/",
    b"https://user:word@host/",
    b"http://169.254.169.254/latest/",
)


def of_json(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """JSON that is not as JSON should be, or asks for what it should not."""
    depth = rng.choice((1000, 100_000))
    body = rng.choice(
        (
            b"[" * depth,
            b'{"url":' * depth,
            b"[" * depth + b"]" * depth,
            b'{"url": ' + b"9" * 100_000 + b"}",
            b'{"alg": "\\ud800", "value": "\\udfff"}',
            b'\xef\xbb\xbf{"url": "a"}',
            b"\xff\xfe{\0}\0",
            b'{"url": "a", "url": "b"}',
            b"NaN",
            b"-Infinity",
            b'"' + b"\\u0000" * 10_000 + b'"',
            b"",
            b"\0",
            b'{"alg": "fastmark.v1", "value": "' + b"A" * 60_000 + b'"}',
            b'{"alg": "fastmark.v1", "value": 1e999}',
            b'{"alg": "fastmark.v1", "value": "AAAAAAAAAAA="}',
            rng.randbytes(500),
            b'{"url": "%s"}' % rng.choice(_URLS),
            b'{"referenceUrl": "https://a/", "assetLength": -1e400}',
        )
    )
    path = rng.choice((b"/v1/detect", b"/v1/matches/byBinding", b"/v1/matches/byReference", b"/"))
    mime = rng.choice((b"application/json", b"application/json; charset=utf-16", b"text/json"))
    return Case(kind, (request(path, body, b"Content-Type: " + mime),))


def of_token(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """A token of any bytes; those that end a line are left out, as they would begin another header."""
    secret = rng.choice(
        (rng.randbytes(30), b"", b"fm_" + b"a" * 43, b"\xff" * 20, b"a" * 30_000, b"\t \t", b"\x7f")
    )
    secret = secret.translate(None, b"\r\n\0") if rng.random() < 0.8 else secret
    scheme = rng.choice((b"Bearer ", b"bearer\t", b"Basic ", b"", b"Bearer", b"Digest a=", rng.randbytes(6)))
    scheme = scheme.translate(None, b"\r\n\0")
    path = rng.choice((b"/v1/detect", b"/v1/embed", b"/metrics", b"/v1/matches/byContent"))
    line = b"Authorization: " + scheme + secret
    method = b"GET" if path == b"/metrics" else b"POST"
    twice = [line] * rng.choice((1, 1, 2))
    return Case(kind, (request(path, any_file(rng), b"Content-Type: image/png", *twice, method=method),))


def of_type(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """A content type that does not fit, or is none."""
    mime = rng.choice(
        (
            b"",
            b"image/",
            b"/",
            b"image/png; charset=\xff",
            b"multipart/form-data",
            b"multipart/mixed; boundary=a",
            b"application/x-www-form-urlencoded",
            b"application/octet-stream",
            b"text/html",
            b"a" * 30_000,
            b"\xff/\xfe",
            b"multipart/form-data; boundary==",
            b'multipart/form-data; boundary="',
            b"application/json; " * 500,
            b"video/mp4",
            b"IMAGE/PNG",
            b"image/png,image/jpeg",
            rng.randbytes(40).translate(None, b"\r\n\0"),
        )
    )
    encoding = rng.choice(([], [], [b"Content-Encoding: gzip"], [b"Expect: 100-continue"]))
    path = rng.choice((b"/v1/detect", b"/v1/detect/batch", b"/v1/matches/byContent", b"/"))
    return Case(kind, (request(path, any_file(rng), b"Content-Type: " + mime, *encoding),))


def of_address(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """A path and parameters of any kind."""
    value = rng.choice(
        (
            b"%00",
            b"%ff%fe",
            b"..%2f..%2fetc%2fpasswd",
            b"a" * 5000,
            b"0" * 16,
            b"%F0%9F%98%80",
            b"%",
            b"-1",
            b"1e9",
            b"%zz",
            b"+" * 100,
            b"'%20OR%201=1--",
            b"urn:c2pa:" + b"a" * 300,
            b"%E2%80%AE",
            b"0123456789abcdef",
            b"{{7*7}}",
            b"%0d%0aX:%20y",
        )
    )
    path = rng.choice(
        (
            b"/i/%s",
            b"/v1/manifests/%s",
            b"/static/%s",
            b"/%s",
            b"//%s",
            b"/v1/detect?where=%s",
            b"/v1/matches/byBinding?alg=fastmark.v1&value=%s",
            b"/?lang=%s",
            b"/metrics?%s",
            b"/v1/matches/byBinding?alg=%s&value=AAAA&maxResults=%s",
            b"/openapi.json?%s",
        )
    )
    path = path.replace(b"%s", value)
    method = rng.choice((b"GET", b"GET", b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))
    headers = [b"Accept-Language: " + rng.choice((b"de;q=\xff", b"*" * 5000, b"x-" * 2000, b",;,;", b"fr"))]
    headers += [b"Accept: " + rng.choice((b"*/*;q=" + b"9" * 500, b"," * 5000, b"\xff", b"application/json"))]
    sent = request(path, None if method in (b"GET", b"HEAD") else b"", *headers, method=method)
    return Case(kind, (sent,))


def of_head(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """What is no request of HTTP, or has a head that no client makes."""
    good = request(b"/v1/detect", any_file(rng), b"Content-Type: image/png")
    start = b"POST /v1/detect HTTP/1.1\r\n"
    whole = (
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + rng.randbytes(300),  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\0" * 1000,
        b"\r\n" * 5000,
        rng.randbytes(2000),
        start + b"X" * 200_000,
        start + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        good.replace(b"\r\n", b"\n", 3),
    )
    hosts = (b"Host: \0\xff", b"X\xff\0Y: z", b"Host : check", b"\xffHost: \xff", b" Host: check")
    told = b"Content-Length: "
    lengths = [told + sign for sign in (b"+", b"-", b"1, ", b"0x", b"9" * 30, b"0\r\n" + told)]
    lengths += [b"Transfer-Encoding: " + coding + b"\r\n" + name for name in (told, b"X: ")
                for coding in (b"chunked", b"gzip, chunked", b"identity", b"chunked, chunked")]  # fmt: skip
    lengths += [b"Upgrade: websocket\r\nConnection: Upgrade\r\nX: ", b"Upgrade: h2c\r\n" + told, b"X: "]
    how = rng.random()
    if how < 0.4:
        sent = rng.choice(whole)
    elif how < 0.55:
        sent = good.replace(b"Host: check", rng.choice(hosts))
    elif how < 0.65:
        sent = good.replace(
            *rng.choice(((b"POST", b"P\xd6ST"), (b"HTTP/1.1", b"HTTP/1.0"), (b" HTTP", b"  HTTP")))
        )
    else:
        sent = good.replace(told, rng.choice(lengths))
    return Case(kind, (sent,), silent=True)


def of_length(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """A length that is not the body's."""
    body = any_file(rng)
    if rng.random() < 0.3:  # beyond all limits: refused before it comes
        line = b"Content-Length: %d" % rng.choice((10**8, 10**12, 10**18))
        return Case(kind, (request(b"/v1/detect", None, b"Content-Type: image/png", line),))
    told = rng.choice((0, 1, len(body) // 2, len(body) + 1, len(body) + 5000))
    line = b"Content-Length: %d" % told
    sent = request(b"/v1/detect", None, b"Content-Type: image/png", line) + body
    return Case(kind, (sent,), leaves=told > len(body) and rng.random() < 0.7, silent=told > len(body))


def of_chunks(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """A body in chunks, right or wrong."""
    body, how = any_file(rng), rng.randrange(7)
    size = rng.choice((1, 100, 5000))
    body = body[: 2000 * size]
    pieces = [body[n : n + size] for n in range(0, len(body), size)]
    wire = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    end = (
        b"0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"",
        b"-1\r\n",
        b"zz\r\n",
        b"ffffffffffffffff\r\n",
        b"5;" + b"x" * 100_000 + b"\r\nabcde\r\n0\r\n\r\n",
    )[how]
    head = request(b"/v1/detect", None, b"Content-Type: image/png", b"Transfer-Encoding: chunked")
    return Case(kind, (head + wire + end,), silent=how > 1)


def too_large(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """More bytes than are taken, which is told or found out."""
    body = rng.choice((bytes, lambda size: samples()["PNG"] + bytes(size)))(rng.choice((5, 9)) << 20)
    if rng.random() < 0.5:
        return Case(kind, (request(b"/v1/detect", body, b"Content-Type: image/png"),), silent=True)
    head = request(b"/v1/detect", None, b"Content-Type: image/png", b"Transfer-Encoding: chunked")
    return Case(kind, (head, *[b"10000\r\n" + bytes(65536) + b"\r\n"] * (len(body) >> 16)), silent=True)


def pipelined(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """Several requests at once on one connection."""
    count = rng.choice((2, 5, 30))
    some = [
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        request(b"/v1/detect", b"x", b"Content-Type: image/png"),
        request(b"/v1/matches/byBinding", b"{}", b"Content-Type: application/json"),
    ]
    some.append(request(b"/v1/detect", any_file(rng)[:60_000], b"Content-Type: image/png"))
    return Case(
        kind, (b"".join(rng.choice(some) for _ in range(count)),), answers=count, leaves=rng.random() < 0.3
    )


def leaving(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """A client that goes: within the head, the body, or before the answer."""
    data = arsenal.marked if rng.random() < 0.5 else any_file(rng)
    sent = request(b"/v1/detect?where=true", data, b"Content-Type: image/png")
    pause = rng.choice((0, 0.001, 0.03))
    return Case(kind, (sent[: rng.choice((3, 60, len(sent) // 2, len(sent)))],), leaves=True, pause=pause)


def slow(arsenal: Arsenal, kind: str, rng: random.Random) -> Case:
    """A body that comes drop by drop, longer than it may."""
    head = request(b"/v1/detect", None, b"Content-Type: image/png", b"Content-Length: 100000")
    return Case(kind, (head, *[b"drop"] * 5), pause=arsenal.slow)


KINDS: dict[str, tuple[int, Callable[[Arsenal, str, random.Random], Case]]] = {
    "whole": (6, whole),
    "cut": (12, of_file),
    "bits turned": (14, of_file),
    "spliced": (8, of_file),
    "no image": (6, of_file),
    "lying dimensions": (10, of_file),
    "bomb": (3, of_file),
    "metadata": (10, of_file),
    "form": (14, of_form),
    "JSON": (6, of_json),
    "token": (4, of_token),
    "content type": (6, of_type),
    "address": (8, of_address),
    "head": (8, of_head),
    "length": (6, of_length),
    "chunks": (5, of_chunks),
    "too large": (1, too_large),
    "pipelined": (3, pipelined),
    "leaving": (5, leaving),
    "slow": (1, slow),
}
"""Weight and maker of each kind."""
