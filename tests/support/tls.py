"""A server on loopback that speaks TLS, and answers as a test tells it to, right or wrong."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def contexts(folder: Path, *names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server whose certificate has these names or addresses, and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(text)) if text[0].isdigit() else x509.DNSName(text)
        for text in names
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    text = certificate.public_bytes(pem)
    path = folder / f"{'-'.join(names)}.pem"
    path.write_bytes(
        text + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cadata=text.decode())


class Served:
    """What a server was asked: ``connections`` counts them, ``asked`` are the heads of requests.

    ``answers`` go by path: all bytes that are sent before the connection is closed, or what sends them.
    ``sent`` counts what those send that use :meth:`send`.
    """

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.answers = answers
        self.connections, self.sent = 0, 0
        self.asked: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self.sent += len(data)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.asked.append(head)
                answer = self.answers[head.split(" ")[1]]
                if isinstance(answer, bytes):
                    await self.send(writer, answer)
                else:
                    await answer(writer)
        except asyncio.CancelledError:
            pass  # the end of the test
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def serving(
    answers: dict[str, Answer], context: ssl.SSLContext | None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Served]:
    """A server for the time of a test; without a context it speaks no TLS."""
    served = Served(answers)
    server = await asyncio.start_server(served.answer, host, port, ssl=context)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        for writer in served.writers:
            writer.transport.abort()
        await asyncio.sleep(0.02)  # for what was never greeted to be closed too
