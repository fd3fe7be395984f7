"""Content credentials (C2PA) are read and judged, in a file or from a store found by its watermark.

Nothing is fetched from the network. Needs the extra ``c2pa``.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import json
import os
from dataclasses import dataclass
from typing import Any, Literal

from fastmark.errors import CredentialError
from fastmark.provenance import native
from fastmark.provenance.certificates import parse_chain, read_pem
from fastmark.provenance.manifest import (
    SOURCE_TYPES,
    dict_of,
    dicts_of,
    generator_of,
    making_of,
    opted_out,
    soft_bindings_of,
    text_of,
    time_of,
)
from fastmark.records import format_time

State = Literal["trusted", "valid", "invalid", "recovered"]
Place = str | bytes | os.PathLike[str]

_CHANGED = "the file was changed since it was signed"
_CHANGED_RECOVERED = (
    "the file is not the one that was signed: pixels or metadata were changed since, or encoded anew"
)
_EDITED_MANIFEST = "the credentials themselves were changed since they were signed"
_DAMAGED = "the credentials are damaged or incomplete"
_UNKNOWN = ("", native.DAMAGED)
_NOT_ON_LIST = "signed by somebody who is not on the list of trusted authorities"
_NO_LIST = "no list of trusted authorities was given: the signer's name is what the signer says"
_HASHES = (
    "assertion.dataHash.match",
    "assertion.bmffHash.match",
    "assertion.boxesHash.match",
    "assertion.boxHash.match",
)
_UNTRUSTED = "signingCredential.untrusted"
# about the signer, not about what was signed
_OF_SIGNER = (
    _UNTRUSTED,
    "signingCredential.expired",
    "signingCredential.revoked",
    "signingCredential.ocsp.revoked",
)
# codes of C2PA 2.4, 15.3, by how they begin; the first that fits counts
_WORDS = (
    ("assertion.dataHash", _CHANGED),
    ("assertion.bmffHash", _CHANGED),
    ("assertion.boxesHash", _CHANGED),
    ("assertion.boxHash", _CHANGED),
    ("assertion.hashedURI", _EDITED_MANIFEST),
    ("claimSignature.outsideValidity", "the certificate was not valid when it was signed with"),
    ("claimSignature", "the signature is not right"),
    (
        "signingCredential.expired",
        "the certificate has expired, and no time stamp says that it was signed before",
    ),
    ("signingCredential.revoked", "the certificate was withdrawn"),
    ("signingCredential.ocsp.revoked", "the certificate was withdrawn"),
    ("signingCredential.invalid", "the certificate is none for content credentials"),
    ("timeStamp", "the time stamp is not right"),
    ("assertion.action", "what it says was done to the image breaks the rules of C2PA"),
    ("assertion", _DAMAGED),
    ("claim", _DAMAGED),
    ("manifest.inaccessible", "the credentials lie elsewhere, and were not fetched"),
    ("manifest", _DAMAGED),
    ("general", _DAMAGED),
    ("algorithm", "it uses an algorithm that is not known or not safe"),
    ("ingredient", "what it says of the images that it was made from is not right"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Content credentials of an image: what they say, and how far they hold.

    Attributes:
        state: "trusted": signed by somebody on the list, and the file is as it was signed; "valid": it is, by
            somebody who is not on the list; "invalid": something does not hold, see ``problems``;
            "recovered": not in the file, found by its watermark.
        intact: whether the file is byte for byte as it was signed, whoever signed it.
        manifest_id: ``urn:c2pa:...``.
        generator: the program that wrote them.
        issuer: organization in the signer's certificate.
        common_name: name in the signer's certificate.
        when: by a time stamp, else as the signer says.
        digital_source_type: last part of IPTC's address, as "trainedAlgorithmicMedia".
        system: what made the image.
        system_version: its version.
        provider: who offers that system, where fastmark signed.
        soft_bindings: algorithm and value of each; of fastmark's, the value is the watermark's message.
        opted_out: whether they forbid training of models.
        problems: all that does not hold, in plain words.
    """

    state: State
    intact: bool
    manifest_id: str
    generator: str | None
    issuer: str | None
    common_name: str | None
    when: dt.datetime | None
    digital_source_type: str | None
    system: str | None
    system_version: str | None
    provider: str | None
    soft_bindings: tuple[tuple[str, bytes], ...]
    opted_out: bool
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, values of soft bindings in hex."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["when"] = None if self.when is None else format_time(self.when)
        values["soft_bindings"] = [{"alg": name, "value": value.hex()} for name, value in self.soft_bindings]
        values["problems"] = list(self.problems)
        return values


def read(data: bytes, *, trust_anchors: Place | None = None) -> Credential | None:
    """Read the content credentials in an encoded image; None where it has none.

    Args:
        data: the whole file.
        trust_anchors: path or bytes of PEM certificates of the authorities that are trusted; without them
            nobody is.

    Raises:
        CredentialError: if the file or its manifest is damaged, the manifest lies elsewhere (it is not
            fetched), or the certificates cannot be read.
        MissingPackageError: without the extra ``c2pa``.
    """
    anchors = _anchors(trust_anchors)
    mime = native.media_type(data)
    if mime is None:
        return None
    c2pa = native.load()
    with (
        native.translated("the content credentials cannot be read", _UNKNOWN),
        native.context(anchors) as context,
    ):
        reader = c2pa.Reader.try_create(mime, io.BytesIO(data), context=context)
        if reader is None:
            return None
        with reader:
            report = dict_of(json.loads(reader.json()))
    return _judged(report, anchors, recovered=False)


