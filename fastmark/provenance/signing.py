"""Content credentials (C2PA) are signed: who signs, and an encoded image with its manifest.

Needs the extra ``c2pa``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self

from fastmark._unchanging import Unchanging
from fastmark.errors import CredentialError, one_line
from fastmark.provenance import SOFT_BINDING, native
from fastmark.provenance.certificates import (
    algorithm_of,
    check_match,
    check_time,
    common_name,
    parse_chain,
    parse_key,
    plain_pem,
    read_pem,
)
from fastmark.provenance.manifest import PARENT, active_id, check_soft_binding, describe
from fastmark.records import Record

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["Signed", "Signer", "check_soft_binding", "sign"]

Place = str | bytes | os.PathLike[str]
Callback = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Signed:
    """An image with content credentials.

    Attributes:
        data: the whole file.
        manifest: the manifest store inside it, to be found again by the watermark.
        manifest_id: of the manifest in that store that is this image's, ``urn:c2pa:...``.
    """

    data: bytes
    manifest: bytes
    manifest_id: str


class Signer(Unchanging):
    """Somebody who signs: certificates, and the private key of the first, or a callback that has it.

    Processes may be sent one with a key, threads may share it; its repr tells whose it is and no secret.

    Args:
        certificates: path or bytes of a PEM chain: the signer's certificate first, then the authorities'.
        private_key: path or bytes of the PEM key of the first, or ``env:NAME`` for a variable that holds it.
        algorithm: es256, es384, es512, ps256, ps384, ps512 or ed25519; None for the usual one of the key.
        tsa_url: of a time stamp authority (RFC 3161), asked for each signature; it has 30 seconds.

    Attributes:
        name: common name in the first certificate.
        algorithm: of the signatures.
        tsa_url: as given.
        expires: when the first certificate does.

    Raises:
        CredentialError: if the chain or the key cannot be read, do not belong together, or the first
            certificate is not valid now.
        MissingPackageError: without the extra ``c2pa``.
    """

    __slots__ = (
        "_callback",
        "_chain",
        "_identity",
        "_key",
        "_leaf",
        "algorithm",
        "expires",
        "name",
        "tsa_url",
    )

    _callback: Callback | None
    _chain: bytes
    _identity: str
    _key: bytes | None
    _leaf: Certificate
    algorithm: str
    expires: dt.datetime
    name: str
    tsa_url: str | None

    def __init__(
        self,
        certificates: Place,
        private_key: Place,
        *,
        algorithm: str | None = None,
        tsa_url: str | None = None,
    ) -> None:
        """Read and check everything."""
        native.load()
        self._fill(certificates, algorithm, tsa_url, private_key, None)

    @classmethod
    def from_callback(
        cls, callback: Callback, algorithm: str, certificates: Place, tsa_url: str | None = None
    ) -> Self:
        """Make a signer whose key lies elsewhere, as in a key management service.

        Args:
            callback: returns the signature of the bytes that it is given; of ECDSA as DER, or r and s.
            algorithm: of its signatures, see above.
            certificates: as above.
            tsa_url: as above.

        Raises:
            CredentialError: as above.
        """
        if not callable(callback):
            raise CredentialError(f"the callback must be a function, not {type(callback).__name__}")
        native.load()
        signer = cls.__new__(cls)
        signer._fill(certificates, algorithm, tsa_url, None, callback)
        return signer

    def _fill(
        self,
        certificates: Place,
        algorithm: str | None,
        tsa_url: str | None,
        private_key: Place | None,
        callback: Callback | None,
    ) -> None:
        what = "the chain of certificates"
        chain = read_pem(certificates, what)
        leaf = parse_chain(chain, what)[0]
        key = None
        if private_key is not None:
            private = parse_key(read_pem(private_key, "the private key"))
            check_match(leaf, private)
            key = plain_pem(private)
        check_time(leaf)
        if tsa_url is not None and not tsa_url.startswith(("http://", "https://")):
            raise CredentialError(
                f"the time stamp authority must be a URL with http:// or https://, not {tsa_url!r}"
            )
        self._settle(
            _chain=chain,
            _leaf=leaf,
            _key=key,
            _callback=callback,
            _identity=hashlib.sha256(chain).hexdigest()[:16],
            algorithm=algorithm_of(leaf.public_key(), algorithm),
            tsa_url=tsa_url,
            expires=leaf.not_valid_after_utc,
            name=common_name(leaf),
        )

    def __repr__(self) -> str:
        """Return name, algorithm, time stamp authority and the digest of the chain, 16 hex digits."""
        return f"Signer({self.name!r}, {self.algorithm}, tsa_url={self.tsa_url!r}, chain={self._identity})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Be sent to another process."""
        if self._callback is not None:
            raise CredentialError(
                "a signer with a callback cannot be sent to another process: use one worker, or make it there"
            )
        return _unpickled, (type(self), self._chain, self._key, self.algorithm, self.tsa_url)

    def check(self) -> None:
        """Make sure that the certificate is valid still.

        Raises:
            CredentialError: if it is not.
        """
        check_time(self._leaf)

    def opened(self) -> _Opened:
        """Return it as c2pa-python takes it, to be used with ``with``."""
        return _Opened(self._chain, self._key, self._callback, self.algorithm, self.tsa_url)


