"""A delivered image: registered, watermarked, labelled, encoded and signed, in that order, then written.

The registry's entry is there before the file is, and is completed after: whatever happens in between, an id
in a file has an entry, if only one that says "reserved".
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from fastmark._checks import OnMarked
from fastmark.codec.public import PUBLIC_KEY, PublicCode
from fastmark.companions import NOTHING, Companions, record_beside
from fastmark.errors import (
    CredentialError,
    FastmarkError,
    InvalidImageError,
    InvalidMessageError,
    OutputError,
    one_line,
    reason_of,
)
from fastmark.images.encoding import losses
from fastmark.images.findings import C2PA_DROPPED
from fastmark.records import Record
from fastmark.registry.reservation import reserved, stays_reserved
from fastmark.watermarker import Watermarker, encode_result, public_marker, read_back

if TYPE_CHECKING:
    from fastmark.provenance.signing import Signer
    from fastmark.results import Detection, EmbedReport


@dataclass(frozen=True, slots=True)
class Delivered:
    """An image on its way out.

    Attributes:
        data: the whole file.
        size: width and height in pixels.
        message: in the watermark; None where an earlier one was kept that is not readable.
        report: of embedding, with warnings of what the file has no room for.
        verified: the detection in the file, where it was read back.
        manifest_id: of its content credentials, ``urn:c2pa:...``; None without.
    """

    data: bytes
    size: tuple[int, int]
    message: bytes | None
    report: EmbedReport
    verified: Detection | None = None
    manifest_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what a manifest says of it, as JSON values; without the key and the place."""
        width, height = self.size
        return {
            "width": width,
            "height": height,
            "state": "kept" if self.kept else "marked",
            "verified_log10_p": None if self.verified is None else self.verified.log10_p,
            **self.report.to_dict(),
            "manifest_id": self.manifest_id,
        }

    @property
    def kept(self) -> bool:
        """Whether the image was left as it was, for a watermark that it had."""
        return self.report.action == "kept"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How images are watermarked, encoded and accompanied.

    Attributes:
        marker: that embeds; that of the public key embeds the public watermark alone, which is no id.
        companions: what goes beside the watermark.
        bind, on_marked: as for ``Watermarker.embed_report``.
        verify: whether the message is read back from the file before it is written.
        max_pixels: as there.
        advice: added to errors of encoding.
        public: what the public watermark says that is embedded beside the message; None without one.
        abandoned_before: see ``fastmark.registry.reservation.reserved``.
    """

    marker: Watermarker
    companions: Companions = NOTHING
    bind: bool = True
    on_marked: OnMarked = "replace"
    verify: bool = False
    max_pixels: int | None = None
    advice: str = ""
    public: PublicCode | None = None
    abandoned_before: dt.datetime | None = None

    def deliver(
        self,
        image: str | bytes,
        message: bytes | None,
        format_name: str,
        encoding: Mapping[str, Any],
        write: Callable[[Delivered], None] | None = None,
        lap: Callable[[str], None] = lambda _: None,
    ) -> Delivered:
        """Watermark an image and hand its file to ``write``.

        Args:
            image: path or encoded bytes.
            message: to embed; None where the registry draws one.
            format_name: to encode to.
            encoding: options of ``encode_image``.
            write: called once, with all that is known; its errors are passed on, and the registry's entry
                then says "reserved", as nobody knows how much was written.
            lap: called with the name of each stage when it is done.

        Raises:
            FastmarkError: as embedding, encoding and signing do; then nothing is written.
            RegistryError: if the registry cannot be reached; where the image was written before, it says so.
        """
        registry = self.companions.registry
        if registry is None:
            if message is None:
                raise InvalidMessageError("no message to embed: give one, or a registry that draws one")
            ready, _ = self._prepare(image, message, format_name, encoding, lap)
            if write is not None:
                write(ready)
            return ready
        if self._is_public:
            raise InvalidMessageError(
                "a registry keeps ids, and the public watermark is none: give a key of your own too, or leave"
                " the registry out"
            )
        bits, record = self.marker.message_bits, record_beside(self.companions.record, self.public)
        with reserved(registry, record, message, self.marker.key.id, bits, self.abandoned_before) as drawn:
            lap("reserving")
            ready, facts = self._prepare(image, drawn, format_name, encoding, lap)
            if ready.kept:
                registry.release(drawn)
        # NOTE: from here on the file may be there, and the entry must stay
        if write is not None:
            write(ready)
        if not ready.kept:
            try:
                registry.complete(drawn, **facts)
            except FastmarkError as error:
                where = "" if write is None else "the image was written, but "
                raise stays_reserved(drawn, error, where) from error
            lap("completing")
        return ready

    def delivered_before(
        self, image: bytes, message: bytes | None, format_name: str, there: Callable[[], bytes]
    ) -> Delivered | None:
        """Return what a run that was killed delivered, where its message is taken for that reason.

        Args:
            image: encoded bytes of the source.
            message: from a list of messages; None where the registry draws them.
            format_name: of the file.
            there: returns the file that lies in the output; it may raise OSError.

        Returns:
            The file with a report made anew; None unless the registry says that this very file was delivered
            with the message.

        Raises:
            FastmarkError: as embedding and reading back do.
        """
        registry = self.companions.registry
        if registry is None or message is None or self.abandoned_before is None:
            return None
        entry = registry.get(message)
        if entry is None or entry.sha256 is None or entry.key_id != self.marker.key.id:
            return None
        try:
            data = there()
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            return None
        marked, report = self._embed(image, message)
        verified = None
        if self.verify or report.action == "replaced":
            verified = self._read_back(data, message, format_name, report)
        return Delivered(data, marked.size, message, report, verified, entry.manifest_id)

    @property
    def _is_public(self) -> bool:
        """Whether the public watermark is embedded alone."""
        return self.marker.key == PUBLIC_KEY

    def _record(self, message: bytes) -> Record:
        """What metadata say of the image, if only that a trained model made it."""
        code = PublicCode.from_bytes(message) if self._is_public else self.public
        return record_beside(self.companions.record, code) or Record()

    def _embed(self, image: str | bytes, message: bytes) -> tuple[Image.Image, EmbedReport]:
        marked, report = self.marker.embed_report(
            image,
            message,
            bind=self.bind,
            on_marked=self.on_marked,
            public=self.public,
            max_pixels=self.max_pixels,
        )
        assert isinstance(marked, Image.Image)
        return marked, report

    def _read_back(self, data: bytes, message: bytes, format_name: str, report: EmbedReport) -> Detection:
        """Read both watermarks back from a file; return the detection of the marker's own."""
        if self.public is not None:
            code = self.public.to_bytes()
            read_back(public_marker(), data, code, format_name, report, max_pixels=self.max_pixels)
        return read_back(self.marker, data, message, format_name, report, max_pixels=self.max_pixels)

    def _prepare(
        self,
        image: str | bytes,
        message: bytes,
        format_name: str,
        encoding: Mapping[str, Any],
        lap: Callable[[str], None],
    ) -> tuple[Delivered, dict[str, Any]]:
        """Return what is to be written, and what the registry will know of it."""
        marked, report = self._embed(image, message)
        lap("marking")
        record = self._record(message)
        told = None if self._is_public else message
        kept = report.action == "kept"
        signer = None if kept else self.companions.signer
        source = b""
        if kept or signer is not None:
            source = image if isinstance(image, bytes) else _read(image)
        notes = () if kept else self._label(marked, record, told, lap)
        try:
            data = encode_result(marked, report, source, format_name, encoding)
        except OutputError as error:
            raise OutputError(f"{error}{self.advice}") from None
        if data is not source:
            notes += losses(marked, format_name)
        lap("encoding")
        manifest, manifest_id = None, None
        dropped: tuple[str, ...] = ()
        if signer is not None:
            had_credentials = C2PA_DROPPED in report.warnings
            parent = source if had_credentials or record.has_original else None
            data, manifest, manifest_id = self._sign(data, format_name, record, told, parent, signer)
            dropped = (C2PA_DROPPED,)  # they were: they are those of the parent now
            lap("signing")
        verified = None
        if not kept and (self.verify or report.action == "replaced"):
            verified = self._read_back(data, message, format_name, report)
            lap("verifying")
        warnings = (*(one for one in report.warnings if one not in dropped), *notes)
        report = dataclasses.replace(report, warnings=warnings)
        inside = None if report.message is None else bytes.fromhex(report.message)
        ready = Delivered(data, marked.size, inside, report, verified, manifest_id)
        # before anything is written: none of this may fail after
        return ready, {} if kept else self._facts(ready, marked, manifest, lap)

    def _label(
        self, marked: Image.Image, record: Record, message: bytes | None, lap: Callable[[str], None]
    ) -> tuple[str, ...]:
        """Put the record into the image's XMP; return what it replaced there, in sentences."""
        if not self.companions.xmp:
            return ()
        from fastmark.provenance.xmp import merge_report

        earlier = marked.info.get("xmp") or marked.info.get("XML:com.adobe.xmp")
        packet = earlier.encode() if isinstance(earlier, str) else earlier
        notes: tuple[str, ...] = ()
        try:
            merged = merge_report(packet, record, message)
        except CredentialError as error:
            notes = (f"the XMP is damaged and was replaced: {one_line(error)}",)
            merged = merge_report(None, record, message)
        marked.info["xmp"] = merged.packet
        marked.info.pop("XML:com.adobe.xmp", None)
        lap("labelling")
        notes += tuple(f"the XMP said {what}, which was replaced" for what in merged.replaced)
        return notes + tuple(f"the XMP says {what}, which says more and was kept" for what in merged.kept)

    def _sign(
        self,
        data: bytes,
        format_name: str,
        record: Record,
        message: bytes | None,
        parent: bytes | None,
        signer: Signer,
    ) -> tuple[bytes, bytes, str]:
        from fastmark.provenance.signing import sign

        signed = sign(
            data,
            format_name,
            record,
            message,
            signer,
            parent=parent,
            soft_binding=self.companions.soft_binding,
            unbound=message is None,
        )
        return signed.data, signed.manifest, signed.manifest_id

    def _facts(
        self, ready: Delivered, marked: Image.Image, manifest: bytes | None, lap: Callable[[str], None]
    ) -> dict[str, Any]:
        """Return the arguments of ``Registry.complete``; none without a registry."""
        if self.companions.registry is None:
            return {}
        from fastmark.registry.fingerprint import perceptual_hash

        width, height = ready.size
        facts = {
            "width": width,
            "height": height,
            "perceptual_hash": perceptual_hash(marked),
            "sha256": hashlib.sha256(ready.data).hexdigest(),
            "manifest_id": ready.manifest_id,
            "manifest": manifest,
        }
        lap("hashing")
        return facts


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidImageError(f"{path} cannot be read any more: {reason_of(error)}") from None
