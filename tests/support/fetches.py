"""Fetches of a service, from a server on loopback that has the names and the answers that a test gives it."""

import asyncio
import ipaddress
import socket

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


def contexts_of_names(folder):
    """Contexts of a server that has all names of these tests, and of a client that trusts it."""
    return contexts(folder, HOST, f"xn--bcher-kva.{HOST}", HERE, "0::1")


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