def _unpickled(kind: type[Signer], chain: bytes, key: bytes, algorithm: str, tsa_url: str | None) -> Signer:
    return kind(chain, key, algorithm=algorithm, tsa_url=tsa_url)


class _Opened:
    """A native signer while it is used; keeps what a callback raised, which does not come through."""

    def __init__(
        self, chain: bytes, key: bytes | None, callback: Callback | None, algorithm: str, tsa_url: str | None
    ) -> None:
        c2pa = native.load()
        self._error: BaseException | None = None
        self._callback = callback
        if callback is None:
            self.native = c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, chain, key, tsa_url))
        else:
            number = c2pa.C2paSigningAlg[algorithm.upper()]
            self.native = c2pa.Signer.from_callback(self._call, number, chain.decode(), tsa_url)

    def _call(self, data: bytes) -> bytes:
        assert self._callback is not None
        try:
            signature = self._callback(data)
            if not isinstance(signature, bytes) or not signature:
                raise TypeError(f"it returned {type(signature).__name__}, not the bytes of a signature")
        except BaseException as error:
            self._error = error
            return b""  # the library takes that as a failure, and logs nothing of it
        return signature

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.native.close()
        if error is not None and self._error is not None:
            self._fail(self._error)

    @staticmethod
    def _fail(error: BaseException) -> NoReturn:
        if not isinstance(error, Exception):
            raise error  # an interrupt
        raise CredentialError(
            f"the signing callback failed: {type(error).__name__}: {one_line(error)}; nothing was signed"
        ) from error


def check_signable(format_name: str) -> str:
    """Return the media type of a format, as Pillow names it, that has a place for content credentials.

    Raises:
        CredentialError: if it has none.
    """
    mime = native.MIME_TYPES.get(format_name.upper())
    if mime is None:
        raise CredentialError(
            f"{format_name.upper()} has no place for content credentials: write JPEG, PNG, WebP, TIFF, AVIF,"
            " HEIC or JPEG XL, or leave signing out"
        )
    return mime


def sign(
    data: bytes,
    format_name: str,
    record: Record,
    message: bytes | None,
    signer: Signer,
    *,
    parent: bytes | None = None,
    soft_binding: str = SOFT_BINDING,
    when: dt.datetime | None = None,
    title: str | None = None,
    unbound: bool = False,
) -> Signed:
    """Sign content credentials and put them into an encoded image; its pixels stay as they are.

    With a parent, or where the record says "altered" or "labelled", the image counts as edited: its original,
    if none is given the image before it was signed, becomes the ingredient that it was made from, and
    credentials that the original has are kept. The record's owner is private, and not in the manifest.

    Args:
        data: encoded image, JPEG XL is put into a container; content credentials in it give way, those of
            ``parent`` are kept.
        format_name: of the image, as Pillow names it.
        record: what is said of it.
        message: in its watermark; None says nothing of one, or with ``unbound`` that it has one.
        signer: who signs.
        parent: file of the original, of any format.
        soft_binding: name under which the message is told, see ``check_soft_binding``.
        when: with a time zone; None for now. Whoever signs may write any time: only a time stamp proves one.
        title: of the image.
        unbound: whether the image has a watermark whose message does not tell it from others.

    Raises:
        CredentialError: if the format has no place for content credentials, a certificate is not valid, the
            callback or the time stamp authority fails, or the image or its parent is damaged.
        MissingPackageError: without the extra ``c2pa``.
    """
    mime = check_signable(format_name)
    edited = parent is not None or record.has_original
    signer.check()
    manifest = describe(
        record,
        message,
        when or dt.datetime.now(dt.UTC),
        soft_binding=soft_binding,
        title=title,
        edited=edited,
        unbound=unbound,
    )
    c2pa = native.load()
    signed = io.BytesIO()
    stamp = () if signer.tsa_url is None else (("internal error", native.BAD_STAMP),)
    with (
        native.translated("content credentials cannot be signed", *stamp),
        native.context(network=signer.tsa_url is not None) as context,
        c2pa.Builder(manifest, context) as builder,
        signer.opened() as opened,
    ):
        if edited:
            original = data if parent is None else parent
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            with native.translated("the original of the image cannot be kept in its content credentials"):
                kind = native.media_type(original) or native.ANY_TYPE
                builder.add_ingredient(PARENT, kind, io.BytesIO(original))
        store = builder.sign(opened.native, mime, io.BytesIO(native.contained(data)), signed)
        return Signed(signed.getvalue(), store, active_id(store))