def recover(data: bytes, manifest: bytes, *, trust_anchors: Place | None = None) -> Credential:
    """Read a manifest store that was found by an image's watermark, and compare it with the image.

    Its state is "recovered" whatever comes of that: a watermark shows which image was signed, not that this
    is it still.

    Args:
        data: the image's file, of any format; credentials in it are not looked at.
        manifest: the store, as ``sign`` returned it.
        trust_anchors: as for ``read``.

    Raises:
        CredentialError: if the store is damaged, or the certificates cannot be read.
        MissingPackageError: without the extra ``c2pa``.
    """
    anchors = _anchors(trust_anchors)
    c2pa = native.load()
    with (
        native.translated("the content credentials in the registry cannot be read", _UNKNOWN),
        native.context(anchors) as context,
        c2pa.Reader(
            native.media_type(data) or native.ANY_TYPE, io.BytesIO(data), bytes(manifest), context=context
        ) as reader,
    ):
        report = dict_of(json.loads(reader.json()))
    return _judged(report, anchors, recovered=True)


def _anchors(place: Place | None) -> str | None:
    """Return trusted certificates as PEM. What is no PEM is refused: the library would trust nobody."""
    if place is None:
        return None
    what = "the trusted certificates"
    pem = read_pem(place, what)
    parse_chain(pem, what if isinstance(place, bytes) else f"{what} {place!s}")
    return pem.decode("utf-8", "replace")


def _judged(report: dict[str, Any], anchors: str | None, *, recovered: bool) -> Credential:
    """Make a credential of the library's report."""
    name = text_of(report.get("active_manifest"))
    manifest = dict_of(dict_of(report.get("manifests")).get(str(report.get("active_manifest"))))
    if name is None or not manifest:
        raise CredentialError("the content credentials have no manifest that counts: they are damaged")
    results = dict_of(report.get("validation_results"))
    codes = dict_of(results.get("activeManifest"))
    passed, failed = _codes(codes, "success"), _codes(codes, "failure")
    intact = (
        "claimSignature.validated" in passed
        and any(code in passed for code in _HASHES)
        and all(code in _OF_SIGNER for code in failed)
    )
    said = text_of(report.get("validation_state"))
    state: State = {"Trusted": "trusted", "Valid": "valid"}.get(said or "", "invalid")  # type: ignore[assignment]
    if state != "invalid" and not intact:
        state = "invalid"
    making, signature = making_of(manifest), dict_of(manifest.get("signature_info"))
    agent = making.get("softwareAgent")
    source_type = text_of(making.get("digitalSourceType"))
    return Credential(
        state="recovered" if recovered else state,
        intact=intact,
        manifest_id=name,
        generator=generator_of(manifest),
        issuer=text_of(signature.get("issuer")),
        common_name=text_of(signature.get("common_name")),
        when=time_of(signature.get("time")) or time_of(making.get("when")),
        digital_source_type=None
        if source_type is None
        else source_type.removeprefix(SOURCE_TYPES).split("/")[-1],
        system=text_of(agent) or text_of(dict_of(agent).get("name")),
        system_version=text_of(dict_of(agent).get("version")),
        provider=text_of(dict_of(making.get("parameters")).get("fastmark.provider")),
        soft_bindings=soft_bindings_of(manifest),
        opted_out=opted_out(manifest),
        problems=_problems(results, manifest, failed, anchors is not None, recovered),
    )


def _codes(results: dict[str, Any], kind: str) -> list[str]:
    return [text_of(entry.get("code")) or "" for entry in dicts_of(results.get(kind))]


def _problems(
    results: dict[str, Any], manifest: dict[str, Any], failed: list[str], listed: bool, recovered: bool
) -> tuple[str, ...]:
    """Say each failure once; those of ingredients too, then and now, apart from who signed them."""
    said = [_words(code, listed, recovered) for code in failed]
    of_parents = [
        dict_of(delta.get("validationDeltas")) for delta in dicts_of(results.get("ingredientDeltas"))
    ]
    of_parents += [
        dict_of(dict_of(parent.get("validation_results")).get("activeManifest"))
        for parent in dicts_of(manifest.get("ingredients"))
    ]
    for found in of_parents:
        codes = [code for code in _codes(found, "failure") if code != _UNTRUSTED]
        said += [f"of an image that it was made from: {_words(code, listed, False)}" for code in codes]
    return tuple(dict.fromkeys(said))


def _words(code: str, listed: bool, recovered: bool) -> str:
    if code == _UNTRUSTED:
        return _NOT_ON_LIST if listed else _NO_LIST
    for start, words in _WORDS:
        if code.startswith(start):
            return _CHANGED_RECOVERED if recovered and words == _CHANGED else words
    return f"it breaks a rule of C2PA ({code})"
